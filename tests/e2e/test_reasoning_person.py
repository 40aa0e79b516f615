"""A scripted person makes problems, writes a verifier with a mistake in it, mends it, checks it, tries a model with it and lets the model
learn from it; another's verifier fails in mid-run, is mended at its line, and the run begins again; and what is typed outlives a kill. By
mouse and keyboard only: the real window, the real sandbox and real workers.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QPlainTextEdit

from desktop.app import build
from engine.contract.errors import Missing
from engine.contract.rows import Example, Message, Problem, problem_id
from engine.model.config import ModelConfig
from engine.project.project import Project
from engine.stages.sft.spec import SftSpec
from engine.verifiers.image import checked_image
from tests.e2e.person import Person

ROOT = Path(__file__).parents[2]
CONTROL = Qt.KeyboardModifier.ControlModifier
SUMS = [(f"What is {a} + {b}?", str(a + b)) for a in range(13) for b in range(13)]
EDITOR = "Source of the verifier"
WRONG = ("def verify(prompt, completion, answer):",
         '    """The last word is the answer."""',
         "    words = completion[-100:].split()",
         "    if not words",
         "        return 0.0",
         "    return 1.0 if words[-1] == answer else 0.0")
FAILS = '''def verify(prompt, completion, answer):
    """No sum that ends with a 4 was thought of."""
    place = "012356789".index(answer[-1])
    return 1.0 if completion.strip() == answer and place >= 0 else 0.0
'''
MENDED = FAILS.replace('"012356789"', '"0123456789"')


def built() -> bool:
    """Whether code can be verified on this machine: the image of the sandbox is there."""
    try:
        checked_image()
    except Missing:
        return False
    return True


pytestmark = pytest.mark.skipif(not built(), reason="the image of the sandbox was not built: python packaging/build_verifier_image.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model that was tuned on sums, a little: some of its answers are right."""
    import torch

    from engine.model.checkpoint import save_weights
    from engine.model.decoder import Decoder
    from engine.text import bpe, specials
    from tests.attempts import Attempt
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("made") / "sums"
    project = Project.create(folder, "Sums")
    tokenizer = bpe.train([f"{asked} {answer}" for asked, answer in SUMS] * 3, 290, special=specials.SPECIAL_TOKENS)
    model = Decoder(ModelConfig(vocab_size=tokenizer.vocab_size, hidden_size=48, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=24,
                                intermediate_size=96, max_seq_len=96, tie_embeddings=True), seed=3)
    with project.artifacts.create("model", title="Base") as made:
        save_weights(made.path, model)
        tokenizer.save(made.path)
        made.finish(steps=0)
    taught = project.library.examples.create_set("Sums")
    project.library.examples.add(taught.id, [Example(id=f"s{i}", messages=(Message(role="user", content=asked),
                                                                           Message(role="assistant", content=answer)))
                                             for i, (asked, answer) in enumerate(SUMS)], "person")
    spec = SftSpec(model="model-1", examples=(taught.id,), title="Adds a little", epochs=10, batch_size=16, learning_rate=6e-3,
                   compile="off", dtype="float32", eval_every=0, sample_every=0, checkpoint_every_minutes=0)
    Attempt(project, project.runs.create(spec).id, spec).run()
    project.library.close()
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, and a home of its own."""
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEDGE_THREADS", "1")
    shutil.copytree(made, tmp_path / "sums")
    return tmp_path / "sums"


@pytest.fixture
def person(folder: Path, qapp: QApplication) -> Iterator[Person]:
    app = build()
    app.context.open_project(folder)
    app.window.resize(1280, 800)
    app.show()
    QApplication.processEvents()
    yield Person(app)
    app.window.close()
    app.context.close()


def short_run(person: Person, rounds: int) -> None:
    """From the wizard's first step to a run that takes seconds."""
    for _ in range(3):  # model, problems, verifier
        person.wait("the next step", lambda: person.find(QAbstractButton, "Next"))
        person.click("Next")
    for name, value in (("Rounds", rounds), ("Problems a round", 16), ("Answers a problem", 4), ("Longest answer", 8)):
        person.type_into(name, str(value))
    person.click("Next")
    person.click("Next")
    person.click("Start training")


