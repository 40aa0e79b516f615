"""The Instruction data page with real workers and a real (small) server of OpenAI's protocol: from the first choice to a set that is
used."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication, QDialog, QPushButton
from pytestqt.qtbot import QtBot

from desktop.main_window import MainWindow
from desktop.models import instruct_recipes
from desktop.pages.instruct import InstructPage
from desktop.pages.instruct.models_body import ModelsBody
from desktop.pages.instruct.recipe_body import RecipeBody
from desktop.pages.instruct.recipe_dialog import RecipeDialog
from desktop.pages.instruct.wizard import Wizard
from desktop.widgets.server_dialog import ServerDialog, tidy
from engine.contract.rows import Example, Message
from engine.project import layout
from engine.project.project import Project
from engine.stages.instruct.spec import InstructSpec
from tests.engine.generators.servers import Hostile

RECIPE = '''
ID, TITLE, SENTENCE = "facts", "Facts", "Asks for facts."
NEEDS = ["topics"]

def rows(inputs):
    for number in range(10**6):
        topic = inputs.topics[number % len(inputs.topics)]
        yield {"prompt": f"Tell fact number {number} about {topic}."}
'''


def say(number: int, body: dict[str, Any]) -> Any:
    """Two answers are refusals; the judge gives 8 to each."""
    words = body["messages"][-1]["content"]
    if body["model"] == "judge":
        return json.dumps({"rationale": "It says what was asked.", "score": 8})
    if "number 3 " in words or "number 6 " in words:
        return "As an AI language model, I cannot help with that request."
    return ("slow", 0.02, f"Fact {words[17:30]} is that the tide turned and the ferry left the pier on time, as the harbour book says.")


@pytest.fixture
def server() -> Iterator[Hostile]:
    made = Hostile(script=say, models=("qwen3", "judge")).start()
    yield made
    made.stop()


@pytest.fixture
def page(window: MainWindow, project: Project, qtbot: QtBot) -> InstructPage:
    window.resize(1280, 800)
    window.show_page("instruct")
    shown = window.pages["instruct"]
    assert isinstance(shown, InstructPage)
    qtbot.waitUntil(lambda: shown._view == "start", timeout=20_000)
    return shown


def button(host: Any, words: str) -> QPushButton:
    QApplication.processEvents()
    return next(b for b in host.findChildren(QPushButton) if b.text().strip() == words and b.isVisible())


def body(wizard: Wizard, step: str) -> Any:
    return wizard.body(step)


def wizard_of(page: InstructPage, server: Hostile, qtbot: QtBot, count: int = 8, name: str = "facts.py") -> Wizard:
    """The wizard with a model of the server, an own recipe in Python that is trusted, and topics."""
    path = layout.recipes(page.project.dir) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(RECIPE, "utf-8")
    page.generate()
    wizard = page.wizard
    assert wizard is not None
    qtbot.waitUntil(lambda: wizard.plan.places is not None and wizard.plan.recipes is not None, timeout=30_000)
    wizard.server_found(f"{server.address}/v1", "", [{"name": m} for m in server.models])
    models = body(wizard, "models")
    assert isinstance(models, ModelsBody)
    models._give("responder", f"{server.address}/v1 qwen3")
    recipes = body(wizard, "recipe")
    assert isinstance(recipes, RecipeBody)
    recipes._choose(str(path))
    wizard._trust(instruct_recipes.text_hash(RECIPE))
    recipes.put(topics=("rivers", "lamps"))
    wizard.plan.set_values({"count": count, "check_language": False, "duplicates": 0.0, "timeout": 20.0})
    return wizard


def test_an_empty_project_says_what_to_do(page: InstructPage) -> None:
    assert page._empty.isVisible() and not page.start.isVisible()
    assert button(page, "Generate with a local model").isEnabled() and button(page, "Import a file").isEnabled()


def test_the_wizard_shows_what_is_in_the_way_beside_its_field(page: InstructPage, qtbot: QtBot) -> None:
    page.generate()
    wizard = page.wizard
    assert wizard is not None
    qtbot.waitUntil(lambda: wizard.plan.places is not None and wizard.plan.recipes is not None, timeout=30_000)
    wizard.plan.places = [p for p in wizard.plan.places or [] if not p.running]  # whatever runs where this is tested
    models = body(wizard, "models")
    models.load()
    assert {"ollama", "project"} <= {p.kind for p in wizard.plan.places}
    wizard.forward.click()
    assert wizard.plan.step == "models" and "No model was chosen" in models.pickers["responder"]._problem.words()
    wizard.plan.go("recipe")
    wizard.refresh()
    wizard.forward.click()
    recipes = body(wizard, "recipe")
    assert wizard.plan.step == "recipe" and "no corpus is chosen" in recipes._problems["corpus"].words()
    assert {c.recipe.id for c in recipes.cards.values()} >= {"documents", "topics", "seeds"}


def test_what_goes_missing_before_the_start_is_shown_on_its_own_step(page: InstructPage, server: Hostile, qtbot: QtBot) -> None:
    wizard = wizard_of(page, server, qtbot)
    wizard.plan.go("preview")
    wizard.plan.places = []
    started: list[object] = []
    wizard.start_wanted.disconnect()
    wizard.start_wanted.connect(started.append)
    wizard._start()
    assert not started and wizard.plan.step == "models" and "is not there" in body(wizard, "models").pickers["responder"]._problem.words()


def test_a_preview_then_a_run_then_what_came_out(page: InstructPage, server: Hostile, qtbot: QtBot) -> None:
    wizard = wizard_of(page, server, qtbot)
    wizard.plan.set_mode("scored")
    wizard.plan.choose("judge", f"{server.address}/v1 judge")
    wizard.go("recipe")
    wizard.go("amount")
    wizard.go("preview")
    assert wizard.plan.step == "preview" and wizard.now.isVisible() and not wizard.forward.isVisible()
    button(wizard, "Make five rows").click()
    qtbot.waitUntil(lambda: wizard.preview._cards == 5 and not wizard.preview.busy, timeout=60_000)
    qtbot.waitUntil(lambda: wizard.forward.isVisible(), timeout=5_000)
    assert wizard.plan.measured is not None and wizard.plan.measured.requests == 2 and wizard.plan.seconds() is not None
    preview = page.project.runs.list()[-1]
    assert preview.spec["preview"] == 5 and not page.project.library.examples.sets()
    wizard.forward.click()
    assert page._view == "running" and page.running is not None
    qtbot.waitUntil(lambda: page._view == "result", timeout=60_000)
    made = page.project.library.examples.sets()
    assert len(made) == 1 and made[0].count == 8 and made[0].title == "Facts, qwen3"
    assert made[0].rejected == 2  # the refusals
    qtbot.waitUntil(lambda: page.result._score_note.words() != "", timeout=20_000)
    assert page.result._kept.words() == "6" and {b: n for b, n, _ in page.result.scores.bars}["8"] == 6
    assert page.context.settings.get(wizard._key()) is None  # the draft has become a run
    page.to_start()
    qtbot.waitUntil(lambda: page._view == "start" and page.start.isVisible(), timeout=10_000)
    page.opened(run=page.project.runs.list()[-1].id)
    qtbot.waitUntil(lambda: page._view == "result", timeout=20_000)


def test_a_run_is_paused_resumed_and_asks_nothing_twice(page: InstructPage, server: Hostile, qtbot: QtBot) -> None:
    wizard = wizard_of(page, server, qtbot, count=60)
    wizard._start()
    running = page.running
    assert page._view == "running" and running is not None
    qtbot.waitUntil(lambda: running.arrived.count > 5, timeout=60_000)
    running.pause.click()
    qtbot.waitUntil(lambda: page._run.follower is not None and page._run.follower.status == "paused", timeout=30_000)
    qtbot.waitUntil(lambda: running.trouble.note is not None, timeout=10_000)
    assert running.arrived.count < 60 and page.project.runs.list()[-1].spec["count"] == 60
    button(page, "Resume").click()
    qtbot.waitUntil(lambda: page._view == "result", timeout=60_000)
    assert page.project.library.examples.sets()[0].count == 60
    asked = [b["messages"][-1]["content"] for b in server.bodies]
    assert len(asked) == len(set(asked)) == 60


def test_rows_come_into_the_library_while_it_runs_and_a_stopped_run_can_be_used(page: InstructPage, server: Hostile, qtbot: QtBot) -> None:
    wizard = wizard_of(page, server, qtbot, count=400)
    wizard._start()
    running = page.running
    assert running is not None
    qtbot.waitUntil(lambda: running.arrived.count > 5, timeout=60_000)
    page.ingest()
    qtbot.waitUntil(lambda: bool(page.project.library.examples.sets()), timeout=10_000)
    running.table.select(2)
    assert running.detail.isVisible() and not running._overview.isVisible()
    running._close_row()
    running.stop.click()
    assert running.question.isVisible()
    running._answer(True)
    qtbot.waitUntil(lambda: running.trouble.note is not None, timeout=60_000)
    use = next(b for b in page.findChildren(QPushButton) if b.text().strip().startswith("Use the ") and b.isVisible())
    use.click()
    qtbot.waitUntil(lambda: page._view == "result", timeout=20_000)
    page.to_start()
    qtbot.waitUntil(lambda: page._notes.note is not None, timeout=10_000)  # it can go on, and says so


def test_a_server_that_is_gone_is_named(page: InstructPage, server: Hostile, qtbot: QtBot) -> None:
    wizard = wizard_of(page, server, qtbot, count=5)
    server.stop()
    wizard._start()
    running = page.running
    assert running is not None
    qtbot.waitUntil(lambda: running.trouble.note is not None, timeout=60_000)
    assert running.trouble.note is not None and server.address in running.trouble.note._words.words()


def test_what_was_chosen_is_there_after_a_crash(page: InstructPage, server: Hostile, qtbot: QtBot, window: MainWindow) -> None:
    wizard = wizard_of(page, server, qtbot, count=33)
    wizard.go("recipe")
    wizard.keep()
    again = Wizard(page.context)
    qtbot.addWidget(again)
    assert again.plan.values["count"] == 33 and again.plan.values["topics"] == ("rivers", "lamps")
    assert again.plan.values["responder"].endswith(" qwen3") and again.plan.step == "recipe"


def test_another_machine_is_confirmed_by_typing_its_host(page: InstructPage, qtbot: QtBot) -> None:
    dialog = ServerDialog(page.theme, page)
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.address.set("127.0.0.1:1234/v1")
    dialog._changed()
    assert not dialog._confirm_part.isVisible() and dialog.add.isEnabled() and tidy("127.0.0.1:1/v1/") == "http://127.0.0.1:1/v1"
    dialog.address.set("http://192.168.0.7:1234/v1")
    dialog._changed()
    assert dialog._confirm_part.isVisible() and not dialog.add.isEnabled()
    qtbot.keyClicks(dialog.confirmation, "192.168.0.8")
    assert not dialog.add.isEnabled()
    dialog.confirmation.clear()
    qtbot.keyClicks(dialog.confirmation, "192.168.0.7")
    assert dialog.add.isEnabled()


def test_a_server_is_looked_at_and_kept(page: InstructPage, server: Hostile, qtbot: QtBot) -> None:
    dialog = ServerDialog(page.theme, page, server.address + "/v1")
    qtbot.addWidget(dialog)
    dialog.show()
    with qtbot.waitSignal(dialog.found, timeout=30_000) as found:
        dialog.add.click()
    address, host, models = found.args
    assert (address, host) == (server.address + "/v1", "") and [m["name"] for m in models] == ["qwen3", "judge"]
    server.stop()
    again = ServerDialog(page.theme, page, server.address + "/v1")
    qtbot.addWidget(again)
    again.show()
    again.add.click()
    qtbot.waitUntil(lambda: again.notes.note is not None, timeout=30_000)


def test_a_program_is_trusted_by_its_text_and_a_change_asks_again(page: InstructPage, server: Hostile, qtbot: QtBot) -> None:
    wizard = wizard_of(page, server, qtbot)
    recipe = wizard.plan.recipe
    assert recipe is not None and recipe.python
    wizard.plan.values["recipe_hash"] = ""
    dialog = RecipeDialog(page.theme, recipe, parent=page)
    qtbot.addWidget(dialog)
    dialog.show()
    assert not dialog.trust.isEnabled() and instruct_recipes.text_hash(RECIPE) in dialog._hash.words()
    dialog._tick.click()
    assert dialog.trust.isEnabled()
    dialog.edit.appendPlainText("# more")
    assert not dialog.trust.isEnabled() and dialog.save.isEnabled()  # saved first: only what is on the disk is trusted
    with qtbot.waitSignal(dialog.saved):
        dialog.save.click()
    with qtbot.waitSignal(dialog.trusted) as trusted:
        dialog.trust.click()
    assert trusted.args == [instruct_recipes.text_hash(Path(recipe.path).read_text("utf-8"))]


def test_a_copy_of_a_shipped_recipe_is_edited_in_the_project(page: InstructPage, server: Hostile, qtbot: QtBot) -> None:
    wizard = wizard_of(page, server, qtbot)
    wizard.copy_recipe(next(r for r in wizard.plan.recipes or [] if r.id == "topics"))
    made = wizard.plan.recipe
    assert made is not None and made.title == "From topics (copy)" and Path(made.path).parent == layout.recipes(page.project.dir)
    dialog = next(d for d in wizard.findChildren(QDialog) if isinstance(d, RecipeDialog) and d.isVisible())
    dialog.edit.setPlainText(dialog.text.replace('kind = "topics"', 'kind = "tropics"'))
    dialog.save.click()
    assert dialog.notes.note is not None and "tropics" in dialog.notes.note._words.words()
    assert 'kind = "topics"' in Path(made.path).read_text("utf-8")  # nothing broken was written
    dialog.edit.setPlainText(dialog.text.replace('kind = "tropics"', 'kind = "topics"').replace("(copy)", "(mine)"))
    dialog.save.click()
    qtbot.waitUntil(lambda: any(r.title == "From topics (mine)" for r in wizard.plan.recipes or []), timeout=10_000)


def test_a_dropped_file_is_mapped_imported_and_written_again(page: InstructPage, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "quiz.jsonl"
    rows = [{"instruction": f"What is number {i}?", "input": "", "output": f"It is {i}."} for i in range(30)] + [{"instruction": "",
                                                                                                                  "output": ""}]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    page.dropEvent(QDropEvent(QPointF(50, 50), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier))
    assert page._view == "import"
    qtbot.waitUntil(lambda: page.bring.plan.look is not None, timeout=30_000)
    assert page.bring.kind.value() == "alpaca" and page.bring.columns["answer"].value() == "output" and page.bring._bad_panel.isVisible()
    page.bring.columns["answer"].set("instruction")
    page.bring._column_chosen("answer")
    qtbot.waitUntil(lambda: not page.bring.plan.looking, timeout=30_000)
    look = page.bring.plan.look
    assert look is not None and look.preview[0].messages[1].content == "What is number 0?"
    page.bring.columns["answer"].set("output")
    page.bring._column_chosen("answer")
    qtbot.waitUntil(lambda: not page.bring.plan.looking, timeout=30_000)
    page.bring.title.set("Quiz")
    page.bring._titled()
    assert page.bring.bring.isEnabled()
    page.bring.bring.click()
    qtbot.waitUntil(lambda: page._view == "start" and bool(page._sets), timeout=60_000)
    made = page.start.chosen()
    assert (made.title, made.count, made.new, made.origin) == ("Quiz", 30, 30, "import:quiz.jsonl")
    target = tmp_path / "out.jsonl"
    page.exports.write(made.id, "messages", target)
    qtbot.waitUntil(lambda: target.exists() and not page.exports.exporting.running, timeout=30_000)
    written = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert len(written) == 30 and written[0]["messages"][1]["content"] == "It is 0."


def test_a_file_that_holds_no_examples_leaves_no_set(page: InstructPage, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("a,b\n1,\n2,\n", "utf-8")
    page.take([str(path)])
    qtbot.waitUntil(lambda: page.bring.notes.note is not None, timeout=30_000)
    assert not page.bring.bring.isEnabled()
    page.take([str(tmp_path / "gone.jsonl")])
    qtbot.waitUntil(lambda: page.bring.notes.note is not None and not page.bring.plan.looking, timeout=30_000)
    button(page, "Cancel").click()
    assert page._view == "start" and not page.project.library.examples.sets()


def test_sets_are_renamed_and_deleted(page: InstructPage, qtbot: QtBot) -> None:
    library = page.project.library.examples
    made = library.create_set("One")
    library.add(made.id, [Example(id=str(i), messages=(Message(role="user", content="Why?"), Message(role="assistant", content=f"So {i}.")))
                          for i in range(3)], "person")
    page.read_sets()
    qtbot.waitUntil(lambda: page.start.isVisible() and page.start.chosen() is not None, timeout=10_000)
    page.act("rename", page.start.chosen())
    dialog = next(d for d in page.findChildren(QDialog) if d.isVisible())
    field = dialog.findChildren(type(page.bring.title))[0]
    field.clear()
    qtbot.keyClicks(field, "Another")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: bool(page._sets) and page._sets[0].title == "Another", timeout=10_000)
    page.act("delete", page.start.chosen())
    dialog = next(d for d in page.findChildren(QDialog) if d.isVisible())
    button(dialog, "Delete").click()
    qtbot.waitUntil(lambda: page._sets == [] and page._empty.isVisible(), timeout=10_000)


def test_a_growing_table_never_holds_the_window(page: InstructPage, qtbot: QtBot) -> None:
    """20,000 rows that lie there at once: the turns of the window's thread stay short."""
    run = page.project.runs.create(InstructSpec(responder="ollama:a", judge="ollama:b", recipe="topics", topics=("fog",)))
    with open(layout.rows_file(run.dir), "w", encoding="utf-8") as file:
        for i in range(20_000):
            messages = (Message(role="user", content=f"What is number {i}?"), Message(role="assistant", content="It is a number. " * 40))
            flags = ("tie",) if i % 7 == 0 else ()
            made = Example(id=f"{run.id}:{i}", messages=messages, origin="ollama:a", score=i % 10 + 1, flags=flags)
            file.write(made.model_dump_json() + "\n")
    page.opened(run=run.id)
    running = page.running
    assert page._view == "running" and running is not None
    longest, until = 0.0, time.monotonic() + 60
    while (running.arrived.count < 20_000 or not running.tail.has_caught_up) and time.monotonic() < until:
        began = time.thread_time()
        QApplication.processEvents()
        longest = max(longest, time.thread_time() - began)
    qtbot.waitUntil(lambda: running.model.rowCount() == 20_000, timeout=5_000)
    assert running.arrived.kept == 20_000 - len(range(0, 20_000, 7))
    bar = running.table.verticalScrollBar()
    assert bar.value() == bar.maximum()  # it follows the newest
    began = time.thread_time()
    bar.setValue(bar.maximum() // 2)
    QApplication.processEvents()
    longest = max(longest, time.thread_time() - began)
    assert running.model.row(19_999).id == f"{run.id}:19999"
    assert longest < 0.05, f"{longest * 1000:.0f} ms"


def test_typing_fast_opens_no_window_and_keeps_the_focus(page: InstructPage, window: MainWindow, qtbot: QtBot) -> None:
    """Lines that are replaced twice in one turn of the event loop were once shown as windows of their own, and took the focus away."""
    page.generate()
    wizard = page.wizard
    assert wizard is not None
    wizard.plan.go("amount")
    wizard.refresh()
    field = body(wizard, "amount").form.rows["count"].control
    window.activateWindow()
    field.setFocus()
    qtbot.keyClicks(field, "2345")
    qtbot.wait(100)
    assert [w for w in QApplication.topLevelWidgets() if w.isVisible()] == [window]
    assert QApplication.focusWidget() is field


def test_the_first_example_can_be_written_by_hand(context, project, qtbot):
    page = InstructPage(context)
    qtbot.addWidget(page)
    page.resize(1100, 720)
    page.show()
    page.opened()
    qtbot.waitUntil(lambda: any(b.isVisible() for b in page.findChildren(QPushButton) if b.text() == "Write one by hand"), timeout=10_000)
    next(b for b in page.findChildren(QPushButton) if b.text() == "Write one by hand" and b.isVisible()).click()
    qtbot.waitUntil(lambda: page.review is not None and page.review.writing.isVisible(), timeout=20_000)
