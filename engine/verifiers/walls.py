"""The second wall, around the process that holds the sandbox: whatever got out of WebAssembly would find that it may do nothing.

- Linux: Landlock (no file can be opened, no port connected to), seccomp (a short list of system calls; all others fail with EPERM),
  memory capped, no new privileges, no core dumps. Nothing of it needs root; a kernel without a part leaves it out, and says so.
- macOS: Seatbelt with a profile that denies all but what a running process needs. Windows: a job object of one process without
  subprocesses, user interface and more memory than the cap. Both are written from the systems' documentation and have not been run on
  them; the first wall is the same everywhere.

`raise_walls` cannot be undone. It answers with what stands; `try_walls` then pushes against each part, and is what the self-test believes.
"""

import contextlib
import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, PR_SET_SECCOMP = 4, 38, 1, 22
LANDLOCK_CREATE, LANDLOCK_RESTRICT = 444, 446
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC = 1, 1
RET_ALLOW, RET_KILL, RET_EPERM = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
ARCHITECTURES = {
    "x86_64": (0xC000003E, {
        "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
        "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "readv": 19, "writev": 20, "sched_yield": 24, "mremap": 25,
        "madvise": 28, "getpid": 39, "exit": 60, "gettimeofday": 96, "sigaltstack": 131, "gettid": 186, "futex": 202,
        "restart_syscall": 219, "clock_gettime": 228, "clock_nanosleep": 230, "exit_group": 231, "getrandom": 318, "rseq": 334,
        "membarrier": 324}),
    "aarch64": (0xC00000B7, {
        "close": 57, "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "ppoll": 73, "fstat": 80, "exit": 93,
        "exit_group": 94, "futex": 98, "clock_gettime": 113, "clock_nanosleep": 115, "sched_yield": 124, "restart_syscall": 128,
        "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "gettimeofday": 169, "getpid": 172,
        "gettid": 178, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "madvise": 233, "getrandom": 278,
        "membarrier": 283, "rseq": 293}),
}
SEATBELT = "(version 1)(deny default)(allow sysctl-read)(allow mach-lookup (global-name \"com.apple.system.logger\"))" \
           "(allow process-info* (target self))(allow signal (target self))"
SLACK = 192 << 20


def raise_walls(memory: int) -> dict[str, str]:
    """Locks this process down: what stands, as {"memory": .., "files": .., ...}. `memory`: bytes it may take on top of what it has."""
    if sys.platform == "linux":
        return _linux(memory)
    if sys.platform == "darwin":
        return _macos(memory)
    if sys.platform == "win32":
        return _windows(memory)
    return {}


def try_walls(standing: dict[str, str], place: Path) -> str:
    """Pushes against what is said to stand: "" where it holds, else what got through. `place`: a file that exists and may not be read."""
    if "files" in standing and _gets_through(lambda: os.close(os.open(place, os.O_RDONLY))):
        return f"a file could be opened: {place}"
    made = place.parent / f"wall-{os.getpid()}.cwasm"
    if "files" in standing and _gets_through(lambda: os.close(os.open(made, os.O_CREAT | os.O_WRONLY))):
        return f"a file could be made in {place.parent}"
    if "network" in standing and _gets_through(lambda: _connect()):
        return "a socket could be used"
    if "processes" in standing and hasattr(os, "fork"):
        child = -1
        with contextlib.suppress(OSError):
            child = os.fork()
        if child == 0:
            os._exit(0)
        if child > 0:
            return "a process could be started"
    return ""


def _gets_through(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as wrong:
        return wrong.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS)
    return True


def _connect() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.settimeout(0.2)
        made.connect(("127.0.0.1", 9))


# --- Linux -----------------------------------------------------------------------------------------------------------------------


