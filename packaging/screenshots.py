"""Pictures of every page, in both themes and sizes, without a display: `python packaging/screenshots.py OUT [--page ID] [--theme light]`.

The project shown was made for real by tests/recordings/make.py (a minute, once a machine and engine; --recording names one made before), or
is any by --project. A page that needs another window size than asked is named at the end, and the exit code is 1: nothing may be clipped.
Pages show what the folder holds, nothing is invented. MOMENTS lists what is pictured; page authors add theirs.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from desktop.app import App

RECORDINGS = ROOT / "tests" / "recordings"
SIZES = ("1280x800", "1920x1080")
THEMES = ("light", "dark")
OPEN = ExitStack()
"""What pictures need until the end: a server that writes."""
SETTLE_SECONDS, LAST_SECONDS = 1.2, 0.3
CHAT_SECONDS = 60.0
CHAT_PROMPT = "Hanna's job is"
RECORDED, GAZETTE, EMPTY, NONE = "recorded", "gazette", "empty", ""
LABELLED = "Which answer is better?"
LOOSE, PARTS, FOREIGN = "whose_is_it.py", "Number and tags", "unit_length.py"


@dataclass(frozen=True)
class Moment:
    """One picture: a page opened with `args`, after `prepare(app)` did what a person would have, in the recorded project, an empty one, or
    none (the first start). Arguments `run`, `set`, `model`, `artifact` name those of the recorded project by their titles; the run `alive`
    has a worker while it is pictured, for all that the window can see."""

    name: str
    page: str
    args: dict[str, Any] = field(default_factory=dict)
    project: str = RECORDED
    prepare: Callable[["App"], None] | None = None
    alive: str = ""


def open_keys(app: "App") -> None:
    app.window.show_keys()


def open_new_project(app: "App") -> None:
    app.window.new_project()


def chat(sides: int, untrained: bool = True) -> Callable[["App"], None]:
    """Checkpoints continue one prompt, and one token's alternatives stand open. A project without a model stays as it is."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["chat"]
        until = time.monotonic() + CHAT_SECONDS

        def wait(done: Callable[[], bool]) -> bool:
            while not done() and time.monotonic() < until:
                app.qt.processEvents()
                time.sleep(0.005)
            return done()

        if not wait(lambda: page.client.listed) or not page.client.models:
            return
        if page.sides.value() != sides:
            page.sides.set(sides)
            page._sides_changed(sides)
        base = [m for m in page.client.models if not m.chat]
        page.mode.set("complete")
        page._mode_changed("complete")
        if sides == 1:
            page.panes[0].pick(next((m.id for m in base if bool(m.untrained) == untrained), page.client.models[0].id))
            page._picked(page.panes[0])
        elif page.panes[1].model is not None and page.panes[1].model.chat and base:
            page.panes[1].pick(next((m.id for m in base if not m.untrained), base[0].id))
            page._picked(page.panes[1])
        if not all(pane.current for pane in page._active()):
            page.composer.prompt.set(CHAT_PROMPT)
            page.send()
            wait(lambda: not page._answers and not page._pending)
        text = page.panes[sides - 1].current
        written = [i for i, cell in enumerate(text.cells) if cell.tokens and cell.text.strip()] if text is not None else []
        if written and not (sides == 1 and untrained):
            text.setFocus()
            text.choose(written[min(20, len(written) - 1)])
    return show


def talk(app: "App") -> None:
    """The model that was tuned to answer, asked a question."""
    page: Any = app.window.pages["chat"]
    wait_for(app, lambda: page.client.listed and page.mode.value() == "chat")
    if page.sides.value() != 1:
        page.sides.set(1)
        page._sides_changed(1)
    tuned = next((m.id for m in page.client.models if m.title == "world-answers"), "")
    page.panes[0].pick(tuned)
    page._picked(page.panes[0])
    if not page.panes[0].history:
        for question in ("Where does Ruth live?", "What does Ruth do for work?"):
            page.composer.prompt.set(question)
            page.send()
            wait_for(app, lambda: not page._answers and not page._pending)


def corpus_step(step: str) -> Callable[["App"], None]:
    """The corpus wizard at one of its steps, with a newspaper's files in it."""
    def show(app: "App") -> None:
        assert app.context.project is not None
        page: Any = app.window.pages["corpus"]
        folder = app.context.project.dir.parent / "gazette-text"
        page.take([str(folder / name) for name in ("articles.jsonl", "letters.csv", "old-pages.zip", "notes")])
        wizard, until = page.wizard, time.monotonic() + 20

        def wait(done: Callable[[], bool]) -> None:
            while not done() and time.monotonic() < until:
                app.qt.processEvents()
                time.sleep(0.005)
        wait(lambda: wizard.plan.ready)
        wizard.plan.set_values({"personal_data": True, "minimum_length": 200, "held_out": (str(folder.parent / "quiz.jsonl"),)})
        wizard.plan.go(step)
        wizard._reload()
        wait(lambda: wizard.plan.ready)
        if step == "clean":
            wait(lambda: wizard.body("clean").sample.sample is not None)
    return show


def corpus_browser(app: "App") -> None:
    """The removed documents."""
    page: Any = app.window.pages["corpus"]
    page.open_browser({"split": "removed"})
    settle(app, 2.0)


def wait_for_report(app: "App") -> None:
    """The groups of duplicates come from a process of their own."""
    settle(app, 2.0)


def report_below(app: "App") -> None:
    settle(app, 2.0)
    bar = app.window.pages["corpus"].scroll.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)


def new_tokenizer(app: "App") -> None:
    page: Any = app.window.pages["tokenizer"]
    page._want_new()


def cut_text(app: "App") -> None:
    """The lab has cut its text: the picture waits for it."""
    settle(app, 1.0)


