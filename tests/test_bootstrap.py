"""The installer's decisions on machines we do not have, its stamp, its words on failure; and the parts of it that can run here for real.

A whole install from a bare clone is what the gate itself does before any test runs."""

import ast
import functools
import hashlib
import http.server
import importlib.metadata
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fledge_bootstrap", ROOT / "packaging" / "bootstrap.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fledge_bootstrap"] = module        # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


bootstrap = load()
Machine, Trouble = bootstrap.Machine, bootstrap.Trouble
INDEX = bootstrap.TORCH_INDEX


def linux(driver: int = 0, capability: float = 0.0):
    return Machine("Linux", "x86_64", "glibc", (2, 36), driver, capability)


# --- which PyTorch ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("machine", "wanted", "flavour", "last_index"), [
    (linux(), "auto", "cpu", INDEX + "cpu"),
    (linux(580, 9.0), "auto", "cuda", INDEX + "cu130"),
    (linux(595, 12.0), "auto", "cuda", INDEX + "cu130"),
    (linux(580), "auto", "cuda", INDEX + "cu130"),          # a card that does not tell its capability
    (linux(580, 6.1), "auto", "cuda", INDEX + "cu126"),     # CUDA 13 dropped Pascal and Volta
    (linux(550, 8.9), "auto", "cuda", INDEX + "cu126"),
    (linux(470, 7.5), "auto", "cpu", INDEX + "cpu"),
    (linux(580, 3.5), "auto", "cpu", INDEX + "cpu"),
    (linux(580, 9.0), "cpu", "cpu", INDEX + "cpu"),
    (linux(), "cuda", "cuda", INDEX + "cu130"),
    (Machine("Windows", "x86_64"), "auto", "cpu", INDEX + "cpu"),
    (Machine("Windows", "x86_64", driver=581, capability=8.6), "auto", "cuda", INDEX + "cu130"),
    (Machine("Darwin", "arm64"), "auto", "mps", ""),
    (Machine("Darwin", "arm64"), "cpu", "mps", ""),
])
def test_the_build_of_pytorch_fits_the_machine(machine, wanted: str, flavour: str, last_index: str) -> None:
    choice = bootstrap.choose_torch(machine, wanted)
    assert (choice.flavour, choice.indexes[-1]) == (flavour, last_index)
    assert choice.why


@pytest.mark.parametrize("machine", [linux(470, 7.5), Machine("Darwin", "arm64")])
def test_asking_for_cuda_where_it_cannot_run_is_refused_with_a_remedy(machine) -> None:
    with pytest.raises(Trouble) as trouble:
        bootstrap.choose_torch(machine, "cuda")
    assert trouble.value.remedy


@pytest.mark.parametrize(("version", "requires", "system", "flavour"), [
    ("2.13.0", ["filelock", "sympy>=1.13.3"], "Linux", "cpu"),
    ("2.13.0+cpu", ["filelock"], "Linux", "cpu"),
    ("2.13.0", ["filelock", 'nvidia-cudnn-cu13==9.20.0.48; platform_system == "Linux"'], "Linux", "cuda"),
    ("2.13.0", ["cuda-bindings<14,>=13.0.3"], "Linux", "cuda"),
    ("2.13.0+cu126", [], "Windows", "cuda"),
    ("2.13.0", ["filelock"], "Darwin", "mps"),
])
def test_a_build_is_known_by_what_it_pulls_in(version: str, requires: list[str], system: str, flavour: str) -> None:
    assert bootstrap.flavour_of(version, requires, system) == flavour


def test_the_weakest_card_and_its_driver_are_read() -> None:
    assert bootstrap.read_cards("580.65.06, 9.0\n580.65.06, 7.5\n") == [(580, 9.0), (580, 7.5)]
    assert bootstrap.read_cards("470.42, [N/A]\n") == [(470, 0.0)]
    assert bootstrap.read_cards("NVIDIA-SMI has failed because it could not communicate with the driver.\n") == []


