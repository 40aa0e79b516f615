"""Pairs and labels of files into the library and out again for the window, in a process of its own that can be stopped. What it does is
pair_files.py's; a child of its own parses the file meanwhile.

    python -m engine.stages.preference.pairs_process PROJECT import FILE TITLE MAPPING         MAPPING as JSON, {} to guess it
    python -m engine.stages.preference.pairs_process PROJECT export SETS FORM FILE OPTIONS     SETS with commas; OPTIONS as JSON:
                                                                                     annotators, least_strength, unlabelled
    python -m engine.stages.preference.pairs_process PROJECT merge FILE                        a label file
    python -m engine.stages.preference.pairs_process PROJECT labels SETS FILE AUTHOR           into a label file; "" for all

prints JSON lines: {"done", "total"} a few times a second ("total" 0: not known), then {"result": {..}} or {"error": {"code", "sentence",
"remedy"}}. An import that is stopped or fails leaves no half set; a merge leaves what it has taken in, and goes on when it is begun again.
"""

import dataclasses
import gc
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError, InputError
from engine.contract.words import tr
from engine.project.project import Project
from engine.stages.preference import pair_files
from engine.text.preferences import look, mapping_of
from engine.text.preferences.label_file import write_labels

EVERY = 0.2


def main(words: list[str]) -> int:
    """Exit code 0 when all is done."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    gc.disable()  # rows hold no cycles, and looking for some among them takes a fifth of the time
    try:
        project = Project.open(Path(words[0]))
        result = {"import": bring, "export": take_out, "merge": merge, "labels": labels}[words[1]](project, *words[2:])
    except FledgeError as wrong:
        return failed(wrong)
    except OSError as wrong:
        path = wrong.filename if isinstance(wrong.filename, str) else words[0]
        return failed(FledgeError(tr("{path} cannot be read or written: {why}.", path=path, why=wrong.strerror or str(wrong)),
                                  tr("Choose another file or folder."), code="file"))
    tell({"result": result})
    return 0


def bring(project: Project, path: str, title: str, plain: str) -> dict[str, Any]:
    """A new set of a file's rows: {"set", "rows", "same", "refused", "labels", "problems"}; `same` rows said what another one of the file
    says."""
    file, given = Path(path), json.loads(plain)
    mapping = mapping_of(given) if given else None
    try:
        done = pair_files.bring(project.library.pairs, file, mapping, title=title, tell=_Report(look(file, mapping, examples=0).rows))
    except InputError as wrong:  # what stands before the fault is not taken here
        if wrong.code == "no_rows":
            raise
        raise InputError(wrong.sentence, wrong.remedy or tr("Nothing was taken. Mend the file there, and import it again."),
                         code=wrong.code, field=wrong.field) from wrong
    return {"set": done.set, "rows": done.added, "same": done.same, "refused": done.refused, "labels": done.labels,
            "problems": done.problems}


def take_out(project: Project, sets: str, form: str, path: str, plain: str) -> dict[str, Any]:
    """Sets into a file: {"rows", "left_out", "why"}."""
    library, asked, options = project.library.pairs, sets.split(","), json.loads(plain)
    known = [s for s in library.sets() if s.id in asked]
    every = form == "fledge" or options.get("unlabelled")
    written = pair_files.take_out(library, asked, Path(path), form, annotators=tuple(options.get("annotators", ())),
                                  least_strength=options.get("least_strength", 0), unlabelled=bool(options.get("unlabelled")),
                                  tell=_Report(sum(s.count if every else s.labelled for s in known)))
    return {"rows": written.rows, "left_out": written.left_out_count, "why": written.left_out[0][1] if written.left_out else ""}


def merge(project: Project, path: str) -> dict[str, Any]:
    """A label file into the library: the counts of label_merge.Merged."""
    return dataclasses.asdict(pair_files.merge(project.library.pairs, Path(path), tell=_Report(0)))


def labels(project: Project, sets: str, path: str, author: str) -> dict[str, Any]:
    """Labels into a file: {"labels", "pairs"}."""
    count, pairs = write_labels(path, project.library.pairs.export_labels([s for s in sets.split(",") if s], author))
    return {"labels": count, "pairs": pairs}


class _Report:
    def __init__(self, total: int) -> None:
        self.total, self._told = total, 0.0

    def __call__(self, done: int) -> None:
        if time.monotonic() - self._told > EVERY:
            self._told = time.monotonic()
            tell({"done": done, "total": self.total and max(self.total, done)})


def tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def failed(wrong: FledgeError) -> int:
    tell({"error": {"code": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy}})
    return wrong.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