def wizard(step: str) -> Callable[["App"], None]:
    """The pretraining wizard at one of its steps."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["pretrain"]
        if page.wizard is None:
            page.show_wizard()
        page.wizard.plan.go(step)
        page.wizard.refresh()
    return show


def export_form(to: str = "hf") -> Callable[["App"], None]:
    """The settings of an export, with the verdicts of the exporter."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["export"]
        wait_for(app, lambda: page.plan.found is not None)
        page._another()
        page.form._target(to)
    return show


def exported(app: "App") -> None:
    """A real export, tried with the program it is for."""
    page: Any = app.window.pages["export"]
    wait_for(app, lambda: page.plan.found is not None)
    if page._exports():
        return
    page.form._target("gguf")
    page.plan.set_values({"quantisation": "q8_0", "check_prompts": 5})
    page.plan.put(str(page.project.dir.parent / "Models" / "tiny-world.gguf"))
    page._start()
    wait_for(app, lambda: page._view == "result")


def found_model(app: "App") -> None:
    """What was found in the file that the export above has written."""
    page: Any = app.window.pages["import_model"]
    file = page.project.dir.parent / "Models" / "tiny-world.gguf"
    if page._view == "start" and file.is_file():
        page.look(str(file))
        wait_for(app, lambda: page._view == "found" or page._notes.note is not None)


def serving(app: "App") -> None:
    """The switch that serves other programs, turned on."""
    page: Any = app.window.pages["settings"]
    if app.context.project is not None and not page.serve.switch.value():
        page.serve.switch.click()
        wait_for(app, lambda: app.context.server.state == "ready" and app.context.server.listed)


def wait_for(app: "App", done: Callable[[], bool]) -> None:
    until = time.monotonic() + CHAT_SECONDS
    while not done() and time.monotonic() < until:
        app.qt.processEvents()
        time.sleep(0.005)


def lay_over(app: "App") -> None:
    """Three runs on one chart."""
    page: Any = app.window.pages["runs"]
    settle(app, 0.5)
    page._select({run.id for run in page.project.runs.list("pretrain") if run.title in ("world-100k", "world-wide", "world-200k")})
    page._chosen()


def instruct_step(step: str) -> Callable[["App"], None]:
    """The wizard of instruction data at one of its steps, with what is found on this machine."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["instruct"]
        page.generate()
        wait_for(app, lambda: page.wizard.plan.places is not None and page.wizard.plan.recipes is not None)
        page.wizard.plan.go(step)
        page.wizard.refresh()
    return show


def instruct_import(app: "App") -> None:
    """A file of questions before it is imported."""
    page: Any = app.window.pages["instruct"]
    assert app.context.project is not None
    file = app.context.project.dir.parent / "questions.jsonl"
    rows = [{"question": f"When did the {i + 1}. ferry leave?", "answer": f"At {6 + i % 12} o'clock." if i % 7 else ""} for i in range(40)]
    file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    page.take([str(file)])
    wait_for(app, lambda: page.bring.plan.look is not None)


def instruct_models(step: str) -> Callable[["App"], None]:
    """The wizard with a server of this machine that was added, two models that write, a judge, and a corpus; the preview with its rows,
    written for real."""
    def show(app: "App") -> None:
        from tests.recordings.writer import CAREFUL, HASTY, JUDGE, writers
        page: Any = app.window.pages["instruct"]
        fresh = page.wizard is None
        page.generate()
        wizard = page.wizard
        wait_for(app, lambda: wizard.plan.places is not None and wizard.plan.recipes is not None)
        if fresh:
            server = OPEN.enter_context(writers(0.05))
            address = f"{server.address}/v1"
            wizard.server_found(address, "", [{"name": name} for name in (CAREFUL, HASTY, JUDGE)])
            wizard.plan.set_values({"responder": f"{address} {CAREFUL}", "second_responder": f"{address} {HASTY}",
                                    "judge": f"{address} {JUDGE}", "corpus": "corpus-1", "count": 200, "check_language": False})
            wizard.plan.set_mode("two")
            wizard.body("models").load()
        wizard.plan.go(step)
        wizard.refresh()
        if step == "preview" and not wizard.preview._cards and not wizard.preview.busy:
            wizard._make_preview()
            wait_for(app, lambda: not wizard.preview.busy)
    return show


def instruct_result(app: "App") -> None:
    page: Any = app.window.pages["instruct"]
    wait_for(app, lambda: page._view == "result")


def review(view: str, act: str = "", **filters: Any) -> Callable[["App"], None]:
    """The rows of the set that `args` opened, as a table or a card; `act` is a step of its keyboard."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["instruct"]
        settle(app, 0.5)
        wait_for(app, lambda: page._view == "review" and page.review.listed.total > 0)
        shown = page.review
        if filters:
            shown.load(tuple(one.id for one in shown.desk.sets if one.title == filters["title"]), status=filters.get("status", ""))
            settle(app, 0.5)
        shown.show_view(view)
        settle(app, 0.5)
        if act:
            shown.act(act)
            settle(app, 0.5)
    return show


def review_gone(app: "App") -> None:
    """Rows of a set that somebody deleted meanwhile."""
    page: Any = app.window.pages["instruct"]
    page.open_review(("set-77",))
    settle(app, 1.0)