@pytest.mark.timeout(240)
def test_from_no_problem_to_a_model_that_learned_from_a_verifier_written_here(person: Person, folder: Path) -> None:
    project = Project.open(folder)
    person.click("Verifiers")
    person.click("Generate problems")
    person.wait("the first ones", lambda: len(person.rows("The first ones")) == 5)
    for level in ("Level 2", "Level 3"):
        person.click(level)
    person.type_into("Problems of each level", "120")
    person.type_into("Held out", "30")
    person.click("Generate")
    person.choose("Ways to begin", "An empty one")
    [problems] = project.library.problems.sets()
    assert problems.count == 120 and problems.held_out > 20 and problems.origin == "generator:arithmetic"
    person.type_into("Name of the verifier", "last_word.py")
    person.click("Begin")
    person.wait("the editor", lambda: person.sees("version 1, saved"))

    field = person.write(EDITOR, *WRONG)
    assert field.toPlainText() == "\n".join(WRONG)
    person.wait("the mistake at its line", lambda: person.sees("Line 4: "))
    person.wait("the draft on the disk", lambda: project.library.verifiers.get("verifier-1").draft == "\n".join(WRONG))
    assert person.find(QAbstractButton, "Run checks") is None and person.find(QAbstractButton, "Use in reasoning") is None
    person.press(Qt.Key.Key_F8)
    person.press(Qt.Key.Key_End)
    QTest.keyClicks(field, ":")
    person.press(Qt.Key.Key_S, CONTROL)
    person.wait("a version", lambda: person.sees("version 2, saved"))
    [first, second] = sorted(project.library.verifiers.versions("verifier-1"), key=lambda v: v.number)
    assert second.body == "\n".join(WRONG).replace("words\n        r", "words:\n        r") != first.body and second.trusted

    person.click("Run checks")
    person.wait("the checks", lambda: person.sees("all pass"))
    assert person.rows("Checks")[0] == ["Gold answer", "1.0", "1.0"] and len(person.rows("Checks")) == 7

    person.click("How it is tried")
    for name, value in (("Problems", 24), ("Answers each", 4), ("Longest answer", 8)):
        person.type_into(name, str(value))
    person.click("Use these")
    person.click("Try the model")
    person.wait("what the model can", lambda: person.sees("96 completions") and person.sees("There is signal"), 60)
    assert person.sees("pass@1") and person.sees("pass@4") and person.sees("Mixed groups") and person.sees("right before training")

    person.click("Use in reasoning")
    short_run(person, 3)
    person.wait("the report", lambda: person.sees("is ready"), 90)
    tuned = project.artifacts.list("model")[-1]
    run = project.runs.list("grpo")[-1]
    assert run.spec["verifier"] == "verifier-1@2" and tuple(run.spec["problem_sets"]) == (problems.id,)
    assert tuned.facts["model"] == "model-2" and tuned.facts["pass_at_1_after"] is not None
    person.click("Answers")
    person.wait("the rollouts", lambda: len(person.rows("Problems of the round")) >= 16)
    person.click("Over the run")
    person.wait("one problem over the run", lambda: person.sees("One problem"))
    person.click("Report")
    person.wait("the report", lambda: person.sees("Solved"))

    person.click("Chat with it")
    person.wait("words to a model that answers", lambda: person.find(QAbstractButton, "Send to both"))
    person.type_into("Prompt", "What is 3 + 4?")
    person.click("Send to both")
    talk = person.wait("the talk on disk", lambda: next((c for c in project.library.chats() if c.mode == "chat"), None), 60)
    turns = person.wait("both answers", lambda: len(found := project.library.turns(talk.id)) == 3 and found, 60)
    assert {turn.model for turn in turns[1:]} == {"model-2", tuned.id}


