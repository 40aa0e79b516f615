"""Entry of the window: `main(argv)`. Worker entries go on before any Qt import; then the display, the single instance, the crash log.

It knows no page. What the window is made of is app.py's matter.
"""

import faulthandler
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from engine.contract.errors import Missing
from engine.contract.words import tr
from engine.project import layout

WORKER_MODULES = ("engine.worker", "engine.cli", "engine.project.queue", "engine.training.devices", "engine.serve.main",
                  "engine.text.probe", "engine.text.read_child", "engine.stages.corpus.export_process", "engine.stages.pretrain.measure",
                  "engine.stages.sft.measure", "engine.stages.sft.microscope", "engine.stages.adapt.measure",
                  "engine.stages.reward.measure", "engine.stages.dpo.measure", "engine.stages.ppo.measure",
                  "engine.stages.export.probe", "engine.stages.import_model.probe", "engine.verifiers.sandbox_child",
                  "engine.verifiers.desk", "engine.stages.grpo.trial", "engine.stages.grpo.measure",
                  "engine.stages.grpo.problems_process",
                  "engine.stages.instruct.examples_process", "engine.stages.preference.pairs_process",
                  "engine.generators.find", "engine.generators.pull",
                  "engine.generators.server_models", "engine.generators.gguf_child",
                  "engine.model.formats.import_child", "engine.model.formats.quantize", "engine.model.formats.runtimes",
                  "torch.distributed.run")
CRASH_BYTES = 64_000


def main(argv: list[str] | None = None) -> int:
    """Open the window (on a project's folder, if one is named); the exit code. 5: this machine has no display."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["-m"] and len(arguments) > 1:
        return _worker(arguments[1], arguments[2:])
    if missing := display_missing():
        print(missing, file=sys.stderr)
        return missing.exit_code
    folder = next((Path(a) for a in arguments if not a.startswith("-")), None)
    return _window(folder)


def _worker(module: str, arguments: list[str]) -> int:
    """A frozen app is its own interpreter: `fledge -m engine.worker RUN` runs the module instead of opening a second window."""
    if module not in WORKER_MODULES:
        print(tr("{module} is not a part of Fledge that can be run.", module=module), file=sys.stderr)
        return 2
    import runpy
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def display_missing() -> Missing | None:
    """Qt aborts without a display, so that nothing can be caught: look first."""
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal", "vnc", "linuxfb", "eglfs"):
        return None
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return None
    return Missing(tr("This machine has no display (DISPLAY and WAYLAND_DISPLAY are empty), so the window cannot open."),
                   tr("Work without it: `fledge demo DIR`, `fledge run DIR STAGE`, `fledge chat DIR`. Over ssh, connect with `ssh -X`."))


def _window(folder: Path | None) -> int:
    layout.user_state().mkdir(parents=True, exist_ok=True)
    from desktop.single import Single
    single = Single()
    if not single.first:
        return 0 if single.call(str(folder.resolve()) if folder else "") else 1
    with CrashLog(layout.crash_log()) as crashes:
        from desktop.app import build
        from desktop.main_window import raise_window
        app = build()
        crashes.tell = app.window.show_problem

        def called(path: str) -> None:
            raise_window(app.window)
            if path:
                app.window.open_project(path)
        single.listen(called)
        app.show()
        app.open_first(folder)
        if crashes.last:
            app.window.show_crash(crashes.last, crashes.forget)
        code = app.qt.exec()
        single.close()
    return code


class CrashLog:
    """Exceptions of slots and threads, and faults of the process itself, written to one file that the next start shows calmly.

    `last` is what the file held at the start: an end that was no end. `tell(exception)` is called for one while the window is open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = self._read()
        self.tell: Any = None
        self._file: IO[str] | None = None

    def _read(self) -> str:
        try:
            return self.path.read_text("utf-8", "replace")[-CRASH_BYTES:].strip()
        except OSError:
            return ""

    def forget(self) -> None:
        """Read and done with: the file is emptied (it stays open for the next fault)."""
        if self._file is not None:
            self._file.truncate(0)
        self.last = ""

    def __enter__(self) -> "CrashLog":
        self._file = open(self.path, "a", encoding="utf-8")  # faulthandler needs it open for life
        faulthandler.enable(self._file)
        self._hooks = sys.excepthook, threading.excepthook
        sys.excepthook = self._raised
        threading.excepthook = lambda args: self._raised(args.exc_type, args.exc_value, args.exc_traceback)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        clean = value is None or isinstance(value, SystemExit)
        if kind is not None and value is not None and not clean:
            self._write(kind, value, trace)
        faulthandler.disable()
        sys.excepthook, threading.excepthook = self._hooks
        assert self._file is not None
        self._file.close()
        if clean and self.path.stat().st_size:  # the window ended as it should: what was in the log was seen, and is kept aside
            os.replace(self.path, self.path.with_suffix(".seen.log"))

    def _raised(self, kind: type[BaseException], value: BaseException | None, trace: TracebackType | None) -> None:
        self._hooks[0](kind, value, trace)
        self._write(kind, value, trace)
        if self.tell is not None and threading.current_thread() is threading.main_thread() and isinstance(value, Exception):
            self.tell(value)

    def _write(self, kind: type[BaseException], value: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.write(time.strftime("%Y-%m-%d %H:%M:%S\n") + "".join(traceback.format_exception(kind, value, trace)) + "\n")
            self._file.flush()


if __name__ == "__main__":
    sys.exit(main())
