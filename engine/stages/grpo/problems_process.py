"""Problems into the library and out again for the window, in a process of its own that can be stopped. Files are problem_files.py's matter,
the search for what a model has seen seen.py's, generators engine/verifiers/making.py's.

    python -m engine.stages.grpo.problems_process PROJECT import FILE OPTIONS      title, mapping, into, held_out_percent, author
    python -m engine.stages.grpo.problems_process PROJECT generate GENERATOR OPTIONS
                                            a starter's name or a .py file; title, levels, count (of each), seed, into, held_out_percent
    python -m engine.stages.grpo.problems_process PROJECT examples SETS OPTIONS    SETS with commas; title, last_answers, into, ...
    python -m engine.stages.grpo.problems_process PROJECT export SETS FILE OPTIONS  form, held_out
    python -m engine.stages.grpo.problems_process PROJECT check SETS OPTIONS        corpora, sets (of examples), model, held_out

OPTIONS are a JSON object. It prints JSON lines: {"done", "total"} a few times a second ("total" 0: not known), then {"result": {..}} or
{"error": {"code", "sentence", "remedy", "field"}}. What is stopped or fails leaves no half set; a check keeps the sources it is done with.
"""

import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError, SettingError
from engine.contract.rows import Problem
from engine.contract.words import tr
from engine.project.problems import HELD_OUT_PERCENT
from engine.project.project import Project
from engine.stages.grpo import problem_files, seen
from engine.text.problem_files import look, mapping_of
from engine.verifiers import making
from engine.verifiers.pool import Pool

EVERY = 0.2


def main(words: list[str]) -> int:
    """Exit code 0 when all is done."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    try:
        project = Project.open(Path(words[0]))
        options = json.loads(words[-1])
        work: dict[str, Callable[..., dict[str, Any]]] = {"import": bring, "generate": generate, "examples": examples, "export": take_out,
                                                          "check": check}
        result = work[words[1]](project, *words[2:-1], options)
    except FledgeError as wrong:
        return failed(wrong)
    except OSError as wrong:
        path = wrong.filename if isinstance(wrong.filename, str) else words[0]
        return failed(FledgeError(tr("{path} cannot be read or written: {why}.", path=path, why=wrong.strerror or str(wrong)),
                                  tr("Choose another file or folder."), code="file"))
    tell({"result": result})
    return 0


def bring(project: Project, path: str, options: dict[str, Any]) -> dict[str, Any]:
    """A file into a set: {"set", "added", "same", "refused", "problems"}."""
    file, given = Path(path), options.get("mapping") or {}
    mapping = mapping_of(given) if given else None
    try:
        found = look(file, mapping, examples=0)
        done = problem_files.bring(project.library.problems, file, mapping or found.mapping, title=options.get("title", ""),
                                   into=options.get("into", ""), held_out_percent=options.get("held_out_percent"),
                                   author=options.get("author", ""), tell=_Report(found.rows))
    except FledgeError as wrong:
        raise problem_files.unreadable(wrong) from wrong
    assert done.set is not None
    return {"set": done.set.id, "added": done.added, "same": done.same, "refused": done.refused, "problems": done.problems}


def generate(project: Project, generator: str, options: dict[str, Any]) -> dict[str, Any]:
    """Problems of a generator into a set: {"set", "added", "asked"}; fewer than asked where it has no more different ones."""
    with Pool() as pool:
        return generated(project, pool, generator, options, _Report(0))


def generated(project: Project, pool: Pool, generator: str, options: dict[str, Any], report: problem_files.Tell) -> dict[str, Any]:
    """What `generate` does, in a sandbox that is there."""
    found = making.find(generator)
    levels = [int(level) for level in options.get("levels") or range(1, found.levels + 1)]
    count, seed = int(options.get("count", 100)), int(options.get("seed", 0))
    if isinstance(report, _Report):
        report.total = count * len(levels)

    def rows() -> Iterator[Problem]:
        for done, row in enumerate(making.stream(found, pool, levels=levels, count=count, seed=seed), 1):
            report(done)
            yield row
    library, into = project.library.problems, options.get("into", "")
    before = library.set_of(into).count if into else 0
    source = {"generator": found.name, "levels": levels, "count": count, "seed": seed}
    if found.name not in making.STARTERS:
        source["text"] = found.source
    title = options.get("title") or (found.title if len(levels) > 1 or found.levels == 1 else
                                     tr("{title}, level {level}", title=found.title, level=levels[0]))
    made = library.take(title, rows(), origin=f"generator:{found.name}", author=options.get("author", ""), into=into,
                        source=json.dumps(source, ensure_ascii=False),
                        held_out_percent=float(options.get("held_out_percent", HELD_OUT_PERCENT)))
    return {"set": made.id, "added": made.count - before, "asked": count * len(levels)}


def examples(project: Project, sets: str, options: dict[str, Any]) -> dict[str, Any]:
    """Problems of sets of examples: {"set", "added"}."""
    library, into = project.library.problems, options.get("into", "")
    before = library.set_of(into).count if into else 0
    made = library.from_examples(_listed(sets), options.get("title", ""), last_answers=bool(options.get("last_answers")), into=into,
                                 author=options.get("author", ""),
                                 held_out_percent=float(options.get("held_out_percent", HELD_OUT_PERCENT)))
    return {"set": made.id, "added": made.count - before}


def take_out(project: Project, sets: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    """Sets into a file: {"rows", "left_out", "why"}."""
    library, asked = project.library.problems, _listed(sets)
    total = sum(library.set_of(id).count for id in asked)
    written = problem_files.take_out(library, asked, Path(path), options.get("form", "fledge"), held_out=options.get("held_out"),
                                     tell=_Report(total))
    return {"rows": written.rows, "left_out": written.left_out_count, "why": written.left_out[0][1] if written.left_out else ""}


def check(project: Project, sets: str, options: dict[str, Any]) -> dict[str, Any]:
    """What of the problems stands in what a model learned from: {"found": [one for each corpus and set of examples]}."""
    corpora, tuned = tuple(options.get("corpora") or ()), tuple(options.get("sets") or ())
    if model := options.get("model"):
        of_model = seen.sources_of(project, model)
        corpora, tuned = tuple(dict.fromkeys((*corpora, *of_model[0]))), tuple(dict.fromkeys((*tuned, *of_model[1])))
    report = _Report(1000)
    made = seen.look(project, _listed(sets), corpora, tuned, held_out=options.get("held_out"),
                     tell=lambda share, what: report(round(1000 * share)))
    return {"found": seen.plain(made)}


def _listed(sets: str) -> list[str]:
    found = [id for id in sets.split(",") if id]
    if not found:
        raise SettingError(tr("No set is named."), tr("Choose at least one."), field="sets")
    return found


@dataclasses.dataclass
class _Report:
    """Tells how far it is, a few times a second."""

    total: int
    last: float = 0.0

    def __call__(self, done: int) -> None:
        if time.monotonic() - self.last > EVERY:
            self.last = time.monotonic()
            tell({"done": done, "total": self.total and max(self.total, done)})


def tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def failed(wrong: FledgeError) -> int:
    tell({"error": {"code": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy, "field": wrong.field}})
    return wrong.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
