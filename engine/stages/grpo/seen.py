"""Whether problems stand in what a model learned from: in corpora, and in sets of examples it was tuned on. The rule and its search are
those of engine/text/dedup/contamination.py (13 words in a row, short ones whole, common phrases aside); what is found is kept for each
problem in the library, with a quote.

Prompts and worked solutions are looked for each by itself, all problems in one pass. Prompts of less than 8 words stand in a corpus by
chance: there they are counted, and not looked for; in an example they are found as a whole turn. Answers alone mean nothing. It removes
nothing, and does not find paraphrases.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from engine.contract.errors import InputError, NotFound
from engine.contract.rows import Example, Problem
from engine.contract.words import tr
from engine.project.problems import Problems
from engine.project.project import Project
from engine.text import pool
from engine.text.corpus import Corpus
from engine.text.dedup import contamination
from engine.text.dedup.contamination import FOUND, SHORT, WORDS, HeldOut
from engine.text.dedup.held_out_rows import Item
from engine.text.parts import write_part

BYTES = 16_000_000
"""Of a corpus that are searched at once."""
EXAMPLES = 20_000
"""Examples that are searched at once."""
NOTES = re.compile(r"<<[^<>]*>>")
"""GSM8K's notes for calculators: copies of its solutions have them or not."""

Tell = Callable[[float, str], None]
"""Is told the share that is done, and of what it is doing, the id."""


@dataclass(frozen=True)
class Found:
    """Of one corpus or set of examples: problems that were looked for (`held_out` of them so), those that were `found`, and how many of
    these are held out. `short` are too short to be looked for in a corpus; they count as not found."""

    source: str
    title: str
    problems: int
    held_out: int
    found: int
    found_held_out: int
    short: int


