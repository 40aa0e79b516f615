"""Every error a person can cause or meet. Each has a code (stable, for machines), a plain sentence and a remedy.

    FledgeError
    ├── SettingError        a value in a form or on the command line
    ├── InputError          a file, folder, artifact or checkpoint that does not fit
    │   ├── NotFound
    │   ├── FormatError         a file that cannot be read as what it claims to be
    │   ├── Corrupt             hashes or lengths do not match what was written
    │   └── Mismatch            two inputs that do not go together
    ├── ProjectError        the project folder itself
    │   ├── Locked              somebody else is writing
    │   └── TooNew              written by a later Fledge
    ├── MachineError        the machine, not the person
    │   ├── DiskFull
    │   ├── OutOfMemory
    │   ├── DeviceUnavailable
    │   └── Missing             a library, a compiler, a program
    ├── TrainingError       the run itself
    │   └── NonFinite           the loss is no longer a number
    └── Stopped             not a failure: the person asked

Ours is an assert; theirs is one of these. Caught only at a boundary (worker entry, command line, window hook).
"""


class FledgeError(Exception):
    """`code` for machines, `sentence` says what happened, `remedy` what to do about it. `field` names the setting, if it was one."""

    code = "error"
    exit_code = 1

    def __init__(self, sentence: str, remedy: str = "", *, code: str | None = None, field: str = "") -> None:
        super().__init__(sentence)
        self.sentence, self.remedy, self.field = sentence, remedy, field
        if code:
            self.code = code

    def __str__(self) -> str:
        return f"{self.sentence} {self.remedy}".strip()


class SettingError(FledgeError):
    code, exit_code = "setting", 2


class InputError(FledgeError):
    code, exit_code = "input", 3


class NotFound(InputError):
    code = "not_found"


class FormatError(InputError):
    code = "format"


class Corrupt(InputError):
    code = "corrupt"


class Mismatch(InputError):
    code = "mismatch"


class ProjectError(FledgeError):
    code, exit_code = "project", 4


class Locked(ProjectError):
    code = "locked"


class TooNew(ProjectError):
    code = "too_new"


class MachineError(FledgeError):
    code, exit_code = "machine", 5


class DiskFull(MachineError):
    code = "disk_full"


class OutOfMemory(MachineError):
    code = "out_of_memory"


class DeviceUnavailable(MachineError):
    code = "device_unavailable"


class Missing(MachineError):
    code = "missing"


class TrainingError(FledgeError):
    code, exit_code = "training", 6


class NonFinite(TrainingError):
    code = "non_finite"


class Stopped(FledgeError):
    """Raised inside a stage when the person asked to stop; `saved` tells whether a checkpoint was written first."""

    code, exit_code = "stopped", 0

    def __init__(self, sentence: str = "", *, saved: bool = False, paused: bool = False) -> None:
        super().__init__(sentence)
        self.saved, self.paused = saved, paused
