"""Every attack we know of, against the sandbox as it is used: nothing is read, written, sent or left, and the reward is as tabled."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine.verifiers.api import ZERO, Attempt, Verdict
from engine.verifiers.pool import Job, Pool
from engine.verifiers.programs import Input, ProgramVerifier, run_program
from engine.verifiers.python_verifier import PythonVerifier, check_source

SECRET = "fledge-canary-5d1c"
GOT_THROUGH = 7.0
QUICK = 0.3     # seconds of fuel: an attack that never ends, ends here

# What each does inside verify(), before it would return GOT_THROUGH; and what must become of it: a kind of error, or a score.
INSIDE = {
    # --- time
    "an endless loop": ("while True: pass", "timeout"),
    "a loop that catches its end": ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "timeout"),
    "a loop in finally": ("try:\n    while True: pass\nfinally:\n    while True: pass", "timeout"),
    "sleep": ("import time\ntime.sleep(10**6)", GOT_THROUGH),
    "sleep by select": ("import select\nselect.select([], [], [], 10**6)", "raised"),
    "sleep by a condition": ("import threading\nthreading.Event().wait(10**6)", None),
    "ignored signals": ("import signal\nfor n in range(1, 30):\n    signal.signal(n, signal.SIG_IGN)\nwhile True: pass", None),
    "an alarm": ("import signal\nsignal.alarm(1)", "raised"),
    "a power in C": ("pow(3, 10**9)", "timeout"),
    "a factorial in C": ("import math\nmath.factorial(10**8)", None),
    "digits in C": ("int('9' * 4000) ** 10**7", None),
    "a pattern that goes back": ("import re\nre.match('(a+)+b', 'a' * 80)", "timeout"),
    "a sum in C": ("sum(iter(int, 1))", "timeout"),
    "a list in C": ("'a' in iter(int, 1)", "timeout"),
    # --- memory
    "memory by steps": ("kept = []\nwhile True: kept.append(bytes(10**6))", "memory"),
    "memory at one shot": ("bytearray(3 * 10**9)", None),
    "memory in a string": ("'a' * (1 << 31)", None),
    "memory by shifts": ("1 << (1 << 34)", None),
    "memory in a list": ("[0] * 10**9", "memory"),
    "memory that is caught": ("kept = []\nwhile True:\n    try: kept.append(bytes(10**6))\n    except MemoryError: pass", "timeout"),
    "recursion": ("def f(): return f()\nf()", "raised"),
    "recursion without a limit": ("import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()", "crash"),
    "recursion in C": ("x = []\nfor _ in range(10**6): x = [x]\nrepr(x)", None),
    "a deep parse": ("eval('(' * 10**5 + ')' * 10**5)", None),
    # --- processes and threads
    "fork": ("import os\nos.fork()", "raised"),
    "fork by posix": ("import posix\nposix.fork()", "raised"),
    "a subprocess": ("import subprocess\nsubprocess.run(['touch', CANARY])", "raised"),
    "posix_spawn": ("import posix\nposix.posix_spawn('/bin/sh', ['sh'], {})", "raised"),
    "system": ("import os\nos.system('touch ' + CANARY)", "raised"),
    "exec": ("import os\nos.execv('/bin/sh', ['sh'])", "raised"),
    "a thread left behind": ("import threading\nthreading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()",
                             "raised"),
    "a raw thread": ("import _thread\n_thread.start_new_thread(print, ())", "raised"),
    "processes": ("import multiprocessing\nmultiprocessing.Process(target=print).start()", "raised"),
    "asyncio": ("import asyncio\nasyncio.run(asyncio.sleep(10**6))", None),
    "kill the parent": ("import os\nos.kill(os.getppid(), 9)", "raised"),
    "kill by posix": ("import posix\nposix.kill(1, 9)", "raised"),
    "raise a signal": ("import signal\nsignal.raise_signal(9)", None),
    "ptrace": ("import ctypes\nctypes.CDLL(None).ptrace(16, PARENT, 0, 0)", "raised"),
    "rlimits": ("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "raised"),
    # --- files
    "read a file": ("raise ValueError(open(CANARY).read())", "raised"),
    "read by io": ("import _io\nraise ValueError(_io.open(CANARY).read())", "raised"),
    "read by FileIO": ("import _io\nraise ValueError(_io.FileIO(CANARY).read())", "raised"),
    "read by posix": ("import posix\nraise ValueError(posix.read(posix.open(CANARY, 0), 100))", "raised"),
    "read by linecache": ("import linecache\nif not linecache.getlines(CANARY): raise ValueError", "raised"),
    "read by a loader": ("import importlib.machinery as m\nm.SourceFileLoader('x', CANARY).get_data(CANARY)", "raised"),
    "read ssh keys": ("import os\nraise ValueError(open(os.path.expanduser('~/.ssh/id_rsa')).read())", "raised"),
    "read the home": ("import posix\nraise ValueError(posix.listdir('/root'), posix.listdir('/'))", "raised"),
    "read the environment": ("import os, posix\nraise ValueError(dict(os.environ), posix.environ)", "raised"),
    "read /proc": ("import posix\nposix.open('/proc/self/mem', 2)", "raised"),
    "write a file": ("open(CANARY, 'w').write('x')", "raised"),
    "write by posix": ("import posix\nposix.write(posix.open(CANARY, 0x241), b'x')", "raised"),
    "write every descriptor": ("import posix\nfor n in range(64):\n    try: posix.write(n, b'{\"score\": \"1.0\"}')\n"
                               "    except OSError: pass\nraise ValueError", None),
    "rmtree": ("import shutil\nshutil.rmtree(FOLDER)", "raised"),
    "remove by posix": ("import posix\nposix.unlink(CANARY)", "raised"),
    "a link": ("import posix\nposix.symlink(CANARY, FOLDER + '/link')", "raised"),
    "fill the disk": ("import _io\nf = _io.open(FOLDER + '/full', 'wb')\nwhile True: f.write(bytes(10**6))", "raised"),
    "a temporary file": ("import tempfile\ntempfile.TemporaryFile()", "raised"),
    "shared memory": ("from multiprocessing import shared_memory\nshared_memory.SharedMemory('x', True, 10)", "raised"),
    "a mapping": ("import mmap\nmmap.mmap(-1, 10)", None),
    "a database": ("import sqlite3\nsqlite3.connect(CANARY)", "raised"),
    # --- network
    "tcp": ("import socket\nsocket.create_connection(('127.0.0.1', PORT))", "raised"),
    "tcp by _socket": ("import _socket\n_socket.socket(2, 1).connect(('127.0.0.1', PORT))", "raised"),
    "udp": ("import _socket\n_socket.socket(2, 2).sendto(b'x', ('127.0.0.1', PORT))", "raised"),
    "unix sockets": ("import _socket\n_socket.socket(1, 1).connect(FOLDER + '/s')", "raised"),
    "listening": ("import _socket\ns = _socket.socket(2, 1)\ns.bind(('127.0.0.1', 0))\ns.listen()", "raised"),
    "names": ("import _socket\n_socket.getaddrinfo('example.org', 80)", "raised"),
    "a web page": ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:%d' % PORT)", "raised"),
    # --- crashes
    "ctypes": ("import ctypes\nctypes.string_at(0)", "raised"),
    "bytecode": ("def f(): pass\nf.__code__ = f.__code__.replace(co_code=bytes([255, 255] * 50), co_stacksize=0)\nf()", None),
    "more bytecode": ("c = (lambda: None).__code__\nexec(c.replace(co_code=b'd\\xff' * 30, co_consts=()))", None),
    "abort": ("import posix\nposix.abort()", "crash"),
    "exit": ("import os\nos._exit(0)", "raised"),
    "exit by posix": ("import posix\nposix._exit(0)", None),
    "sys.exit": ("import sys\nsys.exit(0)", "raised"),
    "faulthandler": ("import faulthandler\nfaulthandler._sigsegv()", None),
    "a marshalled lie": ("import marshal\nexec(marshal.loads(b'c' + bytes(200)))", None),
    "a pickled lie": ("import pickle\npickle.loads(b\"cposix\\nsystem\\n(S'touch '\\ntR.\")", "raised"),
    "random without end": ("import random\nrandom.SystemRandom().randbytes(10**9)", None),
    # --- objects
    "an exception that cannot be told": ("class E(Exception):\n    def __str__(self): raise SystemExit\nraise E", "raised"),
    "an exception that never ends": ("class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E", "timeout"),
    "an exception that is huge": ("raise ValueError('x' * 10**7)", "raised"),
    "an exception of an evil class": ("class M(type):\n    @property\n    def __name__(self): raise SystemExit\n"
                                      "class E(Exception, metaclass=M): pass\nraise E", "raised"),
    "not even an exception": ("raise KeyboardInterrupt", "raised"),
    "text of terminals": ("raise ValueError('\\x1b[2J\\x1b]0;pwned\\x07 \\x00 \\ud800 \\u202e')", "raised"),
    "huge output": ("for _ in range(2000): print('x' * 10**4)", GOT_THROUGH),
    "output without end": ("while True: print('x' * 10**4)", "timeout"),
    "a faked result on stdout": ("print('{\"score\": \"1.0\"}')\nimport sys\nsys.stdout.flush()\nraise ValueError", "raised"),
    "stdout that lies": ("import sys\nsys.stdout = None\nsys.stderr = 3\nprint('x')\nraise ValueError", "raised"),
    "patched json": ("import json\njson.dumps = json.loads = lambda *a, **k: 1/0\nraise ValueError", "raised"),
    "patched builtins": ("import builtins\nfor n in list(vars(builtins)):\n    if n[0] != '_': setattr(builtins, n, None)\nraise 1", None),
    "patched guest": ("import sys\nfor m in list(sys.modules.values()):\n    for n in list(vars(m)):\n        try: setattr(m, n, None)\n"
                      "        except BaseException: pass", None),
}

# What verify returns, and what must become of that.
RETURNS = {
    "nan": ("float('nan')", "out_of_range"), "inf": ("float('inf')", "out_of_range"), "-inf": ("-float('inf')", "out_of_range"),
    "-1e308": ("-1e308", "out_of_range"), "a million and one": ("10**6 + 1", "out_of_range"),
    "a long integer": ("10**5000", "out_of_range"),
    "a part that is nan": ("{'a': float('nan')}", "out_of_range"), "None": ("None", "not_a_number"), "text": ("'1.0'", "not_a_number"),
    "complex": ("1j", "not_a_number"), "a list": ("[1.0]", "not_a_number"), "nothing in a dict": ("{}", "not_a_number"),
    "parts without number": ("{str(n): 1.0 for n in range(100_000)}", "not_a_number"),
    "text in a dict": ("{'a': '1'}", "not_a_number"), "numbers as names": ("{1: 1.0}", "not_a_number"),
    "an evil float": ("type('F', (float,), {'__float__': lambda s: 1/0, '__repr__': lambda s: '1.0'})(1)", "not_a_number"),
    "an evil dict": ("type('D', (dict,), {'items': lambda s: iter(int, 1)})()", "not_a_number"),
    "an evil object": ("type('O', (), {'__float__': lambda s: 1.0, '__eq__': lambda s, o: True, '__hash__': lambda s: 0})()",
                       "not_a_number"),
    "a class that lies": ("type('L', (), {'__class__': property(lambda s: float)})()", "not_a_number"),
    "a huge text": ("'x' * 10**8", "not_a_number"), "the interpreter": ("__import__('sys')", "not_a_number"),
    "True": ("True", 1.0), "one": ("1", 1.0), "a dict of parts": ("{'a': 0.25, 'b': True}", 1.25), 
    "a score by name": ("{'score': 0.5, 'b': 9}", 0.5),
}

SOURCES = {
    "a syntax error": ("def verify(prompt, completion, answer)\n    return 1", 1), "nothing": ("", None), "NUL": ("x = 1\0", None),
    "missing": ("x = 1", None), "two parameters": ("\n\ndef verify(a, b): return 1", 3),
    "an unknown parameter": ("def verify(a, b, c, model): return 1", 1), "a generator": ("def verify(a, b, c):\n    yield 1", 1),
    "async": ("async def verify(a, b, c): return 1", 1), "no function": ("verify = 3", None), "an error at the top": ("x = 1\n1 / 0", None),
    "an error above verify": ("x = 1\n1 / 0\ndef verify(a, b, c): return 1", 2), 
    "an import that is not there": ("import torch\nverify = print", 1),
    "a loop at the top": ("while True: pass\ndef verify(a, b, c): return 1", None),
    "memory at the top": ("x = [bytes(10**6) for _ in iter(int, 1)]\ndef verify(a, b, c): return 1", 1),
    "an exit at the top": ("import posix\nposix._exit(0)\ndef verify(a, b, c): return 1", None),
    "a surrogate": ("x = '\ud800'\ndef verify(a, b, c): 1", None), "brackets": ("(" * 100_000, None),
    "a megabyte": ("x = 1\n" * 200_000, None),
    "a stray bracket": ("# coding: latin-99\ndef verify(a, b, c): return 1\n\x0c)", 3),
}


class Surroundings:
    """What must stay as it is: a file with a secret, a folder, a port that counts who comes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.canary = folder, folder / "canary"
        self.canary.write_text(SECRET)
        self.heard = 0
        self.tcp, self.udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp.bind(("127.0.0.1", 0))
        self.tcp.listen()
        self.port = self.tcp.getsockname()[1]
        self.udp.bind(("127.0.0.1", self.port))
        for one in (self.tcp, self.udp):
            one.setblocking(False)
        self.processes = self._processes()
        self.threads = threading.active_count()

    def fill(self, text: str) -> str:
        return f"CANARY, FOLDER, PORT, PARENT = {str(self.canary)!r}, {str(self.folder)!r}, {self.port}, {os.getpid()}\n{text}"

    @staticmethod
    def _processes() -> set[int]:
        return {one.pid for one in psutil.Process().children(recursive=True)}

    def check(self) -> None:
        assert self.canary.read_text() == SECRET and [path.name for path in self.folder.iterdir()] == ["canary"]
        for listening in (lambda: self.tcp.accept(), lambda: self.udp.recvfrom(10)):
            with pytest.raises(BlockingIOError):
                listening()
        assert self._processes() == self.processes, "a process was left, or one of the sandbox's died"
        assert threading.active_count() == self.threads


