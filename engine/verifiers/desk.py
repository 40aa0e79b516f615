"""The process that judges for the window's workbench: `python -m engine.verifiers.desk PROJECT`. JSON lines in, JSON lines out, until its
input ends; then all that it started ends with it.

    {"id": 1, "do": "check", "source": ".."}            {"id": 1, "problems": [], "takes": [], "reuse": true, "reason": null}
    {"id": 2, "do": "checks", .., "sets": [..]}         {"id": 2, "part": {"done": 64, "of": 600}}, then {"id": 2, "rows": [..], ..}
    what cannot be done                                  {"id": 3, "error": {"sentence", "remedy", "code", "field"}}

do           given                                                  answer
check        what judges                                            problems [{sentence, line, column}], takes, reuse, reason [line, what]
checks       what judges; sets or problems [Problem]                workbench.Report; parts {done, of}
score        what judges; trial                                     scoring.Scores over all completions there are; parts {done, of}
completions  what judges (or nothing), trial, problem ("": all),    total, rows: best first, those of one problem scored at once, of all
             start, count                                           as far as `score` has come
suggest      source; rows (of a report), problems or sets           notes [{sentence, line, source, check}]
generate     generator, level, count (PAGE at most), seed           problems [Problem]: a look, nothing is kept
cancel       token                                                  nothing; what was asked under it answers with the code "cancelled"

What judges: `source` (as typed), or `composition` (JSON, or a version "verifier-3@4"), and `full`, the score of a right answer (1). A newer
`check` voids the one before. Verdicts on completions are kept, so that only what is new is judged. A version that nobody here trusts is
refused. The library is only read.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from engine.contract.composition import PYTHON, Composition, Part, parse, reference
from engine.contract.errors import FledgeError, FormatError, NotFound, SettingError
from engine.contract.rows import Problem
from engine.contract.words import tr
from engine.project import trials
from engine.project.project import Project
from engine.project.trials import Group, Trial
from engine.project.verifiers import refuse_untrusted, untrusted
from engine.verifiers import mending, registry
from engine.verifiers.api import Check, Verdict, Verifier
from engine.verifiers.frames import Reply
from engine.verifiers.pool import Job, Pool
from engine.verifiers.python_verifier import check_source
from engine.verifiers.registry import Resources, compose
from engine.verifiers.scoring import is_full, scores_of
from engine.verifiers.workbench import attempt_of, run_checks

TELL_SECONDS = 0.1
AT_ONCE = 64
CHECKED = 20_000
"""Problems whose gold answers are checked at most."""
SHOWN = 20_000
"""Characters of a completion that are shown."""
KEPT_VERIFIERS, KEPT_TABLES = 4, 6
PAGE = 200


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True)
class _Asked:
    """A question under way."""

    id: int
    given: dict[str, Any]
    over: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        if self.over.is_set():
            raise Cancelled


class FreshPool:
    """A pool that gives every call an interpreter of its own."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def map(self, jobs: Sequence[Job], check: Check = lambda: None) -> list[Reply]:
        return self.pool.map([replace(job, key=b"") for job in jobs], check)


class FreshResources(Resources):
    """The same resources, but for the pool's interpreters."""

    def __init__(self, other: Resources) -> None:
        super().__init__(other.project_dir, device=other.device, workers=other.workers)
        self._other = other

    @property
    def pool(self) -> Pool:
        return FreshPool(self._other.pool)  # type: ignore[return-value]

    def scorer(self, model: str) -> Any:
        return self._other.scorer(model)

    def provider(self, model: str, allowed_host: str = "", timeout: float = 300.0) -> Any:
        return self._other.provider(model, allowed_host, timeout)


@dataclass
class _Judge:
    """A verifier that is kept ready. key: what it is made of, as a hash."""

    key: str
    composition: Composition
    verifier: Verifier
    reads_answer: bool


@dataclass
class _Reading:
    """A trial as far as it was read. `offset`: where reading goes on."""

    offset: int = 0
    groups: list[Group] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def go_on(self, path: Path) -> None:
        """What came since."""
        if path.stat().st_size < self.offset:   # it was thrown away and sampled anew
            self.offset, self.groups = 0, []
        for offset, group in trials.read(path, self.offset):
            self.offset = offset
            self.groups.append(group)