def test_a_driver_without_a_card_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "version"
    told.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 06:54:38 UTC 2025\n")
    monkeypatch.setattr(bootstrap.glob, "glob", lambda pattern: [])
    assert bootstrap.kernel_driver(told) == (0, 0.0)
    monkeypatch.setattr(bootstrap.glob, "glob", lambda pattern: ["/dev/nvidia0"])
    assert bootstrap.kernel_driver(told) == (580, 0.0)
    assert bootstrap.kernel_driver(tmp_path / "absent") == (0, 0.0)


@pytest.mark.parametrize("machine", [
    Machine("Darwin", "x86_64"), Machine("Linux", "x86_64", "", ()), Machine("Linux", "x86_64", "glibc", (2, 31)),
    Machine("Linux", "arm64", "glibc", (2, 36)),
])
def test_a_machine_without_wheels_is_refused_before_any_download(machine) -> None:
    with pytest.raises(Trouble) as trouble:
        bootstrap.check_machine(machine)
    assert trouble.value.remedy


def test_this_machine_is_accepted() -> None:
    bootstrap.check_machine(bootstrap.look_at_machine())


# --- which plan of pip's is taken ------------------------------------------------------------------------------------------------


class RecordedInstaller:
    """Answers `plan` from a table of indexes and remembers what was installed: no pip, no network."""

    def __init__(self, tmp_path: Path, offers: dict[str, list[str]], version: str = "2.13.0") -> None:
        self.environment, self.source, self.offers, self.version = bootstrap.Environment(tmp_path), [], offers, version
        self.log = bootstrap.Log(tmp_path / "log")
        self.asked: list[str] = []
        self.done: list[tuple[str, ...]] = []

    def plan(self, *arguments: str):
        index = arguments[arguments.index("--index-url") + 1] if "--index-url" in arguments else ""
        self.asked.append(index)
        return [{"metadata": {"version": self.version, "requires_dist": self.offers[index]}}] if index in self.offers else None

    def install(self, total: int, *arguments: str) -> None:
        self.done.append(arguments)

    def fail(self):
        raise Trouble("pip failed")


CUDA = ["nvidia-cudnn-cu13==9.20.0.48"]


@pytest.fixture
def linux_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.platform, "system", lambda: "Linux")
    monkeypatch.setattr(bootstrap, "reachable", lambda address: True)


def install_torch(installer: RecordedInstaller, machine, wanted: str = "auto", yes: bool = False) -> str:
    return bootstrap.install_torch(installer, "torch==2.13.0", bootstrap.choose_torch(machine, wanted), wanted != "auto", yes)


def test_the_configured_index_is_enough_where_it_has_a_cpu_build(tmp_path: Path, linux_here: None) -> None:
    installer = RecordedInstaller(tmp_path, {"": []})
    assert install_torch(installer, linux()) == "cpu"
    assert installer.asked == [""] and installer.done == [("torch==2.13.0",)]


def test_a_cuda_build_is_passed_over_for_the_cpu_build_of_pytorchs_own_index(tmp_path: Path, linux_here: None) -> None:
    installer = RecordedInstaller(tmp_path, {"": CUDA, INDEX + "cpu": []})
    assert install_torch(installer, linux()) == "cpu"
    assert installer.done == [("--index-url", INDEX + "cpu", "torch==2.13.0")]


def test_cuda_without_a_card_is_asked_about(tmp_path: Path, linux_here: None, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(bootstrap, "reachable", lambda address: False)
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12))
    monkeypatch.setattr(bootstrap.sys, "stdin", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})("n\n"))
    installer = RecordedInstaller(tmp_path, {"": CUDA})
    with pytest.raises(Trouble, match="nothing was installed"):
        install_torch(installer, linux())
    assert installer.done == [] and "GB" in capsys.readouterr().out
    assert install_torch(installer, linux(), yes=True) == "cuda"
    assert installer.done == [("torch==2.13.0",)]


def test_an_explicit_cpu_is_never_answered_with_cuda(tmp_path: Path, linux_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "reachable", lambda address: False)
    with pytest.raises(Trouble, match="CPU cannot be had"):
        install_torch(RecordedInstaller(tmp_path, {"": CUDA}), linux(), "cpu", yes=True)


def test_a_full_disk_is_noticed_before_the_gigabytes(tmp_path: Path, linux_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "reachable", lambda address: False)
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**10, 10**10, 10**9))
    with pytest.raises(Trouble, match="8 GB are needed"):
        install_torch(RecordedInstaller(tmp_path, {"": CUDA}), linux(), yes=True)


