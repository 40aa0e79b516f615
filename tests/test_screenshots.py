"""packaging/screenshots.py draws what it says, at the size it says, and finds a page that is too wide."""

import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(420)  # the project in the pictures is trained first
def test_pictures_of_a_moment_in_both_themes(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "packaging" / "screenshots.py"), str(tmp_path), "--page", "settings",
                           "--size", "1280x800"], capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    light, dark = (QImage(str(tmp_path / f"settings-{theme}-1280x800.png")) for theme in ("light", "dark"))
    assert (light.width(), light.height()) == (1280, 800)
    assert light.pixelColor(1270, 790).lightness() > 200 and dark.pixelColor(1270, 790).lightness() < 60