class Desk:
    """`take(line)` begins what a line asks for and returns at once; answers come through `tell`, from other threads."""

    def __init__(self, project_dir: Path, tell: Callable[[dict[str, Any]], None], *, device: str = "cpu") -> None:
        self.project_dir, self.tell = project_dir, tell
        self.resources = Resources(project_dir, device=device)
        self.quick = Resources(project_dir)     # what is typed is looked at beside whatever else is under way
        self._project: Project | None = None
        self._lock = threading.RLock()
        self._threads = {"check": ThreadPoolExecutor(2, "check"), "": ThreadPoolExecutor(4, "work")}
        self._open: dict[int, _Asked] = {}
        self._checking: _Asked | None = None
        self._judges: OrderedDict[tuple[str, bool], _Judge] = OrderedDict()
        self._trials: OrderedDict[str, _Reading] = OrderedDict()
        self._verdicts: OrderedDict[tuple[str, str], dict[tuple[str, int], Verdict]] = OrderedDict()
        self._do: dict[str, Callable[[_Asked], dict[str, Any]]] = {
            "check": self._check, "checks": self._checks, "score": self._score, "completions": self._completions,
            "suggest": self._suggest, "generate": self._generate}

    def close(self) -> None:
        """Nothing goes on; the sandbox's processes end."""
        with self._lock:
            for asked in self._open.values():
                asked.over.set()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)
        self.quick.close()
        self.resources.close()

    def take(self, line: bytes) -> None:
        try:
            given = json.loads(line)
            id, do = given["id"], given["do"]
            if type(id) is not int or type(do) is not str:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            self.tell({"id": None, "error": _plain(FormatError(tr("A question could not be read."), code="bad_question"))})
            return
        if do == "cancel":
            with self._lock:
                asked = self._open.get(given.get("token"))
            if asked is not None:
                asked.over.set()
            return
        asked = _Asked(id, given)
        if do not in self._do:
            self.tell({"id": id, "error": _plain(NotFound(tr("Nobody knows how to do {what}.", what=do[:80]), code="bad_question"))})
            return
        with self._lock:
            self._open[id] = asked
            if do == "check":
                if self._checking is not None:
                    self._checking.over.set()
                self._checking = asked
        self._threads.get(do, self._threads[""]).submit(self._answer, asked, self._do[do])

    def _answer(self, asked: _Asked, do: Callable[[_Asked], dict[str, Any]]) -> None:
        try:
            asked.check()
            said = do(asked)
        except Cancelled:
            said = {"error": {"code": "cancelled", "sentence": tr("Nobody waited for it any more."), "remedy": "", "field": ""}}
        except FledgeError as wrong:
            said = {"error": _plain(wrong)}
        except Exception as wrong:  # the boundary: one question that goes wrong takes no other with it
            traceback.print_exc()
            said = {"error": _plain(FledgeError(tr("This could not be judged: {what}.", what=f"{type(wrong).__name__}: {wrong}"[:300]),
                                                tr("Try again; if it stays, report it."), code="desk"))}
        finally:
            with self._lock:
                self._open.pop(asked.id, None)
        self.tell({**said, "id": asked.id})

    def _told(self, asked: _Asked) -> Callable[[int, int], None]:
        last = [time.monotonic()]

        def told(done: int, of: int) -> None:
            if time.monotonic() - last[0] > TELL_SECONDS:
                last[0] = time.monotonic()
                self.tell({"id": asked.id, "part": {"done": done, "of": of}})
        return told

    # ---- what judges

    @property
    def project(self) -> Project:
        with self._lock:
            self._project = self._project or Project.open(self.project_dir)
            return self._project

    def composition(self, given: dict[str, Any]) -> Composition:
        """Without references. Raises SettingError, NotFound; SettingError "untrusted_verifier" for versions nobody here trusts."""
        if isinstance(source := given.get("source"), str):
            return Composition("sum", (Part(PYTHON, settings={"source": source}),))
        asked = given.get("composition")
        text = asked if isinstance(asked, str) and reference(asked) else parse(asked).text()  # type: ignore[arg-type]
        made = self.project.library.verifiers.composition(text)
        if any(piece.ref for piece in untrusted(made)):     # what is typed here has none
            refuse_untrusted(made)
        return made

    def judge(self, given: dict[str, Any], fresh: bool = False) -> _Judge:
        """The verifier, made once. Raises what composing raises."""
        made = self.composition(given)
        key = hashlib.sha256(made.text().encode()).hexdigest(), fresh
        with self._lock:
            known = self._judges.get(key)
            if known is not None:
                self._judges.move_to_end(key)
                return known
        verifier = compose(made, FreshResources(self.resources) if fresh else self.resources)
        known = _Judge(key[0], made, verifier, registry.reads_answer(made))
        with self._lock:
            self._judges[key] = known
            while len(self._judges) > 2 * KEPT_VERIFIERS:
                self._judges.popitem(last=False)
        return known

    def _problems(self, given: dict[str, Any], most: int = CHECKED) -> list[Problem]:
        """Those that came along, or those of sets."""
        if "problems" in given and given["problems"]:
            return [Problem.model_validate(row) for row in given["problems"]]
        sets = [str(id) for id in given.get("sets", ())]
        found = list(islice(self.project.library.problems.rows(sets), most)) if sets else []
        if not found:
            raise SettingError(tr("There are no problems."), tr("Choose sets of problems."), code="no_problems")
        return found

    # ---- what can be asked

    def _check(self, asked: _Asked) -> dict[str, Any]:
        given = asked.given
        if isinstance(given.get("source"), str):
            found = check_source(given["source"], _Checked(self.quick.pool, asked.check))  # type: ignore[arg-type]
            return {"problems": [asdict(one) for one in found.problems], "takes": list(found.takes), "reuse": found.reuse,
                    "reason": list(found.reason) if found.reason else None}
        try:
            made = self.composition(given)
            found_wrong = registry.problems(made)
            if not found_wrong:
                _compose_sources(made, self.quick, asked.check)
        except FledgeError as wrong:
            return {"problems": [{"sentence": str(wrong), "line": None, "column": None}], "takes": [], "reuse": False, "reason": None}
        return {"problems": [{"sentence": f"{one.sentence} {one.remedy}", "line": None, "column": None} for one in found_wrong],
                "takes": [], "reuse": True, "reason": None}

    def _checks(self, asked: _Asked) -> dict[str, Any]:
        given = asked.given
        problems, judge = self._problems(given), self.judge(given)
        needs = registry.needs(judge.composition)
        fresh = self.judge(given, fresh=True).verifier if "sandbox" in needs else None
        return run_checks(judge.verifier, problems, full=_full_of(given), reads_answer=judge.reads_answer, fresh=fresh,
                          few="local_llm" in needs, check=asked.check, told=self._told(asked)).to_json()

    def _score(self, asked: _Asked) -> dict[str, Any]:
        given, judge, told = asked.given, self.judge(asked.given), self._told(asked)
        groups = [group for group in self._read(str(given["trial"])) if group.completions]
        verdicts = self._table(judge.key, str(given["trial"]))
        left = [(group, n) for group in groups for n in range(len(group.completions)) if (group.problem.id, n) not in verdicts]
        of = sum(len(group.completions) for group in groups)
        for start in range(0, len(left), AT_ONCE):
            told(of - len(left) + start, of)
            self._judge_some(judge, left[start:start + AT_ONCE], verdicts, asked.check)
        full = _full_of(given)
        return scores_of([(group.problem.id, [verdicts[group.problem.id, n] for n in range(len(group.completions))]) for group in groups],
                         full).to_json()

    def _completions(self, asked: _Asked) -> dict[str, Any]:
        given = asked.given
        only, judged = str(given.get("problem", "")), "source" in given or "composition" in given
        groups = [group for group in self._read(str(given["trial"])) if not only or group.problem.id == only]
        verdicts: dict[tuple[str, int], Verdict] = {}
        if judged:
            judge = self.judge(given)
            verdicts = self._table(judge.key, str(given["trial"]))
            if only:
                left = [(group, n) for group in groups for n in range(len(group.completions)) if (only, n) not in verdicts]
                self._judge_some(judge, left, verdicts, asked.check)
        rows = [(group, n, verdicts.get((group.problem.id, n))) for group in groups for n in range(len(group.completions))]
        rows.sort(key=lambda row: _rank(row[2]))
        start, count = max(0, int(given.get("start", 0))), min(PAGE, int(given.get("count", 100)))
        return {"total": len(rows), "rows": [_row(*row, _full_of(given)) for row in rows[start:start + count]]}

    def _suggest(self, asked: _Asked) -> dict[str, Any]:
        given = asked.given
        ids = list(dict.fromkeys(str(miss["problem"]) for row in given["rows"] for miss in row["misses"]))[:mending.TRIED]
        own = [Problem.model_validate(row) for row in given.get("problems", ())]
        known = {problem.id: problem for problem in own}
        some = [problem for id in ids if (problem := known.get(id) or self._get(id)) is not None]
        notes = mending.suggest(str(given["source"]), given["rows"], some or own, self.resources.pool, full=_full_of(given),
                                check=asked.check)
        return {"notes": [asdict(note) for note in notes]}

    def _get(self, id: str) -> Problem | None:
        try:
            return self.project.library.problems.get(id)
        except NotFound:
            return None

    def _generate(self, asked: _Asked) -> dict[str, Any]:
        from engine.verifiers import making

        given = asked.given
        found = making.make(str(given["generator"]), self.resources.pool, level=int(given["level"]),
                            count=min(PAGE, int(given["count"])), seed=int(given.get("seed", 0)), check=asked.check)
        return {"problems": [problem.model_dump(mode="json") for problem in found]}

    # ---- completions and their verdicts

    def _read(self, key: str) -> list[Group]:
        """What is there of a trial now."""
        trial = Trial(self.project_dir, _key(key))
        with self._lock:
            reading = self._trials.setdefault(trial.key, _Reading())
            self._trials.move_to_end(trial.key)
            while len(self._trials) > KEPT_TABLES:
                self._trials.popitem(last=False)
        with reading.lock:
            for path in (trial.part, trial.whole, trial.part):      # it may be renamed between a look and the next
                try:
                    reading.go_on(path)
                    return list(reading.groups)
                except FileNotFoundError:
                    continue
        raise NotFound(tr("This trial is not there any more."), tr("Sample it again."), code="trial")

    def _table(self, key: str, trial: str) -> dict[tuple[str, int], Verdict]:
        with self._lock:
            found = self._verdicts.setdefault((key, trial), {})
            self._verdicts.move_to_end((key, trial))
            while len(self._verdicts) > KEPT_TABLES:
                self._verdicts.popitem(last=False)
            return found

    def _judge_some(self, judge: _Judge, left: Sequence[tuple[Group, int]], verdicts: dict[tuple[str, int], Verdict],
                    check: Check) -> None:
        if left:
            made = judge.verifier.score([attempt_of(group.problem, group.completions[n].text) for group, n in left], check)
            for (group, n), verdict in zip(left, made, strict=True):
                verdicts[group.problem.id, n] = verdict