def finetune(step: str, goal: str = "sft", **values: Any) -> Callable[["App"], None]:
    """The wizard of fine-tuning at one of its steps, from the base model, with the imported set and what the microscope sees of it."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["sft"]
        project = app.context.project
        assert project is not None
        base = next(a.id for a in project.artifacts.list("model") if a.title == "world-200k")
        sets = [one.id for one in project.library.examples.sets() if one.title.startswith("Questions of")]
        page.show_wizard(goal, {"model": base, "examples": sets} | ({"corpus": "corpus-1"} if goal == "adapt" else {}))
        wizard = page.wizard
        wait_for(app, lambda: wizard.plan.models is not None and wizard.plan.sets is not None)
        wizard.plan.set_values(values)
        wizard.plan.go(step)
        wizard.plan.step = step
        wizard.reload()
        if step not in ("goal", "data") and goal == "sft":
            wait_for(app, lambda: not wizard.plan.look_is_due)
        wizard.reload()
    return show


def evaluate_setup(**values: Any) -> Callable[["App"], None]:
    """What is to be measured; started with a problem where nothing is chosen."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["evaluate"]
        page.begin()
        wait_for(app, lambda: page.plan.suites is not None and bool(page.plan.models))
        page.plan.take(values)
        page.setup.load()
        page._show_flow()
        if not values.get("suites"):
            page.launch_plan()
    return show


def evaluate_blind(told: bool) -> Callable[["App"], None]:
    """A pair to judge, or whose answers they were."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["evaluate"]
        wait_for(app, lambda: page._session is not None)
        page.judge_blindly()
        if told:
            page.blind.reveal()
    return show


def evaluate_suite(app: "App") -> None:
    """One of the project's own suites in the editor, its first question chosen."""
    page: Any = app.window.pages["evaluate"]
    page.begin()
    wait_for(app, lambda: page.plan.suites is not None)
    page.edit_suite("held_out_people")
    wait_for(app, lambda: page._view == "suite")
    page.suite.table.select(0)


def below(id: str) -> Callable[["App"], None]:
    """A page at its end."""
    def show(app: "App") -> None:
        settle(app, 1.0)
        bar = app.window.pages[id].scroll.verticalScrollBar()
        bar.setValue(bar.maximum())
    return show


def lineage_read(app: "App") -> None:
    """Sizes and settings come from threads."""
    settle(app, 1.0)


def lineage_delete(app: "App") -> None:
    """What a corpus would take along."""
    page: Any = app.window.pages["lineage"]
    settle(app, 1.0)
    page.choose("corpus-1")
    page.side.delete_wanted.emit("corpus-1")
    settle(app, 1.0)


def pairs_sets(app: "App") -> None:
    """All sets of pairs, the one that was made and labelled here chosen."""
    page: Any = app.window.pages["preference"]
    page.to_start()
    settle(app, 0.8)
    page.start.choose(next(one.id for one in page._sets if one.title == LABELLED))


def pairs_step(step: str) -> Callable[["App"], None]:
    """The wizard that makes pairs at one of its steps, with prompts and two models."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["preference"]
        page.make()
        plan = page.wizard.plan
        wait_for(app, lambda: plan.places is not None and plan.sets is not None)
        own = {m.title: m.name for place in plan.places if place.kind == "project" for m in place.models}
        plan.set_values({"examples": tuple(s.id for s in plan.sets[-1:]), "first": own.get("world-answers", ""), "max_tokens": 32,
                         "second": own.get("world-answers-lora", "")})
        plan.go(step)
        page.wizard.refresh()
    return show


def pairs_import(app: "App") -> None:
    """A file of pairs before it is imported."""
    page: Any = app.window.pages["preference"]
    assert app.context.project is not None
    file = app.context.project.dir.parent / "answers.jsonl"
    rows = [{"prompt": f"When does the {i + 1}. ferry leave?", "chosen": f"At {6 + i % 12} o'clock, from the north quay.",
             "rejected": "Soon." if i % 5 else ""} for i in range(40)]
    file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    page.take([str(file)])
    wait_for(app, lambda: page.bring.plan.look is not None)


def labelling(*acts: str) -> Callable[["App"], None]:
    """The card of the set that `args` opened, after these keys."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["preference"]
        wait_for(app, lambda: page._view == "label" and (page.label.desk.now is not None or page.label.desk.over))
        settle(app, 1.5)  # figures beside the card are read once nobody presses keys
        shown = page.label
        for act in acts:
            shown.act(act)
            settle(app, 0.4)
        if "marks" in acts:
            wait_for(app, lambda: shown.card.marked)
    return show


