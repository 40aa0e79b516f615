"""What the server lists: every whole checkpoint with what its run measured, whatever else lies about."""

import json
from pathlib import Path

import pytest

from engine.contract import events as ev
from engine.contract.errors import NotFound
from engine.model.config import ModelConfig
from engine.project import layout
from engine.project.project import Project
from engine.project.runs import Run
from engine.serve import catalogue
from engine.serve.catalogue import Catalogue
from engine.stages.pretrain.spec import PretrainSpec

SHAPE = ModelConfig(vocab_size=300, hidden_size=32, num_layers=1, num_heads=2, num_kv_heads=2, head_dim=16, intermediate_size=64,
                    max_seq_len=32)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p")


@pytest.fixture
def run(project: Project) -> Run:
    made = project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1"))
    for step in (10, 20):
        folder = layout.checkpoint(made.dir, step)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(SHAPE.model_dump_json())
        (folder / layout.MANIFEST).write_text("{}")
    return made


def tell(run: Run, *events: ev.Event) -> None:
    with open(layout.events_file(run.dir), "a") as file:
        file.write("".join(ev.to_line(e) + "\n" for e in events))


def seen(listed: Catalogue) -> dict[str, tuple[float | None, bool]]:
    return {m.ref.id: (m.bpb, m.best) for m in listed.list()}


def test_a_damaged_shape_is_left_out_and_explained_by_name(project: Project, run: Run) -> None:
    listed = Catalogue(project)
    for damaged in ("{}", "[1]", "{", json.dumps({"vocab_size": "many"})):
        (layout.checkpoint(run.dir, 20) / "config.json").write_text(damaged)
        assert [m.ref.id for m in listed.list()] == ["1-pretrain@10"]
        with pytest.raises(NotFound, match="shape"):
            listed.get("1-pretrain@20")


def test_measures_come_with_the_run_and_what_a_resume_made_void_goes(project: Project, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "READ_BYTES", 50)
    listed = Catalogue(project)
    tell(run, *(ev.Metrics(columns={"step": [n]}) for n in range(20)), ev.Evaluation(step=10, values={"bpb": 3.0}, best=True))
    assert seen(listed) == {"1-pretrain@10": (3.0, True), "1-pretrain@20": (None, False)}
    tell(run, ev.Evaluation(step=20, values={"bpb": 2.0}, best=True))
    assert seen(listed) == {"1-pretrain@10": (3.0, False), "1-pretrain@20": (2.0, True)}
    tell(run, ev.Resumed(step=10))
    assert seen(listed) == {"1-pretrain@10": (3.0, True), "1-pretrain@20": (None, False)}


def test_half_a_line_waits(project: Project, run: Run) -> None:
    listed, line = Catalogue(project), ev.to_line(ev.Evaluation(step=10, values={"bpb": 3.0}))
    layout.events_file(run.dir).write_text(line[:30])
    assert seen(listed)["1-pretrain@10"] == (None, False)
    layout.events_file(run.dir).write_text(line + "\n")
    assert seen(listed)["1-pretrain@10"] == (3.0, False)