class _Checked:
    """A pool that looks whether anybody still waits."""

    def __init__(self, pool: Pool, check: Check) -> None:
        self.pool, self.check = pool, check

    def map(self, jobs: Sequence[Job], check: Check = lambda: None) -> list[Reply]:
        return self.pool.map(jobs, self.check)


def _compose_sources(made: Composition, resources: Resources, check: Check) -> None:
    """Whether the Python parts are verifiers. FormatError, with the part's title."""
    for part in made.walk():
        if part.name == PYTHON:
            found = check_source(str(part.settings["source"]), _Checked(resources.pool, check))  # type: ignore[arg-type]
            if found.problems:
                one = found.problems[0]
                where = tr("Line {line}: {sentence}", line=one.line, sentence=one.sentence) if one.line else one.sentence
                raise FormatError(f"{part.title or part.name}: {where}", tr("Correct it there."), code="verifier_source", field="verifier")


def _key(text: str) -> str:
    if not text or not all(sign in "0123456789abcdef" for sign in text):
        raise NotFound(tr("This trial is not there any more."), tr("Sample it again."), code="trial")
    return text


def _full_of(given: dict[str, Any]) -> float:
    return float(given.get("full", 1.0))


def _rank(verdict: Verdict | None) -> tuple[int, float]:
    """Best first; those without a score behind, those nobody has judged yet last."""
    if verdict is None:
        return 2, 0.0
    return (1, 0.0) if verdict.score is None else (0, -verdict.score)


