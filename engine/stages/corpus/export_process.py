"""Writes a corpus or its report out for the window, in a process of its own that can be stopped. The writing is export.py's.

    python -m engine.stages.corpus.export_process PROJECT ARTIFACT FORM FILE

prints JSON lines: {"done", "total"} a few times a second, then {"result": {"documents"}} or {"error": {"code", "sentence", "remedy"}}.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project.project import Project
from engine.stages.corpus.export import export

EVERY = 0.2


def main(words: list[str]) -> int:
    """Exit code 0 when the file is whole; a stop leaves the file that was there."""
    project, artifact, form, target = words
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    told = 0.0

    def report(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            tell({"done": done, "total": total})
    try:
        rows = export(Project.open(Path(project)).artifacts.get(artifact), form, Path(target), report)
    except FledgeError as wrong:
        return failed(wrong)
    except OSError as wrong:
        return failed(FledgeError(tr("{path} cannot be written: {why}.", path=target, why=wrong.strerror or str(wrong)),
                                  tr("Choose another folder."), code="export"))
    tell({"result": {"documents": rows}})
    return 0


def tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def failed(wrong: FledgeError) -> int:
    tell({"error": {"code": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy}})
    return wrong.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
