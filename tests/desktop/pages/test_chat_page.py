"""The Chat page with a real server and tiny models, by mouse and keyboard."""

import math
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from desktop.context import AppContext
from desktop.jobs.chat_client import ModelInfo, SamplingSettings
from desktop.main_window import MainWindow
from desktop.pages.chat.page import ChatPage
from desktop.pages.chat.picker import grouped
from desktop.pages.chat.popover import shown
from desktop.pages.chat.wording import chance, figures, place_of
from desktop.widgets.text import Text
from engine.contract.rows import Message
from engine.model.checkpoint import load_model
from engine.model.reward_model import RewardFacts, RewardHead, RewardModel, save_reward
from engine.model.scorer import Scorer
from engine.project.locks import FileLock
from engine.project.models import resolve
from engine.project.project import Project
from engine.text.tokenizer import Tokenizer
from tests.serving import ServerProcess, make_project

PROMPT = "The ferry left the quay"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    made = ServerProcess(make_project(tmp_path_factory.mktemp("page") / "project", context=1024).dir)
    yield made
    made.stop()


@pytest.fixture
def page(window: MainWindow, context: AppContext, served: ServerProcess, qtbot: QtBot) -> Iterator[ChatPage]:
    window.resize(1280, 800)
    context.open_project(served.project)
    window.show_page("chat")
    made = window.pages["chat"]
    assert isinstance(made, ChatPage)
    qtbot.waitUntil(lambda: made.client.state == "ready" and made.client.listed, timeout=20_000)
    yield made
    made.stop()
    qtbot.waitUntil(lambda: not made.keeper.busy, timeout=10_000)


