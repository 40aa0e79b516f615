"""Who may import whom, as a graph (import-linter's contracts in pyproject.toml) and as it is at run time (a fresh interpreter)."""

import json
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "accelerate", "datasets")
QT = ("PySide6", "shiboken6", "pyqtgraph")

PROBE = """
import importlib, json, sys
names, forbidden = json.loads(sys.argv[1])
found = {}
for name in names:
    importlib.import_module(name)
    for heavy in forbidden:
        if heavy in sys.modules and heavy not in found:
            found[heavy] = name
print(json.dumps(found))
"""



def loaded_by(names: list[str], forbidden: tuple[str, ...]) -> dict[str, str]:
    """Which of `forbidden` importing `names` in a fresh interpreter loads, and the first module that did it."""
    command = [sys.executable, "-c", PROBE, json.dumps([names, forbidden])]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def files_of(folder: str) -> list[str]:
    """Module names by the files, importing nothing."""
    names = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def test_the_contracts_of_the_import_graph_hold() -> None:
    program = Path(sysconfig.get_path("scripts")) / "lint-imports"
    done = subprocess.run([str(program), "--no-cache"], cwd=ROOT, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_every_part_of_the_engine_has_a_layer() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(rule["layers"] for rule in rules if rule["name"] == "Layers of the engine")
    known = {name.strip(" ()") for layer in layers for name in layer.replace("|", ":").split(":")}
    parts = {path.stem for path in (ROOT / "engine").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__"}
    assert parts <= known, f"give these a layer in pyproject.toml: {sorted(parts - known)}"


def test_the_window_never_loads_torch() -> None:
    assert loaded_by([name for name in files_of("desktop") if not name.endswith("__main__")], HEAVY) == {}


def test_what_the_window_reads_of_the_engine_never_loads_torch() -> None:
    names = [*files_of("engine/contract"), *files_of("engine/project"), "engine.pipeline", "engine.model.config",
             *(name for name in files_of("engine/stages") if name.endswith(".spec"))]
    assert loaded_by(names, HEAVY) == {}


def test_text_never_loads_torch() -> None:
    assert loaded_by(files_of("engine/text"), ("torch", "transformers")) == {}


def test_the_engine_never_loads_qt() -> None:
    names = [name for name in files_of("engine") if not name.endswith("__main__")]
    assert loaded_by(names, QT) == {}


def test_the_probe_sees_what_is_loaded_behind_another_module() -> None:
    """Negative control: json loads json.decoder without being asked for it by name."""
    assert loaded_by(["json"], ("json.decoder",)) == {"json.decoder": "json"}


def test_the_packaging_folder_does_not_hide_the_packaging_library() -> None:
    assert not (ROOT / "packaging" / "__init__.py").exists()
    assert loaded_by(["packaging.version"], ("packaging.version",)) == {"packaging.version": "packaging.version"}
