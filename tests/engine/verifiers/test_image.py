"""The image and its compiled form: only the right one is taken, and only from where nobody else can have put it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from engine.contract.errors import MachineError, Missing
from engine.verifiers import image
from engine.verifiers.image import IMAGE, MANIFEST, SOURCES_SHA256, checked_image, compiled, digest_of

ROOT = Path(__file__).resolve().parents[3]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fledge_{name}", ROOT / "packaging" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image that is none, but has what an image has."""
    made = tmp_path / "image"
    made.mkdir()
    (made / IMAGE).write_bytes(b"\0asm")
    (made / MANIFEST).write_text(json.dumps({"sources": SOURCES_SHA256, "sha256": digest_of({IMAGE: b"\0asm"})}))
    return made


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files were compiled, without the ten seconds it takes."""
    made: list[Path] = []

    def run(command: list[str], **settings: object) -> subprocess.CompletedProcess[str]:
        made.append(Path(command[-1]))
        made[-1].write_bytes(b"native code")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(image.subprocess, "run", run)
    return made


def test_the_sources_are_those_the_program_names() -> None:
    """Who changes a file of the image, or a package in it, is told here to name the new hash; bootstrap then builds it."""
    assert load("build_verifier_image").sources() == SOURCES_SHA256


def test_what_goes_into_the_image_is_pinned_by_hash_and_none_of_it_is_installed() -> None:
    lines = [line for name in ("tools.txt", "packages.txt") for line in (ROOT / "packaging/verifier_image" / name).read_text().splitlines()
             if "==" in line]
    assert len(lines) == 6
    project = (ROOT / "pyproject.toml").read_text()
    for line in lines:
        assert line.split("==")[0] not in project
    text = "".join((ROOT / "packaging/verifier_image" / name).read_text() for name in ("tools.txt", "packages.txt"))
    assert text.count("--hash=sha256:") >= 9


def test_the_right_image_is_taken(folder: Path) -> None:
    assert checked_image(folder) == (folder / IMAGE, digest_of({IMAGE: b"\0asm"}))


@pytest.mark.parametrize(("spoil", "expected"), [
    (lambda folder: (folder / IMAGE).unlink(), "has not been built"), (lambda folder: (folder / MANIFEST).unlink(), "has not been built"),
    (lambda folder: (folder / IMAGE).write_bytes(b"\0asn"), "damaged"), (lambda folder: (folder / MANIFEST).write_text("{"),
    "has not been built"),
    (lambda folder: (folder / MANIFEST).write_text('{"sources": "x"}'), "other sources"),
])
def test_another_image_is_refused_with_the_reason_and_the_command(spoil, expected: str, folder: Path, tmp_path: Path) -> None:
    spoil(folder)
    with pytest.raises(Missing) as wrong:
        compiled(folder, tmp_path / "cache")
    assert expected in wrong.value.sentence and "build_verifier_image" in wrong.value.remedy
    assert wrong.value.code == "no_verifier_image" and not (tmp_path / "cache").exists()


def test_it_is_compiled_once(folder: Path, tmp_path: Path, count: list[Path]) -> None:
    first = compiled(folder, tmp_path / "cache")
    assert compiled(folder, tmp_path / "cache") == first and len(count) == 1
    assert first.read_bytes() == b"native code"
    if os.name == "posix":
        assert first.stat().st_mode & 0o777 == 0o600 and first.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("spoil", [
    lambda made: made.write_bytes(b"other code"), lambda made: made.with_suffix(".sha256").unlink(), lambda made: made.unlink(),
    lambda made: made.with_suffix(".sha256").write_text("0" * 64), lambda made: os.chmod(made, 0o666),
    lambda made: (made.rename(made.with_suffix(".moved")), made.symlink_to(made.with_suffix(".moved"))),
])
@pytest.mark.skipif(os.name != "posix", reason="rights of files")
def test_compiled_code_that_somebody_touched_is_made_anew(spoil, folder: Path, tmp_path: Path, count: list[Path]) -> None:
    made = compiled(folder, tmp_path / "cache")
    spoil(made)
    assert compiled(folder, tmp_path / "cache") == made and len(count) == 2
    assert made.read_bytes() == b"native code" and not made.is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="rights of files")
def test_a_cache_folder_that_is_a_link_or_open_to_others(folder: Path, tmp_path: Path, count: list[Path]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "there")
    with pytest.raises(MachineError):
        compiled(folder, tmp_path / "cache")
    os.chmod(tmp_path / "there", 0o777)
    compiled(folder, tmp_path / "there")
    assert (tmp_path / "there").stat().st_mode & 0o077 == 0


def test_compiling_that_fails_is_refused(folder: Path, tmp_path: Path) -> None:
    """For real: four bytes are no WebAssembly."""
    with pytest.raises(Missing) as wrong:
        compiled(folder, tmp_path / "cache")
    assert "could not be compiled" in wrong.value.sentence and not list((tmp_path / "cache").glob("*.cwasm"))


def test_bootstrap_says_what_to_do_where_the_image_cannot_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap = load("bootstrap")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    log = bootstrap.Log(tmp_path / "log")
    assert not bootstrap.build_image(bootstrap.Environment(tmp_path), log, tmp_path / "wheels")
    said = capsys.readouterr().out
    assert "everything else works" in said and "--no-run" in said
    monkeypatch.setattr(log, "run", lambda command: 0)
    assert bootstrap.build_image(bootstrap.Environment(tmp_path), log, None) and not capsys.readouterr().out


def test_bootstrap_installs_again_when_another_image_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap = load("bootstrap")
    (tmp_path / "packaging").mkdir()
    for name in ("pyproject.toml", "packaging/constraints.txt"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    before = bootstrap.fingerprint((3, 11))
    (tmp_path / "engine/verifiers").mkdir(parents=True)
    (tmp_path / "engine/verifiers/image.py").write_text("SOURCES_SHA256 = 'x'")
    assert bootstrap.fingerprint((3, 11)) != before


@pytest.mark.slow
def test_the_image_builds_from_packages_and_passes_its_own_test(tmp_path: Path) -> None:
    """As bootstrap does on a clone, into another place; needs the package index."""
    from engine.verifiers.pool import Pool
    done = subprocess.run([sys.executable, str(ROOT / "packaging/build_verifier_image.py"), "--into", str(tmp_path / "image")], text=True,
                          capture_output=True, timeout=600)
    if "Could not find a version" in done.stderr or "connection" in done.stderr.lower():
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    with Pool(1, folder=tmp_path / "image", cache=tmp_path / "cache") as pool:
        assert isinstance(pool.start(), dict)
