"""The Lineage page: boxes, arrows along the lines, facts, comparing, recipes, verifying, deleting, and the empty page."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models import lineage as words
from desktop.models.lineage_layout import Box, place
from desktop.pages.lineage import LineagePage
from desktop.pages.lineage.side import LinkRow
from desktop.widgets.buttons import Button
from desktop.widgets.text import Text
from engine.contract import events as ev
from engine.contract.rows import Answer, Example, Message, Pair, pair_id
from engine.project import files, layout, recipe
from engine.project.event_log import EventWriter
from engine.project.labels import Label
from engine.project.project import Project
from engine.project.runs import Run
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.dpo.spec import DpoSpec
from engine.stages.evaluate.spec import EvaluateSpec
from engine.stages.import_model.spec import ImportModelSpec
from engine.stages.instruct.spec import InstructSpec
from engine.stages.ppo.spec import PpoSpec
from engine.stages.preference.spec import PreferenceSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.reward.spec import RewardSpec
from engine.stages.sft.spec import SftSpec
from engine.stages.tokenizer.spec import TokenizerSpec


def made(project: Project, kind: str, title: str, spec: Any, parents: tuple[str, ...], **facts: Any) -> str:
    run = ended(project.runs.create(spec))
    with project.artifacts.create(kind, title=title, parents=parents, run=run.id, spec=json.loads(spec.model_dump_json())) as writer:
        (writer.path / "data.bin").write_bytes(title.encode() * 1000)
        return writer.finish(**facts).id


def ended(run: Run, status: str = "done") -> Run:
    writer = EventWriter(layout.events_file(run.dir), attempt=1)
    writer.write(ev.Started(stage=run.stage, device="cpu", threads=1))
    if status:
        writer.write(ev.Finished(status=status))
    writer.close()
    return run


@pytest.fixture
def gazette(project: Project) -> Project:
    """corpus-1 -> tokenizer-1 -> model-1; corpus-2 replaces corpus-1; model-2 of corpus-2; a paused run with a checkpoint."""
    text = project.dir.parent / "text"
    text.mkdir()
    (text / "a.txt").write_text("The ferry left.")
    made(project, "corpus", "Gazette", CorpusSpec(sources=(str(text),)), (), documents=318_204)
    made(project, "tokenizer", "Gazette 16k", TokenizerSpec(corpus="corpus-1"), ("corpus-1",), vocab_size=16_384)
    made(project, "model", "gazette-60m", PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", depth=6), ("corpus-1", "tokenizer-1"),
         step=2503)
    made(project, "corpus", "Gazette", CorpusSpec(sources=(str(text),), base="corpus-1"), ("corpus-1",), documents=317_992)
    made(project, "model", "gazette-wide", PretrainSpec(corpus="corpus-2", tokenizer="tokenizer-1", depth=8, learning_rate=0.002),
         ("corpus-2", "tokenizer-1"), step=900)
    paused = ended(project.runs.create(PretrainSpec(corpus="corpus-2", tokenizer="tokenizer-1", title="half")), "paused")
    folder = layout.checkpoint(paused.dir, 40)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"w" * 9000)
    files.write_json(folder / layout.MANIFEST, {"created": time.time(), "files": files.hash_folder(folder)})
    return project


def opened(context: AppContext, qtbot, width: int = 1056) -> LineagePage:
    page = LineagePage(context)
    qtbot.addWidget(page)
    page.resize(width, 800)
    page.show()
    page.opened()
    qtbot.waitUntil(lambda: page.picture is not None and not context.jobs.busy, timeout=8000)
    return page


@pytest.fixture
def page(gazette: Project, context: AppContext, qtbot) -> Iterator[LineagePage]:
    made = opened(context, qtbot)
    qtbot.waitUntil(lambda: made.usage is not None, timeout=8000)
    yield made
    made.left()


def key(page: LineagePage, key: Qt.Key) -> str:
    QTest.keyClick(page.view, key)
    return page.view.current


def links(page: LineagePage) -> dict[str, str]:
    return {link.words: link.note for link in page.side.findChildren(LinkRow)}


def test_stages_stand_in_columns_and_the_newest_model_is_chosen(page: LineagePage) -> None:
    assert page.picture is not None
    assert [set(column) for column in page.picture.placed.order] == [
        {"corpus-1", "corpus-2"}, {"tokenizer-1"}, {"model-1", "model-2", "6-pretrain"}]
    assert page.view.current == "model-2" and "Disk usage" in page.disk.text()
    cards = page.picture.cards
    assert cards["corpus-1"].line.endswith("replaced by corpus-2") and "317,992 documents" in cards["corpus-2"].line
    assert (cards["tokenizer-1"].mark, cards["tokenizer-1"].line) == ("stale", "corpus-2 is newer")
    assert cards["6-pretrain"].dashed and cards["6-pretrain"].line == "paused"


def test_arrows_walk_along_the_lines_and_enter_opens(page: LineagePage, qtbot) -> None:
    page.choose("model-1")
    assert key(page, Qt.Key.Key_Left) in ("tokenizer-1", "corpus-1")
    page.choose("tokenizer-1")
    assert key(page, Qt.Key.Key_Left) == "corpus-1", "the only parent"
    assert key(page, Qt.Key.Key_Down) == "corpus-2" and key(page, Qt.Key.Key_Down) == "corpus-2"
    assert "Gazette" in page.view.accessibleDescription()
    page.choose("model-1")
    with qtbot.waitSignal(page.context.navigate_requested) as sent:
        QTest.keyClick(page.view, Qt.Key.Key_Return)
    assert sent.args == ["pretrain", {"run": "3-pretrain"}]


def test_the_side_says_what_it_is_what_it_came_from_and_what_was_set(page: LineagePage, qtbot) -> None:
    page.choose("model-1")
    qtbot.waitUntil(lambda: page._about is not None and page._about.id == "model-1", timeout=4000)
    assert links(page) == {"Gazette": "corpus-2 is newer", "Gazette 16k": "stale"}
    shown = " ".join(label.text() for label in page.side.findChildren(type(page.side.verified)))
    for expected in ("gazette-60m", "base model", "Made from what was replaced", "Changed from the defaults", "Size"):
        assert expected in shown, expected


def test_a_long_fact_is_cut_and_pushes_nothing_out_of_the_side(page: LineagePage) -> None:
    page.side._facts.set([(name, "The sum comes last, " * 9) for name in page.side._facts._names])
    assert page.side._inner.minimumSizeHint().width() <= page.side.width()


def test_a_link_leads_to_the_parent(page: LineagePage) -> None:
    page.choose("tokenizer-1")
    link = next(x for x in page.side.findChildren(LinkRow) if x.words == "Gazette")
    QTest.mouseClick(link, Qt.MouseButton.LeftButton)
    assert page.view.current == "corpus-1"


def test_a_click_chooses_a_drag_pans_and_the_wheel_zooms_around_the_pointer(page: LineagePage) -> None:
    where = page.view.place_of("corpus-1").center().toPoint()
    QTest.mouseClick(page.view, Qt.MouseButton.LeftButton, pos=where)
    assert page.view.current == "corpus-1"
    before = page.view.place_of("corpus-1").topLeft()
    QTest.mousePress(page.view, Qt.MouseButton.LeftButton, pos=where)
    QTest.mouseMove(page.view, where + QPoint(40, 25))
    QTest.mouseRelease(page.view, Qt.MouseButton.LeftButton, pos=where + QPoint(40, 25))
    assert page.view.place_of("corpus-1").topLeft() == before + QPointF(40, 25)
    around = page.view.place_of("corpus-1").center()
    page.view._zoom_by(1.5, around)
    assert (page.view.place_of("corpus-1").center() - around).manhattanLength() < 0.01
    page.view.fit_all()
    assert all(page.view.rect().contains(page.view.place_of(id).toAlignedRect()) for id in page.picture.cards)


def test_checkpoints_are_shown_when_asked_for(page: LineagePage) -> None:
    assert page.picture is not None and "6-pretrain@40" not in page.picture.cards and page.checkpoints.isVisible()
    page.checkpoints.click()
    assert "6-pretrain@40" in page.picture.cards
    page.choose("6-pretrain@40")
    assert words.page_of(page.picture.graph.nodes["6-pretrain@40"]) == ("chat", {"model": "6-pretrain@40"})


def test_verify_reads_the_files_and_says_what_is_damaged(page: LineagePage, gazette: Project, qtbot) -> None:
    page.choose("model-2")
    page.side.verify.click()
    qtbot.waitUntil(lambda: "is what was written" in page.side.verified.words(), timeout=4000)
    (gazette.artifacts.get("model-2").path / "data.bin").write_bytes(b"?")
    page.side.verify.click()
    qtbot.waitUntil(lambda: "data.bin has changed" in page.side.verified.words(), timeout=4000)
    assert page.side.verified.property("tone") == "danger"


def test_a_recipe_is_written_and_reads_back(page: LineagePage, tmp_path: Path, qtbot) -> None:
    page.write_recipe("model-2", tmp_path / "r.toml")
    qtbot.waitUntil(lambda: (tmp_path / "r.toml").exists(), timeout=4000)
    assert [s.name for s in recipe.read(tmp_path / "r.toml").step] == ["1-corpus", "4-corpus", "2-tokenizer", "5-pretrain"]


def test_a_recipe_that_cannot_be_written_is_said(page: LineagePage, tmp_path: Path, qtbot) -> None:
    (tmp_path / "file").write_text("")
    page.write_recipe("model-2", tmp_path / "file" / "r.toml")
    qtbot.waitUntil(lambda: page.notes.isVisible(), timeout=4000)


def test_two_are_compared_by_what_differs_or_all(page: LineagePage) -> None:
    page._compare("model-2")
    dialog = page._dialog
    assert {r.label for r in dialog.rows} >= {"Size", "Learning rate"} and all(r.differs for r in dialog.rows)
    dialog.all.set(True)
    dialog._show()
    assert len(dialog.rows) == len(PretrainSpec.model_fields)
    dialog.reject()


def test_delete_lists_what_goes_and_takes_it(page: LineagePage, gazette: Project, qtbot) -> None:
    page.choose("corpus-1")
    QTest.keyClick(page.view, Qt.Key.Key_Delete)
    dialog = page._dialog
    qtbot.waitUntil(lambda: dialog.delete.isEnabled(), timeout=4000)
    listed = [g.id for g in dialog.table.rows_model.rows]
    assert listed[0] == "corpus-1" and set(listed) == {"corpus-1", "tokenizer-1", "model-1", "model-2"}
    assert "free" in dialog.delete.text() and dialog.checkpoints.isVisible()
    dialog.delete.click()
    qtbot.waitUntil(lambda: [a.id for a in gazette.artifacts.list()] == ["corpus-2"], timeout=8000)
    qtbot.waitUntil(lambda: page.picture is not None and page.picture.graph.nodes["corpus-1"].deleted, timeout=8000)
    assert page.picture.cards["corpus-1"].dashed, "corpus-2 still says what it was made from"


def test_nothing_can_be_deleted_while_a_run_uses_it(page: LineagePage, gazette: Project, qtbot) -> None:
    run = ended(gazette.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1")), "")
    lock = run.lock()
    assert lock.acquire()
    try:
        page._plan_deletion("corpus-1")
        dialog = page._dialog
        qtbot.waitUntil(lambda: dialog.table.isVisible(), timeout=4000)
        assert not dialog.delete.isEnabled() and dialog.notes.isVisible()
        dialog.reject()
    finally:
        lock.release()


def test_a_run_under_way_is_a_box_that_moves_on(page: LineagePage, gazette: Project, context: AppContext, qtbot) -> None:
    run = ended(gazette.runs.create(TokenizerSpec(corpus="corpus-2", title="next")), "")
    lock = run.lock()
    assert lock.acquire()
    try:
        context.look()
        qtbot.waitUntil(lambda: run.id in page.picture.cards, timeout=8000)
        assert page.picture.cards[run.id].mark == "running" and page.picture.graph.used_by("corpus-2") == [run.id]
    finally:
        lock.release()


def test_a_project_that_can_only_be_read_shows_everything_and_deletes_nothing(gazette: Project, context: AppContext, qtbot,
                                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, **more: mode != os.W_OK)  # root may write anywhere: the question is answered here
    page = opened(context, qtbot)
    assert page.picture is not None and not page.picture.writable
    page._plan_deletion("corpus-1")
    assert page._dialog is None
    page.left()


def test_an_empty_project_says_what_to_do_first(project: Project, context: AppContext, qtbot) -> None:
    page = opened(context, qtbot)
    assert page.empty.isVisible() and not page.full.isVisible()
    page.left()


# the layout ----------------------------------------------------------------------------------------------------------


def many(count: int) -> list[Box]:
    boxes = [Box("c0", 0), Box("t0", 1, ("c0",))]
    for i in range(count):
        boxes.append(Box(f"m{i}", 2, ("c0", "t0")) if i % 3 else Box(f"t{i + 1}", 1, ("c0",)))
    return boxes


def test_boxes_of_a_column_never_touch_and_long_edges_have_a_lane_of_their_own() -> None:
    placed = place(many(200), 56, 22)
    for column, ids in enumerate(placed.order):
        taken = sorted([(placed.y[id], 56.0) for id in ids] + [(y, 10.0) for (_, at), y in placed.lanes.items() if at == column])
        for (upper, one), (lower, other) in zip(taken, taken[1:], strict=False):
            assert lower - upper >= (one + other) / 2 + 22 - 1e-6
    assert ("c0", 1) in placed.lanes and min(placed.y.values()) >= 28 - 1e-6


def test_two_chains_are_laid_out_without_a_crossing() -> None:
    boxes = [Box(f"{name}{i}", i, (f"{name}{i - 1}",) if i else ()) for i in range(4) for name in ("ab" if i % 2 else "ba")]
    placed = place(boxes, 56, 22)
    above = {placed.y[f"a{i}"] < placed.y[f"b{i}"] for i in range(4)}
    assert len(above) == 1 and all(abs(placed.y[f"a{i}"] - placed.y["a0"]) < 1e-6 for i in range(4)), "straight lines"


def test_two_hundred_boxes_take_less_than_a_frame_to_place_and_to_draw(theme, qtbot) -> None:
    from desktop.pages.lineage.graph_view import GraphView
    boxes = many(198)
    began = time.perf_counter()
    placed = place(boxes, 56, 22)
    assert time.perf_counter() - began < 0.5
    view = GraphView(theme)
    qtbot.addWidget(view)
    view.resize(1400, 900)
    cards = {b.id: words.Card(b.id, b.id, "a line") for b in boxes}
    edges = tuple((p, b.id) for b in boxes for p in b.parents)
    view.show_picture(words.Picture(words.Lineage({}), cards, placed, edges))
    view.fit_all()
    view.grab()
    best = min(_seconds(view.grab) for _ in range(5))
    assert best < 0.05, f"{best * 1000:.0f} ms"


def _seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def test_what_was_tuned_says_on_which_sets_and_is_stale_when_they_change(gazette: Project, context: AppContext, qtbot) -> None:
    rows = [Example(id=str(n), messages=(Message(role="user", content=f"{n}?"), Message(role="assistant", content="!"))) for n in range(3)]
    boats = gazette.library.examples.create_set("Questions about boats")
    gazette.library.examples.add(boats.id, rows)
    made(gazette, "model", "Base", ImportModelSpec(folder="/models/base"), ())
    made(gazette, "model", "Ferryman", SftSpec(model="model-3", examples=(boats.id,), method="lora"), ("model-3",),
         examples=3, method="lora")
    made(gazette, "examples", "Made up", InstructSpec(responder="project:model-3", corpus="corpus-2"), ("corpus-2", "model-3"), kept=41)
    made(gazette, "evaluation", "Exam", EvaluateSpec(models=("model-3", "model-4")), ("model-3", "model-4"), models=[{}, {}],
         suites=[{}])
    page = opened(context, qtbot)
    assert page.picture is not None
    cards = page.picture.cards
    assert (cards["model-4"].line, cards["model-4"].mark) == ("LoRA, 3 examples", "done")
    assert cards["examples-1"].line == "41 examples" and cards["evaluation-1"].line == "2 models, 1 suite"
    column = page.picture.placed.columns
    assert column["model-3"] < column["examples-1"] < column["model-4"] < column["evaluation-1"]
    page.choose("model-4")
    assert "Questions about boats, 3 examples" in shown(page.side)
    gazette.library.examples.set_status("1", "rejected")
    page.opened()
    qtbot.waitUntil(lambda: page.picture.cards["model-4"].mark == "stale", timeout=8000)
    assert page.picture.cards["model-4"].line == "its examples have changed"
    assert any("1 was rejected or deleted" in words for words in shown(page.side)) and page.picture.cards["evaluation-1"].mark == "stale"
    page.left()


def shown(widget: QWidget) -> list[str]:
    return [label.words() for label in widget.findChildren(Text)]


def test_pairs_reward_models_and_what_they_tuned_have_their_words(project: Project, context: AppContext, qtbot) -> None:
    """Each kind says what it is; a reward model is not chatted with; labels that changed are told as labels."""
    pairs = project.library.pairs
    one = pairs.create_set("Ferries", run="2-preference").id
    prompt = (Message(role="user", content="Is it so?"),)
    pairs.add(one, [Pair(id=pair_id(prompt, "Yes.", "No."), prompt=prompt, first=Answer(text="Yes."), second=Answer(text="No."))])
    row = pairs.rows(one)[0]
    pairs.label(row.id, Label("first", author="Ada"))
    made(project, "model", "Base", PretrainSpec(corpus="", tokenizer=""), ())
    made(project, "pairs", "Ferries", PreferenceSpec(first="project:model-1"), ("model-1",), pairs=386)
    made(project, "reward_model", "Taste", RewardSpec(model="model-1", pairs=(one,)), ("model-1", "pairs-1"), pairs=274, accuracy=0.984)
    made(project, "model", "Direct", DpoSpec(model="model-1", pairs=(one,), loss="ipo"), ("model-1", "pairs-1"), pairs=1, loss="ipo")
    made(project, "model", "Proximal", PpoSpec(model="model-1", reward="reward_model-1", pairs=(one,)), ("model-1", "reward_model-1"),
         rounds=20)
    folder = layout.checkpoint(layout.run(project.dir, "3-reward"), 18)
    folder.mkdir(parents=True)
    files.write_json(folder / layout.MANIFEST, {"created": time.time(), "files": {}})
    shown = opened(context, qtbot)
    assert shown.picture is not None
    lines = {id: card.line for id, card in shown.picture.cards.items()}
    assert lines["pairs-1"] == "386 pairs" and lines["reward_model-1"].startswith("274 pairs, 98")
    assert (lines["model-2"], lines["model-3"]) == ("IPO, 1 pair", "PPO, 20 rounds")
    assert [set(c) for c in shown.picture.placed.order] == [{"model-1"}, {"pairs-1"}, {"reward_model-1"}, {"model-2"}, {"model-3"}]
    nodes = shown.picture.graph.nodes
    assert words.page_of(nodes["model-3"]) == ("dpo", {"run": "5-ppo"}) and words.page_of(nodes["3-reward@18"]) == ("reward",
                                                                                                                   {"run": "3-reward"})
    assert words.page_of(nodes["pairs-1"]) == ("preference", {"run": "2-preference"})
    assert words.learned_from(nodes["reward_model-1"]) == ("Learned from", ["Ferries, 1 pair"])
    assert words.learned_from(nodes["model-3"])[0] == "Asked"
    for id, chats in (("reward_model-1", False), ("3-reward@18", False), ("model-3", True)):
        shown.choose(id)
        assert any(b.text() == "Chat" for b in shown.side.findChildren(Button)) == chats, id
    pairs.label(row.id, Label("second", author="Ada"))
    cards = words.picture(words.look(project, {}), False).cards
    assert (cards["reward_model-1"].line, cards["model-2"].line) == ("its labels have changed",) * 2
    assert (cards["model-3"].mark, cards["model-3"].line) == ("stale", "reward_model-1 is stale")
    shown.left()