def pairs_table(queue: str) -> Callable[["App"], None]:
    """All pairs of the set in a table, those of one list."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["preference"]
        settle(app, 0.8)  # sets are read in a thread
        page.open_queues(page._labelling)
        settle(app, 0.5)
        page.queues.queue.set(queue)
        page.queues._again()
    return show


def people(app: "App") -> None:
    """Who labels here, and how far they agree."""
    page: Any = app.window.pages["preference"]
    settle(app, 0.8)  # sets are read in a thread
    page.show_people()
    settle(app, 0.8)


def prefer(page_id: str, goal: str, step: str, **values: Any) -> Callable[["App"], None]:
    """The wizard of reward models, or of preference tuning, at one of its steps, from the tuned model and with the labelled set."""
    def show(app: "App") -> None:
        page: Any = app.window.pages[page_id]
        project = app.context.project
        assert project is not None
        tuned = next(a.id for a in project.artifacts.list("model") if a.title == "world-answers")
        sets = [one.id for one in project.library.pairs.sets() if one.title == LABELLED]
        page.show_wizard(goal, {"model": tuned, "pairs": sets, **values})
        wizard = page.wizard
        wait_for(app, lambda: not wizard._reading)
        wizard.plan.go(step)
        wizard.plan.step = step
        wizard.reload()
        wait_for(app, lambda: not wizard.plan.count_is_due)
        wizard.reload()
    return show


def solve(step: str) -> Callable[["App"], None]:
    """The wizard of reasoning at one of its steps, from the tuned model."""
    def show(app: "App") -> None:
        page: Any = app.window.pages["grpo"]
        project = app.context.project
        assert project is not None
        library = project.library
        page.show_wizard("grpo", {"model": next(a.id for a in project.artifacts.list("model") if a.title == "world-answers"),
                                  "problem_sets": [one.id for one in library.problems.sets() if one.title == "Ages of the world"],
                                  "verifier": next((one.ref for one in library.verifiers.list() if one.title == "The right number"),
                                                   '[{"name": "number"}]')})
        wizard = page.wizard
        wait_for(app, lambda: not wizard._reading)
        wizard.plan.step = step
        wizard.reload()
    return show


def bench(app: "App", title: str = LOOSE) -> Any:
    """The workbench with this verifier in hand, nothing of an earlier picture left in its editor."""
    page: Any = app.window.pages["verifiers"]
    project = app.context.project
    assert project is not None
    library = project.library
    wait_for(app, lambda: bool(page.bench.sets))
    known = {one.title: one.id for one in library.verifiers.list()}
    if LOOSE not in known:
        from engine.world import World
        from tests.recordings.tries import PEOPLE, WHOSE, people
        known[LOOSE] = library.verifiers.create(LOOSE, "python", WHOSE).id
        library.problems.take(PEOPLE, people(World(42)), origin="person", held_out_percent=20)
        page.bench.refresh()
        wait_for(app, lambda: page.bench.sets[-1].title == PEOPLE)
        page.bench.set_sets((page.bench.sets[-1].id,))
    read: list[bool] = []
    page.hand.refresh(lambda: read.append(True))
    wait_for(app, lambda: bool(read) and page.hand.verifier is not None and bool(page.bench.sets))
    page.show_view("bench")
    if page.hand.verifier is None or page.hand.verifier.title != title:
        page.hand.open(known[title])
        wait_for(app, lambda: page.hand.verifier is not None and page.hand.verifier.title == title)
    if page.hand.dirty:
        page.hand.drop_changes()
        wait_for(app, lambda: not page.hand.dirty)
    wait_for(app, lambda: page.bench.chosen is not None and page.bench.problem(0) is not None)
    return page


def tried(app: "App") -> None:
    """Checks of all problems, and the answers of the tuned model to some, sampled for real."""
    page = bench(app)
    project = app.context.project
    assert project is not None
    page.bench.set_trial(model=next(a.id for a in project.artifacts.list("model") if a.title == "world-answers"), count=60, k=8,
                         max_new_tokens=16)
    wait_for(app, lambda: page.bench.good and page.bench._looked == page.bench._looking)
    if page.bench.trial.phase != "whole":
        page.bench.start_trial()
        wait_for(app, lambda: page.bench.trial.phase == "whole")
    if page.bench.checks is None or page.bench.checks.stale or not page.bench.checks.whole:
        page.check_all()
    wait_for(app, lambda: page.bench.scores is not None and not page.bench.scores.stale and not page.bench.trial.running
             and page.bench.checks is not None and page.bench.checks.whole and not page.bench.checks.stale)
    mixed = next((i for i in range(min(12, page.bench.count)) if (one := page.bench.problem(i)) is not None
                  and (found := page.bench.result(one.problem.id)) is not None and 0 < found.right < found.tried), 3)
    page.problems.table.select(mixed)
    settle(app, 0.8)


def mistaken(app: "App") -> None:
    """A line that is not finished, and what is said of it."""
    page: Any = app.window.pages["verifiers"]
    if page.bench.marks:
        return
    bench(app)
    page.editor.code.replace(page.editor.code.text().replace("in words:", "in words"))
    wait_for(app, lambda: bool(page.bench.marks))


def of_parts(app: "App") -> None:
    from desktop.pages.verifiers.parts_editor import first_parts
    project = app.context.project
    assert project is not None
    if all(one.title != PARTS for one in project.library.verifiers.list()):
        project.library.verifiers.create(PARTS, "parts", first_parts())
    page = bench(app, PARTS)
    page.bench.set_sets(tuple(one.id for one in page.bench.sets if one.title == "Ages of the world"))
    wait_for(app, lambda: page.bench.good and page.bench.checks is not None and not page.bench.checks.stale and page.bench.count > 0)


def foreign(app: "App") -> None:
    """A verifier that came from elsewhere, and waits to be trusted."""
    from engine.verifiers.starters import starter
    project = app.context.project
    assert project is not None
    if all(one.title != FOREIGN for one in project.library.verifiers.list()):
        source = starter("unit_length").source + "\n# found elsewhere\n"
        project.library.verifiers.create(FOREIGN, "python", source, origin="project:lengths-and-units")
    bench(app, FOREIGN)


def new_verifier(app: "App") -> None:
    page = bench(app)
    page.bench.set_sets((page.bench.sets[-1].id,))
    page.show_view("new")
    settle(app, 0.5)


def versions_of(app: "App") -> None:
    bench(app, "The right number").act("versions")
    settle(app, 0.5)


def generate_problems(app: "App") -> None:
    page: Any = app.window.pages["verifiers"]
    wait_for(app, lambda: page._view != "")
    page.generate()
    settle(app, 2.5)


def import_problems(app: "App") -> None:
    """A file of problems before it is imported."""
    page: Any = app.window.pages["verifiers"]
    assert app.context.project is not None
    file = app.context.project.dir.parent / "sums.jsonl"
    rows = [{"question": f"A ferry carries {20 + i} people and {3 + i % 5} get off. How many are left?",
             "answer": f"{20 + i} - {3 + i % 5} = {17 + i - i % 5}\n#### {17 + i - i % 5}" if i % 9 else ""} for i in range(60)]
    file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    wait_for(app, lambda: page._view != "")
    page.take_files([str(file)])
    wait_for(app, lambda: page.bring.plan.look is not None)


def run_part(page_id: str, part: str) -> Callable[["App"], None]:
    """What a run's page shows in place of its charts or report."""
    def show(app: "App") -> None:
        page: Any = app.window.pages[page_id]
        wait_for(app, lambda: page.run_side is not None and not page.run_side.follower.loading)
        settle(app, 0.8)  # a finished run turns to its report first
        panel = page.run_side.panel
        panel.what.set(part)
        panel._show_part(part)
        settle(app, 0.8)  # answers are read in a thread
    return show


