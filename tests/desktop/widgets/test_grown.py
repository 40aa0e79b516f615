"""A text that is as high as its lines: Markdown in the page's own sizes."""

import pytest

from desktop.context import AppContext
from desktop.widgets.grown import Grown


@pytest.mark.parametrize("level", [1, 2, 3])
def test_headings_are_no_larger_than_the_pages_own(context: AppContext, qtbot, level: int) -> None:
    heading, words = (Grown(context.theme, "body") for _ in range(2))
    heading.set("#" * level + " Which answer is better?")
    words.set("Which answer is better?")
    for widget in (heading, words):
        qtbot.addWidget(widget)
        widget.resize(600, 80)
    heights = [widget.document().documentLayout().blockBoundingRect(widget.document().begin()).height() for widget in (heading, words)]
    assert heights[1] <= heights[0] < 1.3 * heights[1]
