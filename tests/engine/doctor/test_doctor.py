"""The doctor's findings: complete on this machine, and right about machines that lack something."""

import importlib.util
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from engine import doctor
from engine.terminal import print_findings

ROOT = Path(__file__).resolve().parents[3]
IDS = {"fledge", "python", "torch", "device.cpu", "memory.cpu", "attention", "compiler", "llama_cpp", "qt", "disk", "disk_speed",
       "own_folder"}


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))


def test_every_finding_says_what_it_means(tmp_path):
    findings = doctor.diagnose(tmp_path)
    assert {found.id for found in findings} >= IDS
    assert len({found.id for found in findings}) == len(findings)
    for found in findings:
        assert found.title and found.value and found.meaning, found
        assert found.status == "ok" or found.remedy, found
    cpu = next(found for found in findings if found.id == "device.cpu")
    assert "TFLOP/s" in cpu.value
    assert not list(tmp_path.glob(".fledge-probe*"))


def test_without_measuring_nothing_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.devices, "_matmul_flops", lambda *_: pytest.fail("measured"))
    cpu = next(found for found in doctor.diagnose(tmp_path, measure=False) if found.id == "device.cpu")
    assert "TFLOP/s" not in cpu.value


def test_the_doctor_imports_no_qt(tmp_path):
    code = ("import sys, engine.doctor; engine.doctor.diagnose(measure=False);"
            "sys.exit(any(name.split('.')[0] in ('PySide6', 'shiboken6') for name in sys.modules))")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=100).returncode == 0


def test_what_tuning_and_generating_may_lack_is_no_fault(monkeypatch, capsys):
    here = doctor.devices.machine(measure=False).devices[0]
    card = replace(here, id="cuda:0", kind="cuda")
    assert doctor._four_bit([here]) == []
    monkeypatch.setattr("engine.model.lora_shape.find_spec", lambda name: None)
    (lack,) = doctor._four_bit([here, card])
    assert (lack.status, lack.value) == ("ok", "not installed") and "fledge[qlora]" in lack.remedy
    monkeypatch.setattr(doctor, "_installed", lambda name: False)
    assert doctor._llama_cpp().value == "not installed"
    print_findings([lack], as_json=False)
    assert "fledge[qlora]" in "".join(capsys.readouterr().out.split()), "square brackets are no markup"


def test_a_library_that_is_not_there_is_told_by_a_real_probe():
    wrong = doctor._probe(["libc.so.6", "libfledge-nowhere.so.7"])
    assert list(wrong) == ["libfledge-nowhere.so.7"]


def test_known_and_unknown_missing_libraries_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    plugin = tmp_path / "Qt" / "plugins" / "platforms" / "libqxcb.so"
    plugin.parent.mkdir(parents=True)
    plugin.touch()
    wrong = {"libxcb-cursor.so.0": "libxcb-cursor.so.0: cannot open shared object file: No such file or directory",
             str(plugin): "libstrange.so.4: cannot open shared object file: No such file or directory"}
    assert doctor.missing_libraries(tmp_path, lambda names: {name: wrong[name] for name in names if name in wrong}) == [
        "libxcb-cursor.so.0", "libstrange.so.4"]


def test_the_remedy_for_missing_libraries_is_the_distributions_command(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "missing_libraries", lambda folder: ["libEGL.so.1", "libxcb-shape.so.0", "libxcb-xkb.so.1"])
    monkeypatch.setattr(doctor, "distribution", lambda: "fedora")
    monkeypatch.setenv("DISPLAY", ":0")
    found = doctor._libraries(tmp_path)
    assert found.status == "problem"
    assert found.remedy.removeprefix("sudo ") == "dnf install -y libglvnd-egl libxcb"
    monkeypatch.setattr(doctor, "distribution", lambda: "")
    assert "libEGL.so.1" in doctor._libraries(tmp_path).remedy


@pytest.mark.parametrize("text, family", [
    ('ID=debian\n', "debian"), ('ID=ubuntu\nID_LIKE=debian\n', "debian"), ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "suse"),
    ('ID=neon\nID_LIKE="ubuntu debian"\n', "debian"), ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "fedora"), ('ID=nixos\n', ""),
])
def test_distributions_are_known_by_their_kin(tmp_path, text, family):
    (tmp_path / "os-release").write_text(text)
    assert doctor.distribution([tmp_path / "nothing", tmp_path / "os-release"]) == family


def test_the_installer_knows_the_same_libraries():
    file = ROOT / "packaging" / "bootstrap.py"
    spec = importlib.util.spec_from_file_location("bootstrap_for_doctor", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        theirs = {library.soname: (library.debian, library.fedora, library.arch, library.suse)
                  for library in module.QT_LIBRARIES + module.WINDOW_LIBRARIES}
    finally:
        del sys.modules[spec.name]
    assert theirs == doctor.LIBRARIES


def test_a_full_disk_is_a_problem_and_a_synced_folder_a_warning(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage(10**12, 10**12, 10**8))
    assert doctor._space(tmp_path).status == "problem"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage(10**12, 0, 10**12))
    assert doctor._space(tmp_path).status == "ok"
    (tmp_path / "Dropbox").mkdir()
    assert doctor._space(tmp_path / "Dropbox" / "not yet made").status == "warn"


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no")
    monkeypatch.setattr("builtins.open", refuse)
    assert doctor._speed(tmp_path).status == "problem"


def test_leaking_attention_is_found(monkeypatch):
    import torch

    assert not doctor.attention_leaks("cpu", "float32")
    honest = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", lambda q, k, v, is_causal: honest(q, k, v))
    assert doctor.attention_leaks("cpu", "float32")
    assert doctor._attention(doctor.devices.choose("cpu")).status == "problem"


def test_what_compiling_lacks_comes_with_the_command(monkeypatch):
    monkeypatch.setattr(doctor, "distribution", lambda: "debian")
    found = doctor._compiler(("compiler", "python_headers"), "")
    assert found.status == "warn" and found.remedy.endswith(f"g++ python3.{sys.version_info[1]}-dev")
    assert doctor._compiler((), "/usr/bin/g++").status == "ok"
