"""When a run of GRPO rests because its verifier fails: where it fails, and the ways on. And which verifier of the library a run names.
No Qt."""

import re
from collections.abc import Mapping
from typing import Any

from desktop.models.trouble import Remedy, Trouble, kept
from engine.contract import composition
from engine.contract.errors import FledgeError
from engine.contract.events import Notice
from engine.contract.units import number
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.run_state import RunState
from engine.project.runs import Run

FAILS = "verifier_errors"
LINE = re.compile(r"\bline ([0-9]{1,6})\b")


def references(text: str) -> list[str]:
    """Versions of the library that a run's setting `verifier` names, in their order."""
    try:
        if composition.reference(text):
            return [text.strip()]
        return [part.verifier for part in composition.parse(text).walk() if part.verifier]
    except FledgeError:
        return []


def reference_of(spec: Mapping[str, Any]) -> str:
    """The version a person would mend; "" where the run's verifier is none of the library's."""
    return next(iter(references(str(spec.get("verifier") or ""))), "")


def verifier_title(run: Run) -> str:
    """What a run's verifier is called: as its snapshot says, else its version or its parts."""
    said = files.read_json(layout.input_file(run.dir, "verifier"), {})
    if isinstance(said, dict) and said.get("title"):
        number_ = str(said.get("ref") or "").rpartition("@")[2]
        return tr("{title}, version {number}", title=said["title"], number=number_) if number_ else str(said["title"])
    text = str(run.spec.get("verifier") or "")
    try:
        found = composition.reference(text)
        return text if found else ", ".join(part.title or part.name for part in composition.parse(text).parts)
    except FledgeError:
        return ""


def failing(state: RunState) -> Notice | None:
    """What the run said when its verifier failed on too many answers; None where it goes on."""
    return next((n for n in reversed(state.notices) if n.code == FAILS and n.level == "problem" and not n.cleared), None)


def line_of(text: str) -> int:
    """The line of the verifier that a notice names; 0 for none. Its words are the engine's (engine/verifiers/pausing.py)."""
    found = LINE.search(text)
    return int(found[1]) if found else 0


def trouble_of(run: Run, state: RunState, status: str) -> Trouble | None:
    """A run that its verifier has paused; None for all others."""
    said = failing(state) if status == "paused" else None
    if said is None:
        return None
    line, ref = line_of(said.text), reference_of(run.spec)
    saved = [c.step for c in state.checkpoints if c.step > 0]
    opens = [("line", line)] if line else []
    words = tr("Open the verifier at line {line}", line=line) if line else tr("Open the verifier")
    remedies = [Remedy(words, "verifiers", (("verifier", ref), *opens))] if ref else []
    on = (("model", f"{run.id}@{max(saved)}"), ("title", "")) if saved else ()
    remedies.append(Remedy(tr("Go on from step {step} with another verifier", step=number(max(saved))) if saved else
                           tr("Start again with another verifier"), "edit", on))
    remedies.append(Remedy(tr("Resume as it is"), "resume"))
    keeps = tr("A run keeps the version it began with: save the mended one as a new version, and go on with that.")
    return Trouble(tr("Paused: the verifier fails"), f"{said.text.rstrip('.')}. {keeps} {kept(state)}", tuple(remedies), "warn")