def sources_of(project: Project, model: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(corpora, sets of examples) that a model came from, as far as the project knows: of the artifacts before it, and of their runs."""
    waiting, seen = [model], dict[str, None]()
    corpora, sets = dict[str, None](), dict[str, None]()
    known = {artifact.id: artifact for artifact in project.artifacts.list()}
    there = {one.id for one in project.library.examples.sets()}
    while waiting:
        id = waiting.pop()
        if id in seen:
            continue
        seen[id] = None
        run, at, _ = id.partition("@")
        if at:
            made = project.runs.get(run)
            waiting += [value for value in (*made.inputs.values(), str(made.spec.get("model") or "")) if value]
            sets |= dict.fromkeys(str(one.get("id")) for one in made.sets if one.get("stream") == "examples")
        elif (artifact := known.get(id)) is not None:
            if artifact.kind == "corpus":
                corpora[id] = None
            waiting += list(artifact.parents)
            sets |= dict.fromkeys(str(one.get("id")) for one in artifact.facts.get("sets") or ()
                                  if isinstance(one, dict) and "examples" in one)
    if model not in known and "@" not in model:
        raise NotFound(tr("There is no model called {id} in this project.", id=model), tr("Choose another one."))
    return tuple(corpora), tuple(id for id in sets if id in there)


def look(project: Project, sets: Sequence[str], corpora: Sequence[str] = (), example_sets: Sequence[str] = (), *,
         held_out: bool | None = None, words: int = WORDS, processes: int = 0, tell: Tell = lambda share, what: None,
         check: Callable[[], None] = lambda: None) -> list[Found]:
    """Search corpora and sets of examples for the problems of these sets, and keep what was found; what was kept of these before is
    replaced, source by source, so that a stop leaves whole results alone. InputError where there is nothing to look for or in."""
    problems = project.library.problems
    if not (corpora or example_sets):
        raise InputError(tr("There is nothing to look in."), tr("Choose a corpus, or a set of examples."), code="no_sources",
                         field="corpora")
    folders = {id: project.artifacts.get(id) for id in dict.fromkeys(corpora)}
    known = {one.id: one for one in project.library.examples.sets()}
    if missing := next((id for id in example_sets if id not in known), ""):
        project.library.examples.get_set(missing)  # says so
    for id, artifact in folders.items():
        if artifact.kind != "corpus":
            raise InputError(tr("{id} is no corpus.", id=id), tr("Choose a corpus."), field="corpora")
    asked = _Asked(problems, sets, held_out, words)
    if not example_sets:
        asked.check_long()
    total = sum(Corpus.open(artifact.path).counts("train").bytes for artifact in folders.values()) + \
        sum(_weight(known[id].count) for id in dict.fromkeys(example_sets)) or 1
    done, made = 0, list[Found]()
    with tempfile.TemporaryDirectory(prefix="fledge-seen-") as place:
        file = Path(place) / "items.npz"
        asked.held.save(file)
        for id, artifact in folders.items():
            found, done = _in_corpus(id, artifact.path, asked, Path(place), file, done, total, processes, tell, check)
            made.append(asked.keep(id, artifact.title, found, asked.short))
        for id in dict.fromkeys(example_sets):
            rows = project.library.examples.for_training([id])
            made.append(asked.keep(id, known[id].title, _in_examples(id, rows, asked, Path(place), done, total, tell, check)))
            done += _weight(known[id].count)
    tell(1.0, "")
    return made


def _weight(examples: int) -> int:
    """What examples count beside bytes of a corpus."""
    return 500 * examples


_Finds = dict[str, dict[str, Any]]
"""{problem: what is kept of it}."""


class _Asked:
    """The problems, and the texts of them that are looked for."""

    def __init__(self, problems: Problems, sets: Sequence[str], held_out: bool | None, words: int) -> None:
        self.problems = problems
        self.ids: dict[str, bool] = {}
        self.whose: list[tuple[str, list[str]]] = []    # (where, problems) of each different text
        self.turns: dict[str, list[str]] = {}           # problems by what is asked
        numbers: dict[str, int] = {}
        for row in problems.rows(sets, held_out):
            self.ids[row.id] = row.held_out
            self.turns.setdefault(plainly(row.prompt[-1].content), []).append(row.id)
            for where, text in texts_of(row):
                number = numbers.setdefault(text, len(self.whose))
                if number == len(self.whose):
                    self.whose.append((where, []))
                self.whose[number][1].append(row.id)
        if not self.ids:
            raise InputError(tr("There is no problem in these sets."), tr("Choose other sets."), code="no_problems", field="sets")
        self.held = HeldOut.of_items((Item("", str(number), (text,)) for text, number in numbers.items()), words)
        long = {id for name in self.held.names for id in self.whose[int(name)][1]}
        self.short = len(self.ids) - len(long)

    def check_long(self) -> None:
        """InputError where none of them can be looked for in a corpus."""
        if not len(self.held.value_G):
            raise InputError(tr("None of these problems is long enough to be looked for: {count} words at least.", count=SHORT),
                             tr("A corpus holds such short texts by chance."), code="too_short", field="sets")

    def keep(self, source: str, title: str, found: _Finds, short: int = 0) -> Found:
        self.problems.mark_seen(found, looked={source: self.ids})
        return Found(source, title, len(self.ids), sum(self.ids.values()), len(found), sum(self.ids[id] for id in found), short)

    def best(self, targets: Sequence[Path], firsts: Sequence[int], document: Callable[[int], dict[str, Any]], source: str) -> _Finds:
        """Of what the parts gave the most complete find of each problem."""
        overlaps = contamination.merge(targets, self.held, firsts)
        made: _Finds = {}
        for row in np.argsort(-overlaps.share_R, kind="stable").tolist():
            where, ids = self.whose[int(overlaps.names_R[row])]
            for id in ids:
                if id not in made:
                    made[id] = {"corpus": source, "quote": overlaps.words_R[row], "where": where,
                                "share": round(float(overlaps.share_R[row]), 4), **document(int(overlaps.number_R[row]))}
        return made


def texts_of(problem: Problem) -> Iterator[tuple[str, str]]:
    """(where, text) of a problem that is looked for."""
    yield "prompt", "\n".join(m.content for m in problem.prompt if m.role == "user")
    solution = problem.facts.get("solution")
    if isinstance(solution, str) and solution.strip():
        yield "solution", solution
        if (bare := NOTES.sub("", solution)) != solution:
            yield "solution", bare


# ---- corpora


@dataclass(frozen=True)
class _Job:
    folder: Path
    first: int
    last: int
    target: Path
    held_file: Path


def _in_corpus(id: str, folder: Path, asked: _Asked, place: Path, file: Path, done: int, total: int, processes: int, tell: Tell,
               check: Callable[[], None]) -> tuple[_Finds, int]:
    corpus = Corpus.open(folder)
    ends = np.cumsum(corpus.lengths("train"))
    jobs, first = list[_Job](), 0
    while first < len(ends):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + BYTES, "right")))
        jobs.append(_Job(folder, first, last, place / f"{id}-{len(jobs):06d}.arrow", file))
        first = last
    tell(done / total, id)
    few = 1 if len(jobs) < 3 else processes     # starting processes takes as long as searching so little
    for number, _ in pool.each(_search, jobs, few, check=check):
        job = jobs[number]
        done += int(ends[job.last - 1]) - (int(ends[job.first - 1]) if job.first else 0)
        tell(done / total, id)

    def document(number: int) -> dict[str, Any]:
        found = corpus.document("train", number)
        return {"document": found.id, "place": found.source}
    return asked.best([job.target for job in jobs], [job.first for job in jobs], document, id), done


def _search(job: _Job) -> None:
    held = contamination.opened(job.held_file)
    texts = Corpus.open(job.folder).take("train", np.arange(job.first, job.last))
    _write(job.target, contamination.scan(texts, held))


def _write(target: Path, hits: Sequence[contamination.Hit]) -> None:
    write_part(target, {"row": [h.row for h in hits], "item": [h.item for h in hits], "sequences": [h.sequences for h in hits],
                        "words": [h.words for h in hits]}, FOUND)


# ---- examples


def _in_examples(id: str, rows: Iterator[Example], asked: _Asked, place: Path, done: int, total: int, tell: Tell,
                 check: Callable[[], None]) -> _Finds:
    targets, firsts, ids = list[Path](), list[int](), list[str]()
    whole: _Finds = {}
    tell(done / total, id)
    while some := list(islice(rows, EXAMPLES)):
        check()
        targets.append(place / f"{id}-{len(targets):06d}.arrow")
        firsts.append(len(ids))
        ids += [row.id for row in some]
        _write(targets[-1], contamination.scan(["\n".join(m.content for m in row.messages) for row in some], asked.held))
        for row in some:
            for turn in row.messages:
                for found in asked.turns.get(plainly(turn.content), ()) if turn.role == "user" else ():
                    whole.setdefault(found, {"corpus": id, "quote": _short(turn.content), "where": "prompt", "share": 1.0,
                                             "example": row.id})
        tell(min(1.0, (done + _weight(len(ids))) / total), id)
    return asked.best(targets, firsts, lambda number: {"example": ids[number]}, id) | whole


def plainly(text: str) -> str:
    """A turn without what is only a matter of writing."""
    return " ".join(text.casefold().split())


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= contamination.SHOWN else text[:contamination.SHOWN].rsplit(" ", 1)[0] + " …"


def plain(found: Sequence[Found]) -> list[dict[str, Any]]:
    return [asdict(one) for one in found]
