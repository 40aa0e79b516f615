"""Detection, choice, measuring and remembering, on the real machine; counters and limits on made-up files."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.contract.errors import DeviceUnavailable
from engine.contract.machine import DeviceFacts, MachineFacts
from engine.project import layout
from engine.training import devices


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))


def test_the_cpu_is_always_found_with_its_memory():
    cpu = devices.detect()[-1]
    assert cpu.id == cpu.kind == "cpu"
    assert 0 < cpu.memory_free <= cpu.memory_total
    assert cpu.threads >= 1
    assert "float32" in cpu.dtypes


def test_auto_is_the_first_device_and_names_choose():
    assert devices.choose("auto").id == devices.detect()[0].id
    assert devices.choose("cpu").id == "cpu"


def test_a_device_that_is_not_there_is_refused_with_what_is():
    with pytest.raises(DeviceUnavailable) as wrong:
        devices.choose("cuda:63")
    assert "cuda:63" in wrong.value.sentence and "cpu" in wrong.value.remedy and wrong.value.field == "device"


def test_the_measured_peak_is_plausible_and_remembered(monkeypatch):
    import torch

    threads = torch.get_num_threads()
    cpu = devices.choose("cpu")
    peak = devices.measure_peak(cpu)
    assert set(peak) == set(cpu.dtypes)
    assert all(1e8 < value < 1e16 for value in peak.values())
    assert torch.get_num_threads() == threads
    monkeypatch.setattr(devices, "_matmul_flops", lambda *_: pytest.fail("measured again"))
    assert devices.measure_peak(cpu) == peak
    assert devices.choose("cpu").peak("float32") == peak["float32"]


def test_another_measurement_does_not_wipe_what_was_remembered():
    devices.remember("speeds", {"depth 4": 1000}, merge=True)
    devices.remember("speeds", {"depth 8": 500}, merge=True)
    devices.machine()
    kept = json.loads(layout.machine_file().read_text())
    assert kept["speeds"] == {"depth 4": 1000, "depth 8": 500}
    assert "machine" in kept


def test_memory_in_use_grows_with_a_big_tensor():
    """In a process of its own: this one may have memory to spare that was freed before."""
    code = ("import torch\nfrom engine.training import devices\nbefore = devices.memory_in_use('cpu').now\n"
            "held = torch.ones(64 * 1024 * 1024 // 4)\nafter = devices.memory_in_use('cpu')\n"
            "print(after.now - before > 40_000_000, after.peak >= after.now, held[0].item())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "True", "1.0"]


def test_the_command_prints_facts_the_window_can_read():
    command = [sys.executable, "-m", "engine.training.devices", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    facts = MachineFacts.from_json(json.loads(done.stdout))
    assert facts.device("auto") == facts.devices[0]
    assert facts.device("cpu").kind == "cpu" and facts.device("cuda:63") is None
    assert facts.torch and facts.python
    assert MachineFacts.read(layout.machine_file()) == facts


def test_reading_facts_loads_no_torch():
    code = "import sys, engine.contract.machine, engine.training.devices; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_facts_of_a_later_version_are_read_and_nonsense_is_not(tmp_path):
    cpu = DeviceFacts(id="cpu", kind="cpu", title="x", dtypes=("bfloat16", "float32"))
    facts = MachineFacts(devices=(cpu,), compile_lacks=("compiler",))
    raw = json.loads(json.dumps(facts.to_json()))
    raw["devices"][0]["smell"] = raw["smell"] = "new"
    assert MachineFacts.from_json(raw) == facts
    with pytest.raises(ValueError):
        MachineFacts.from_json({"devices": "none"})
    torn = tmp_path / "machine.json"
    torn.write_text('{"machine": {"dev')
    assert MachineFacts.read(torn) is None


@pytest.mark.parametrize("text, expected", [
    ("processor : 0\nflags\t\t: fpu avx2 avx512f avx512_bf16\n", {"avx512_bf16"}),
    ("Features : fp asimd bf16 i8mm\n", {"bf16"}),
    ("flags : fpu sse2 avx2\n", set()),
])
def test_native_bf16_is_read_from_the_processor(tmp_path: Path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert devices.processor_flags(tmp_path / "cpuinfo") == expected
    assert devices.processor_flags(tmp_path / "nothing") == set()


def test_energy_of_packages_is_summed_and_wraps_round(tmp_path: Path):
    for index, start in enumerate((900, 100)):
        domain = tmp_path / f"intel-rapl:{index}"
        domain.mkdir()
        (domain / "energy_uj").write_text(str(start * 1_000_000))
        (domain / "max_energy_range_uj").write_text(str(1000 * 1_000_000))
    (tmp_path / "intel-rapl:0:0").mkdir()
    counter = devices._RaplCounter(devices._rapl_domains(tmp_path))
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text(str(50 * 1_000_000))
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text(str(130 * 1_000_000))
    assert counter.joules() == pytest.approx(150 + 30)
    assert counter.joules() == pytest.approx(180)


def test_a_missing_compiler_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert devices.compiler() is None
    assert "compiler" in devices.compile_lacks(devices.choose("cpu"))


def test_the_peak_of_memory_is_the_process_s_own_not_its_starter_s() -> None:
    held = bytearray(400_000_000)
    held[::4096] = b"x" * len(held[::4096])
    code = "from engine.training.devices import _resident_peak; print(_resident_peak())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]).stdout
    assert 5_000_000 < int(said) < 200_000_000


def test_a_full_disk_at_home_costs_a_measurement_not_a_run(monkeypatch):

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "fsync", full)
    devices.remember("speeds", {"a": 1})
    assert not layout.machine_file().exists()