def end_with_parent() -> None:
    """The kernel ends this process when the thread that started it is gone; elsewhere the end of its input does."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)


def _linux(memory: int) -> dict[str, str]:
    import resource

    standing: dict[str, str] = {}
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    data = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData:")) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (data + memory + SLACK,) * 2)
    standing["memory"] = "rlimit"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return standing
    if version := _landlock(libc):
        standing["files"] = f"landlock {version}"
        if version >= 4:
            standing["network"] = f"landlock {version}"
    if _seccomp(libc):
        standing |= {"files": (standing.get("files", "") + " seccomp").strip(), "network": "seccomp", "processes": "seccomp"}
    return standing


def _landlock(libc: ctypes.CDLL) -> int:
    """Every right that the kernel knows is handled, and none is given. Its version, 0 where there is none."""
    version = int(libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1))
    if version < 1:
        return 0
    rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    ruleset = struct.pack("<QQQ", (1 << rights) - 1, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    fd = int(libc.syscall(LANDLOCK_CREATE, ruleset, ctypes.c_size_t(size), 0))
    if fd < 0:
        return 0
    done = int(libc.syscall(LANDLOCK_RESTRICT, fd, 0))
    os.close(fd)
    return version if done == 0 else 0


def seccomp_program(machine: str) -> bytes:
    """The filter as BPF: another architecture is killed, what is on the list passes, everything else fails with EPERM."""
    architecture, calls = ARCHITECTURES[machine]
    numbers = sorted(calls.values())
    steps = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, RET_KILL), (0x20, 0, 0, 0)]      # load arch; equal?; load number
    steps += [(0x15, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    steps += [(0x06, 0, 0, RET_EPERM), (0x06, 0, 0, RET_ALLOW)]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def _seccomp(libc: ctypes.CDLL) -> bool:
    machine = platform.machine()
    if machine not in ARCHITECTURES or sys.maxsize < 2**32:
        return False
    program = ctypes.create_string_buffer(seccomp_program(machine))
    number = {"x86_64": 317, "aarch64": 277}[machine]
    header = struct.pack("<HxxxxxxQ", (len(program) - 1) // 8, ctypes.addressof(program))
    return int(libc.syscall(number, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, header)) == 0


# --- macOS and Windows: from documentation, not yet run there ----------------------------------------------------------------------


def _macos(memory: int) -> dict[str, str]:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    library = ctypes.CDLL("/usr/lib/libsandbox.dylib", use_errno=True)
    library.sandbox_init.argtypes = [ctypes.c_char_p, ctypes.c_uint64, ctypes.POINTER(ctypes.c_char_p)]
    wrong = ctypes.c_char_p()
    if library.sandbox_init(SEATBELT.encode(), 0, ctypes.byref(wrong)) != 0:
        return {}
    return {"files": "seatbelt", "network": "seatbelt", "processes": "seatbelt"}


def _windows(memory: int) -> dict[str, str]:
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)     # type: ignore[attr-defined]
    kernel.CreateJobObjectW.restype = kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.SetInformationJobObject.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong]
    kernel.AssignProcessToJobObject.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    job = kernel.CreateJobObjectW(None, None)
    if not job:
        return {}
    # JOBOBJECT_EXTENDED_LIMIT_INFORMATION: one active process, a cap on its memory, death on an unhandled exception, end with the job.
    flags = 0x8 | 0x100 | 0x400 | 0x2000
    limits = struct.pack("<qqIxxxxQQIxxxxQII", 0, 0, flags, 0, 0, 1, 0, 0, 0) + bytes(48)
    limits += struct.pack("<QQQQ", memory + (512 << 20), 0, 0, 0)
    held = ctypes.create_string_buffer(limits, len(limits))
    if not kernel.SetInformationJobObject(job, 9, held, len(limits)):
        return {}
    interface = ctypes.c_ulong(0xFF)        # no clipboard, no handles, no desktop of others
    kernel.SetInformationJobObject(job, 4, ctypes.byref(interface), 4)
    if not kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess()):
        return {}
    return {"memory": "job", "processes": "job"}