def _row(group: Group, n: int, verdict: Verdict | None, full: float) -> dict[str, Any]:
    problem, completion = group.problem, group.completions[n]
    said = verdict or Verdict(None)
    level = "unknown" if verdict is None else "failure" if said.score is None else "ok" if is_full(said.score, full) else (
        "warning" if said.score > 0 else "wrong")
    asked = next((message.content for message in reversed(problem.prompt) if message.role == "user"), "")
    answer = problem.answer if isinstance(problem.answer, str) else json.dumps(problem.answer, ensure_ascii=False)
    return {"problem": problem.id, "place": n, "asked": asked[:2000], "answer": answer[:2000], "text": completion.text[:SHOWN],
            "score": said.score, "level": level, "parts": said.parts, "error": said.error or "", "line": said.line,
            "message": said.message, "printed": said.printed, "finish": completion.finish, "tokens": completion.tokens,
            "ms": 1000 * said.seconds}


def _plain(wrong: FledgeError) -> dict[str, str]:
    return {"sentence": wrong.sentence, "remedy": wrong.remedy, "code": wrong.code, "field": wrong.field}


def lines_of(input: Any) -> Iterator[bytes]:
    yield from iter(input.readline, b"")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.verifiers.desk", description=tr("Judges for the workbench of verifiers."))
    parser.add_argument("project", type=Path)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args(arguments)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)       # what anything prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    writing = threading.Lock()

    def tell(said: dict[str, Any]) -> None:
        line = json.dumps(said, ensure_ascii=True, allow_nan=False).encode() + b"\n"
        with writing:
            try:
                output.write(line)
                output.flush()
            except OSError:     # nobody is there: the end of the input comes next
                pass
    desk = Desk(asked.project, tell, device=asked.device)
    for line in lines_of(sys.stdin.buffer):
        desk.take(line)
    desk.close()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)      # threads that still wait for a model are not waited for
