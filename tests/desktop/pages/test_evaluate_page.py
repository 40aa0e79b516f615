"""The Evaluate page with real tiny models and the real stage: a whole evaluation, the person's blind votes, own suites, two compared."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.models import evaluate_suites
from desktop.models.evaluate_answers import Answers, Source
from desktop.models.evaluate_blind import BlindSession
from desktop.models.evaluate_plan import EvaluatePlan, read_suites
from desktop.models.evaluate_result import Result, holm, paired_losses
from desktop.pages.evaluate import EvaluatePage
from engine.contract.context import RunContext
from engine.contract.errors import FledgeError
from engine.contract.rows import Example, Message
from engine.evaluation import suites
from engine.model.checkpoint import load_model, stop_ids
from engine.project import layout
from engine.project.project import Project
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.stages.evaluate.run import run
from engine.stages.evaluate.spec import EvaluateSpec
from engine.text.tokenizer import Tokenizer
from tests.serving import make_project, write_model

PROMPTS = [f"{word} {n}?" for n in range(6) for word in ("mail", "ferry", "quay")]
LENGTH = 6


def says(project: Project, id: str) -> list[str]:
    folder = project.artifacts.get(id).path
    model, words = load_model(folder), Tokenizer.load(folder)
    ends = stop_ids(folder, words)
    asked = [words.encode_chat([{"role": "user", "content": prompt}]) for prompt in PROMPTS]
    made = generate(model, asked, Sampling(temperature=0, max_new_tokens=LENGTH, stop_ids=ends))
    return [words.decode([i for i in one.ids if i not in ends], skip_special=True).strip() for one in made]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, a suite whose answers are known of the second one, a set, and an evaluation with a blind part."""
    project = make_project(tmp_path_factory.mktemp("evaluate") / "project")
    with project.artifacts.create("model", title="tuned") as writer:
        write_model(writer.path, Tokenizer.load(project.artifacts.get("model-1").path), 5)
        writer.finish(step=9, chat=True)
    layout.suites(project.dir).mkdir()
    known = [{"prompt": p, "answer": "never said" if i % 6 == 0 else said or "nothing"}
             for i, (p, said) in enumerate(zip(PROMPTS, says(project, "model-2"), strict=True))]
    (layout.suites(project.dir) / "known.jsonl").write_text("\n".join(json.dumps(row) for row in known))
    (layout.suites(project.dir) / "known.toml").write_text('title = "Known"\nfile = "known.jsonl"\n')
    library = project.library.examples
    library.add(library.create_set("Village").id, [Example(id=f"r{i}", facts={"answer": str(i)}, messages=(
        Message(role="user", content=p), Message(role="assistant", content=f"It is {i}"))) for i, p in enumerate(PROMPTS)], "person")
    spec = EvaluateSpec(title="First look", models=("model-1", "model-2"), suites=("known", "blind"), max_tokens=LENGTH)
    begun = project.runs.create(spec)
    run(spec, RunContext(run_dir=begun.dir, project_dir=project.dir, run_id=begun.id, device="cpu", attempt=1, emitter=lambda e: None,
                         reader=lambda: None))
    return project.dir


@pytest.fixture
def page(window: MainWindow, context: AppContext, made: Path, tmp_path: Path, qtbot: QtBot) -> Iterator[EvaluatePage]:
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    window.resize(1280, 800)
    context.open_project(folder)
    window.show_page("evaluate")
    shown = window.pages["evaluate"]
    assert isinstance(shown, EvaluatePage)
    qtbot.waitUntil(lambda: shown.plan.suites is not None, timeout=20_000)
    yield shown


def button(page: EvaluatePage, words: str) -> QPushButton:
    QApplication.processEvents()
    return next(b for b in page.findChildren(QPushButton) if b.text().strip() == words and b.isVisible())


def press(qtbot: QtBot, page: EvaluatePage, words: str) -> None:
    qtbot.mouseClick(button(page, words), Qt.MouseButton.LeftButton)


def shown_words(page: EvaluatePage) -> str:
    QApplication.processEvents()
    return "\n".join(label.text() + label.toolTip() + label.accessibleName() for label in page.findChildren(QLabel) if label.isVisible())