def test_a_card_that_gets_only_a_cpu_build_is_said(tmp_path: Path, linux_here: None, capsys) -> None:
    installer = RecordedInstaller(tmp_path, {"": []})
    assert install_torch(installer, linux(580, 9.0)) == "cpu"
    assert installer.asked == ["", INDEX + "cu130"]
    assert "will not use the NVIDIA card" in capsys.readouterr().out
    with pytest.raises(Trouble, match="Only PyTorch for CPU"):
        install_torch(RecordedInstaller(tmp_path, {"": []}), linux(580, 9.0), "cuda")


def test_a_pytorch_that_is_there_stays(tmp_path: Path, linux_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.Environment, "torch", lambda self: ("2.13.0+cpu", "cpu"))
    installer = RecordedInstaller(tmp_path, {"": []})
    assert install_torch(installer, linux()) == "cpu" and installer.done == []
    monkeypatch.setattr(bootstrap.Environment, "torch", lambda self: ("2.13.0", "cuda"))
    assert install_torch(installer, linux()) == "cuda" and installer.done == []       # it works without a card too
    assert install_torch(installer, linux(), "cpu") == "cpu"
    assert installer.done == [("--force-reinstall", "torch==2.13.0")]


# --- the system ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "kind"), [
    ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n', "debian"),
    ('NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n', "debian"),
    ('NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n', "debian"),
    ("NAME=Fedora\nID=fedora\n", "fedora"),
    ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "fedora"),
    ("ID=manjaro\nID_LIKE=arch\n", "arch"),
    ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "suse"),
    ("ID=nixos\n", ""),
    ("", ""),
])
def test_distributions_are_told_apart(text: str, kind: str) -> None:
    assert bootstrap.family(text) == kind


def test_the_command_names_what_is_missing_once() -> None:
    absent = {"libEGL.so.1", "libxcb-shape.so.0", "libxcb-xkb.so.1"}
    missing = bootstrap.missing_libraries(bootstrap.QT_LIBRARIES + bootstrap.WINDOW_LIBRARIES, lambda name: name not in absent)
    assert {library.soname for library in missing} == absent
    assert bootstrap.install_command(missing, "debian") == "sudo apt-get install -y libegl1 libxcb-shape0 libxcb-xkb1"
    assert bootstrap.install_command(missing, "debian", root=True) == "apt-get install -y libegl1 libxcb-shape0 libxcb-xkb1"
    assert bootstrap.install_command(missing, "fedora") == "sudo dnf install -y libglvnd-egl libxcb"
    assert bootstrap.install_command(missing, "arch") == "sudo pacman -S --needed libglvnd libxcb"
    assert bootstrap.install_command(missing, "suse") == "sudo zypper install -y Mesa-libEGL1 libxcb-shape0 libxcb-xkb1"
    assert "libEGL.so.1" in bootstrap.install_command(missing, "")


def test_a_library_that_does_not_exist_does_not_open() -> None:
    assert not bootstrap.opens("libno-such-library.so.9")


