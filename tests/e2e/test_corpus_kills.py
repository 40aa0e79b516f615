"""kill -9 of a corpus run in every phase: each resume goes on, and the corpus is the undisturbed run's, byte for byte of text."""

import json
import os
import random
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.contract.events import Phase
from engine.project import launch, layout
from engine.project.artifacts import Artifact
from engine.project.event_log import read_events
from engine.project.follow import follow
from engine.project.project import Project
from engine.project.runs import Run
from engine.stages.corpus.spec import CorpusSpec
from engine.text.corpus import Corpus

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
WORDS = ("the ferry left quay at seven with forty passengers and mail for island harbour light wind rose tide fell captain bell rope deck "
         "morning evening storm calm letter crew coast engine lamp signal").split()


def text(draw: random.Random) -> str:
    return "\n\n".join(" ".join(draw.choices(WORDS, k=draw.randint(20, 60))).capitalize() + "." for _ in range(draw.randint(2, 8)))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some megabytes of documents with everything a step can find in them."""
    draw, folder = random.Random(3), tmp_path_factory.mktemp("source")
    leaked = " ".join(draw.choices(WORDS, k=40))
    (folder / "held_out.txt").write_text(leaked)
    texts = folder / "texts"
    texts.mkdir()
    made: list[str] = []
    for number in range(5):
        with open(texts / f"t{number}.jsonl", "w", encoding="utf-8") as file:
            for _ in range(900):
                lot = draw.random()
                made.append(draw.choice(made) if made and lot < 0.1 else
                            draw.choice(made).replace("ferry", "boat", 1) if made and lot < 0.2 else
                            text(draw) + ("\n" + leaked if len(made) % 600 == 7 else "")
                            + ("\nwrite to jo.lind@example.org  " if lot > 0.95 else ""))
                file.write(json.dumps({"text": "Harbour Gazette, page 12\n" + made[-1]}) + "\n")
    return folder


def spec(source: Path) -> CorpusSpec:
    return CorpusSpec(sources=(str(source / "texts"),), held_out=(str(source / "held_out.txt"),), contamination="remove",
                      repeated_lines=True, repeated_paragraphs=True, personal_data=True, quality_gopher=True, minimum_length=40)


def contents(artifact: Artifact) -> tuple[dict, list, list]:
    """What must be the same: the facts but for seconds, the rows of all documents, and all texts."""
    artifact.verify()
    facts = {k: v for k, v in artifact.facts.items() if k != "seconds"}
    corpus = Corpus.open(artifact.path)
    texts = [[(d.id, d.text) for d in corpus.documents(split)] for split in ("train", "validation", "removed")]
    return facts, pq.read_table(artifact.path / "documents.parquet").to_pylist(), texts


def kill_in(run: Run, phase: str) -> bool:
    """Start (or resume) the run and kill its worker soon after it has entered a phase; False when it was over before."""
    before = sum(1 for _ in read_events(layout.events_file(run.dir)))
    pid = launch.start(run)
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            events = list(read_events(layout.events_file(run.dir)))[before:]
            if any(isinstance(e, Phase) and e.id == phase for e in events):
                time.sleep(random.Random(phase).uniform(0.0, 0.3))
                return launch.running(pid)
            if not launch.running(pid):
                return False
            time.sleep(0.02)
        raise AssertionError(run.log_tail())
    finally:
        launch.kill(pid)


def test_a_kill_in_every_phase_changes_nothing(source: Path, tmp_path: Path) -> None:
    os.environ["FLEDGE_HOME"] = str(tmp_path / "home")
    project = Project.create(tmp_path / "p", "Kills")
    calm = project.runs.create(spec(source))
    assert follow(calm, launch.start(calm)).status == "done", calm.log_tail()
    phases = [e.id for e in read_events(layout.events_file(calm.dir)) if isinstance(e, Phase)]
    assert {"read", "lines", "clean", "sign", "match", "passages", "overlap", "write", "save", "index"} <= set(phases)
    hurt = project.runs.create(spec(source))
    killed = [phase for phase in phases if kill_in(hurt, phase)]
    assert len(killed) >= len(phases) // 2, killed  # after a phase of milliseconds the kill hits a later one, or comes too late
    state = follow(hurt, launch.start(hurt))
    assert state.status == "done", hurt.log_tail()
    made = [project.artifacts.get(run.state().artifacts[-1]) for run in (calm, hurt)]
    assert contents(made[1]) == contents(made[0])
    facts = made[0].facts
    assert set(facts["removed"]) >= {"exact_duplicates", "near_duplicates", "contamination"}, facts["removed"]
