"""A scripted person makes pairs with a model that answers, labels all of them by keyboard, trains a reward model and tunes with DPO on the
labels, and votes in Chat between the tuned model and the one it came from; by mouse and keyboard only: the real window and real workers.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication

from desktop.app import build
from desktop.widgets.choice_card import ChoiceCard
from engine.contract.rows import Example, Message
from engine.model.config import ModelConfig
from engine.project.project import Project
from tests.e2e.person import Person

WORDS = "the ferry left quay at seven with forty passengers and mail for island harbour light wind rose tide fell".split()
PAIRS = 24
KEYS = (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_2, Qt.Key.Key_Right, Qt.Key.Key_Up)


def make_project(folder: Path) -> None:
    """A model that answers, however badly, and questions to ask it."""
    import torch

    from engine.model.checkpoint import save_weights
    from engine.model.decoder import Decoder
    from engine.text import bpe, specials
    project = Project.create(folder, "Harbour")
    tokenizer = bpe.train([" ".join(WORDS)] * 20, 320, special=specials.SPECIAL_TOKENS)
    model = Decoder(ModelConfig(vocab_size=tokenizer.vocab_size, hidden_size=32, num_layers=1, num_heads=2, num_kv_heads=2, head_dim=16,
                                intermediate_size=64, max_seq_len=512, tie_embeddings=True), seed=3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "embed" not in name:
                weight.mul_(8.0)  # sharper than a fresh one: it has something to prefer
    with project.artifacts.create("model", title="Harbour answers") as made:
        save_weights(made.path, model)
        tokenizer.save(made.path)
        made.finish(steps=0, chat=True)
    asked = project.library.examples.create_set("Questions")
    project.library.examples.add(asked.id, [Example(id=f"q{i}", messages=(
        Message(role="user", content=f"{one} {other}?"), Message(role="assistant", content=one)))
        for i, (one, other) in enumerate(zip(WORDS, WORDS[5:] + WORDS[:5], strict=True))], "person")


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qapp: QApplication) -> Iterator[Person]:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEDGE_THREADS", "1")
    make_project(tmp_path / "harbour")
    app = build()
    app.context.open_project(tmp_path / "harbour")
    app.show()
    QApplication.processEvents()
    yield Person(app)
    app.window.close()
    app.context.close()


@pytest.mark.timeout(180)
def test_from_pairs_to_a_vote_on_the_model_that_learned_from_them(person: Person, tmp_path: Path) -> None:
    project = Project.open(tmp_path / "harbour")
    library = project.library

    person.click("Preferences")
    person.click("Make 200 pairs")
    person.click("Questions")
    person.click("Next")
    person.wait("the next step", lambda: not person.sees("Looking") and person.find(QAbstractButton, "Next"))
    person.click("Next")
    person.type_into("Pairs", str(PAIRS))
    person.type_into("Longest answer", "8")
    person.click(f"Make {PAIRS} pairs")
    person.click("Label them", 60)

    person.wait("the first card", lambda: person.sees(f"0 of {PAIRS}"))
    for place in range(10 * PAIRS):  # every key is for the card that follows: none is waited for
        if person.sees("All of it is labelled"):
            break
        person.press(KEYS[place % len(KEYS)])
        QApplication.processEvents()
    person.wait("the end", lambda: person.sees("All of it is labelled"))
    [made] = library.pairs.sets()
    labels = library.pairs.labels((made.id,))
    assert made.count == len(labels) == PAIRS and made.todo == 0
    assert {one.choice for one in labels} == {"first", "second", "tie"} and 2 in {one.strength for one in labels}

    person.click("Train reward model")
    for _ in range(3):  # model, pairs, method
        person.wait("the next step", lambda: person.find(QAbstractButton, "Next"))
        person.click("Next")
    person.click("Start training")
    person.click("Tune with it", 90)
    [reward] = project.artifacts.list("reward_model")
    assert reward.facts["pairs"] + reward.facts["held_out"] <= PAIRS

    by_labels = person.wait("the card of DPO", lambda: next((card for root in person.screen() for card in root.findChildren(ChoiceCard)
                                                             if card.isVisible() and "(DPO)" in card.accessibleName()), None))
    QTest.mouseClick(by_labels, Qt.MouseButton.LeftButton)   # the way led to PPO with that reward model
    person.click("Next")
    person.click("Next")
    person.click("Next")
    person.type_into("Epochs", "8")
    person.type_into("Learning rate", "0.01")
    person.click("Start training")
    person.click("Chat with it", 90)
    tuned = project.artifacts.list("model")[-1]
    assert tuned.facts["model"] == "model-1" and tuned.facts["loss"] == "sigmoid"

    person.wait("two models", lambda: person.find(QAbstractButton, "Send to both"), 60)
    for word in WORDS:  # until they answer differently
        person.type_into("Prompt", asked := f"the {word}?")
        person.click("Send to both", 60)
        person.wait("the end", lambda: person.find(QAbstractButton, "Send to both"), 60)
        if person.find(QAbstractButton, "Right is better"):
            break
    person.press(Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    person.wait("the vote on the disk", lambda: person.sees("Right is better: kept as a pair"))
    voted = next(one for one in library.pairs.sets() if one.origin == "chat")
    [pair] = library.pairs.rows(voted.id)
    [vote] = library.pairs.labels((voted.id,))
    assert vote.choice == "second" and {pair.first.model, pair.second.model} == {"model-1", tuned.id}
    assert pair.prompt[-1].content == asked