@pytest.mark.parametrize(("system", "environment", "expected"), [
    ("Linux", {}, False),
    ("Linux", {"DISPLAY": ":0"}, True),
    ("Linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
    ("Linux", {"DISPLAY": ""}, False),
    ("Linux", {"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen"}, False),
    ("Linux", {"QT_QPA_PLATFORM": "linuxfb"}, True),
    ("Darwin", {}, True),
    ("Windows", {}, True),
])
def test_a_display_is_looked_for_before_qt_is(system: str, environment: dict[str, str], expected: bool) -> None:
    assert bootstrap.has_display(system, environment) is expected


def test_missing_libraries_stop_a_window_but_not_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(bootstrap.platform, "system", lambda: "Linux")
    monkeypatch.setattr(bootstrap, "opens", lambda name: "xcb" not in name)
    monkeypatch.setattr(bootstrap.missing_libraries, "__defaults__", (bootstrap.opens,))
    monkeypatch.setattr(bootstrap, "this_family", lambda: "fedora")
    log = bootstrap.Log(tmp_path / "log")
    with pytest.raises(Trouble) as trouble:
        bootstrap.prepare_system(log, display=True, tests=False)
    assert "dnf install -y xcb-util-cursor" in trouble.value.remedy
    bootstrap.prepare_system(log, display=False, tests=False)
    assert "dnf install -y xcb-util-cursor" in capsys.readouterr().out


# --- the environment -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's files that decide about installing, in a place where they can be changed."""
    (tmp_path / "packaging").mkdir()
    for name in ("pyproject.toml", "packaging/constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    return tmp_path


def finished(checkout: Path, extras: tuple[str, ...] = (), torch: str = "cpu"):
    environment = bootstrap.Environment(checkout / ".venv")
    environment.scripts.mkdir(parents=True)
    (environment.folder / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.2\n")
    environment.fledge.touch()
    bootstrap.write_stamp(environment, extras, torch)
    return environment


def test_a_finished_install_is_not_repeated_until_something_changes(checkout: Path) -> None:
    environment = finished(checkout)
    assert bootstrap.is_installed(environment, [], "auto") and bootstrap.is_installed(environment, [], "cpu")
    assert not bootstrap.is_installed(environment, ["test"], "auto")
    assert not bootstrap.is_installed(environment, [], "cuda")
    (checkout / "packaging/constraints.txt").write_text("tqdm==1.0\n")
    assert not bootstrap.is_installed(environment, [], "auto")


def test_a_run_without_tests_is_served_by_an_install_with_them(checkout: Path) -> None:
    assert bootstrap.is_installed(finished(checkout, ("test",)), [], "auto")


@pytest.mark.parametrize("spoil", [
    lambda environment: environment.stamp.unlink(),
    lambda environment: environment.stamp.write_text('{"fingerprint": "'),
    lambda environment: environment.stamp.write_text("[]"),
    lambda environment: environment.fledge.unlink(),
    lambda environment: (environment.folder / "pyvenv.cfg").write_text("version = 3.12.1\n"),
])
def test_an_unfinished_or_different_install_is_taken_up_again(checkout: Path, spoil) -> None:
    environment = finished(checkout)
    spoil(environment)
    assert not bootstrap.is_installed(environment, [], "auto")


def test_two_installs_at_once_are_refused(tmp_path: Path) -> None:
    environment = bootstrap.Environment(tmp_path / ".venv")
    with bootstrap.alone(environment), pytest.raises(Trouble, match="under way"), bootstrap.alone(environment):
        pass
    with bootstrap.alone(environment):
        pass


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    environment = bootstrap.Environment(tmp_path / ".venv")
    environment.folder.mkdir()
    (environment.folder / "thesis.txt").write_text("mine")
    with pytest.raises(Trouble, match="is no virtual environment"):
        bootstrap.make_environment(environment, sys.executable, False, bootstrap.Log(environment.folder / "fledge-install.log"), None)
    assert (environment.folder / "thesis.txt").read_text() == "mine"


def wheel_of_installed(name: str, version: str, target: Path) -> Path:
    """An installed pure package as the wheel it came from."""
    found = importlib.metadata.distribution(name)
    wheel = target / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in found.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                archive.write(str(file.locate()), str(file))
    return wheel


def test_half_an_environment_is_mended_and_gets_pip_without_ensurepip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Debian without python3-venv and without root, offline: `venv` alone, and pip from the folder of wheels."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel_of_installed("pip", importlib.metadata.version("pip"), wheels)
    succeeds = bootstrap.succeeds
    monkeypatch.setattr(bootstrap, "succeeds", lambda command: "import ensurepip" not in command[-1] and succeeds(command))
    monkeypatch.setattr(bootstrap, "is_root", lambda: False)
    environment = bootstrap.Environment(tmp_path / ".venv")
    log = bootstrap.Log(environment.folder / "fledge-install.log")
    (environment.folder / "pyvenv.cfg").write_text("version = 3.11.2\n")        # an interrupted start left this
    bootstrap.make_environment(environment, sys.executable, False, log, wheels)
    assert bootstrap.works(environment)
    assert environment.version()[:2] == sys.version_info[:2]
    assert environment.installed("pip") and not environment.installed("torch")
    assert environment.torch() == ("", "")


class Index(http.server.BaseHTTPRequestHandler):
    """A package index with one file, as a page of links (PEP 503)."""

    content = b"not pip"

    def do_GET(self) -> None:
        name = f"pip-{bootstrap.PIP}-py3-none-any.whl"
        page = f'<a href="../../files/pip-1.0-py3-none-any.whl">old</a><br><a href="../../files/{name}#sha256=00">{name}</a>'
        body = page.encode() if self.path == "/simple/pip/" else self.content
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


def test_a_package_that_a_killed_pip_left_half_copied_is_installed_again(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    for name in ("whole-1.0.dist-info", "half-1.0.dist-info", "~old-1.0.dist-info", "half"):
        (packages / name).mkdir(parents=True)
        (packages / name / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.split('-')[0]}\nVersion: 1.0\n")
    (packages / "whole-1.0.dist-info/RECORD").touch()
    environment = bootstrap.Environment(tmp_path)
    assert environment.installed("half")
    bootstrap.sweep(environment)
    assert environment.installed("whole") and not environment.installed("half")
    assert not list(packages.glob("~*"))


def test_a_pip_that_is_not_the_known_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    serving = threading.Thread(target=functools.partial(server.serve_forever, 0.05), daemon=True)
    serving.start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    name = f"pip-{bootstrap.PIP}-py3-none-any.whl"
    try:
        with pytest.raises(ValueError, match="not the expected file"):
            bootstrap.fetch_pip(name, tmp_path)
        assert not (tmp_path / name).exists()
        monkeypatch.setattr(bootstrap, "PIP_SHA256", hashlib.sha256(Index.content).hexdigest())
        assert bootstrap.fetch_pip(name, tmp_path).read_bytes() == Index.content
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


# --- progress and failures -------------------------------------------------------------------------------------------------------


def test_pips_words_become_a_line_a_package(tmp_path: Path, capsys) -> None:
    environment = bootstrap.Environment(tmp_path)
    packages = tmp_path / "lib/python3.11/site-packages"
    (packages / "pip-26.3.dist-info").mkdir(parents=True)
    progress = bootstrap.Progress(environment, 3, tty=False)
    for line in ("Collecting numpy==2.4.6", "  Downloading numpy-2.4.6-cp311-cp311-linux_x86_64.whl.metadata (62 kB)",
                 "Downloading numpy-2.4.6-cp311-cp311-linux_x86_64.whl (16.9 MB)", "Progress 65536 of 16900000",
                 "Using cached PySide6_Essentials-6.11.3-cp310-abi3-manylinux_2_34_x86_64.whl (80.0 MB)",
                 "Processing /some where/torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", "Processing ./torch-2.13.0+cpu-cp311-linux.whl"):
        progress.line(line)
    for name in ("numpy-2.4.6.dist-info", "~umpy-2.4.5.dist-info"):
        (packages / name).mkdir()
    progress.line("Installing collected packages: numpy")
    progress.finish()
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["fetching", "1/3", "numpy", "2.4.6", "16.9", "MB"],
        ["fetching", "2/3", "PySide6-Essentials", "6.11.3", "80.0", "MB"],
        ["fetching", "3/3", "torch", "2.13.0+cpu"],
        ["installing", "1/3", "numpy", "2.4.6"],
    ]


@pytest.mark.parametrize(("words", "expected"), [
    ("OSError: [Errno 28] No space left on device", "disk is full"),
    ("ERROR: Could not find a version that satisfies the requirement rustbpe==0.1.0 (from versions: none)\n"
     "ERROR: No matching distribution found for rustbpe==0.1.0", "no file of rustbpe==0.1.0"),
    ("WARNING: Retrying ... NewConnectionError: [Errno -2] Name or service not known\nERROR: No matching distribution found for tqdm",
     "could not be reached"),
    ("ReadTimeoutError: Read timed out.", "could not be reached"),
    ("ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]", "certificate"),
    ("PermissionError: [Errno 13] Permission denied: 'x'", "could not be written"),
    ("something new", "could not install"),
])
def test_what_pip_says_is_put_plainly(words: str, expected: str) -> None:
    sentence, remedy = bootstrap.explain(words)
    assert expected in sentence and remedy


def test_a_failure_names_the_log_and_shows_its_end(tmp_path: Path) -> None:
    log = bootstrap.Log(tmp_path / "install.log")
    code = log.run([sys.executable, "-c", "print('\\n'.join(map(str, range(300)))); raise SystemExit(3)"])
    assert code == 3 and log.tail(2).split() == ["298", "299"]
    assert "297" in log.path.read_text()
    assert log.run([str(tmp_path / "no-such-program")]) == 127 and "no-such-program" in log.tail()


def test_no_traceback_for_a_mistake_of_the_person(checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(bootstrap, "prepare_system", lambda *words: None)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "--no-run", "--wheels", str(checkout / "absent")])
    assert bootstrap.start() == 2
    assert capsys.readouterr().err.splitlines()[0] == f"There is no folder {checkout / 'absent'}."
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "--no-run", "--python", "/no/such/python"])
    assert bootstrap.start() == 2


