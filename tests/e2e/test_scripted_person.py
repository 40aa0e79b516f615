"""A scripted person goes from the first window to a chat with a trained model, brings conversations, fine-tunes it on them and talks with
what came out; by mouse and keyboard only: the real window, the real workers and the real server. (tests/e2e/person_xdotool.py does the same
from outside, on a virtual screen.)
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QAbstractButton, QApplication, QPlainTextEdit

from desktop.app import build
from desktop.widgets.token_text import TokenText
from engine.project.models import list_models
from tests.e2e.person import Person

WORDS = "the ferry left quay at seven with forty passengers and mail for island harbour light wind rose tide fell".split()


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qapp: QApplication) -> Iterator[Person]:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEDGE_THREADS", "1")
    app = build()
    app.show()
    QApplication.processEvents()
    yield Person(app)
    app.window.close()
    app.context.close()


@pytest.mark.timeout(300)
def test_from_the_first_window_to_a_talk_with_a_tuned_model(person: Person, tmp_path: Path) -> None:
    text = tmp_path / "ferry.txt"
    text.write_text("\n\n".join(" ".join(WORDS[(i * j) % len(WORDS)] for j in range(1, 40)) + "." for i in range(1, 500)))

    QTimer.singleShot(0, lambda: person.click("New project"))
    person.wait("the wizard", QApplication.activeModalWidget)
    person.click("Next")
    person.type_into("Name", "Harbour")
    person.type_into("Folder", str(tmp_path / "harbour"))
    person.click("Next")
    person.click("Make the project" if person.find(QAbstractButton, "Make the project") else person.words()[-1])
    project = person.wait("the project", lambda: person.app.context.project)

    person.wait("the corpus page", lambda: person.find(QAbstractButton, "Add files") or person.click("Corpus"))
    person.choose_file("Add files", text)
    for _ in range(4):  # clean, duplicates, split, start
        person.click("Next")
    person.click("Start")
    person.click("Train a tokenizer", 60)
    person.type_into("Vocabulary", "320")
    person.click("Train the tokenizer")
    person.click("Design a model", 60)

    person.click("Advanced")
    for name, value in (("Context length", "32"), ("Width", "32"), ("Heads", "2")):
        person.type_into(name, value)
    person.click("Next")
    person.click("Next")
    person.click("Advanced")
    for name, value in (("Steps", "40"), ("Batch", "256"), ("Validate on", "1000"), ("Sample length", "8")):
        person.type_into(name, value)
    person.click("Next")
    person.click("Next")
    person.click("Start training")
    person.click("Chat with it", 120)

    person.wait("a prompt field", lambda: person.find(QPlainTextEdit, "Prompt"))
    person.type_into("Prompt", "the ferry left")
    person.click("Continue both")  # a new model opens beside its untrained self
    texts = person.wait("two answers", lambda: len(found := [t for t in person.app.window.findChildren(TokenText) if t.isVisible()
                                                and len(t.plain()) > len("the ferry left") + 5]) == 2 and found, 60)
    assert len(texts) == 2 and all(t.plain().startswith("the ferry left") for t in texts)
    assert [m.id for m in list_models(project)][0] == "model-1"
    person.wait("the chat on disk", lambda: project.library.chats(), 30)

    talks = tmp_path / "talks.json"
    talks.write_text(json.dumps([{"messages": [{"role": "user", "content": f"{one} {other}?"}, {"role": "assistant", "content": one}]}
                                 for one in WORDS[:8] for other in WORDS[8:13]]))
    person.click("Instruction data")
    person.choose_file("Import a file", talks)
    person.click("Import")
    person.click("Fine-tune on it")
    for _ in range(3):  # data, template, method
        person.click("Next")
    person.wait("the next step", lambda: person.find(QAbstractButton, "Measure"))
    person.click("Next")
    person.type_into("Epochs", "2")
    person.click("Start training", 60)
    person.wait("the report", lambda: person.sees("The same questions before and after"), 120)
    assert person.sees("is ready") and person.find(QAbstractButton, "Report")
    [(tuned, base)] = [(m, m.parents) for m in project.artifacts.list("model") if m.facts.get("chat")]
    assert "model-1" in base

    person.click("Chat with it")
    person.wait("words to a model that answers", lambda: person.find(QAbstractButton, "Send to both"))
    person.type_into("Prompt", "the quay?")
    person.click("Send to both")
    talk = person.wait("the talk on disk", lambda: next((c for c in project.library.chats() if c.mode == "chat"), None), 60)
    turns = person.wait("both answers", lambda: len(found := project.library.turns(talk.id)) == 3 and found)
    assert [t.role for t in turns] == ["user", "assistant", "assistant"] and turns[0].content == "the quay?"
    assert tuned.id in {t.model for t in turns}
