"""The wall around the sandbox's process,
pushed against from inside it with the whole of native Python: what WebAssembly keeps out anyway."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from engine.verifiers.walls import ARCHITECTURES, RET_ALLOW, RET_EPERM, RET_KILL, seccomp_program, try_walls

ROOT = Path(__file__).resolve().parents[3]
linux = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")

PUSH = '''
import ctypes, json, os, socket, subprocess, sys, threading, signal
sys.path.insert(0, sys.argv[1])
from engine.verifiers.walls import raise_walls, try_walls
from pathlib import Path
canary, folder = sys.argv[2], sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
def native(name, *words):
    if getattr(libc, name)(*words) < 0:
        raise OSError(ctypes.get_errno(), name)
def big():
    bytearray(3 << 30)
attempts = {
    "open": lambda: os.open(canary, os.O_RDONLY), "write": lambda: open(canary, "w"), "make": lambda: os.mkdir(folder + "/x"),
    "remove": lambda: os.unlink(canary), "rename": lambda: os.rename(canary, canary + "2"), "link": lambda: os.symlink("/", folder + "/l"),
    "list": lambda: os.listdir("/"), "stat": lambda: os.stat(canary), "chmod": lambda: os.chmod(canary, 0o777),
    "proc": lambda: open("/proc/self/mem", "rb"), "truncate": lambda: os.truncate(canary, 0), "memfd": lambda: os.memfd_create("x"),
    "tcp": lambda: socket.socket(), "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "unix": lambda: socket.socketpair(),
    "fork": lambda: os.fork(), "spawn": lambda: subprocess.run(["true"]), "exec": lambda: os.execv("/bin/true", ["true"]),
    "thread": lambda: threading.Thread(target=print).start(), "kill": lambda: os.kill(os.getppid(), 0),
    "kill itself": lambda: os.kill(os.getpid(), 0),
    "ptrace": lambda: native("ptrace", 16, os.getppid(), 0, 0), "read memory": lambda: native("process_vm_readv", os.getppid(),
    0, 0, 0, 0, 0),
    "namespaces": lambda: native("unshare", 0x10000000), "chroot": lambda: os.chroot("/"), "setuid": lambda: os.setuid(0),
    "priority": lambda: os.nice(1), "mount": lambda: native("mount", b"x", b"/", b"tmpfs", 0, 0), "pipes": lambda: os.pipe(),
    "rlimits": lambda: __import__("resource").setrlimit(0, (1, 1)), "shared memory": lambda: native("shmget", 0, 4096, 0o1777),
    "bpf": lambda: native("syscall", 321, 0, 0, 0), "io_uring": lambda: native("syscall", 425, 1, 0),
    "keyring": lambda: native("syscall", 248, 0),
    "memory": big,
}
import resource     # before there is nothing to import from
standing = raise_walls(64 << 20)
through = {}
for name, attempt in attempts.items():
    try:
        attempt()
        through[name] = "got through"
    except (OSError, RuntimeError, MemoryError, ValueError) as wrong:
        through[name] = type(wrong).__name__
sys.stdout.write(json.dumps([standing, through, try_walls(standing, Path(canary))]))
sys.stdout.flush()
os._exit(0)
'''


@linux
def test_nothing_passes_the_walls(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    (tmp_path / "push.py").write_text(PUSH)
    done = subprocess.run([sys.executable, str(tmp_path / "push.py"), str(ROOT), str(canary),
    str(tmp_path)], text=True, capture_output=True,
                          timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    standing, through, tried = json.loads(done.stdout)
    if "processes" not in standing:
        pytest.skip("this kernel has no seccomp for us")
    assert tried == ""
    assert {name for name, what in through.items() if what == "got through"} == set()
    assert canary.read_text() == "secret" and sorted(path.name for path in tmp_path.iterdir()) == ["canary", "push.py"]


def test_where_no_wall_stands_the_test_says_so(tmp_path: Path) -> None:
    """What the self-test believes: told that walls stand where none do, it finds out."""
    canary = tmp_path / "canary"
    canary.touch()
    assert "could be opened" in try_walls({"files": "none"}, canary)
    assert "could be started" in try_walls({"processes": "none"}, canary) or not hasattr(os, "fork")
    assert "socket" in try_walls({"network": "none"}, canary)
    assert try_walls({}, canary) == ""


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_filter_lets_pass_what_is_listed_and_nothing_else(machine: str) -> None:
    """Its BPF, run here step by step: for every system call there could be, and for another architecture."""
    program = seccomp_program(machine)
    steps = [struct.unpack_from("<HBBI", program, place) for place in range(0, len(program), 8)]
    architecture, calls = ARCHITECTURES[machine]

    def run(number: int, used: int) -> int:
        place = held = 0
        while True:
            code, then, otherwise, value = steps[place]
            place += 1
            if code == 0x20:
                held = {0: number, 4: used}[value]
            elif code == 0x15:
                place += then if held == value else otherwise
            else:
                assert code == 0x06
                return value

    allowed = {number for number in range(0, 700) if run(number, architecture) == RET_ALLOW}
    assert allowed == set(calls.values())
    assert run(0x40000000 + 1, architecture) == RET_EPERM     # x32's numbers
    assert run(0, 0x40000003) == RET_KILL                     # 32-bit calls