def with_rewards(app: "App") -> None:
    """PPO's last answers in its report, with what the reward model makes of them."""
    from desktop.widgets.tuning.report import Report
    page: Any = app.window.pages["dpo"]
    wait_for(app, lambda: bool(page.findChildren(Report)))
    report = page.findChildren(Report)[-1]
    report.what.set("rewards")
    report._show("rewards")


def chat_vote(voted: bool) -> Callable[["App"], None]:
    """Two models have answered the same question: which was better?"""
    def show(app: "App") -> None:
        page: Any = app.window.pages["chat"]
        wait_for(app, lambda: page.client.listed)
        page.composer.best.choose(1, "")
        page.mode.set("chat")
        page._mode_changed("chat")
        page.sides.set(2)
        page._sides_changed(2)
        for pane, title in zip(page.panes, ("world-answers", "world-rewarded"), strict=True):
            pane.pick(next((m.id for m in page.client.models if m.title == title), ""))
            page._picked(pane)
        for question in ("Where does Hanna live?", "What is Leo's hobby?", "What does Ida do for work?"):
            if page.votes.offered:
                break
            page.new_chat()
            page.composer.prompt.set(question)
            page.send()
            wait_for(app, lambda: not page._answers and not page._pending)
            settle(app, 0.3)
        if voted and page.votes.offered:
            page._vote("right")
            settle(app, 0.5)
    return show


def best_of(app: "App") -> None:
    """Eight answers at once, ordered by the reward model."""
    page: Any = app.window.pages["chat"]
    wait_for(app, lambda: page.client.listed and page.mode.value() == "chat")
    page.sides.set(1)
    page._sides_changed(1)
    page.panes[0].pick(next((m.id for m in page.client.models if m.title == "world-answers"), ""))
    page._picked(page.panes[0])
    assert app.context.survey is not None
    page.composer.best.choose(8, app.context.survey.choices("reward_model")[-1][0])
    page.new_chat()
    page.composer.prompt.set("What does Ruth do for work?")
    page.send()
    wait_for(app, lambda: not page._answers and not page._pending)


def evaluate_reward(app: "App") -> None:
    """A win rate that the reward model is to judge."""
    page: Any = app.window.pages["evaluate"]
    evaluate_setup(models=("model-4", "model-6"), suites=("win_rate",), judge="reward:reward_model-1")(app)
    page.setup.set_judges(())
    page.setup.load()