def test_what_it_does_not_know_goes_to_pytest() -> None:
    options, rest = bootstrap.read_arguments(["test", "--torch", "cpu", "-k", "import_rules", "tests/engine", "-x"])
    assert options.test and options.torch == "cpu" and rest == ["-k", "import_rules", "tests/engine", "-x"]
    options, rest = bootstrap.read_arguments([])
    assert not options.test and not rest
    with pytest.raises(SystemExit):
        bootstrap.read_arguments(["tset"])


def test_the_first_failure_is_the_gates_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    codes = iter([0, 7, 1, 0, 0])

    def call(command: list[str], **settings: object) -> int:
        calls.append(command)
        return next(codes)

    monkeypatch.setattr(bootstrap.subprocess, "call", call)
    environment = bootstrap.Environment(tmp_path)
    assert bootstrap.run_tests(environment, [], 1.0) == 7
    assert [any(name in " ".join(command) for command in calls) for name in ("ruff", "mypy", "lint-imports", "pytest")] == [True] * 4
    assert calls[-1][1:3] == calls[-2][1:3] == ["-m", "pytest"]
    assert "alone and not slow" in calls[-2] and "not alone and not slow" in calls[-1], "every test runs, each once"
    codes = iter([5])
    calls.clear()
    assert bootstrap.run_tests(environment, ["-k", "x"], 1.0) == 5 and len(calls) == 1


