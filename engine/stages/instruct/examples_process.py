"""Examples of files into the library and out again for the window, in a process of its own that can be stopped. Reading and writing are
engine/text/conversations'.

    python -m engine.stages.instruct.examples_process PROJECT import FILE TITLE MAPPING     MAPPING as JSON, {} to guess it
    python -m engine.stages.instruct.examples_process PROJECT export SETS FORM FILE WHICH   SETS with commas; WHICH usable | accepted

prints JSON lines: {"done", "total"} a few times a second, then {"result": {..}} or {"error": {"code", "sentence",
                                                                                               "remedy"}}. An import that
is stopped or fails leaves no half set.
"""

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError, InputError
from engine.contract.rows import Example
from engine.contract.words import tr
from engine.project.project import Project
from engine.text.conversations import Mapping, Refused, look, mapping_of, read, write

EVERY = 0.2
LISTED = 20
"""Refused rows that the result names."""


def main(words: list[str]) -> int:
    """Exit code 0 when all is done."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    try:
        project = Project.open(Path(words[0]))
        if words[1] == "import":
            result = bring(project, Path(words[2]), words[3], json.loads(words[4]))
        else:
            result = take_out(project, words[2].split(","), words[3], Path(words[4]), words[5] == "accepted")
    except FledgeError as wrong:
        return failed(wrong)
    except OSError as wrong:
        return failed(FledgeError(tr("{path} cannot be read or written: {why}.", path=words[-2], why=wrong.strerror or str(wrong)),
                                  tr("Choose another file or folder."), code="file"))
    tell({"result": result})
    return 0


def bring(project: Project, file: Path, title: str, plain: dict[str, Any]) -> dict[str, Any]:
    """A new set of a file's rows: {"set", "rows", "same", "refused", "problems"}; `same` rows said what another one of the file says."""
    mapping: Mapping | None = mapping_of(plain) if plain else None
    examples, refused, problems, taken = project.library.examples, 0, [], 0
    total = look(file, mapping, examples=0).rows
    made = examples.create_set(title, origin=f"import:{file.name}")
    report = _Report(total)

    def rows() -> Iterator[Example]:
        nonlocal refused, taken
        for row in read(file, mapping):
            report(taken + refused)
            if isinstance(row, Refused):
                refused += 1
                if len(problems) < LISTED:
                    problems.append([row.line, row.reason])
            else:
                taken += 1
                yield row

    whole = False
    try:
        try:
            added = examples.add(made.id, rows(), author="person")
        except InputError as wrong:  # what stands before the fault is not taken here
            raise InputError(wrong.sentence, tr("Nothing was taken. Mend the file there, and import it again.") if taken else wrong.remedy,
                             code=wrong.code, field=wrong.field) from wrong
        if not added:
            why = tr("The first: row {line}, {reason}.", line=problems[0][0], reason=problems[0][1]) if problems else ""
            raise InputError(tr("No row of {name} is an example.", name=file.name), why or tr("Choose other columns."), code="no_rows")
        whole = True
    finally:
        if not whole:
            examples.delete_set(made.id)
    return {"set": made.id, "rows": added, "same": taken - added, "refused": refused, "problems": problems}


def take_out(project: Project, sets: list[str], form: str, target: Path, only_accepted: bool) -> dict[str, Any]:
    """The usable rows of sets into a file: {"rows", "left_out", "why"}."""
    library = project.library.examples
    known = [s for s in library.sets() if s.id in sets]
    report, done = _Report(sum(s.accepted if only_accepted else s.accepted + s.new for s in known)), 0

    def rows() -> Iterator[Example]:
        nonlocal done
        for example in library.for_training(sets, only_accepted=only_accepted):
            report(done)
            done += 1
            yield example

    written = write(target, rows(), form)
    return {"rows": written.rows, "left_out": written.left_out_count, "why": written.left_out[0][1] if written.left_out else ""}


class _Report:
    def __init__(self, total: int) -> None:
        self.total, self._told = total, 0.0

    def __call__(self, done: int) -> None:
        if time.monotonic() - self._told > EVERY:
            self._told = time.monotonic()
            tell({"done": done, "total": max(self.total, done)})


def tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def failed(wrong: FledgeError) -> int:
    tell({"error": {"code": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy}})
    return wrong.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