def type_and_send(page: ChatPage, qtbot: QtBot, words: str = PROMPT, wait: bool = True) -> None:
    page.composer.prompt.set("")
    page.composer.prompt.setFocus()
    qtbot.keyClicks(page.composer.prompt, words)
    qtbot.keyClick(page.composer.prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert page._answers
    if wait:
        qtbot.waitUntil(lambda: not page._answers and not page.keeper.busy, timeout=30_000)


def served_text(served: ServerProcess, model: str, settings: SamplingSettings) -> str:
    reply = httpx.post(served.address.url + "/v1/completions", headers=served.address.headers, timeout=30,
                       json={"model": model, "prompt": PROMPT, **settings.body()})
    return str(reply.json()["choices"][0]["text"])


def words_on(page: ChatPage) -> str:
    return "\n".join(t.words() for t in page.findChildren(Text) if t.isVisible())


def test_the_untrained_model_and_the_newest_stand_side_by_side(page: ChatPage, served: ServerProcess, qtbot: QtBot) -> None:
    left, right = page.panes
    assert left.model is not None and left.model.untrained and right.model is not None and right.model.id == "model-1"
    assert "random weights" in left.nature.words() and "continues text" in right.nature.words()
    assert right.badge.text() == "0.974 bits per byte" and left.badge.text() == "step 0"
    type_and_send(page, qtbot)
    for pane in page.panes:
        assert pane.current is not None and pane.model is not None
        assert pane.current.plain() == PROMPT + served_text(served, pane.model.id, page.composer.settings)
    surprise = -sum(t.logprob for t in left.tokens) / math.log(2) / len(left.tokens)
    seen = words_on(page)
    assert "Why it is gibberish" in seen and f"all {left.model.vocab_size:,} tokens" in seen and f"{surprise:.1f} bits unsure" in seen
    assert f"{len(right.tokens)} tokens" in seen and "tokens/s" in seen and "bits a token" in seen and "saved" in seen


def test_arrow_keys_open_the_alternatives(page: ChatPage, qtbot: QtBot) -> None:
    type_and_send(page, qtbot)
    text = page.panes[1].current
    assert text is not None
    text.setFocus()
    qtbot.keyClick(text, Qt.Key.Key_Right)
    while len(text.cells[text.chosen].tokens) > 1 or not text.cells[text.chosen].text.strip():
        qtbot.keyClick(text, Qt.Key.Key_Right)
    cell = text.cells[text.chosen]
    assert page.popover.isVisible() and len(cell.tokens[-1].top) == 5
    told = [t.words() for t in page.popover.findChildren(Text)]
    assert place_of(cell.tokens[-1].rank) in told[1] and [shown(c.bytes) for c in cell.tokens[-1].top] == told[2::2]
    assert page.rect().contains(page.popover.geometry())
    qtbot.keyClick(text, Qt.Key.Key_Escape)
    assert not page.popover.isVisible()
    qtbot.mouseMove(text, text.cell_rects(len(text.cells) - 1)[0].center())
    assert page.popover.isVisible()


def test_escape_stops_and_what_was_written_is_kept(page: ChatPage, served: ServerProcess, qtbot: QtBot) -> None:
    page.composer.popover.load(SamplingSettings(temperature=1.0, top_k=0, top_p=1.0, max_tokens=1000, seed=5))
    type_and_send(page, qtbot, wait=False)
    qtbot.waitUntil(lambda: all(p.tokens for p in page.panes), timeout=20_000)
    assert page.composer._go.text().strip() == "Stop"
    qtbot.keyClick(page.composer.prompt, Qt.Key.Key_Escape)
    assert not page._answers and page.composer._go.text() == "Continue both"
    qtbot.waitUntil(lambda: not page.keeper.busy, timeout=10_000)
    library = Project.open(served.project).library
    turns = library.turns(library.chats()[0].id)
    assert [(t.role, t.side) for t in turns] == [("prompt", 0), ("completion", 0), ("completion", 1)]
    for turn, pane in zip(turns[1:], page.panes, strict=True):
        assert turn.content == pane.current.plain(prompt=False) and turn.facts["reason"] == "cancelled" and turn.model == pane.model.id
    qtbot.waitUntil(lambda: httpx.get(served.address.url + "/health").json()["active"] == 0, timeout=10_000)


def test_a_base_model_in_chat_mode_is_told_apart_and_turns_add_up(page: ChatPage, qtbot: QtBot, served: ServerProcess) -> None:
    page.sides.set(1)
    page._sides_changed(1)
    qtbot.mouseClick(page.mode._group.button(1), Qt.MouseButton.LeftButton)
    page.panes[0].pick("model-1")
    page._look()
    assert page.mode.value() == "chat" and "was not tuned to answer" in words_on(page)
    type_and_send(page, qtbot, "When does it leave?")
    first = page.panes[0].current
    type_and_send(page, qtbot, "And on Sunday?")
    history = page.panes[0].history
    assert [role for role, _ in history] == ["user", "assistant", "user", "assistant"]
    assert history[1][1] == first.plain() and history[2][1] == "And on Sunday?"
    reply = httpx.post(served.address.url + "/v1/chat/completions", headers=served.address.headers, timeout=30, json={
        "model": "model-1", "messages": [{"role": r, "content": c} for r, c in history[:3]], **page.composer.settings.body()}).json()
    assert history[3][1] == reply["choices"][0]["message"]["content"]
    assert page.composer.prompt.value() == ""


def both_answer(page: ChatPage, qtbot: QtBot, words: str = PROMPT) -> None:
    """A question to two checkpoints that say different things."""
    page.sides.set(2)
    page._sides_changed(2)
    page.mode.set("chat")
    page._mode_changed("chat")
    page.panes[0].pick("1-pretrain@0")
    page.panes[1].pick("model-1")
    type_and_send(page, qtbot, words)


def test_a_vote_on_two_answers_is_a_labelled_pair_and_can_be_taken_back(page: ChatPage, qtbot: QtBot) -> None:
    library = page._project.library.pairs
    assert not page.votes.offered
    both_answer(page, qtbot)
    assert page.votes.offered
    qtbot.mouseClick(page.votes.buttons["right"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "kept as a pair" in page.votes._said.words(), timeout=10_000)
    made = next(each for each in library.sets() if each.origin == "chat")
    pair, = library.rows(made.id)
    assert pair.prompt[-1].content == PROMPT and (pair.first.text, pair.second.text) == tuple(p.history[-1][1] for p in page.panes)
    assert (pair.first.model, pair.second.model) == ("1-pretrain@0", "model-1")
    label, = library.labels((made.id,))
    assert label.choice == "second" and label.left == "first" and label.author
    qtbot.mouseClick(page.votes.undo, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.votes.offered, timeout=10_000)
    assert library.labels((made.id,)) == []
    page.votes.voted.emit("tie")
    qtbot.waitUntil(lambda: bool(library.labels((made.id,))), timeout=10_000)
    assert library.labels((made.id,))[0].choice == "tie" and library.get_set(made.id).count == 1
    type_and_send(page, qtbot, "And then?")
    assert not page.votes.offered, "the two conversations are no longer the same"


def test_the_best_of_several_answers_is_the_one_with_the_highest_reward(page: ChatPage, served: ServerProcess, context: AppContext,
                                                                         qtbot: QtBot) -> None:
    project = page._project
    base = resolve(project, "model-1").folder
    decoder = load_model(base)
    with project.artifacts.create("reward_model", title="Taste") as writer:
        save_reward(writer.path, RewardModel(decoder, RewardHead(decoder.config.hidden_size, seed=4)), RewardFacts(0.0, 0.01, "own"))
        Tokenizer.load(base).save(writer.path)
        made = writer.finish()
    context.look()
    page.sides.set(1)
    page._sides_changed(1)
    page.mode.set("chat")
    page._mode_changed("chat")
    page.panes[0].pick("model-1")
    best = page.composer.best
    qtbot.waitUntil(lambda: best.has_models, timeout=10_000)
    next(a for a in best.menu_of().actions() if a.text() == "Best of 4 by Taste").trigger()
    page.composer.popover.load(replace(page.composer.settings, temperature=2.0, top_k=0, top_p=1.0, max_tokens=8))
    type_and_send(page, qtbot)
    ranked = page.panes[0].ranked
    assert len(ranked) == 4 and [r.reward for r in ranked] == sorted((r.reward for r in ranked), reverse=True)
    assert page.panes[0].history[-1] == ("assistant", ranked[0].text) and "Taste" in words_on(page)
    scorer = Scorer(made.path)
    for one in ranked:
        alone = scorer.score([(Message(role="user", content=PROMPT), Message(role="assistant", content=one.text))])
        assert one.reward == pytest.approx(scorer.normalised(alone)[0], abs=0.02)
    turn = project.library.turns(page._open.id)[-1]
    assert [a["text"] for a in turn.facts["best_of"]["answers"]] == [r.text for r in ranked], "nothing that was sampled is lost"
    was = page.panes[0].current
    page.open_chat(page._open.id)
    qtbot.waitUntil(lambda: page.panes[0].current not in (None, was) and bool(page.panes[0].ranked), timeout=10_000)
    assert [r.text for r in page.panes[0].ranked] == [r.text for r in ranked]
    best.choose(1, "")
    type_and_send(page, qtbot, "And then?")
    assert page.panes[0].ranked == []
    page.mode.set("complete")
    page._mode_changed("complete")
    page.opened(model="model-1", reward=made.id)
    assert (best.count, best.reward, page.mode.value()) == (4, made.id, "chat"), "a reward model's page leads here"


def test_an_earlier_chat_comes_back_with_its_tokens(page: ChatPage, qtbot: QtBot) -> None:
    type_and_send(page, qtbot)
    before = [(p.current.plain(), [t.logprob for t in p.tokens], p._figures[2].words()) for p in page.panes]
    chat = page._open
    page.new_chat()
    assert page.panes[0].current is None
    page.open_chat(chat.id)
    qtbot.waitUntil(lambda: page.panes[1].current is not None, timeout=10_000)
    after = [(p.current.plain(), [t.logprob for t in p.tokens], p._figures[2].words()) for p in page.panes]
    for (text, logprobs, bits), (text2, logprobs2, bits2) in zip(before, after, strict=True):
        assert text == text2 and bits == bits2 and logprobs == pytest.approx(logprobs2, abs=1e-4)
    assert page.composer.prompt.value() == PROMPT


def test_sampling_settings_are_checked_and_remembered(page: ChatPage, context: AppContext, qtbot: QtBot) -> None:
    qtbot.mouseClick(page.composer.sampling, Qt.MouseButton.LeftButton)
    popover = page.composer.popover
    assert popover.isVisible() and page.rect().contains(popover.geometry())
    popover._temperature.selectAll()
    qtbot.keyClicks(popover._temperature, "9")
    assert "Temperature: choose a value from 0 to 5" in words_on(page) and page.composer.settings.temperature == 0.8
    popover._temperature.selectAll()
    qtbot.keyClicks(popover._temperature, "0.3")
    assert page.composer.settings.temperature == 0.3 and context.settings.get("chat.sampling")["temperature"] == 0.3
    qtbot.keyClick(popover._temperature, Qt.Key.Key_Escape)
    assert not popover.isVisible() and "0.3" in words_on(page)


def test_a_training_run_on_the_device_is_said(page: ChatPage, qtbot: QtBot, served: ServerProcess) -> None:
    """The server looks at the device lock of the home it was started with."""
    lock = FileLock(Path(served.home) / "devices" / "cpu.lock")
    assert lock.acquire(wait=5)
    try:
        qtbot.waitUntil(lambda: "A training run has the device" in words_on(page), timeout=15_000)
    finally:
        lock.release()
    qtbot.waitUntil(lambda: "Two checkpoints, one prompt" in words_on(page), timeout=15_000)


def test_too_long_a_prompt_is_told_in_the_pane(page: ChatPage, qtbot: QtBot) -> None:
    page.composer.prompt.set(PROMPT * 400)
    page.send()
    qtbot.waitUntil(lambda: not page._answers, timeout=20_000)
    seen = words_on(page)
    assert "this model sees 1,024" in seen and "Shorten it by" in seen


def test_without_a_model_the_page_leads_to_pretraining(window: MainWindow, project: Project, context: AppContext, qtbot: QtBot) -> None:
    window.show_page("chat")
    page = window.pages["chat"]
    qtbot.waitUntil(lambda: page.client.listed, timeout=30_000)
    assert "No model to talk to yet" in words_on(page) and not page.composer.isVisible()
    asked: list[str] = []
    context.navigate_requested.disconnect(window.show_page)
    context.navigate_requested.connect(lambda id, args: asked.append(id))
    button = next(b for b in page.findChildren(type(page.composer._go)) if b.text() == "Pretrain a model")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert asked == ["pretrain"]
    page.client.stop_server()


def test_a_server_that_dies_is_told_and_started_again(window: MainWindow, context: AppContext, tmp_path, qtbot: QtBot) -> None:
    context.open_project(make_project(tmp_path / "project", context=4096).dir)
    window.show_page("chat")
    page = window.pages["chat"]
    page.composer.popover.load(SamplingSettings(temperature=1.0, top_k=0, top_p=1.0, max_tokens=4000, seed=5))
    page.composer.prompt.set(PROMPT)
    page.send()  # before the server is there: it waits and goes out by itself
    qtbot.waitUntil(lambda: all(p.tokens for p in page.panes), timeout=40_000)
    os.kill(page.client._pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: page.client.state == "failed" and not page._answers, timeout=10_000)
    assert "The local server has ended." in words_on(page) and page.panes[0].tokens
    button = next(b for b in page._trouble.findChildren(type(page.composer._go)))
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.client.can_ask and page.client.listed, timeout=40_000)
    assert "has ended" not in page._trouble.findChildren(Text).__repr__() and page._trouble.note is None
    page.client.stop_server()


def test_checkpoints_are_grouped_by_run() -> None:
    models = [ModelInfo("model-1", "a"), *(ModelInfo(f"3-pretrain@{step}", "b", run="3-pretrain") for step in (20, 0))]
    assert [(head, [m.id for m in members]) for head, members in grouped(models)] == [
        ("Finished models", ["model-1"]), ("Run 3", ["3-pretrain@20", "3-pretrain@0"])]


def test_small_chances_are_never_nought() -> None:
    plain = {p: chance(p).replace("\u00a0", " ") for p in (0.97, 0.12, 0.0641, 0.0026, 1 / 16384, 1e-7)}
    assert plain == {0.97: "97 %", 0.12: "12 %", 0.0641: "6.4 %", 0.0026: "0.26 %", 1 / 16384: "0.006 %", 1e-7: "under 0.001 %"}
    assert (place_of(3), place_of(1234)) == ("third choice", "choice 1,234")
    assert figures([], 0) == ["0 tokens"]