def test_the_demo_never_writes_over_an_older_one(tmp_path: Path) -> None:
    assert bootstrap.free_folder(tmp_path / "fledge-demo") == tmp_path / "fledge-demo"
    (tmp_path / "fledge-demo").mkdir()
    (tmp_path / "fledge-demo-2").mkdir()
    assert bootstrap.free_folder(tmp_path / "fledge-demo") == tmp_path / "fledge-demo-3"


# --- pins, licences, the wheel ---------------------------------------------------------------------------------------------------


def pins(*extras: str) -> dict[str, str]:
    """Versions by name: pyproject.toml's own, and the constraints'."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "every direct dependency is pinned exactly"
    lines += [line for line in (ROOT / "packaging/constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def needed(*extras: str) -> dict[str, importlib.metadata.Distribution]:
    """Everything installed that Fledge needs here, directly or not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    waiting = [Requirement(line) for line in lines]
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[str] = set()
    while waiting:
        need = waiting.pop()
        if str(need) in seen:
            continue
        seen.add(str(need))
        distribution = importlib.metadata.distribution(need.name)
        found[canonicalize_name(need.name)] = distribution
        for line in distribution.requires or []:
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in (need.extras or {""})):
                waiting.append(inner)
    return found


def is_cuda(name: str) -> bool:
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


def test_everything_that_is_installed_is_pinned() -> None:
    """In the versions the tests run with: what passes here is what people get. (CUDA's parts are pinned by PyTorch itself.)"""
    wanted = pins("test")
    loose = {name: found.version for name, found in needed("test").items()
             if not is_cuda(name) and wanted.get(name) != found.version.partition("+")[0]}
    assert not loose, "pin these in packaging/constraints.txt"


