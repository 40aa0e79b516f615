"""The report of the Corpus page with corpora that were really made: its rows open documents, decisions are applied, text and report are
taken out, a stopped run goes on, and a corpus of the first version shows what it knows."""

import json
import time
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton

from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.models.survey import survey
from desktop.pages.corpus import CorpusPage
from engine.project.project import Project
from engine.stages.corpus.spec import CorpusSpec
from engine.text.corpus_writer import CorpusWriter

WORDS = "the ferry left quay at seven with forty passengers and mail for island harbour light wind rose tide fell bell rang".split()


def texts(count: int) -> list[str]:
    return [" ".join(WORDS[(i * j + i // 7) % len(WORDS)] for j in range(1, 40)) + f" number {i} of the year {1900 + i}"
            for i in range(1, count)]


def source(folder: Path, count: int = 130) -> Path:
    """Documents with two exact copies and two short ones."""
    rows = texts(count)
    file = folder / "letters.jsonl"
    file.write_text("\n".join(json.dumps({"text": t}) for t in [*rows, rows[3], rows[9], "Too short.", "Short too."]) + "\n")
    return file


def button(page: CorpusPage, words: str) -> QPushButton:
    return next(b for b in page.findChildren(QPushButton) if b.text().strip() == words and b.isVisible())


@pytest.fixture
def page(window: MainWindow, project: Project) -> CorpusPage:
    window.show_page("corpus")
    made = window.pages["corpus"]
    assert isinstance(made, CorpusPage)
    return made


@pytest.fixture
def made(page: CorpusPage, tmp_path: Path, qtbot) -> CorpusPage:
    """The page with the report of a corpus that a run made."""
    page._start(CorpusSpec(sources=(str(source(tmp_path)),), minimum_length=50, identify_languages=False, title="Letters"))
    qtbot.waitUntil(lambda: page._view == "report", timeout=60_000)
    return page


def test_a_row_of_the_funnel_opens_its_documents(made: CorpusPage, qtbot) -> None:
    rows = {r.row.id: r for r in made.report.funnel.rows}
    assert rows["minimum_length"].row.removed == 2 and rows["exact_duplicates"].row.removed == 2
    opened: list[dict] = []
    load = made.open_browser
    made.report._open_browser = lambda filters: (opened.append(filters), load(filters))
    qtbot.mouseClick(rows["exact_duplicates"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: made._view == "browser", timeout=20_000)
    assert opened == [{"step": "exact_duplicates"}] and made.browser.isVisible()
    made._back_to_report()
    assert made._view == "report" and made.report.isVisible()


def test_decisions_that_wait_are_told_and_applied(made: CorpusPage, project: Project, qtbot) -> None:
    corpus = project.artifacts.list("corpus")[0]
    import pyarrow.parquet as pq
    ids = pq.read_table(corpus.path / "documents.parquet", columns=["id"])["id"].to_pylist()
    project.library.decide({ids[0]: False, ids[-1]: True}, corpus=corpus.id)
    made._bar.watch(corpus)
    qtbot.waitUntil(lambda: made._notes.note is not None, timeout=10_000)
    assert "2 decisions" in made._notes.note.accessibleName()
    qtbot.mouseClick(button(made, "Apply"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: made._view == "report" and made._shown == "corpus-2", timeout=60_000)
    again = project.artifacts.get("corpus-2")
    assert again.spec["base"] == "corpus-1" and again.facts["removed"]["hand"] == 1
    assert again.facts["removed"]["minimum_length"] == 1 and again.facts["documents"] == corpus.facts["documents"]
    assert made._which is not None and made._which.count() == 2
    made._choose("corpus-1")
    assert made.report.report.made.id == "corpus-1"
    qtbot.wait(300)
    assert made._notes.note is None  # they are applied already


def test_the_text_and_the_report_are_taken_out(made: CorpusPage, project: Project, tmp_path: Path, qtbot) -> None:
    exports, kept = made._exports, project.artifacts.list("corpus")[0].facts["documents"]
    with qtbot.waitSignal(exports.exporting.done, timeout=30_000):
        exports.write("jsonl", tmp_path / "out.jsonl")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == kept
    with qtbot.waitSignal(exports.exporting.done, timeout=30_000):
        exports.write("html", tmp_path / "report.html")
    exports.write("pdf", tmp_path / "report.pdf")
    assert "Exact duplicates" in (tmp_path / "report.html").read_text() and (tmp_path / "report.pdf").read_bytes()[:4] == b"%PDF"
    exports.write("pdf", tmp_path / "no" / "such" / "folder.pdf")
    told = made._export_notes.note
    assert told is not None and "cannot be written" in told.accessibleName()


def test_more_sources_begin_with_the_settings_of_this_corpus(made: CorpusPage, qtbot) -> None:
    qtbot.mouseClick(button(made, "Add sources"), Qt.MouseButton.LeftButton)
    assert made._view == "wizard" and made.wizard.plan.values["minimum_length"] == 50 and len(made.wizard.plan.sources) == 1
    qtbot.mouseClick(button(made, "Cancel"), Qt.MouseButton.LeftButton)
    assert made._view == "report"


def test_the_time_of_the_next_run_is_known_after_the_first(made: CorpusPage, context: AppContext, qtbot) -> None:
    from desktop.models.corpus_plan import measured_rate
    assert context.survey is not None
    rate = measured_rate(context.survey.of_kind("corpus"))
    assert rate is not None and rate.bytes_per_second > 0 and rate.where == "Letters"


def test_a_stopped_run_goes_on_where_it_was(page: CorpusPage, project: Project, tmp_path: Path, qtbot) -> None:
    page._start(CorpusSpec(sources=(str(source(tmp_path, 4000)),), title="Letters"))
    page._run.process.stop()
    qtbot.waitUntil(lambda: page._view == "report" or (page.running is not None and page.running.trouble.note is not None), timeout=60_000)
    if page._view != "report":  # a very fast machine may be done before it looks
        assert page._run.follower.status == "stopped" and not project.artifacts.list("corpus")
        qtbot.mouseClick(button(page, "Resume"), Qt.MouseButton.LeftButton)
        assert page.running.trouble.note is None
        qtbot.waitUntil(lambda: page._view == "report", timeout=60_000)
    assert len(project.artifacts.list("corpus")) == 1 and len(project.runs.list("corpus")) == 1


def test_an_unfinished_run_is_offered_again_when_the_page_is_opened(context: AppContext, project: Project, tmp_path: Path, qtbot) -> None:
    run = project.runs.create(CorpusSpec(sources=(str(source(tmp_path)),), title="Letters"))
    events = [{"e": "started", "t": time.time(), "stage": "corpus", "pid": 1}, {"e": "phase", "t": time.time(), "id": "read",
              "title": "Reading"}]
    (run.dir / "events.jsonl").write_text("\n".join(json.dumps(e) for e in events) + "\n")
    context.survey = survey(project)
    page = CorpusPage(context)
    qtbot.addWidget(page)
    page.show()
    page.opened()
    qtbot.waitUntil(lambda: page.running is not None and page.running.trouble.note is not None, timeout=10_000)
    assert page._view == "running" and "interrupted" in page.running.trouble.note.accessibleName()
    qtbot.mouseClick(button(page, "Resume"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(project.artifacts.list("corpus")) == 1, timeout=60_000)
    context.look()
    qtbot.waitUntil(lambda: page._view == "report", timeout=20_000)


def test_a_corpus_of_the_first_version_shows_what_it_knows(page: CorpusPage, context: AppContext, project: Project, qtbot) -> None:
    with project.artifacts.create("corpus", title="Old text", spec={"sources": ["text"]}) as writer:
        folder = writer.path / "data"
        folder.mkdir()
        inner = CorpusWriter(folder)
        for i, text in enumerate(texts(6)):
            inner.add("train", text, "old.txt", f"id{i}")
        inner.add("validation", "The ferry was late again.", "old.txt", "idv")
        inner.finish()
        for part in folder.iterdir():
            part.rename(writer.path / part.name)
        folder.rmdir()
        writer.finish(documents=6, originals=6, bytes=1500, characters=1500, tokens_estimate=375, files=1, split_by="tail", skipped=[],
                      sources=[{"name": "old.txt", "kind": "text", "size": 1500, "bytes": 1500, "documents": 6, "encoding": "utf-8"}],
                      splits={"train": {"documents": 5, "bytes": 1400}, "validation": {"documents": 1, "bytes": 100}})
    context.look()
    qtbot.waitUntil(lambda: page._view == "report", timeout=20_000)
    view = page.report
    qtbot.waitUntil(lambda: bool(view._parts) and view.files.isVisible(), timeout=5_000)
    assert not view.funnel_panel.isVisible() and view.read_panel.isVisible() and view.files.isVisible()
    assert not view.languages.isVisible() and not view.changes.isVisible()
    qtbot.waitUntil(lambda: "ferry" in view.read_panel.text.words() or "quay" in view.read_panel.text.words(), timeout=20_000)


def test_every_setting_can_be_set_in_the_wizard(page: CorpusPage, tmp_path: Path, qtbot) -> None:
    page.take([str(source(tmp_path))])
    wizard, found = page.wizard, set()
    for step in ("sources", "clean", "duplicates", "split"):
        body = wizard.body(step)
        qtbot.wait(50)
        found |= {*body.controls, *(n for form in body.forms for n in form.names)}
    found |= {"held_out", "contamination"}  # a list of files and two segments
    assert {n for n in CorpusSpec.model_fields if not CorpusSpec.option_of(n).hidden} <= found


def test_a_pipeline_for_elsewhere_is_told_and_its_output_can_be_read(page: CorpusPage, project: Project, tmp_path: Path, qtbot) -> None:
    pytest.importorskip("datatrove")
    page._start(CorpusSpec(sources=(str(source(tmp_path)),), executor="datatrove_cluster"))
    qtbot.waitUntil(lambda: page.running is not None and page.running.trouble.note is not None, timeout=60_000)
    assert page._run.follower.status == "done" and not project.artifacts.list("corpus")
    assert "elsewhere" in page.running.trouble.note.accessibleName() and button(page, "Read its output").isEnabled()