MOMENTS: tuple[Moment, ...] = (
    Moment("first-start", "home", project=NONE),
    Moment("new-project", "home", project=NONE, prepare=open_new_project),
    Moment("home-empty", "home", project=EMPTY),
    Moment("corpus-empty", "corpus", project=EMPTY),
    *(Moment(f"corpus-{step}", "corpus", project=EMPTY, prepare=corpus_step(step))
      for step in ("sources", "clean", "duplicates", "split", "start")),
    Moment("tokenizer-empty", "tokenizer", project=EMPTY),
    Moment("instruct-empty", "instruct", project=EMPTY),
    *(Moment(f"instruct-{step}", "instruct", project=EMPTY, prepare=instruct_step(step))
      for step in ("models", "recipe", "amount", "preview")),
    Moment("instruct-import", "instruct", project=EMPTY, prepare=instruct_import),
    Moment("evaluate-empty", "evaluate", project=EMPTY),
    Moment("pretrain-empty", "pretrain", project=EMPTY),
    Moment("finetune-empty", "sft", project=EMPTY),
    Moment("preference-empty", "preference", project=EMPTY),
    Moment("reward-empty", "reward", project=EMPTY),
    Moment("tune-empty", "dpo", project=EMPTY),
    Moment("chat-empty", "chat", project=EMPTY),
    Moment("runs-empty", "runs", project=EMPTY),
    Moment("export-empty", "export", project=EMPTY),
    Moment("import", "import_model", project=EMPTY),
    Moment("home", "home"),
    Moment("corpus", "corpus", project=GAZETTE, prepare=wait_for_report),
    Moment("corpus-below", "corpus", project=GAZETTE, prepare=report_below),
    Moment("corpus-browser", "corpus", project=GAZETTE, prepare=corpus_browser),
    Moment("tokenizer", "tokenizer", prepare=cut_text),
    Moment("tokenizer-new", "tokenizer", prepare=new_tokenizer),
    Moment("pretrain-size", "pretrain", prepare=wizard("size")),
    Moment("pretrain-data", "pretrain", prepare=wizard("data")),
    Moment("pretrain-schedule", "pretrain", prepare=wizard("schedule")),
    Moment("pretrain-fit", "pretrain", prepare=wizard("fit")),
    Moment("pretrain-start", "pretrain", prepare=wizard("start")),
    Moment("pretrain", "pretrain", {"run": "world-300k"}),
    Moment("pretrain-done", "pretrain", {"run": "world-200k"}),
    Moment("pretrain-interrupted", "pretrain", {"run": "world-wide"}),
    Moment("pretrain-error", "pretrain", {"run": "world-giant"}),
    Moment("instruct", "instruct"),
    *(Moment(f"instruct-with-{step}", "instruct", prepare=instruct_models(step)) for step in ("models", "recipe", "amount", "preview")),
    Moment("instruct-running", "instruct", {"run": "More questions"}, alive="More questions"),
    Moment("instruct-interrupted", "instruct", {"run": "More questions"}),
    Moment("instruct-error", "instruct", {"run": "Nobody there"}),
    Moment("instruct-result", "instruct", {"set": "Questions from the world's text"}, prepare=instruct_result),
    Moment("instruct-result-imported", "instruct", {"set": "Questions of the world"}, prepare=instruct_result),
    Moment("review-table", "instruct", {"set": "Questions from the world's text", "review": True}, prepare=review("table")),
    Moment("review-card", "instruct", {"set": "Questions from the world's text", "review": True}, prepare=review("card")),
    Moment("review-edit", "instruct", {"set": "Questions from the world's text", "review": True}, prepare=review("card", "edit")),
    Moment("review-set-aside", "instruct", {"set": "Questions from the world's text", "review": True},
           prepare=review("table", title="Questions from the world's text", status="rejected")),
    Moment("review-error", "instruct", prepare=review_gone),
    *(Moment(f"finetune-{step}", "sft", prepare=finetune(step)) for step in ("goal", "data", "template", "method", "start")),
    Moment("finetune-blocked", "sft", prepare=finetune("template", max_seq_len=16)),
    Moment("finetune-domain", "sft", prepare=finetune("data", "adapt")),
    Moment("finetune-running", "sft", {"run": "world-answers-long"}, alive="world-answers-long"),
    Moment("finetune-report", "sft", {"run": "world-answers"}),
    Moment("finetune-report-lora", "sft", {"run": "world-answers-lora"}),
    Moment("finetune-interrupted", "sft", {"run": "world-answers-long"}),
    Moment("finetune-error", "sft", {"run": "world-short"}),
    Moment("preference-label", "preference", {"set": LABELLED}, prepare=labelling()),
    Moment("preference-label-edit", "preference", {"set": LABELLED}, prepare=labelling("edit", "left")),
    Moment("preference-label-marks", "preference", {"set": LABELLED}, prepare=labelling("marks")),
    Moment("preference-label-done", "preference", {"set": "Answers from elsewhere"}, prepare=labelling()),
    Moment("preference-todo", "preference", {"set": LABELLED}, prepare=pairs_table("todo")),
    Moment("preference-table", "preference", {"set": LABELLED}, prepare=pairs_table("done")),
    Moment("preference-people", "preference", {"set": LABELLED}, prepare=people),
    Moment("preference", "preference", prepare=pairs_sets),
    *(Moment(f"preference-{step}", "preference", prepare=pairs_step(step)) for step in ("prompts", "models", "amount")),
    Moment("preference-import", "preference", project=EMPTY, prepare=pairs_import),
    Moment("preference-running", "preference", {"run": "More pairs"}, alive="More pairs"),
    Moment("preference-interrupted", "preference", {"run": "More pairs"}),
    Moment("preference-made", "preference", {"run": LABELLED}),
    *(Moment(f"reward-{step}", "reward", prepare=prefer("reward", "reward", step)) for step in ("model", "pairs", "method", "start")),
    Moment("reward-running", "reward", {"run": "world-taste-slow"}, alive="world-taste-slow"),
    Moment("reward-report", "reward", {"run": "world-taste"}),
    Moment("reward-interrupted", "reward", {"run": "world-taste-slow"}),
    Moment("reward-error", "reward", {"run": "world-taste-short"}),
    *(Moment(f"tune-dpo-{step}", "dpo", prepare=prefer("dpo", "dpo", step)) for step in ("goal", "data", "method", "start")),
    *(Moment(f"tune-ppo-{step}", "dpo", prepare=prefer("dpo", "ppo", step)) for step in ("goal", "data", "method", "start")),
    Moment("tune-dpo-running", "dpo", {"run": "world-preferred-hasty"}, alive="world-preferred-hasty"),
    Moment("tune-dpo-report", "dpo", {"run": "world-preferred"}),
    Moment("tune-dpo-interrupted", "dpo", {"run": "world-preferred-hasty"}),
    Moment("tune-ppo-running", "dpo", {"run": "world-rewarded-long"}, alive="world-rewarded-long"),
    Moment("tune-ppo-report", "dpo", {"run": "world-rewarded"}),
    Moment("tune-ppo-answers", "dpo", {"run": "world-rewarded"}, prepare=with_rewards),
    Moment("verifiers-empty", "verifiers", project=EMPTY),
    Moment("verifiers-generate", "verifiers", project=EMPTY, prepare=generate_problems),
    Moment("verifiers-import", "verifiers", project=EMPTY, prepare=import_problems),
    Moment("verifiers-trust", "verifiers", prepare=foreign),
    Moment("verifiers", "verifiers", prepare=tried),
    Moment("verifiers-error", "verifiers", prepare=mistaken),
    Moment("verifiers-parts", "verifiers", prepare=of_parts),
    Moment("verifiers-new", "verifiers", prepare=new_verifier),
    Moment("verifiers-versions", "verifiers", prepare=versions_of),
    Moment("reasoning-empty", "grpo", project=EMPTY),
    *(Moment(f"reasoning-{step}", "grpo", prepare=solve(step)) for step in ("model", "problems", "verifier", "way", "method", "start")),
    Moment("reasoning-running", "grpo", {"run": "world-solver-long"}, prepare=run_part("grpo", "charts"), alive="world-solver-long"),
    Moment("reasoning-answers", "grpo", {"run": "world-solver-long"}, prepare=run_part("grpo", "browser")),
    Moment("reasoning-paused", "grpo", {"run": "world-solver-strict"}),
    Moment("reasoning-report", "grpo", {"run": "world-solver"}),
    Moment("evaluate", "evaluate"),
    Moment("evaluate-reward", "evaluate", prepare=evaluate_reward),
    Moment("evaluate-setup", "evaluate",
           prepare=evaluate_setup(models=("model-2", "model-4"), suites=("held_out_people", "held_out_text"))),
    Moment("evaluate-problem", "evaluate", prepare=evaluate_setup(models=("model-4",), suites=())),
    Moment("evaluate-suite", "evaluate", prepare=evaluate_suite),
    Moment("evaluate-result", "evaluate", {"artifact": "Before and after"}),
    Moment("evaluate-result-below", "evaluate", {"artifact": "Before and after"}, prepare=below("evaluate")),
    Moment("evaluate-blind", "evaluate", {"artifact": "Before and after"}, prepare=evaluate_blind(False)),
    Moment("evaluate-told", "evaluate", {"artifact": "Before and after"}, prepare=evaluate_blind(True)),
    Moment("evaluate-running", "evaluate", {"run": "All of it"}, alive="All of it"),
    Moment("chat", "chat", prepare=chat(2)),
    Moment("chat-one", "chat", prepare=chat(1, untrained=False)),
    Moment("chat-untrained", "chat", prepare=chat(1)),
    Moment("chat-tuned", "chat", {"model": "world-answers"}, prepare=talk),
    Moment("chat-vote", "chat", prepare=chat_vote(False)),
    Moment("chat-voted", "chat", prepare=chat_vote(True)),
    Moment("chat-best-of", "chat", prepare=best_of),
    Moment("runs", "runs"),
    Moment("runs-overlay", "runs", prepare=lay_over),
    Moment("lineage-empty", "lineage", project=EMPTY),
    Moment("lineage", "lineage", prepare=lineage_read),
    Moment("lineage-delete", "lineage", prepare=lineage_delete),
    Moment("export-gguf", "export", prepare=export_form("gguf")),
    Moment("export", "export", prepare=export_form()),
    Moment("exported", "export", prepare=exported),
    Moment("import-found", "import_model", prepare=found_model),
    Moment("serving", "settings", {"section": "serve"}, prepare=serving),
    Moment("settings", "settings", project=NONE),
    Moment("keys", "settings", project=NONE, prepare=open_keys),
)


