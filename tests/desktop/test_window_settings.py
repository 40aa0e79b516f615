"""Settings survive, are written whole, and two processes do not erase each other's."""

import json
from pathlib import Path

from desktop.settings import Settings


def test_settings_survive_a_restart(tmp_path: Path) -> None:
    first = Settings(tmp_path / "settings.json")
    first.set("theme", "dark")
    assert first.waiting
    first.flush()
    assert not first.waiting and Settings(tmp_path / "settings.json").get("theme") == "dark"


def test_none_forgets(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "settings.json")
    settings.set("engine_python", "/usr/bin/python3")
    settings.flush()
    settings.set("engine_python", None)
    settings.flush()
    assert "engine_python" not in json.loads((tmp_path / "settings.json").read_text())


def test_a_torn_file_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"theme": "da')
    assert Settings(tmp_path / "settings.json").get("theme", "system") == "system"


def test_another_process_keeps_what_it_wrote(tmp_path: Path) -> None:
    one, two = Settings(tmp_path / "s.json"), Settings(tmp_path / "s.json")
    one.set("theme", "dark")
    two.set("scale", 1.5)
    one.flush()
    two.flush()
    assert json.loads((tmp_path / "s.json").read_text()) == {"theme": "dark", "scale": 1.5}


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "s.json")
    settings.set("a", None)
    settings.flush()
    assert not (tmp_path / "s.json").exists()
