"""Makes a corpus: people's files (or an earlier corpus) become text one can trust, every removed document listed and kept aside.

Each phase works on parts and leaves files in the run's `work/`; a run that was stopped or killed takes what is there and goes on. What
the phases do lives in engine/text; here stands their order.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from engine.contract import units
from engine.contract.context import RunContext
from engine.contract.errors import DiskFull, FormatError, InputError
from engine.contract.events import ArtifactMade, Facts, Notice
from engine.contract.words import tr, trn
from engine.project import files as disk
from engine.project import snapshots
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.corpus.decide import Fates, decide, read_overlap
from engine.stages.corpus.flow import Flow
from engine.stages.corpus.phases import Cleaned, Phases
from engine.stages.corpus.report import report
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.corpus.write import Written, read_again, write
from engine.text import browse
from engine.text.corpus import SPLITS
from engine.text.dedup.find import Duplicates
from engine.text.mixing import MixOptions
from engine.text.parts import Parts

SHOWN = 50
"""Files that the manifest lists; all of them are in the artifact's sources.json."""
ROOM = 3
"""Times the text that a run needs on the disk while it works."""


def run(spec: CorpusSpec, context: RunContext) -> None:
    """Read, clean, find duplicates and held-out text, decide, write, make it searchable."""
    project = Project.open(context.project_dir)
    flow = Flow(context)
    phases = Phases(spec, flow, snapshots.given(context.run_dir, "harm_labels", []))
    flow.announce(phases.names)
    made = project.artifacts.made_by(context.run_id, "corpus") if context.attempt > 1 else None  # killed right after it was finished
    if made is None:
        try:
            gathered = _from_corpus(project, spec, flow) if spec.base else phases.gather(_room(project))
            cleaned = phases.clean(gathered)
            found = phases.duplicates(cleaned)
            overlap = phases.overlap(cleaned)
            made = _write(project, spec, flow, phases, gathered, cleaned, found, overlap)
        except OSError as wrong:
            raise disk.disk_error(wrong, flow.work) from wrong
    with flow.enter("index"):
        browse.build(made.path, lambda done, total: flow.at(done, total, tr("documents")))
    context.emit(Facts(facts=made.facts))
    context.emit(ArtifactMade(id=made.id, kind="corpus"))
    flow.done()