def make_projects(into: Path, recording: Path | None) -> dict[str, Path]:
    """The recorded project (when asked for), an empty one, four other recent projects, and the machine they were made on."""
    from engine.project import layout, recent
    from engine.project.project import Project
    from engine.stages.corpus.spec import CorpusSpec
    from engine.stages.pretrain.spec import PretrainSpec
    from tests.recordings.gazette import Gazette
    from tests.recordings.make import GAZETTE as RECORDED_GAZETTE
    from tests.recordings.make import copy_into
    from tests.recordings.record import Story, simple_run, write_run
    layout.user_state().mkdir(parents=True)
    machine = recording / "home" / layout.machine_file().name if recording is not None else RECORDINGS / "machine.json"
    shutil.copy(machine, layout.machine_file())
    day, now = 86_400.0, time.time()
    stories = (("Court rulings", 19, None), ("Verse, byte level", 12, Story(steps=2000, upto=1400, end="", seed=5)),
               ("Folk tales", 3, Story(steps=1200, upto=1200, seed=6)), ("Clinic leaflets", 1, Story(steps=900, upto=900, seed=8)))
    for name, age, story in stories:
        made = Project.create(into / name.lower().replace(", ", "-").replace(" ", "-"), name)
        simple_run(made.runs.create(CorpusSpec(sources=("text",))), [("read", "Read")], 60)
        with made.artifacts.create("corpus", title="Corpus 1") as corpus:
            corpus.finish(documents=1200)
        if story is not None:
            with made.artifacts.create("tokenizer", title="Tokenizer 1", parents=("corpus-1",)) as tokenizer:
                tokenizer.finish(vocab_size=8192)
            run = made.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1"))
            write_run(run, story)
            if story.end:
                with made.artifacts.create("model", title="model", parents=("corpus-1", "tokenizer-1"), run=run.id) as model:
                    model.finish(parameters=3_200_000 * story.seed)
        recent.remember(made.dir, made.name)
        raw = json.loads(layout.recent_file().read_text("utf-8"))
        raw[0]["opened"] = now - age * day
        layout.recent_file().write_text(json.dumps(raw), "utf-8")
    Gazette().write(into / "gazette-text")
    made_now = {EMPTY: Project.create(into / "harbour-diaries", "Harbour diaries").dir}
    if recording is not None:
        shutil.copytree(recording / "text", into / "text")
        made_now[RECORDED] = copy_into(into / "tiny-world", recording).dir
        made_now[GAZETTE] = copy_into(into / RECORDED_GAZETTE, recording, RECORDED_GAZETTE).dir
    return made_now


