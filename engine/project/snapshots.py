"""What of the library goes into a run's inputs when it is made: workers never open the library, a run stays what it was made from.

Small things are one JSON value a file; examples are streamed, a JSON object a line, so that a million of them cost no memory.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.contract.errors import Corrupt, InputError
from engine.contract.rows import Example
from engine.contract.spec import Spec
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.library import Library


def _decisions(library: Library, spec: Spec) -> dict[str, bool]:
    return {id: made.keep for id, made in library.decisions().items()}


def _harm_labels(library: Library, spec: Spec) -> list[dict[str, Any]]:
    return [{"document": row.document, "kind": row.kind, "harmful": row.harmful, "text": row.text} for row in library.harm_labels()]


def _examples(library: Library, spec: Spec) -> Iterator[Example]:
    sets, only_accepted = _sets(spec, "examples"), bool(getattr(spec, "only_accepted", False))
    stream, first = library.examples.for_training(sets, only_accepted), True
    for example in stream:
        first = False
        yield example
    if first and sets:
        raise InputError(tr("None of these examples can be trained on."), tr("Accept some of them, or take the new ones too.")
                         if only_accepted else tr("The sets are empty, or all of their examples are rejected."), field="examples")


def _seeds(library: Library, spec: Spec) -> Iterator[Example]:
    return library.examples.for_training(_sets(spec, "seeds"))


def _questions(library: Library, spec: Spec) -> Iterator[Example]:
    return library.examples.for_training(_sets(spec, "examples"))


def _held_out(library: Library, spec: Spec) -> Iterator[Example]:
    """Of what is held out the sets of the library; the rest are files, which the worker reads."""
    known = {one.id for one in library.examples.sets()}
    return library.examples.for_training([id for id in _sets(spec, "held_out") if id in known])


def _sets(spec: Spec, field: str) -> Sequence[str]:
    return tuple(getattr(spec, field))


ROWS: dict[str, Callable[[Library, Spec], Any]] = {"decisions": _decisions, "harm_labels": _harm_labels}
"""One JSON value each."""
STREAMS: dict[str, Callable[[Library, Spec], Iterator[Example]]] = {"examples": _examples, "seeds": _seeds, "questions": _questions,
                                                                    "held_out": _held_out}
"""Examples, a line each."""


def take(project: Path, spec: Spec, folder: Path) -> None:
    """Write what `spec.rows` names into `folder`. Nothing where the project has no library yet and the spec names no set."""
    if not spec.rows or not (layout.library_file(project).exists() or _names_sets(spec)):
        return
    library = Library(project)
    try:
        for name in spec.rows:
            if name in STREAMS:
                _write_stream(layout.input_rows(folder, name), STREAMS[name](library, spec))
            elif rows := ROWS[name](library, spec):
                files.write_json(layout.input_file(folder, name), rows)
    finally:
        library.close()


def _names_sets(spec: Spec) -> bool:
    return any(name in STREAMS and getattr(spec, name if name == "seeds" else "examples", ()) for name in spec.rows)


def _write_stream(path: Path, examples: Iterator[Example]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "wb") as file:
            for example in examples:
                file.write(example.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as wrong:
        raise files.disk_error(wrong, path) from wrong


def given(run_dir: Path, name: str, default: Any) -> Any:
    """The rows called `name` that this run was made with."""
    return files.read_json(layout.input_file(run_dir, name), default)


def rows(run_dir: Path, name: str) -> Iterator[Example]:
    """The examples called `name` ("examples", "seeds", "questions") that this run was made with, streamed; none where it has none. Corrupt
    names the line that is no example: the file was changed by something else."""
    path = layout.input_rows(run_dir, name)
    if not path.is_file():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield Example.model_validate_json(line)
            except ValidationError as wrong:
                raise Corrupt(tr("{file}, line {line}: no example.", file=path.name, line=number),
                              tr("The run's inputs were changed by something else. Start a new run.")) from wrong