def choose(page: EvaluatePage, models: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    page.begin()
    for id in {*page.plan.values["models"]} ^ {*models}:
        page.setup._toggle_model(next(m for m in page.plan.models if m.id == id))
    page.setup.plan.compare_with(models[0])
    for id in {*page.plan.values["suites"]} ^ {*wanted}:
        page.setup.cards[id].clicked.emit()


def open_blind(page: EvaluatePage, qtbot: QtBot) -> None:
    page.show_evaluation("evaluation-1")
    qtbot.waitUntil(lambda: page._session is not None)
    page.result.choose("blind")
    press(qtbot, page, "Judge blindly")
    assert page._view == "blind"


def test_without_a_model_the_page_leads_to_one(window: MainWindow, project: Project, qtbot: QtBot) -> None:
    window.show_page("evaluate")
    page = window.pages["evaluate"]
    assert isinstance(page, EvaluatePage) and page._view == "empty"
    press(qtbot, page, "Import a model")
    assert window.shown == "import_model"


def test_a_whole_evaluation_is_chosen_run_and_shown(page: EvaluatePage, qtbot: QtBot) -> None:
    choose(page, ("model-1", "model-2"), ("known",))
    page.setup.form.set("max_tokens", LENGTH)
    press(qtbot, page, "Start")
    qtbot.waitUntil(lambda: page._view == "running", timeout=10_000)
    qtbot.waitUntil(lambda: page._view == "result" and page._awaited == "", timeout=90_000)
    assert page.result.artifact is not None and page.result.artifact.id == "evaluation-2"
    line = page.result.table.rows_model.rows[0]
    assert [f.words for f in line.figures] == ["0\u00a0%", "83\u00a0%"] and [f.mark for f in line.figures] == [0, 1]
    assert "more than chance" in " ".join(page.result.result.sentences("known"))
    qtbot.waitUntil(lambda: page.result.answers.answers is not None and bool(page.result.answers.found))
    page.result.answers.choose("wrong")
    qtbot.waitUntil(lambda: len(page.result.answers.found) == 3)
    page.result.answers.choose("differ")
    qtbot.waitUntil(lambda: len(page.result.answers.found) == 15)
    page.result.answers.turn(4)
    assert page.result.answers.start == 4


def test_what_a_suite_lacks_is_said_where_it_is_chosen(page: EvaluatePage, qtbot: QtBot) -> None:
    choose(page, ("model-2",), ("questions", "blind", "win_rate", "held_out_text"))
    found = {p.field: p.sentence for p in page.plan.problems()}
    assert set(found) == {"examples", "corpus", "judge", "models"}
    press(qtbot, page, "Start")
    assert page._view == "setup" and not page.project.runs.list()[2:]
    words = shown_words(page)
    assert found["examples"] in words and found["corpus"] in words and found["judge"] in words and found["models"] in words
    page.setup._toggle_set(page.plan.sets[0].id)
    assert "examples" not in {p.field for p in page.plan.problems()}


def test_blind_votes_are_kept_before_the_next_pair_and_makers_stay_hidden(page: EvaluatePage, qtbot: QtBot) -> None:
    open_blind(page, qtbot)
    view, votes = page.blind, page.project.library.votes
    session = view.session
    assert session is not None and session.current is not None
    first, titles = session.current, ("tuned", "gazette-tiny")
    assert not any(title in shown_words(page) for title in titles)
    shown_at: list[int] = []
    view.changed.connect(lambda: shown_at.append(len(votes.list("evaluation-1"))))
    qtbot.keyClick(view, Qt.Key.Key_Left)
    qtbot.waitUntil(lambda: session.done == 1)
    assert shown_at == [1] and session.current != first
    vote = votes.list("evaluation-1")[0]
    assert (vote.choice, vote.left_text, vote.left_model, vote.author) == ("left", first.left_text, first.left_model, "person")
    qtbot.keyClick(view, Qt.Key.Key_U)
    qtbot.waitUntil(lambda: session.done == 0)
    assert votes.list("evaluation-1") == [] and session.current == first
    qtbot.keyClick(view, Qt.Key.Key_S)
    assert session.skipped == [first.key] and session.current != first
    button(page, "Tie").setFocus()  # a button with the focus does not take the arrows
    for key, choice in ((Qt.Key.Key_Up, "tie"), (Qt.Key.Key_Down, "bad"), (Qt.Key.Key_Right, "right")):
        before = session.done
        qtbot.keyClick(view.tie, key)
        qtbot.waitUntil(lambda before=before: session.done == before + 1)
        assert votes.list("evaluation-1")[-1].choice == choice
    assert not any(title in shown_words(page) for title in titles)
    press(qtbot, page, "Back to the figures")
    qtbot.waitUntil(lambda: page.result.result is not None and page.result.result.judged.get("blind") == (3, session.total))
    assert not page.result.result.votes and "not told yet" in [f.words for line in page.result.result.lines() for f in line.figures]
    open_blind(page, qtbot)
    again = page.blind.session
    assert again is not None and again.done == 3
    press(qtbot, page, "Finish and reveal")
    assert all(title in shown_words(page) for title in titles)
    press(qtbot, page, "Back to the figures")
    qtbot.waitUntil(lambda: bool(page.result.result.votes))
    assert page.result.result.votes["blind", "model-2"]["n"] == 3


def test_when_every_pair_is_judged_the_result_comes_by_itself(page: EvaluatePage, qtbot: QtBot) -> None:
    open_blind(page, qtbot)
    view = page.blind
    session = view.session
    assert session is not None
    while not session.complete:
        pair, before = session.current, session.done
        assert pair is not None
        view.choose("left" if pair.left_model == "model-2" else "right")
        qtbot.waitUntil(lambda before=before: session.done == before + 1)
    assert view.told
    rate = session.tallies("model-1")["model-2"]
    assert rate["value"] == 1.0 and rate["wins"] == session.total and rate["low"] > 0.5
    assert 0 < session.left_share()[0] < 1  # sides were drawn


def test_a_suite_of_ones_own_from_a_file_is_saved_changed_and_measured(page: EvaluatePage, qtbot: QtBot, tmp_path: Path) -> None:
    file = tmp_path / "gsm.csv"
    file.write_text('question,solution\n"2 + 2?","= 4 #### 4"\n"A ""quoted"" one?",7\n')
    page.begin()
    press(qtbot, page, "New suite")
    view = page.suite
    assert not view.save.isEnabled()
    view.take_file(file)
    qtbot.waitUntil(lambda: len(view.draft.rows) == 2)
    view.grader.set("number")
    view.title.setText('Sums "of" mine')
    view.table.select(1)
    view.prompt.setPlainText("3 + 4?")
    assert view.draft.rows[1]["prompt"] == "3 + 4?" and view.save.isEnabled()
    view._head_edited()
    press(qtbot, page, "Save the suite")
    qtbot.waitUntil(lambda: page._view == "setup" and "sums-of-mine" in page.setup.cards)
    saved = suites.load("sums-of-mine", page.project.dir)
    assert (saved.title, saved.graders, [q.prompt for q in saved.questions]) == ('Sums "of" mine', ("number", "exact"), ["2 + 2?",
                                                                                                                         "3 + 4?"])
    assert "sums-of-mine" in page.plan.values["suites"] and page.setup.cards["sums-of-mine"].chosen


def test_an_own_suite_keeps_what_is_not_changed_and_a_copy_leaves_the_original(page: EvaluatePage) -> None:
    project = page.project.dir
    place = layout.suites(project) / "mine.toml"
    place.write_text('title = "Mine"\ngraders = ["regex"]\nsystem = "Say \\\\d only"\ntemperature = 0.5\nsamples = 3\n'
                     '[[questions]]\nprompt = "1?"\npattern = "^1$"\ntopic = "sums"\n')
    before = suites.load("mine", project)
    draft = evaluate_suites.of_suite(project, "mine")
    assert evaluate_suites.save(project, draft) == "mine"
    after = suites.load("mine", project)
    assert (after.asking, after.graders, after.temperature, after.samples) == (before.asking, before.graders, 0.5, 3)
    assert after.questions == before.questions and after.questions[0].group == {"topic": "sums"}
    copy = evaluate_suites.save(project, evaluate_suites.of_suite(project, "formats", copy=True))
    assert suites.load(copy, project).questions == suites.load("formats").questions and suites.load(copy, project).own
    for broken in (evaluate_suites.SuiteDraft(title="x"), evaluate_suites.SuiteDraft(title="x", rows=[{"prompt": "?"}]),
                   evaluate_suites.SuiteDraft(title="x", rows=[{"prompt": "?", "answers": ["no"]}], grader="number")):
        with pytest.raises(FledgeError):
            evaluate_suites.save(project, broken)
    assert not (layout.suites(project) / "x.toml").exists()


def test_a_suite_that_cannot_be_read_says_why_and_cannot_be_chosen(page: EvaluatePage, qtbot: QtBot) -> None:
    (layout.suites(page.project.dir) / "torn.toml").write_text("title = ")
    page.begin()
    page._read()
    qtbot.waitUntil(lambda: "torn" in page.setup.cards)
    card = page.setup.cards["torn"]
    assert not card.usable and "cannot be read" not in card.suite.title and card.suite.problem
    assert EvaluatePlan().values["suites"] and {s.id for s in read_suites(page.project.dir)} >= {"known", "everyday", "torn"}


def test_two_evaluations_are_compared_on_the_questions_of_both(page: EvaluatePage, qtbot: QtBot) -> None:
    spec = EvaluateSpec(models=("model-2",), suites=("known",), max_tokens=LENGTH, limit=9)
    begun = page.project.runs.create(spec)
    run(spec, RunContext(run_dir=begun.dir, project_dir=page.project.dir, run_id=begun.id, device="cpu", attempt=1, emitter=lambda e: None,
                         reader=lambda: None))
    page.to_start()
    page.context.look()
    qtbot.waitUntil(lambda: len(page.start.table.rows_model.rows) == 2)
    page.start.table.selectAll()
    press(qtbot, page, "Compare the two")
    view = page.compare_view
    qtbot.waitUntil(lambda: len(view.table.rows_model.rows) == 1)
    assert [c.value() for c in view.models] == ["model-2", "model-2"]
    assert view.table.rows_model.rows[0].mark == 0 and "of 9" in view.table.rows_model.rows[0].meaning
    view.models[0].setCurrentIndex(0)
    qtbot.waitUntil(lambda: view.table.rows_model.rows[0].mark == 1)


def test_a_report_is_saved_and_what_models_wrote_is_no_markup(page: EvaluatePage, qtbot: QtBot, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    page.show_evaluation("evaluation-1")
    for name in ("report.html", "report.json"):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, name=name: (str(tmp_path / name), ""))
        press(qtbot, page, "Save the report")
        qtbot.waitUntil(lambda name=name: (tmp_path / name).exists())
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["results"] == json.loads(json.dumps(page.result.artifact.facts["results"]))
    html = (tmp_path / "report.html").read_text()
    assert "First look" in html and "83\u00a0%" in html and "better" in html
    from desktop.models.evaluate_paper import html as write
    bad = Result("<b>x</b>", {"models": [{"id": "m", "title": "<i>m</i>"}], "suites": []})
    assert "<b>x" not in write(bad) and "&lt;b&gt;x" in write(bad)


def test_answers_are_found_by_what_was_said_and_stand_side_by_side(made: Path) -> None:
    folder = Project.open(made).artifacts.get("evaluation-1").path
    answers = Answers("known", [Source(folder, "model-1", "plain", "a"), Source(folder, "model-2", "chat", "b")]).read()
    assert len(answers.asked) == 18 and answers.graded
    assert len(answers.find("all", "FERRY 1")) == 1 and answers.find("all", "no such words") == []
    first, second = answers.rows(answers.find("all", "ferry 1")[0])
    assert first["prompt"] == second["prompt"] == "ferry 1?" and (first["model"], second["model"]) == ("model-1", "model-2")


def test_differences_that_may_be_luck_are_not_marked() -> None:
    assert [k for k, _ in holm([(0.04, ("a", "m"), 1), (0.03, ("b", "m"), 1)])] == []  # both under 0.05, neither under 0.025
    assert [k for k, _ in holm([(0.04, ("a", "m"), 1), (0.001, ("b", "m"), -1)])] == [("b", "m"), ("a", "m")]
    rows = [{"id": str(i), "nats": 5.0 + i} for i in range(10)]
    worse = [{"id": str(i), "nats": 6.0 + i + (i % 2) / 10} for i in range(10)]
    low, high = paired_losses(rows, worse)
    assert 1.0 < low < high < 1.1 and paired_losses(rows[:3], worse[:3]) is None


def test_a_blind_session_goes_back_through_votes_and_skips() -> None:
    laid_out = [{"id": str(i), "prompt": "?", "left_text": "a" * i, "right_text": "b", "left_model": "ab"[i % 2],
                 "right_model": "ba"[i % 2]}
                for i in range(4)]
    session = BlindSession("e", laid_out, [])
    vote = session.vote("left")
    session.taken(vote)
    session.skip()
    assert session.last_vote == "" and session.current.id == "2"
    session.undo()
    assert session.current.id == "1" and session.last_vote == vote.id
    session.undo()
    assert session.current.id == "0" and not session.can_undo
    assert len({p.key for p in session.pairs}) == 4 and BlindSession("e", laid_out, [vote]).done == 1
    assert BlindSession("other", laid_out, [vote]).done == 0