def settle(app: "App", seconds: float) -> None:
    """Let the window read, draw and lay out what it has to, also what a thread brought at the last moment."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        app.qt.processEvents()
        time.sleep(0.005)
        if app.context.jobs.busy:
            until = max(until, time.monotonic() + LAST_SECONDS)


def show_project(app: "App", project: Path | None) -> bytes | None:
    """Open the project, or show the first start (then gives the list of recent projects, to be restored)."""
    from engine.project import layout
    if project is not None:
        if app.context.project is None or app.context.project.dir != project:
            app.context.open_project(project)
        return None
    kept = layout.recent_file().read_bytes() if layout.recent_file().exists() else None
    app.context.close_project()
    layout.recent_file().unlink(missing_ok=True)
    return kept


def restore_recent(kept: bytes | None) -> None:
    from engine.project import layout
    if kept is not None:
        layout.recent_file().write_bytes(kept)


def named(app: "App", given: dict[str, Any]) -> dict[str, Any]:
    """A moment's arguments with ids for titles; what the project does not have is left out."""
    args, project = dict(given), app.context.project
    if project is None:
        return args
    known: dict[str, Callable[[], list[tuple[str, str]]]] = {
        "run": lambda: [(run.title, run.id) for run in project.runs.list()],
        "set": lambda: [(one.title, one.id) for one in (*project.library.examples.sets(), *project.library.pairs.sets())],
        "artifact": lambda: [(made.title, made.id) for made in project.artifacts.list()],
        "model": lambda: [(made.title, made.id) for made in project.artifacts.list("model")]}
    for name in set(args) & set(known):
        args[name] = dict(known[name]()).get(args[name], "")
    return {name: value for name, value in args.items() if value != ""}


@contextmanager
def held(app: "App", title: str) -> Iterator[None]:
    """A run that was cut looks as if it went on: its clock is at now, and its lock is held."""
    project = app.context.project
    run = next((run for run in project.runs.list() if run.title == title), None) if project is not None and title else None
    if run is None:
        yield
        return
    from tests.recordings.make import bring_to_now
    bring_to_now([run])
    lock = run.lock()
    assert lock.acquire()
    app.context.look()
    try:
        yield
    finally:
        lock.release()
        app.context.look()


def picture(app: "App", moment: Moment, file: Path, width: int, height: int) -> str:
    """Save one picture; what is wrong with its size, "" when nothing is."""
    app.window.resize(width, height)
    args = named(app, moment.args)
    app.window.show_page(moment.page, args)
    if moment.prepare is not None:
        moment.prepare(app)
    settle(app, SETTLE_SECONDS)
    shot = app.window.grab()
    dialogs = [w for w in app.qt.topLevelWidgets() if w.isVisible() and w is not app.window and w.isWindow() and w.inherits("QDialog")]
    if dialogs:  # offscreen there is no window manager: a dialog is drawn where it would stand
        from PySide6.QtGui import QPainter
        painter = QPainter(shot)
        for dialog in dialogs:
            left, top = (width - dialog.width()) // 2, (height - dialog.height()) // 3
            painter.drawPixmap(left, top, dialog.grab())
            painter.setPen(app.context.theme.colour("control"))
            painter.drawRect(left - 1, top - 1, dialog.width() + 1, dialog.height() + 1)
            dialog.close()
        painter.end()
    shot.save(str(file))
    if (app.window.width(), app.window.height()) != (width, height):
        return f"{file.name} needs {app.window.width()} x {app.window.height()}"
    clipped = app.window.pages[app.window.shown].scroll.horizontalScrollBar().maximum()
    return f"{file.name} is {clipped} pixels too narrow" if clipped else ""


def trust_verifiers(folder: Path) -> None:
    """Who looks at the pictures' project has written its verifiers, and would not be asked about them."""
    from engine.project.project import Project
    verifiers = Project.open(folder).library.verifiers
    for one in verifiers.list():
        for version in verifiers.versions(one.id):
            verifiers.trust(version.ref)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--page", action="append", help="only these moments or pages")
    parser.add_argument("--theme", action="append", choices=THEMES)
    parser.add_argument("--size", action="append", help="as 1280x800")
    parser.add_argument("--scale", type=float, default=1.0, help="text size: 1, 1.25 or 1.5")
    parser.add_argument("--project", type=Path, help="a project's folder instead of the recorded one")
    parser.add_argument("--recording", type=Path, help="a folder that `python -m tests.recordings.make` printed, instead of a new one")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    wanted = [m for m in MOMENTS if not chosen.page or m.name in chosen.page or m.page in chosen.page]
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as aside:
        os.environ["FLEDGE_HOME"] = str(Path(aside) / "home")
        alive = None
        if chosen.project is not None:
            projects = dict.fromkeys((RECORDED, GAZETTE, EMPTY), chosen.project.resolve())
        else:
            recording = chosen.recording
            if recording is None and any(m.project in (RECORDED, GAZETTE) for m in wanted):
                from tests.recordings.make import cached
                recording = cached()
            projects = make_projects(Path(aside) / "Documents", recording)
            if RECORDED in projects:
                from engine.project.project import Project
                alive = Project.open(projects[RECORDED]).runs.list()[-1].lock()
                assert alive.acquire()  # the last run has no worker: its lock makes it look as if it had
        from desktop.app import build
        app = build()
        app.context.probe.ask = lambda measure=False: None  # type: ignore[method-assign]  # pictures show the machine that was recorded
        if RECORDED in projects and chosen.project is None:
            trust_verifiers(projects[RECORDED])
        from desktop.models.label_desk import AUTHOR
        from tests.recordings.taste import FIRST
        app.context.remember(AUTHOR, FIRST)
        app.window.show()
        if chosen.scale != 1.0:
            app.context.set_scale(chosen.scale)
        for moment in wanted:
            kept = show_project(app, projects.get(moment.project))
            with held(app, moment.alive):
                for size in chosen.size or SIZES:
                    width, height = (int(n) for n in size.split("x"))
                    for theme in chosen.theme or THEMES:
                        app.context.theme.set_mode(theme)
                        wrong.append(picture(app, moment, chosen.out / f"{moment.name}-{theme}-{size}.png", width, height))
            restore_recent(kept)
        app.window.close()
        OPEN.close()
        if alive is not None:
            alive.release()
    for line in filter(None, wrong):
        print(line, file=sys.stderr)
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