@pytest.fixture(scope="module")
def around(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    pool.map([])        # both processes are up before they are counted
    check_source("def verify(a, b, c): return 1", pool)
    deadline = time.monotonic() + 60
    while len(Surroundings._processes()) < 2 and time.monotonic() < deadline:
        PythonVerifier("def verify(a, b, c): return 1", pool, fresh=True).score([Attempt((), "")] * 50)
    made = Surroundings(tmp_path_factory.mktemp("canary"))
    yield made
    made.check()
    made.tcp.close()
    made.udp.close()


def inside(body: str) -> str:
    lines = ["def verify(prompt, completion, answer):", *(f"    {line}" for line in body.splitlines()), f"    return {GOT_THROUGH}"]
    return "\n".join(lines) + "\n"


def harmless(verdict: Verdict) -> None:
    """Whatever became of it: no secret, nothing for terminals, bounded."""
    shown = verdict.message + verdict.printed
    assert SECRET not in shown and len(shown) <= 5000
    assert not any(sign in shown for sign in "\x00\x07\x1b\u202e\ud800")
    shown.encode("utf-8")


def as_tabled(verdict: Verdict) -> None:
    if verdict.error:
        assert verdict.score == (0.0 if verdict.error in ZERO else None)
    else:
        assert verdict.score is not None


@pytest.mark.parametrize("name", INSIDE)
def test_a_verifier_that_attacks(name: str, pool: Pool, around: Surroundings) -> None:
    body, expected = INSIDE[name]
    [verdict] = PythonVerifier(around.fill(inside(body)), pool, seconds=QUICK, fresh=True).score([Attempt((), "c", "a")])
    harmless(verdict)
    as_tabled(verdict)
    if isinstance(expected, float):
        assert verdict.score == expected
    elif expected is not None:
        assert verdict.error == expected, verdict
    else:       # whichever limit it meets first
        assert verdict.error or verdict.score == GOT_THROUGH
    if expected == "raised":
        assert verdict.line and verdict.line >= 3


def test_what_attacks_left_behind(around: Surroundings, pool: Pool) -> None:
    """After all of them: files, ports, processes and threads are as before, and the pool judges on."""
    around.check()
    good = PythonVerifier("def verify(prompt, completion, answer): return completion == answer", pool)
    assert [one.score for one in good.score([Attempt((), "4", "4"), Attempt((), "5", "4")] * 20)] == [1.0, 0.0] * 20
    assert pool.deaths == 0


@pytest.mark.parametrize("name", RETURNS)
def test_what_a_verifier_returns(name: str, pool: Pool) -> None:
    returned, expected = RETURNS[name]
    [verdict] = PythonVerifier(f"def verify(prompt, completion, answer):\n    return {returned}", pool).score([Attempt((), "c", "a")])
    harmless(verdict)
    as_tabled(verdict)
    assert (verdict.score if isinstance(expected, float) else verdict.error) == expected, verdict
    if expected in ("not_a_number", "out_of_range"):
        assert verdict.message


@pytest.mark.parametrize("name", SOURCES)
def test_sources_that_are_no_verifier(name: str, pool: Pool) -> None:
    source, line = SOURCES[name]
    checked = check_source(source, pool, seconds=1.0)
    assert checked.problems and checked.problems[0].sentence and checked.problems[0].line == line, checked
    assert not checked.reuse


# --- programs of the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INSIDE)
def test_a_program_that_attacks(name: str, pool: Pool, around: Surroundings) -> None:
    """As a program of the model's: it may print what it likes, and is worth nothing unless it prints what was asked for."""
    source = around.fill(INSIDE[name][0])
    verifier = ProgramVerifier(pool, seconds=QUICK)
    [verdict] = verifier.score([Attempt((), f"```python\n{source}\n```", {"tests": [{"stdin": "1\n", "expected": "2"}]})])
    harmless(verdict)
    assert verdict.score == 0.0 and (verdict.error is None or verdict.error.startswith("program_")), verdict


FORGED = {
    "always equal": "class E:\n    def __eq__(self, other): return True\n    def __hash__(self): return 0\ndef f(n): return E()",
    "an int that is always equal": "class E(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
                                   "def f(n): return E(1)",
    "a str that is always equal": "class S(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\n"
                                  "def f(n): return S('x')",
    "a list of always equal": "class E:\n    def __eq__(self, other): return True\ndef f(n): return [E()]",
    "frame walking": "import sys\ndef f(n):\n    frame = sys._getframe()\n    while frame:\n"
                     "        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:\n"
                     "            if isinstance(value, dict) and 'expected' in value: return value['expected']\n"
                     "        frame = frame.f_back\n    return None",
    "the collector's objects": "import gc\ndef f(n):\n    for one in gc.get_objects():\n"
                               "        if isinstance(one, dict) and 'expected' in one: return one['expected']",
    "a patched comparison": "import builtins, operator\noperator.eq = lambda a, b: True\nbuiltins.all = lambda x: True\ndef f(n): return 0",
    "a patched encoder": "import sys\nfor m in list(sys.modules.values()):\n    if hasattr(m, 'encode') and 'fledge' in m.__name__:\n"
                         "        m.encode = lambda value, depth=0: {'expected': True}\n"
                         "        m._dumps = lambda x: '{\"score\": \"1.0\"}'\n"
                         "def f(n): return 0",
    "a faked answer": "import sys\ng = sys.modules['fledge_guest.guest']\n"
                      "g._dumps = lambda x: '{\"outputs\": [{\"value\": true}, {\"value\": {\"t\": [{\"passed\": 1}]}}]}'\n"
                      "def f(n): return 0",
    "a faked score": "import sys\ng = sys.modules['fledge_guest.guest']\ng._dumps = lambda x: '{\"score\": \"1.0\", \"parts\": {}}'\n"
                     "def f(n): return 0",
    "nonsense for an answer": "import sys\nsys.modules['fledge_guest.guest']._dumps = lambda x: '[' * 10**5\ndef f(n): return 0",
    "no text for an answer": "import sys\nsys.modules['fledge_guest.guest']._dumps = lambda x: 3\ndef f(n): return 0",
    "too much for an answer": "import sys\ng = sys.modules['fledge_guest.guest']\ng.ANSWER = 10**12\ng._dumps = lambda x: '9' * 3 * 10**7\n"
                              "def f(n): return 0",
    "True for 1": "def f(n): return n == 1", "a float for an int": "def f(n): return float(n * n)", "text": "def f(n): return str(n * n)",
    "right once only": "def f(n): return 1", "right, then an exit": "def f(n):\n    print(n * n)\n    raise SystemExit(0)",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_pass_never_scores(name: str, pool: Pool) -> None:
    tests = [{"arguments": [1], "expected": 1}, {"arguments": [9], "expected": 81}]
    [verdict] = ProgramVerifier(pool, seconds=1.0).score([Attempt((), f"```python\n{FORGED[name]}\n```", {"entry": "f", "tests": tests})])
    assert verdict.score == 0.0, verdict
    harmless(verdict)


@pytest.mark.parametrize("said", ["1e999", "float('inf')", "-1e999", "float('nan')"])
def test_a_number_beyond_all_is_within_no_tolerance(said: str, pool: Pool) -> None:
    program = f"import sys\nsys.modules['fledge_guest.guest'].encode = lambda value, depth=0: {said}\ndef f(n): return 0.0"
    tests = [{"arguments": [1], "expected": 5.5}, {"arguments": [2], "expected": [-7.25]}]
    for expected in (tests, tests[:1]):
        [verdict] = ProgramVerifier(pool, tolerance=0.01).score([Attempt((), program, {"entry": "f", "tests": expected})])
        assert verdict.score == 0.0, verdict
        harmless(verdict)


def test_an_honest_program_scores(pool: Pool) -> None:
    tests = [{"arguments": [1], "expected": 1}, {"arguments": [9], "expected": 81}]
    completion = "Squares:\n```python\ndef f(n):\n    return n * n\n```\nThat is it."
    assert ProgramVerifier(pool).score([Attempt((), completion, {"entry": "f", "tests": tests})])[0].score == 1.0
    script = "n = int(input())\nfor _ in range(n):\n    print(sum(map(int, input().split())))"
    answer = {"tests": [{"stdin": "2\n1 2\n3 4\n", "expected": "3\n7"}, {"stdin": "0\n", "expected": ""}]}
    assert ProgramVerifier(pool).score([Attempt((), script, answer)])[0].score == 1.0


def test_a_part_of_the_tests_counts_only_where_asked(pool: Pool) -> None:
    tests = [{"arguments": [n], "expected": n} for n in range(4)]
    completion = "def f(n):\n    while n == 3: pass\n    return n if n else 1 / 0"
    attempt = Attempt((), completion, {"entry": "f", "tests": tests})
    assert ProgramVerifier(pool, seconds=QUICK).score([attempt])[0].score == 0.0
    [verdict] = ProgramVerifier(pool, seconds=QUICK, partial=True).score([attempt])
    assert verdict.score == 0.5 and verdict.error in ("program_raised", "program_timeout")


def test_a_program_says_what_and_where(pool: Pool) -> None:
    outputs = run_program(pool, "def f(a, b):\n    return a / b", [Input((1, 2)), Input((1, 0)), Input((), {"a": 4, "b": 2})], entry="f")
    assert [one.value for one in outputs] == [0.5, None, 2.0]
    assert outputs[1].error == "program_raised" and outputs[1].line == 2 and "ZeroDivisionError" in outputs[1].message
    [output] = run_program(pool, "def g(): pass", [Input((1,))], entry="f")
    assert output.error == "program_raised"


# --- from call to call -----------------------------------------------------------------------------------------------------------


def test_what_a_completion_runs_never_reaches_the_next_call(pool: Pool) -> None:
    """A verifier that runs completions: whatever they change, the next is judged by an interpreter that nobody has touched."""
    source = ("import builtins, json, sys\n\n\ndef verify(prompt, completion, answer):\n    space = {}\n    exec(completion, space)\n"
              "    return 1.0 if space.get('x') == answer else 0.0\n")
    verifier = PythonVerifier(source, pool)
    assert not verifier.reuse and verifier.reason == (1, "import builtins")
    evil = ("import sys, builtins\ng = sys.modules['fledge_guest.guest']\ng._score = lambda r: {'score': '1.0', 'parts': {}}\n"
            "g._compile = lambda s: None\nbuiltins.exec = lambda c, s: s.update(x='4', verify=lambda *a: 1.0)\nx = None")
    verdicts = verifier.score([Attempt((), evil if n % 2 else "x = 5", "4") for n in range(12)])
    assert [one.score for one in verdicts[::2]] == [0.0] * 6


@pytest.mark.parametrize("source", [
    "seen = []\ndef verify(a, b, c):\n    seen.append(b)\n    return len(seen)",
    "count = 0\ndef verify(a, b, c):\n    global count\n    count += 1\n    return count",
    "def verify(a, b, c, seen=[]):\n    seen.append(b)\n    return len(seen)",
    "def verify(a, b, c):\n    verify.n = getattr(verify, 'n', 0) + 1\n    return verify.n",
    "import decimal\ndef verify(a, b, c):\n    n = decimal.getcontext().prec - 27\n    decimal.getcontext().prec += 1\n    return n",
    "import random\nfirst = random.Random(0).random()\ndef verify(a, b, c):\n    random.seed(0)\n    return 1.0 + random.random() - first",
    "import json\ndef verify(a, b, c):\n    json.n = vars(json).get('n', 0) + 1\n    return json.n",
    "import time\nstart = time.time()\ndef verify(a, b, c): return 1.0 if start < 1_700_000_001 else 2.0",
    "import math\nmath.pi += 1\ndef verify(a, b, c): return 1.0 if math.pi < 5 else 2.0",
])
def test_no_state_goes_from_call_to_call(source: str, pool: Pool) -> None:
    verdicts = PythonVerifier(source, pool).score([Attempt((), str(n), "") for n in range(10)])
    assert {(one.score, one.error) for one in verdicts} == {(1.0, None)}


@pytest.mark.parametrize("source", [
    "exec('1')", "eval('1')", "x = getattr(1, 'real')", "import sys", "import os", "import sympy", "from re import *",
    "import math\nmath.x = 1", "x = ().__class__", "x = __builtins__", "def f(): import pickle", "import decimal\ndecimal.getcontext()",
    "import random\nrandom.seed(1)",
    "from operator import attrgetter", "import re\nre.purge()", "import json\ndel json.dumps", "from . import x", "import importlib",
    "import math\nfor math.pi in [3]: pass", "open('x')",
])
def test_one_interpreter_serves_many_calls_only_where_that_is_safe(source: str, pool: Pool) -> None:
    inner = source if "*" in source else "def other():\n" + "".join(f"    {line}\n" for line in source.splitlines())
    checked = check_source(f"{inner}\ndef verify(a, b, c): return 1", pool)
    assert not checked.problems and not checked.reuse and checked.reason, checked


def test_the_same_call_is_the_same_everywhere(pool: Pool) -> None:
    """Clocks, random numbers, hashes and the fuel used are those of the call before."""
    source = ("import random, time, uuid, datetime\ndef verify(a, b, c):\n    print(random.random(), time.time(), uuid.uuid4(), "
              "datetime.datetime.now(), hash('x'), id(object()) % 1000, list({'a', 'b', 'c'}))\n    return 1.0")
    verdicts = PythonVerifier(source, pool, fresh=True).score([Attempt((), "", "")] * 8)
    assert len({one.printed for one in verdicts}) == 1 and verdicts[0].printed
    replies = pool.map([Job('{"do": "run", "source": "print(sum(range(10**5)))", "entry": null, "inputs": [{"stdin": ""}]}')] * 4)
    assert len({one.fuel for one in replies}) == 1
