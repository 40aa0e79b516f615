"""The panel of near duplicates on the report: the largest group first, the members side by side, another one kept by a click."""

from collections.abc import Iterator
from typing import Any

import pytest
from PySide6.QtCore import Qt

from desktop.context import AppContext
from desktop.pages.corpus.clusters import ClusterStrip
from desktop.widgets.reader import ADDED, CUT
from engine.contract.errors import FledgeError
from engine.project.project import Project
from tests.desktop.corpus_made import GROUPS, corpus, documents

WAIT = 20_000


@pytest.fixture
def opened() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def strip(context: AppContext, project: Project, qtbot, opened: list[dict[str, Any]]) -> Iterator[ClusterStrip]:
    made = ClusterStrip(context, on_open=opened.append)
    qtbot.addWidget(made)
    made.resize(720, 284)
    made.show()
    yield made
    made.rest()


def members(strip: ClusterStrip) -> list[int]:
    return [c.member["number"] for c in strip._compare.cards if c.member is not None]


def test_groups_are_walked_through_and_opened(strip: ClusterStrip, project: Project, qtbot, opened: list[dict[str, Any]]) -> None:
    strip.load(corpus(project))
    qtbot.waitUntil(lambda: members(strip) == [0, 2, 1], timeout=WAIT)
    assert strip._note.words() == "3 documents, similarity 0.91 to 0.95" and strip._where.words() == f"1 of {GROUPS}"
    assert {CUT, ADDED} <= {mark for _, mark in strip._compare.cards[2]._reader.pieces}
    for _ in range(GROUPS - 1):  # past what was asked for ahead
        qtbot.mouseClick(strip._on, Qt.MouseButton.LeftButton)
        qtbot.wait(5)
    last = (GROUPS - 1) * 8
    qtbot.waitUntil(lambda: members(strip) == [last, last + 2, last + 1], timeout=WAIT)
    qtbot.mouseClick(strip._on, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: members(strip)[0] == 0, timeout=WAIT)
    qtbot.mouseClick(strip._compare.cards[0].read, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(strip._all, Qt.MouseButton.LeftButton)
    assert opened == [{"cluster": 0}, {"cluster": True}]


def test_another_member_is_kept(strip: ClusterStrip, project: Project, qtbot) -> None:
    strip.load(corpus(project))
    qtbot.waitUntil(lambda: members(strip) == [0, 2, 1], timeout=WAIT)
    cards = strip._compare.cards
    qtbot.mouseClick(cards[2].keep, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: cards[2]._badge.text() == "kept", timeout=WAIT)
    made = documents()
    assert {id: d.keep for id, d in project.library.decisions().items()} == {made[0].id: False, made[1].id: True}
    assert [c._badge.text() for c in cards] == ["removed", "removed", "kept"] and not cards[2].keep.isVisible()
    project.library.undo_decision()  # elsewhere, while this was not on the screen
    strip.hide()
    strip.show()
    qtbot.waitUntil(lambda: cards[0]._badge.text() == "kept", timeout=WAIT)


def test_no_duplicates_and_failures_are_said(strip: ClusterStrip, project: Project, qtbot) -> None:
    artifact = corpus(project, [m for m in documents(1) if m.cluster < 0])
    strip.load(artifact)
    qtbot.waitUntil(lambda: "No duplicates" in strip._blank._title.words(), timeout=WAIT)
    strip._failed(FledgeError("It broke.", "Try again."))
    assert strip._blank._title.words() == "It broke." and strip._states.currentWidget() is strip._blank
