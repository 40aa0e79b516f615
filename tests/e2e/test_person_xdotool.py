"""The person at a real screen arrives (tests/e2e/person_xdotool.py): on a virtual screen, by mouse and keyboard, from outside the app."""

from pathlib import Path

import pytest

from tests.e2e import person_xdotool


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(person_xdotool.missing()), reason="needs Xvfb, xdotool and ImageMagick's import")
def test_a_person_at_a_screen_arrives_at_a_model_that_answers(tmp_path: Path) -> None:
    assert person_xdotool.main(tmp_path / "pictures") == 0
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 33
