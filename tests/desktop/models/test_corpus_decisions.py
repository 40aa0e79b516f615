"""What a person's decision means for a document that the corpus holds, one that a step removed, and one decided on before."""

import pytest

from desktop.context import AppContext
from desktop.models.decisions import Decisions
from engine.contract.errors import DiskFull
from engine.project.project import Project
from engine.stages.corpus.spec import CorpusSpec


@pytest.fixture
def decisions(context: AppContext, project: Project, qtbot) -> Decisions:
    """A corpus that was made with two decisions: "held" kept against a step, "out" left out."""
    project.library.decide({"held": True, "out": False})
    run = project.runs.create(CorpusSpec(sources=("text",)))
    with project.artifacts.create("corpus", title="Corpus", run=run.id, spec={"decisions": True}) as writer:
        artifact = writer.finish(documents=1)
    made = Decisions(context)
    with qtbot.waitSignal(made.changed):
        made.load(artifact)
    return made


def keeps(project: Project) -> dict[str, bool]:
    return {id: d.keep for id, d in project.library.decisions().items()}


def do(qtbot, decisions: Decisions, what: str, id: str, step: str | None) -> None:
    with qtbot.waitSignal(decisions.changed):
        getattr(decisions, what)([(id, step, "a.txt")])


def test_what_the_corpus_was_made_with_is_not_pending(decisions: Decisions) -> None:
    assert decisions.pending == 0 and decisions.keep_of("held") is True
    assert decisions.kept_next("held", None) and not decisions.kept_next("out", "hand")


def test_excluding_and_restoring_a_document_of_the_corpus_leaves_no_trace(decisions: Decisions, project: Project, qtbot) -> None:
    do(qtbot, decisions, "exclude", "a", None)
    assert keeps(project)["a"] is False and decisions.pending == 1 and not decisions.kept_next("a", None)
    do(qtbot, decisions, "restore", "a", None)
    assert "a" not in keeps(project) and decisions.pending == 0


def test_restoring_and_excluding_a_removed_document_leaves_no_trace(decisions: Decisions, project: Project, qtbot) -> None:
    do(qtbot, decisions, "restore", "a", "quality")
    assert keeps(project)["a"] is True and decisions.kept_next("a", "quality")
    do(qtbot, decisions, "exclude", "a", "quality")
    assert "a" not in keeps(project) and not decisions.kept_next("a", "quality")


def test_a_document_that_was_kept_against_a_step_goes_back_to_that(decisions: Decisions, project: Project, qtbot) -> None:
    do(qtbot, decisions, "exclude", "held", None)
    assert keeps(project)["held"] is False and decisions.pending == 1
    do(qtbot, decisions, "restore", "held", None)
    assert keeps(project)["held"] is True and decisions.pending == 0


def test_a_document_excluded_before_comes_back_by_withdrawing_that(decisions: Decisions, project: Project, qtbot) -> None:
    do(qtbot, decisions, "restore", "out", "hand")
    assert "out" not in keeps(project) and decisions.kept_next("out", "hand") and decisions.pending == 1
    do(qtbot, decisions, "exclude", "out", "hand")
    assert keeps(project)["out"] is False and decisions.pending == 0


def test_changes_are_made_in_their_order_and_undone_backwards(decisions: Decisions, project: Project, qtbot) -> None:
    for number in range(5):
        decisions.exclude([(f"d{number}", None, "a.txt")])
    decisions.undo()
    decisions.undo()
    decisions.redo()
    qtbot.waitUntil(lambda: not decisions._queue and not decisions._working, timeout=10_000)
    assert {id for id in keeps(project) if id.startswith("d")} == {"d0", "d1", "d2", "d3"} == {i for i in decisions.all if i[0] == "d"}
    assert decisions.can_redo
    do(qtbot, decisions, "exclude", "e", None)
    assert not decisions.can_redo


def test_keeping_one_of_a_group_leaves_the_others_out(decisions: Decisions, project: Project, qtbot) -> None:
    with qtbot.waitSignal(decisions.changed):
        decisions.keep_instead("b", ["a"], {"a": "a.txt", "b": "b.txt"})
    assert keeps(project)["b"] is True and keeps(project)["a"] is False
    assert project.library.decisions()["b"].source == "b.txt"
    with qtbot.waitSignal(decisions.changed):
        decisions.undo()
    assert "a" not in keeps(project) and "b" not in keeps(project)


def test_labels_count_to_what_the_classifier_needs(decisions: Decisions, project: Project, qtbot) -> None:
    for id, harmful in (("a", True), ("b", False), ("c", False), ("a", None)):
        with qtbot.waitSignal(decisions.changed):
            decisions.label(id, harmful, kind="adult", text="words")
    assert decisions.labels == (0, 2) and decisions.label_of("b") is False
    assert [(label.document, label.harmful) for label in project.library.harm_labels()] == [("b", False), ("c", False)]


def test_a_change_that_could_not_be_kept_is_told_and_not_shown(decisions: Decisions, project: Project, qtbot, monkeypatch) -> None:
    def full(*given: object, **more: object) -> int:
        raise DiskFull("The disk is full.")
    monkeypatch.setattr(project.library, "decide", full)
    with qtbot.waitSignal(decisions.failed):
        decisions.exclude([("a", None, "a.txt")])
    assert decisions.keep_of("a") is None and decisions.pending == 0