@pytest.mark.timeout(240)
def test_a_run_whose_verifier_fails_leads_to_the_line_and_begins_again_with_the_mended_one(person: Person, folder: Path) -> None:
    project = Project.open(folder)
    project.library.verifiers.create("No fours", "python", FAILS)
    project.library.problems.take("Sums", [problem(asked, answer) for asked, answer in SUMS[:150]], origin="person", held_out_percent=20)
    failing = sum(answer.endswith("4") for _, answer in SUMS[:150]) / 150
    assert 0.08 < failing < 0.13
    person.app.context.look()

    person.click("Reasoning")
    short_run(person, 6)
    person.wait("a run that rests", lambda: person.sees("Paused: the verifier fails"), 90)
    assert person.sees("line 3: ") and person.sees("could not judge")
    assert project.runs.list("grpo")[-1].spec["verifier"] == "verifier-1@1"
    person.click("Open the verifier at line 3")
    field = person.wait("the editor", lambda: person.find(QPlainTextEdit, EDITOR))
    person.wait("the line", lambda: field.textCursor().blockNumber() == 2 and field.hasFocus())
    person.press(Qt.Key.Key_Home)
    for _ in range(len('place = "0123')):
        person.press(Qt.Key.Key_Right)
    QTest.keyClicks(field, "4")
    assert field.toPlainText() == MENDED
    person.press(Qt.Key.Key_S, CONTROL)
    person.wait("a version", lambda: person.sees("version 2, saved"))

    person.click("Reasoning")
    person.click("Start again with another verifier")
    person.wait("the first step", lambda: person.find(QAbstractButton, "Next"))
    person.click("Next")
    person.click("Next")
    person.wait("what is newer", lambda: person.sees("There is a newer version"))
    person.click("Take the newest")
    for _ in range(3):
        person.click("Next")
    person.click("Start training")
    person.wait("the report", lambda: person.sees("is ready"), 90)
    run = project.runs.list("grpo")[-1]
    assert run.spec["verifier"] == "verifier-1@2" and project.artifacts.list("model")[-1].run == run.id


def problem(asked: str, answer: str) -> Problem:
    prompt = (Message(role="user", content=asked),)
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer, origin="person")


@pytest.mark.timeout(120)
def test_what_is_typed_outlives_a_kill(folder: Path, qapp: QApplication) -> None:
    """The window is killed while somebody types: what was typed half a second before is there when the project is opened again."""
    project = Project.open(folder)
    project.library.verifiers.create("Typed", "python", FAILS)
    project.library.problems.take("Sums", [problem(asked, answer) for asked, answer in SUMS], origin="person")
    process = subprocess.Popen([sys.executable, "-m", "tests.e2e.typing_person", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "QT_QPA_PLATFORM": "offscreen"})
    assert process.stdout is not None
    typed: list[tuple[float, str]] = []
    for line in process.stdout:
        typed.append((time.monotonic(), line.rstrip("\n")))
        if len(typed) > 1 and typed[-1][0] - typed[0][0] > 1.6:
            break
    killed = time.monotonic()
    process.kill()
    process.stdout.close()
    process.wait(30)
    sure = [words for moment, words in typed if killed - moment > 0.6]
    assert len(sure) > 5
    draft = project.library.verifiers.get("verifier-1").draft
    assert draft is not None and draft.endswith(FAILS) and draft.startswith(sure[-1])

    app = build()
    app.context.open_project(folder)
    app.show()
    person = Person(app)
    person.click("Verifiers")
    person.wait("the draft", lambda: (field := person.find(QPlainTextEdit, EDITOR)) is not None and field.toPlainText() == draft)
    assert person.sees("version 1, edited")
    app.window.close()
    app.context.close()
