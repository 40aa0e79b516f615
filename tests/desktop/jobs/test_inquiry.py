"""Questions to the engine in a process of their own: however many files are asked about, the answer or a sentence comes."""

from pathlib import Path

from desktop.jobs.inquiry import Inquiry
from engine.contract.errors import FledgeError


def test_thousands_of_files_can_be_asked_about(tmp_path: Path, qapp, qtbot) -> None:
    folder = tmp_path / ("a folder with a long name " * 6)
    folder.mkdir()
    for n in range(1500):
        (folder / f"{n}.txt").write_text("Boats.")
    sources = [str(p) for p in folder.iterdir()]
    assert sum(map(len, sources)) > 1 << 17, "more than one argument of a process may hold"
    inquiry, answers, wrong = Inquiry(), [], []
    inquiry.ask("engine.text.probe", "preview", {"sources": sources}, answers.append, wrong.append)
    qtbot.waitUntil(lambda: bool(answers or wrong), timeout=30_000)
    assert not wrong and not inquiry.busy and answers[0]


def test_an_answer_that_is_an_error_keeps_its_words(tmp_path: Path, qapp, qtbot) -> None:
    inquiry, wrong = Inquiry(), []
    inquiry.ask("engine.text.probe", "documents", {"corpus": str(tmp_path)}, lambda answer: None, wrong.append)
    qtbot.waitUntil(lambda: bool(wrong), timeout=30_000)
    assert isinstance(wrong[0], FledgeError) and wrong[0].code != "reader_died" and wrong[0].remedy
