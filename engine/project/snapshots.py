"""What of the library goes into a run's inputs when it is made: workers never open the library, a run stays what it was made from.

Small things are one JSON value a file; examples, pairs and problems are streamed, a JSON object a line, so that a million of them cost no
memory.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from engine.contract.composition import parse
from engine.contract.errors import Corrupt, InputError
from engine.contract.preferring import PairsSpec
from engine.contract.rows import Example, Pair, PreferencePair, Problem
from engine.contract.spec import Spec
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.library import Library
from engine.project.project import Project
from engine.project.taken_sets import FIELDS, OF_PAIRS, OF_PROBLEMS, TakenSet, parsed, plain, told

Made = TypeVar("Made", Pair, PreferencePair)


def _decisions(library: Library, spec: Spec) -> dict[str, bool]:
    return {id: made.keep for id, made in library.decisions().items()}


def _harm_labels(library: Library, spec: Spec) -> list[dict[str, Any]]:
    return [{"document": row.document, "kind": row.kind, "harmful": row.harmful, "text": row.text} for row in library.harm_labels()]


def _verifier(library: Library, spec: Spec) -> dict[str, Any] | None:
    """With every source in it: what the library says later changes nothing in the run."""
    given = str(getattr(spec, "verifier", ""))
    return library.verifiers.taken(given).plain() if given else None


ROWS: dict[str, Callable[[Library, Spec], Any]] = {"decisions": _decisions, "harm_labels": _harm_labels, "verifier": _verifier}
"""One JSON value each."""


def take(project: Path, spec: Spec, folder: Path) -> list[dict[str, Any]]:
    """Write what `spec.rows` names into `folder`; a line about each set that went in (taken_sets.py). Nothing where the project has no
    library yet and the spec names no set. Raises NotFound for an unknown set, InputError where there is nothing to train on."""
    if not spec.rows or not (layout.library_file(project).exists() or _names_sets(spec)):
        return []
    library, sets = Library(project), list[TakenSet]()
    try:
        for name in spec.rows:
            if name in FIELDS:
                sets += _take_sets(library, spec, name, layout.input_rows(folder, name))
            elif rows := ROWS[name](library, spec):
                files.write_json(layout.input_file(folder, name), rows)
    finally:
        library.close()
    return plain(sets)


def _take_sets(library: Library, spec: Spec, stream: str, path: Path) -> list[TakenSet]:
    """Write the rows of all sets that a setting names, one after another. Of what is held out those of the library; the rest are files,
    which the worker reads. A pair or problem that is in two of the sets is written once."""
    if stream == "unlabelled" and not getattr(spec, "score_unlabelled", True):
        return []
    examples, pairs, problems = library.examples, library.pairs, library.problems
    of: Any = pairs if stream in OF_PAIRS else problems if stream in OF_PROBLEMS else examples
    known: dict[str, Any] = {one.id: one for one in of.sets()}
    named = list(dict.fromkeys(getattr(spec, FIELDS[stream])))
    wanted = [id for id in named if id in known] if stream == "held_out" else named
    only_accepted = stream == "examples" and bool(getattr(spec, "only_accepted", False))
    found, mark = [], examples.mark() if of is examples else (of.clock(),)

    def rows(id: str, before: Sequence[str]) -> Iterable[Example | Pair | PreferencePair | Problem]:
        if stream in OF_PROBLEMS:
            return problems.rows([id], beside=before)
        if stream == "pairs":
            return pairs.for_training([id], getattr(spec, "annotators", ()), getattr(spec, "least_strength", 0), before)
        return pairs.unlabelled([id], before) if stream == "unlabelled" else examples.for_training([id], only_accepted)

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "wb") as file:
            for n, id in enumerate(wanted):
                count = 0
                for row in rows(id, wanted[:n]):
                    file.write(row.model_dump_json().encode() + b"\n")
                    count += 1
                one = known[id]
                found.append(TakenSet(stream, id, one.title, count, one.run, one.origin, mark))
            file.flush()
            os.fsync(file.fileno())
    except OSError as wrong:
        raise files.disk_error(wrong, path) from wrong
    if stream == "examples" and found and not any(one.count for one in found):
        raise InputError(tr("None of these examples can be trained on."), tr("Accept some of them, or take the new ones too.")
                         if only_accepted else tr("The sets are empty, or all of their examples are rejected."), field="examples")
    if stream in OF_PROBLEMS and found and not any(one.count for one in found):
        raise InputError(tr("There is no problem in these sets."), tr("Choose other sets."), field=FIELDS[stream])
    if stream == "pairs" and isinstance(spec, PairsSpec) and found and not any(one.count for one in found):
        raise InputError(tr("None of these pairs has a label to learn from."),
                         tr("Label some of them, or take weaker labels and those of more people."), field="pairs")
    return found


def asked(run_dir: Path) -> dict[str, str]:
    """Models that the verifier of a run asks, beside its settings: inputs as much as any other."""
    raw = files.read_json(layout.input_file(run_dir, "verifier"))
    return {f"verifier:{id}": id for id in parse(raw["composition"]).models()} if raw else {}


def _names_sets(spec: Spec) -> bool:
    return any(getattr(spec, FIELDS[name], ()) for name in spec.rows if name in FIELDS and name != "held_out")


def sets(run_dir: Path) -> list[dict[str, Any]]:
    """The sets that a run was made with, as what it makes keeps them: id, title, how many examples of each."""
    raw = files.read_json(layout.spec_file(run_dir), {})
    return told(parsed(raw.get("sets") or ()), str(raw.get("stage"))) if isinstance(raw, dict) else []


def made_from(project: Project, run_dir: Path) -> tuple[str, ...]:
    """The artifacts of the runs that filled the sets which a run was made with: parents of what it makes."""
    makers = dict.fromkeys(one["run"] for one in sets(run_dir) if one.get("run"))
    found = (project.artifacts.made_by(run, kind) for run in makers for kind in ("examples", "pairs"))
    return tuple(made.id for made in found if made)


def given(run_dir: Path, name: str, default: Any) -> Any:
    """The rows called `name` that this run was made with."""
    return files.read_json(layout.input_file(run_dir, name), default)


def rows(run_dir: Path, name: str) -> Iterator[Example]:
    """The examples called `name` ("examples", "seeds", "questions") that this run was made with, streamed; none where it has none. Corrupt
    names the line that is no example: the file was changed by something else."""
    return _lines(run_dir, name, Example)


def pairs(run_dir: Path) -> Iterator[PreferencePair]:
    """The labelled pairs that this run was made with, as `rows` gives examples."""
    return _lines(run_dir, "pairs", PreferencePair)


def unlabelled(run_dir: Path) -> Iterator[Pair]:
    """The pairs without a label that this run was made with, as `rows` gives examples."""
    return _lines(run_dir, "unlabelled", Pair)


def problems(run_dir: Path) -> Iterator[Problem]:
    """The problems that this run was made with, as `rows` gives examples."""
    return _lines(run_dir, "problems", Problem)


AnyRow = TypeVar("AnyRow", Example, Pair, PreferencePair, Problem)


def _lines(run_dir: Path, name: str, kind: type[AnyRow]) -> Iterator[AnyRow]:
    path = layout.input_rows(run_dir, name)
    if not path.is_file():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield kind.model_validate_json(line)
            except ValidationError as wrong:
                raise Corrupt(tr("{file}, line {line}: no example.", file=path.name, line=number) if kind is Example else
                              tr("{file}, line {line}: no problem.", file=path.name, line=number) if kind is Problem else
                              tr("{file}, line {line}: no pair.", file=path.name, line=number),
                              tr("The run's inputs were changed by something else. Start a new run.")) from wrong