@pytest.mark.parametrize(("folders", "extras"), [(("engine", "desktop"), ()), (("packaging", "tests"), ("test",))])
def test_every_package_that_is_imported_is_declared(folders: tuple[str, ...], extras: tuple[str, ...]) -> None:
    """Not only pulled in by another one, and not only present in the environment of whoever wrote the line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    direct = {canonicalize_name(line.partition("==")[0]) for line in declared} | {"packaging", "setuptools"}
    holders = importlib.metadata.packages_distributions()
    own = {"engine", "desktop", "tests", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
    wrong = set()
    for path in [path for folder in folders for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else \
                [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for top in {name.split(".")[0] for name in names} - own - sys.stdlib_module_names:
                if not {canonicalize_name(name) for name in holders.get(top, ["nowhere"])} & direct:
                    wrong.add(f"{path.relative_to(ROOT)}: {top}")
    assert not wrong, "declare these in pyproject.toml:\n" + "\n".join(sorted(wrong))


def test_no_licence_forbids_shipping_together() -> None:
    """Apache-2.0 goes with permissive licences, MPL and LGPL; not with AGPL, nor with GPL as the only choice."""
    wrong = {}
    for name, found in needed().items():
        classifiers = [line for line in found.metadata.get_all("Classifier") or [] if line.startswith("License")]
        said = found.metadata.get("License-Expression") or " ".join([(found.metadata.get("License") or "")[:200], *classifiers])
        choices = re.split(r"\bOR\b", said)
        if all(re.search(r"\bA?GPL|Affero|(?<!Lesser )General Public", choice) and "LGPL" not in choice for choice in choices) \
                and not is_cuda(name):
            wrong[name] = said
    assert not wrong
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")


def copied(target: Path, *left_out: str) -> Path:
    """The checkout as a wheel is built from it."""
    for name in ("engine", "desktop", "resources", "packaging"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", *left_out))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    (target / "tests").mkdir()
    (target / "tests" / "stray.py").touch()
    return target


def wheel_of(source: Path, into: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(into)]
    return subprocess.run([*command, *more, str(source)], text=True, capture_output=True, timeout=120,
                          env={**os.environ, "PIP_FIND_LINKS": "", "FLEDGE_LANGUAGE": "en"})


def test_a_wheel_without_the_image_of_verifiers_is_not_made(tmp_path: Path) -> None:
    """The packages of the image cannot be had here: that is said, and no wheel lies there that could not run what people write."""
    source = copied(tmp_path / "source", "image", "world", "pictures")
    (tmp_path / "none").mkdir()
    done = wheel_of(source, tmp_path, "--config-settings", f"wheels={tmp_path / 'none'}")
    assert done.returncode != 0 and "image that verifiers run in" in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.whl")) and not (source / "resources" / "verifiers" / "image" / "image.json").exists()
    done = wheel_of(source, tmp_path, "--config-settings", "image=none")
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "resources/verifiers/last_number.py" in archive.namelist()


def test_the_wheel_holds_program_and_resources_and_nothing_else(tmp_path: Path) -> None:
    source = copied(tmp_path / "source")
    built = (source / "resources" / "verifiers" / "image" / "image.json").is_file()
    done = wheel_of(source, tmp_path, *([] if built else ["--config-settings", "image=none"]))
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = tmp_path.glob("fledge-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = next(name for name in names if name.endswith("entry_points.txt"))
        assert "fledge = engine.cli:main" in archive.read(entry).decode()
        archive.extractall(tmp_path / "site")
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"engine", "desktop", "resources"}
    for folder in ("engine", "desktop", "resources"):
        wanted = {path.relative_to(source).as_posix() for path in (source / folder).rglob("*") if path.is_file()}
        assert wanted <= names, f"missing from the wheel: {sorted(wanted - names)}"
    # Installed, the words find their catalogues by the same relative path as in a checkout.
    code = "from engine.contract.words import CATALOGUES; print(CATALOGUES, (CATALOGUES / 'fledge.pot').exists())"
    asked = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "site", text=True, capture_output=True, check=True)
    assert asked.stdout.split() == [str(tmp_path / "site" / "resources" / "translations"), "True"]
    if built:
        code = "from engine.verifiers.image import checked_image; from engine.verifiers.starters import starters; " \
               "print(checked_image()[0], len(starters()))"
        asked = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "site", text=True, capture_output=True, check=True)
        assert asked.stdout.split() == [str(tmp_path / "site" / "resources" / "verifiers" / "image" / "verifier.wasm"), "7"]
