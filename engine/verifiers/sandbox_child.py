"""The process around the sandbox: takes calls on stdin, gives replies on stdout, and can do nothing else.

    python -m engine.verifiers.sandbox_child serve COMPILED MEMORY PLACE
    python -m engine.verifiers.sandbox_child compile IMAGE INTO

It loads the compiled image, raises the walls around itself, tests them and the sandbox, says so, and then answers until its input ends. A
call with a key finds the instance kept for that key; every other gets an instance that nobody has used and nobody will.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from engine.verifiers.frames import Reply, pack_reply, read_call
from engine.verifiers.walls import end_with_parent, raise_walls, try_walls
from engine.verifiers.wasm import Ended, Image, Instance, compile_image

CALLS_OF_ONE = 5000
"""After so many calls an instance is made anew: what its interpreter caches would grow for ever."""
SAID = 8_000_000
TESTS = (
    ("a verifier", {"do": "verify", "source": "def verify(prompt, completion, answer):\n    return float(completion == answer)\n",
                    "prompt": "", "completion": "4", "answer": "4", "takes": []}, 10**9, '"score": "1.0"'),
    ("an endless loop", {"do": "run", "source": "while True: pass", "entry": None, "inputs": [{"stdin": ""}]}, 3 * 10**7, "timeout"),
    ("a file", {"do": "run", "source": "import posix\nposix.open('/etc/hostname', 0)", "entry": None, "inputs": [{"stdin": ""}]}, 10**9,
     "Error"),
    ("a huge allocation", {"do": "run", "source": "x = bytearray(1 << 30)", "entry": None, "inputs": [{"stdin": ""}]}, 10**9,
     "MemoryError"),
)


class Server:
    """Answers calls one after the other."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.kept: Instance | None = None
        self.key, self.calls = b"", 0

    def answer(self, reuse: bool, fuel: int, key: bytes, request: str) -> Reply:
        began = time.perf_counter()
        instance: Instance | None = None
        used = fuel
        try:
            instance = self._instance(reuse, key)
            said = instance.ask(request, fuel)
            used = instance.used(fuel)
            end = "answered" if len(said) <= SAID else "too_large"
        except Ended as stop:
            end, said = stop.kind, str(stop)
        except MemoryError:
            end, said = "memory", ""
        if instance and (not reuse or end != "answered"):
            instance.close()
            if instance is self.kept:
                self.kept = None
        return Reply(end, time.perf_counter() - began, used, said if end != "too_large" else "")

    def _instance(self, reuse: bool, key: bytes) -> Instance:
        if not reuse:
            return self.image.instance()
        self.calls += 1
        if self.kept is None or key != self.key or self.calls > CALLS_OF_ONE:
            if self.kept:
                self.kept.close()
            self.kept, self.key, self.calls = self.image.instance(), key, 1
        return self.kept


def self_test(server: Server, standing: dict[str, str], place: Path) -> str:
    """"" where sandbox and walls do what they are for, else what did not hold."""
    for name, request, fuel, expected in TESTS:
        reply = server.answer(False, fuel, b"", json.dumps(request))
        if expected not in f"{reply.end} {reply.said}":
            return f"{name}: {reply.end} {reply.said[:200]}"
    return try_walls(standing, place)


def serve(compiled: Path, memory: int, place: Path) -> int:
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)       # what anything prints is no reply
    calls = os.fdopen(os.dup(0), "rb")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    server = Server(Image(compiled, memory))
    server.image.instance().close()     # all that is loaded late is loaded now
    standing = raise_walls(2 * memory)
    wrong = self_test(server, standing, place)
    output.write(pack_reply(Reply("refused" if wrong else "ready", 0.0, 0, wrong or json.dumps(standing))))
    output.flush()
    while (call := read_call(calls)) is not None:
        reuse, fuel, key, request = call
        output.write(pack_reply(server.answer(reuse, fuel, key, request.decode("utf-8", "replace"))))
        output.flush()
    return 0


def main(arguments: list[str]) -> int:
    if arguments[0] == "compile":
        compile_image(Path(arguments[1]), Path(arguments[2]))
        return 0
    return serve(Path(arguments[1]), int(arguments[2]), Path(arguments[3]))


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)      # without the interpreter's own end: behind the walls it could not do all it wants to
