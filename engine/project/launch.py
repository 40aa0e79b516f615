"""Starting workers that outlive whoever started them. The window, the command line and the queue runner all start runs here.

The interpreter is a setting (FLEDGE_PYTHON or the person's settings file), so that an app frozen without torch can use the engine
environment beside it; a version handshake refuses an engine of another version.
"""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from engine import __version__
from engine.contract.errors import Locked, Missing
from engine.contract.words import language, tr
from engine.project import control, files, layout
from engine.project.runs import Run

RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def interpreter() -> str:
    """The Python that has the engine: FLEDGE_PYTHON, else the setting `engine_python`, else this one."""
    settings = files.read_json(layout.settings_file(), {})
    chosen = os.environ.get("FLEDGE_PYTHON") or (settings.get("engine_python") if isinstance(settings, dict) else None)
    return str(chosen or sys.executable)


def handshake(python: str, timeout: float = 30.0) -> None:
    """Ask another interpreter for its engine's version; Missing when there is none or it differs from ours."""
    try:
        said = subprocess.run([python, "-c", "import engine; print(engine.__version__)"], capture_output=True, text=True, timeout=timeout,
                              cwd=source_root(), check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    if said != __version__:
        raise Missing(tr("The engine environment {python} does not fit: it has version {said}, this app needs {ours}.", python=python,
                         said=said or tr("none"), ours=__version__), tr("Choose another one in the settings, or install the engine again."))


def source_root() -> Path:
    """The folder that holds the package `engine`."""
    return Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """What a worker inherits: the language, unbuffered output, and the folder of this engine on its path. Not a place among the processes
    of another run: a worker under torchrun starts the queue's runner."""
    env = dict(os.environ, FLEDGE_LANGUAGE=language(), PYTHONUNBUFFERED="1")
    if "TORCHELASTIC_RUN_ID" in env:
        env.pop("OMP_NUM_THREADS", None)  # torchrun sets it to 1
        for name in [n for n in env if n in RANKS or n.startswith(("TORCHELASTIC_", "ROLE_", "GROUP_"))]:
            del env[name]
    env.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait sleep: beside other work, spinning made steps 10 times slower
    env["PYTHONPATH"] = os.pathsep.join(p for p in (str(source_root()), env.get("PYTHONPATH", "")) if p)
    return env


def start(run: Run, device: str = "auto", wait_for_device: bool = False, processes: int = 1) -> int:
    """Start (or resume: the worker sees by itself what there is to continue) a detached worker; its process number.

    stdout and stderr go to log.txt. With several `processes`, torchrun starts that many workers on this machine. A run that is under way
    already is Locked.
    """
    if run.alive():
        raise Locked(tr("Run {id} is under way already.", id=run.id), tr("Open it to watch it."))
    control.clear(run.dir)
    command = [interpreter(), "-m", "engine.worker", str(run.dir), "--device", device]
    if processes > 1:
        command[1:3] = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "engine.worker"]
    if wait_for_device:
        command.append("--wait-for-device")
    return detach(command, layout.log_file(run.dir))


def detach(command: list[str], log: Path) -> int:
    """A process in a session of its own, deaf to the death of this one; output appended to `log`."""
    with files.append(log) as out:
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
            made = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment(), cwd=source_root(),
                                    creationflags=flags, close_fds=True)
        else:
            made = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment(), cwd=source_root(),
                                    start_new_session=True, close_fds=True)
    _children.append(made)
    _children[:] = [child for child in _children if child.poll() is None]
    return made.pid


_children: list["subprocess.Popen[bytes]"] = []  # kept so that ended children are reaped and their handles stay open


def running(pid: int) -> bool:
    """Whether a process is alive (an ended child that nobody waited for is not)."""
    for child in _children:
        if child.pid == pid:
            return child.poll() is None
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill(pid: int, wait: float = 5.0) -> None:
    """Kill a process and everything it started: after a grace period only, a worker asked to stop stops by itself. Waits up to `wait`
    seconds until they are gone."""
    try:
        root = psutil.Process(pid)
        tree = [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    if wait:
        psutil.wait_procs(tree, timeout=wait)
