"""Installs Fledge beside its source and opens it: `python3 packaging/bootstrap.py`; with `test`, runs everything the gate asks for.

One file, nothing but the standard library, because it runs before anything is installed. It makes `.venv`, puts the packages of
pyproject.toml there in the versions pinned in it and in constraints.txt, checks the libraries of the system that Qt opens a window with,
and starts the program. What it does not do: touch the Python it runs under, install system packages without being root on Debian or
Ubuntu, or download CUDA for a machine without an NVIDIA card unasked.

A finished install is remembered in `.venv/fledge-install.json`, written last: an interrupted one is taken up where it was left, and a
finished one starts in a moment, because nothing is resolved again until pyproject.toml, the constraints or Python change.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 8):  # noqa: UP036 (whoever starts this on an older one is to be told, not shown a syntax error)
    sys.exit("Fledge needs Python 3.11, 3.12 or 3.13. Start it with one of those, say: python3.11 packaging/bootstrap.py")

import argparse
import ctypes
import glob
import hashlib
import html
import json
import os
import platform
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, NoReturn, Sequence

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from engine.contract.words import tr, trn  # noqa: E402

PYTHONS = ((3, 11), (3, 13))
PIP = "26.3"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
GLIBC = {"x86_64": (2, 34), "arm64": (2, 39)}       # of the wheels of PySide6-Essentials 6.11.3
TORCH_INDEX = "https://download.pytorch.org/whl/"
PROBE_SECONDS = 5.0
STAMP_FORM = 1


class Trouble(Exception):
    """Something the person can mend: what happened, and what to do about it. Shown without a traceback."""

    def __init__(self, sentence: str, remedy: str = "", code: int = 1) -> None:
        super().__init__(sentence)
        self.sentence, self.remedy, self.code = sentence, remedy, code


def say(text: str = "") -> None:
    print(text, flush=True)


def size(value: float) -> str:
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB" if value >= 1e6 else f"{value / 1e3:.0f} kB"


# --- the machine -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """What the choice of wheels depends on. `driver` is the major version of the NVIDIA driver (0: none), `capability` the lowest
    compute capability of its cards (0.0: not told)."""

    system: str
    processor: str
    libc: str = ""
    libc_version: tuple[int, ...] = ()
    driver: int = 0
    capability: float = 0.0


def look_at_machine() -> Machine:
    system, processor = platform.system(), platform.machine().lower()
    name, version = platform.libc_ver() if system == "Linux" else ("", "")
    driver, capability = nvidia(system)
    return Machine(system, {"amd64": "x86_64", "aarch64": "arm64"}.get(processor, processor), name, numbers(version), driver, capability)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(x) for x in re.findall(r"\d+", text))


def nvidia(system: str) -> tuple[int, float]:
    """Driver's major version and lowest compute capability of the cards in this machine, by nvidia-smi, else by the kernel's files."""
    program = shutil.which("nvidia-smi") or (r"C:\Windows\System32\nvidia-smi.exe" if system == "Windows" else "")
    if program and Path(program).exists():
        try:
            asked = subprocess.run([program, "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"], text=True, timeout=20,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired):
            return kernel_driver()
        cards = read_cards(asked.stdout) if asked.returncode == 0 else []
        if cards:
            return cards[0][0], min(capability for _, capability in cards)
    return kernel_driver()


def read_cards(text: str) -> list[tuple[int, float]]:
    """Lines such as "580.65.06, 9.0" as (driver's major version, compute capability)."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*(\d+)[\d.]*\s*,\s*(\d+\.\d+)?", line)
        if match:
            found.append((int(match.group(1)), float(match.group(2) or 0)))
    return found


def kernel_driver(version_file: Path = Path("/proc/driver/nvidia/version")) -> tuple[int, float]:
    """What the kernel tells where nvidia-smi is missing, as in some containers. A driver without a device node has no card to give."""
    if not version_file.exists() or not glob.glob("/dev/nvidia[0-9]*"):
        return 0, 0.0
    match = re.search(r"Module\s+(\d+)\.", version_file.read_text(errors="replace"))
    return (int(match.group(1)) if match else 0), 0.0


def check_machine(machine: Machine) -> None:
    """Refuses where no wheels exist, before anything is downloaded."""
    if sys.maxsize < 2**32:
        raise Trouble(tr("This is a 32-bit Python; PyTorch and Qt exist for 64 bits only."), tr("Install a 64-bit Python 3.11 to 3.13."))
    if machine.system == "Darwin" and machine.processor != "arm64":
        raise Trouble(tr("PyTorch is no longer built for Macs with Intel processors."),
                      tr("Use a Mac with Apple silicon, or Linux on this one."))
    if machine.system == "Linux" and machine.libc != "glibc":
        raise Trouble(tr("PyTorch and Qt are not built for this C library; Alpine and other musl systems have it."),
                      tr("Use a distribution with glibc: Debian, Ubuntu, Fedora, openSUSE, Arch."))
    needed = GLIBC.get(machine.processor, (2, 34))
    if machine.system == "Linux" and machine.libc_version < needed:
        found = ".".join(map(str, machine.libc_version))
        raise Trouble(tr("This system's C library is glibc {version}; Qt needs {needed} or later.", version=found,
                         needed=".".join(map(str, needed))),
                      tr("Update it. Debian 12, Ubuntu 22.04, Fedora 35 have it for PCs; Debian 13, Ubuntu 24.04, Fedora 40 for ARM."))


def has_display(system: str, environment: Mapping[str, str]) -> bool:
    """Whether a window can open. Qt aborts the process where there is none, so it is looked at first."""
    if system != "Linux":
        return True
    chosen = environment.get("QT_QPA_PLATFORM", "")
    if chosen:
        return not chosen.startswith(("offscreen", "minimal"))
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


# --- PyTorch: which file ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TorchChoice:
    """`flavour` is cpu, cuda or mps; `indexes` are tried in order ("" is what pip is configured for); `why` is told to the person."""

    flavour: str
    indexes: tuple[str, ...]
    why: str


def choose_torch(machine: Machine, wanted: str = "auto") -> TorchChoice:
    """Which build of PyTorch 2.13 this machine takes. CUDA 13.0 needs driver 580 and a card of capability 7.5; CUDA 12.6 needs driver
    525 and 5.0. PyPI has CUDA 13.0 for Linux, CPU for Windows, MPS for macOS (PyTorch's RELEASE.md)."""
    if machine.system == "Darwin":
        if wanted == "cuda":
            raise Trouble(tr("There is no CUDA on a Mac."), tr("Leave --torch out: Apple's MPS is used."), 2)
        return TorchChoice("mps", ("",), tr("Apple silicon"))
    cpu = ("", TORCH_INDEX + "cpu")
    if wanted == "cpu":
        return TorchChoice("cpu", cpu, tr("as asked"))
    if not machine.driver:
        if wanted != "cuda":
            return TorchChoice("cpu", cpu, tr("no NVIDIA card found"))
        return TorchChoice("cuda", ("", TORCH_INDEX + "cu130"), tr("as asked, though no NVIDIA card was found"))
    if machine.driver >= 580 and (machine.capability >= 7.5 or not machine.capability):
        return TorchChoice("cuda", ("", TORCH_INDEX + "cu130"), tr("NVIDIA driver {version}", version=machine.driver))
    if machine.driver >= 525 and (machine.capability >= 5.0 or not machine.capability):
        return TorchChoice("cuda", (TORCH_INDEX + "cu126",), tr("NVIDIA driver {version}, older than CUDA 13 needs or with an older card",
                                                                version=machine.driver))
    if wanted == "cuda":
        raise Trouble(tr("The NVIDIA driver {version} or its card is too old for any build of this PyTorch.", version=machine.driver),
                      tr("Update the driver to 580 or later, or use --torch cpu."))
    return TorchChoice("cpu", cpu, tr("the NVIDIA driver {version} or its card is too old for this PyTorch", version=machine.driver))


def flavour_of(version: str, requires: Iterable[str], system: str) -> str:
    """cpu, cuda or mps, by the local part of a build's version and by what it pulls in."""
    local = version.partition("+")[2]
    if local.startswith("cu") or any(re.match(r"(nvidia|cuda)[-_]", need) for need in requires):
        return "cuda"
    return "mps" if system == "Darwin" else "cpu"


def reachable(address: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether an address answers within `seconds`, name look-up and proxies included."""
    answered = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=seconds):
                answered.append(True)
        except Exception:       # whatever the net says: it is not to be had from here
            pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return bool(answered)


# --- the system: libraries of Qt, packages of distributions ----------------------------------------------------------------------


@dataclass(frozen=True)
class Library:
    """A shared library Qt opens at run time, and the package that holds it in each family of distributions."""

    soname: str
    debian: str
    fedora: str
    arch: str
    suse: str


QT_LIBRARIES = (
    Library("libglib-2.0.so.0", "libglib2.0-0", "glib2", "glib2", "libglib-2_0-0"),
    Library("libGL.so.1", "libgl1", "libglvnd-glx", "libglvnd", "Mesa-libGL1"),
    Library("libEGL.so.1", "libegl1", "libglvnd-egl", "libglvnd", "Mesa-libEGL1"),
    Library("libxkbcommon.so.0", "libxkbcommon0", "libxkbcommon", "libxkbcommon", "libxkbcommon0"),
    Library("libfontconfig.so.1", "libfontconfig1", "fontconfig", "fontconfig", "libfontconfig1"),
    Library("libdbus-1.so.3", "libdbus-1-3", "dbus-libs", "dbus", "libdbus-1-3"),
    Library("libgssapi_krb5.so.2", "libgssapi-krb5-2", "krb5-libs", "krb5", "krb5"),
)
# Qt blames xcb-cursor when any of these is missing.
WINDOW_LIBRARIES = (
    Library("libxcb-cursor.so.0", "libxcb-cursor0", "xcb-util-cursor", "xcb-util-cursor", "libxcb-cursor0"),
    Library("libxcb-icccm.so.4", "libxcb-icccm4", "xcb-util-wm", "xcb-util-wm", "libxcb-icccm4"),
    Library("libxcb-keysyms.so.1", "libxcb-keysyms1", "xcb-util-keysyms", "xcb-util-keysyms", "libxcb-keysyms1"),
    Library("libxcb-shape.so.0", "libxcb-shape0", "libxcb", "libxcb", "libxcb-shape0"),
    Library("libxcb-xkb.so.1", "libxcb-xkb1", "libxcb", "libxcb", "libxcb-xkb1"),
    Library("libxkbcommon-x11.so.0", "libxkbcommon-x11-0", "libxkbcommon-x11", "libxkbcommon-x11", "libxkbcommon-x11-0"),
)
FONTS = Library("", "fonts-dejavu-core", "dejavu-sans-fonts", "ttf-dejavu", "dejavu-fonts")
# A screen without a monitor and a hand to move its mouse, for the tests of real windows: program, Debian package.
SCREEN_PROGRAMS = (("Xvfb", "xvfb"), ("xauth", "xauth"), ("xdotool", "xdotool"))
COMMANDS = {"debian": "apt-get install -y", "fedora": "dnf install -y", "arch": "pacman -S --needed", "suse": "zypper install -y"}


def family(os_release: str) -> str:
    """debian, fedora, arch or suse by the text of /etc/os-release; "" where it is none of them."""
    found: dict[str, str] = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', os_release, re.MULTILINE))
    for word in [found.get("ID", ""), *found.get("ID_LIKE", "").split()]:
        word = word.split("-")[0]
        kind = {"ubuntu": "debian", "rhel": "fedora", "centos": "fedora", "opensuse": "suse", "sles": "suse"}.get(word, word)
        if kind in COMMANDS:
            return kind
    return ""


def this_family() -> str:
    for place in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        if place.exists():
            return family(place.read_text(errors="replace"))
    return ""


def opens(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def missing_libraries(libraries: Iterable[Library], loads: Callable[[str], bool] = opens) -> list[Library]:
    return [library for library in libraries if not loads(library.soname)]


def packages_of(libraries: Iterable[Library], kind: str) -> list[str]:
    """Package names, once each, in order."""
    return list(dict.fromkeys(str(getattr(library, kind)) for library in libraries))


def install_command(libraries: Sequence[Library], kind: str, root: bool = False) -> str:
    """The command that installs them, to be copied; for an unknown distribution, what to look for."""
    if kind not in COMMANDS:
        return tr("with your system's package manager: {names}", names=" ".join(library.soname for library in libraries))
    return ("" if root else "sudo ") + COMMANDS[kind] + " " + " ".join(packages_of(libraries, kind))


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def apt_install(packages: Sequence[str], log: Log) -> bool:
    """Installs Debian packages as root; False (and the reason in the log) where that did not work."""
    say(tr("Installing system packages: {names}", names=" ".join(packages)))
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    began = time.monotonic()
    for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]):
        if log.run(command, environment) != 0 and command[1] == "install":
            return False
    say("  " + tr("done in {seconds} s", seconds=round(time.monotonic() - began)))
    return True


def prepare_system(log: Log, display: bool, tests: bool) -> None:
    """Libraries Qt needs; for tests also a virtual screen. Installs them as root on Debian, otherwise says the command."""
    if platform.system() != "Linux":
        return
    wanted = missing_libraries(QT_LIBRARIES + WINDOW_LIBRARIES)
    programs = [package for program, package in SCREEN_PROGRAMS if tests and not shutil.which(program)]
    kind = this_family()
    if kind == "debian" and is_root() and shutil.which("apt-get"):
        packages = packages_of(wanted, kind) + programs
        if wanted and not glob.glob("/usr/share/fonts/**/*.ttf", recursive=True):
            packages.append(FONTS.debian)
        if packages and not apt_install(packages, log):
            say(tr("The system packages could not be installed; the log is {path}.", path=log.path))
        wanted = missing_libraries(QT_LIBRARIES + WINDOW_LIBRARIES)
    elif programs:
        say(tr("Tests of real windows are skipped without: {names}", names=" ".join(programs)))
    if not wanted:
        return
    command = install_command(wanted, kind, is_root())
    # Without a display only tests open windows, and those need the first group alone.
    needed = missing_libraries(QT_LIBRARIES) if tests else wanted if display else []
    sentence = tr("Libraries that Qt opens windows with are missing: {names}.", names=", ".join(library.soname for library in wanted))
    if needed:
        raise Trouble(sentence, tr("Install them and start this again: {command}", command=command), 5)
    say(sentence + " " + tr("For a window, install them: {command}", command=command))


# --- running other programs, with a log ------------------------------------------------------------------------------------------


class Log:
    """The file that takes what installers say. The person sees progress, and on failure the file's name and last lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("a", encoding="utf-8", errors="replace")
        self.write(f"\n=== {time.strftime('%Y-%m-%d %H:%M:%S')} Python {platform.python_version()} {platform.platform()}\n")
        self.recent: list[str] = []

    def write(self, text: str) -> None:
        self.file.write(text)
        self.file.flush()

    def run(self, command: Sequence[str], environment: Mapping[str, str] | None = None, watch: Callable[[str], None] | None = None) -> int:
        """Runs a program with its words in the log; `watch` sees each line. Returns the exit code. An interrupt ends the program too."""
        self.write("$ " + " ".join(map(str, command)) + "\n")
        self.recent = []
        try:
            process = subprocess.Popen(list(map(str, command)), env=dict(environment) if environment else None, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace")
        except OSError as wrong:
            self.recent = [str(wrong)]
            self.write(str(wrong) + "\n")
            return 127
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if not line.startswith("Progress "):
                    self.write(line)
                    self.recent = [*self.recent[-199:], line.rstrip()]
                if watch:
                    watch(line.rstrip())
            return process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()

    def tail(self, lines: int = 12) -> str:
        return "\n".join("    " + line for line in self.recent[-lines:] if line.strip())


def explain(words: str) -> tuple[str, str]:
    """A sentence and a remedy for what pip said."""
    if re.search(r"No space left on device|Errno 28|not enough space", words):
        return tr("The disk is full."), tr("Free some 3 GB (8 GB with CUDA) and start this again; it goes on where it stopped.")
    match = re.search(r"No matching distribution found for (\S+)", words)
    network = re.search(r"NewConnectionError|Name or service not known|Temporary failure in name resolution|getaddrinfo failed|"
                        r"Read timed out|ConnectTimeout|Connection (refused|reset)|Network is unreachable|ProxyError|NameResolution", words)
    if network:
        return tr("The package index could not be reached."), \
            tr("Check the network or proxy and start this again, or use --wheels DIR with a folder of downloaded wheels.")
    if match:
        return tr("There is no file of {name} for this Python and machine.", name=match.group(1)), \
            tr("With --wheels, put one into that folder; otherwise try another Python from 3.11 to 3.13 by --python.")
    if re.search(r"SSLError|CERTIFICATE_VERIFY_FAILED", words):
        return tr("The package index's certificate could not be checked."), \
            tr("Where a proxy opens connections, name its certificate: PIP_CERT=/path/to/certificate.pem")
    if re.search(r"Permission denied|Errno 13", words):
        return tr("A file could not be written."), tr("Make sure that the folder {path} belongs to you.", path=ROOT)
    return tr("pip could not install the packages."), \
        tr("The log says why; start this again when it is mended, it goes on where it stopped.")


# --- the environment -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Environment:
    """A virtual environment on disk."""

    folder: Path

    @property
    def scripts(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        return self.scripts / ("python.exe" if os.name == "nt" else "python")

    @property
    def fledge(self) -> Path:
        return self.scripts / ("fledge.exe" if os.name == "nt" else "fledge")

    @property
    def stamp(self) -> Path:
        return self.folder / "fledge-install.json"

    def packages(self) -> Path:
        """site-packages."""
        if os.name == "nt":
            return self.folder / "Lib" / "site-packages"
        found = sorted((self.folder / "lib").glob("python3.*/site-packages"))
        return found[-1] if found else self.folder / "lib"

    def version(self) -> tuple[int, ...]:
        """Of its Python, by pyvenv.cfg; () where there is no environment."""
        try:
            match = re.search(r"^version(?:_info)?\s*=\s*([\d.]+)", (self.folder / "pyvenv.cfg").read_text(), re.MULTILINE)
        except OSError:
            return ()
        return numbers(match.group(1)) if match else ()

    def installed(self, name: str) -> metadata.Distribution | None:
        for found in metadata.distributions(name=name, path=[str(self.packages())]):
            return found
        return None

    def torch(self) -> tuple[str, str]:
        """Version and flavour of the PyTorch in it; "" where there is none."""
        found = self.installed("torch")
        if not found or not (self.packages() / "torch" / "__init__.py").exists():
            return "", ""
        return found.version, flavour_of(found.version, found.requires or [], platform.system())


def supported(version: tuple[int, ...]) -> bool:
    return PYTHONS[0] <= version[:2] <= PYTHONS[1]


def find_python(asked: str | None) -> str:
    """The interpreter to build on: the one asked for, this one, or the newest supported one on the PATH."""
    if asked:
        program = shutil.which(asked) or asked
        version = ask_version(program)
        if not version:
            raise Trouble(tr("{path} is not a Python that starts.", path=asked),
                          tr("Give --python the path of Python 3.11, 3.12 or 3.13."), 2)
        if not supported(version):
            raise Trouble(tr("{path} is Python {version}.", path=asked, version=".".join(map(str, version[:2]))),
                          tr("Fledge needs Python 3.11, 3.12 or 3.13."), 2)
        return program
    if supported(sys.version_info[:2]):
        return sys.executable
    for minor in range(PYTHONS[1][1], PYTHONS[0][1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and supported(ask_version(found)):
            say(tr("This is Python {version}; building on {path}.", version=platform.python_version(), path=found))
            return found
    raise Trouble(tr("Fledge needs Python 3.11, 3.12 or 3.13; this is {version}.", version=platform.python_version()),
                  tr("Install one of them, or name it: --python /path/to/python3.11"), 2)


def ask_version(program: str) -> tuple[int, ...]:
    try:
        asked = subprocess.run([program, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"], text=True, timeout=30,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return numbers(asked.stdout) if asked.returncode == 0 else ()


def succeeds(command: Sequence[str]) -> bool:
    return subprocess.call(list(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def has_ensurepip(program: str) -> bool:
    """Debian keeps it in a package of its own, python3-venv."""
    return succeeds([program, "-c", "import ensurepip, venv"])


def works(environment: Environment, module: str = "pip") -> bool:
    """Whether its Python starts and has `module`: an interrupted start leaves half an environment."""
    if not environment.python.exists():
        return False
    return succeeds([str(environment.python), "-c", f"import {module}"])


def make_environment(environment: Environment, program: str, rebuild: bool, log: Log, wheels: Path | None) -> None:
    """A virtual environment with pip in it, also where the distribution left `ensurepip` out."""
    folder = environment.folder
    if works(environment) and not rebuild and supported(environment.version()):
        return
    if folder.exists() and not (folder / "pyvenv.cfg").exists() and any(not x.name.startswith("fledge-install.") for x in folder.iterdir()):
        raise Trouble(tr("{path} exists and is no virtual environment.", path=folder), tr("Move it away and start this again."))
    say(tr("Making the environment {path} on Python {version}", path=folder.name, version=".".join(map(str, ask_version(program)))))
    complete = has_ensurepip(program)
    if not complete and this_family() == "debian" and is_root() and shutil.which("apt-get"):
        minor = ask_version(program)[1]
        complete = (apt_install([f"python3.{minor}-venv"], log) or apt_install(["python3-venv"], log)) and has_ensurepip(program)
    if (folder / "pyvenv.cfg").exists():
        for part in ("bin", "lib", "lib64", "include", "Scripts", "Lib", "pyvenv.cfg", environment.stamp.name):
            place = folder / part
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            elif place.exists() or place.is_symlink():
                place.unlink()
    if log.run([program, "-m", "venv", *([] if complete else ["--without-pip"]), str(folder)]) != 0:
        raise Trouble(tr("The environment could not be made.") + "\n" + log.tail(), venv_remedy(program))
    if not works(environment):
        add_pip(environment, program, log, wheels)


def sweep(environment: Environment) -> None:
    """Forgets packages that a killed pip left half copied: it writes RECORD last, and takes a folder without one for installed."""
    for folder in environment.packages().glob("*.dist-info"):
        if not (folder / "RECORD").exists():
            shutil.rmtree(folder)
    for folder in environment.packages().glob("~*"):
        shutil.rmtree(folder, ignore_errors=True)


def venv_remedy(program: str) -> str:
    version = ".".join(map(str, ask_version(program)[:2]))
    known = {"debian": f"apt-get install -y python{version}-venv", "fedora": f"dnf install -y python{version}", "arch": "pacman -S python",
             "suse": f"zypper install -y python{version.replace('.', '')}"}.get(this_family())
    if not known:
        return tr("Install Python's venv and ensurepip modules and start this again.")
    return tr("Run this and start again: {command}", command=("" if is_root() else "sudo ") + known)


def add_pip(environment: Environment, program: str, log: Log, wheels: Path | None) -> None:
    """pip for an environment made without it: from the folder of wheels, by the pip outside, or from the package index by its hash."""
    name = f"pip-{PIP}-py3-none-any.whl"
    found = sorted(wheels.glob("pip-*.whl"))[-1:] if wheels else []
    if not found and log.run([program, "-m", "pip", "--python", str(environment.python), "install", f"pip=={PIP}"]) == 0:
        return
    try:
        wheel = found[0] if found else fetch_pip(name, environment.folder)
    except (OSError, ValueError) as wrong:
        log.write(f"{wrong}\n")
        raise Trouble(tr("This Python has no pip to put into the environment."), venv_remedy(program)) from None
    # A wheel is a zip file, and Python runs the package in it.
    if log.run([str(environment.python), f"{wheel}/pip", "install", "--no-index", str(wheel)]) != 0:
        raise Trouble(tr("pip could not be put into the environment.") + "\n" + log.tail(), venv_remedy(program))


def fetch_pip(name: str, folder: Path) -> Path:
    """Downloads pip's wheel from the index in PIP_INDEX_URL or PyPI; refuses one that is not the file this program knows."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    with urllib.request.urlopen(f"{index}/pip/", timeout=30) as answer:     # a page of links, which every index has
        page = answer.read().decode("utf-8", errors="replace")
    link = re.search(rf'href="([^"#]*{re.escape(name)})[#"]', page)
    if not link:
        raise ValueError(f"{index} has no {name}")
    with urllib.request.urlopen(urllib.parse.urljoin(f"{index}/pip/", html.unescape(link.group(1))), timeout=60) as answer:
        content = answer.read()
    if hashlib.sha256(content).hexdigest() != PIP_SHA256:
        raise ValueError(f"{name} from {index} is not the expected file")
    target = folder / name
    target.write_bytes(content)
    return target


# --- installing ------------------------------------------------------------------------------------------------------------------


class Progress:
    """Turns pip's words into lines a person can follow: a line a package while fetching, a line a package while installing.

    `total` packages are expected. pip is silent while it unpacks, so the environment's folder is watched for what has arrived."""

    def __init__(self, environment: Environment, total: int, tty: bool | None = None) -> None:
        self.environment, self.total = environment, total
        self.tty = sys.stdout.isatty() if tty is None else tty
        self.fetched: list[str] = []
        self.began = self.file_began = self.last_shown = time.monotonic()
        self.done = threading.Event()
        self.before = self._arrived()
        self.installed = 0
        self.watcher: threading.Thread | None = None

    def line(self, text: str) -> None:
        """One line of pip's output."""
        match = re.match(r"\s*(?:Downloading|Using cached|Processing)\s+(\S+\.whl)(?:\s+\(([^)]*)\))?\s*$", text)
        if match:
            name = match.group(1).replace("\\", "/").rsplit("/", 1)[-1]
            if name not in self.fetched:
                self.fetched.append(name)
                parts = name.split("-")
                self.show(tr("  fetching {count}/{total}  {name} {version}  {size}", count=len(self.fetched), total=self.total,
                             name=parts[0].replace("_", "-"), version=parts[1], size=match.group(2) or ""))
                self.file_began = self.last_shown = time.monotonic()
            return
        match = re.match(r"Progress (\d+) of (\d+)", text)
        if match and int(match.group(2)) > 20e6:
            done, whole, now = int(match.group(1)), int(match.group(2)), time.monotonic()
            if now - self.last_shown >= (1 if self.tty else 10) and done < whole:
                self.last_shown = now
                rate = done / max(now - self.file_began, 0.1)
                self.show(tr("    {done} of {whole}, {rate} a second", done=size(done), whole=size(whole), rate=size(rate)))
        if text.startswith("Installing collected packages:") and not self.watcher:
            self.watcher = threading.Thread(target=self._watch, daemon=True)
            self.watcher.start()

    def show(self, text: str) -> None:
        say(text.rstrip())

    def _arrived(self) -> set[str]:
        try:
            return {name for name in os.listdir(self.environment.packages()) if name.endswith(".dist-info") and name[0] != "~"}
        except OSError:
            return set()

    def _watch(self) -> None:
        while not self.done.wait(0.3):
            self._report()

    def _report(self) -> None:
        for name in sorted(self._arrived() - self.before):
            self.before.add(name)
            self.installed += 1
            package, _, version = name[:-len(".dist-info")].rpartition("-")
            self.show(tr("  installing {count}/{total}  {name} {version}", count=self.installed, total=self.total,
                         name=package.replace("_", "-"), version=version))

    def finish(self) -> None:
        self.done.set()
        if self.watcher:
            self.watcher.join()
            self._report()


class Installer:
    """pip inside the environment, with progress, a log and plain failures."""

    def __init__(self, environment: Environment, log: Log, wheels: Path | None) -> None:
        self.environment, self.log = environment, log
        self.source = ["--no-index", "--find-links", str(wheels)] if wheels else []

    def pip(self, *arguments: str, watch: Callable[[str], None] | None = None) -> int:
        command = [str(self.environment.python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
        return self.log.run(command, dict(os.environ, PYTHONUNBUFFERED="1", PIP_ROOT_USER_ACTION="ignore"), watch)

    def fail(self) -> NoReturn:
        words = "\n".join(self.log.recent)
        sentence, remedy = explain(words)
        where = tr("The log is {path}; it ends with:", path=self.log.path)
        raise Trouble(f"{sentence} {where}\n{self.log.tail()}", remedy)

    def update_pip(self) -> None:
        """The pinned pip, whose report and progress this program reads; an older one stays where a folder of wheels has none."""
        found = self.environment.installed("pip")
        if found and found.version == PIP:
            return
        if self.pip("install", *self.source, f"pip=={PIP}") != 0 and not self.source:
            self.fail()

    def progress_bar(self) -> str:
        found = self.environment.installed("pip")
        return "raw" if found and numbers(found.version) >= (24, 1) else "off"

    def plan(self, *arguments: str) -> list[dict[str, Any]] | None:
        """What pip would install, as the entries of its report; None where it cannot be resolved (the log says why)."""
        report = self.environment.folder / "plan.json"
        if self.pip("install", "--dry-run", "--quiet", "--report", str(report), *self.source, *arguments) != 0:
            return None
        plan: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
        report.unlink()
        return plan

    def install(self, total: int, *arguments: str) -> None:
        """Installs exactly what is named, without looking for more."""
        progress = Progress(self.environment, total)
        try:
            code = self.pip("install", "--no-deps", "--progress-bar", self.progress_bar(), *self.source, *arguments, watch=progress.line)
        finally:
            progress.finish()
        if code != 0:
            self.fail()


def install_torch(installer: Installer, requirement: str, choice: TorchChoice, asked: bool, yes: bool) -> str:
    """Puts the right PyTorch in, unless it is there; returns its flavour. `asked`: the person named the flavour."""
    version, flavour = installer.environment.torch()
    pinned = requirement.partition("==")[2]
    if version.partition("+")[0] == pinned and (flavour == choice.flavour or (not asked and choice.flavour == "cpu")):
        return flavour
    say(tr("PyTorch {version} for {flavour} ({why})", version=pinned, flavour=choice.flavour.upper(), why=choice.why))
    again = ["--force-reinstall"] if version else []
    other: tuple[str, list[str], dict[str, Any]] | None = None
    unresolved = ""
    for index in choice.indexes if not installer.source else ("",):
        if index and not reachable(index + "/torch/"):
            say("  " + tr("{address} does not answer", address=index))
            continue
        where = ["--index-url", index] if index else []
        plan = installer.plan("--no-deps", "--ignore-installed", *where, requirement)
        if not plan:
            unresolved = "\n".join(installer.log.recent)
            continue
        facts = plan[0]["metadata"]
        offered = flavour_of(facts["version"], facts.get("requires_dist", []), platform.system())
        if offered == choice.flavour:
            installer.install(1, *again, *where, requirement)
            return offered
        other = offered, where, plan[0]
    if not other:
        installer.log.recent = unresolved.splitlines()
        installer.fail()
    offered, where, entry = other
    if offered == "cuda":
        accept_cuda(installer, entry, asked, yes)
    elif asked:
        raise Trouble(tr("Only PyTorch for {flavour} can be had from here.", flavour=offered.upper()),
                      tr("Make {address} reachable, or leave --torch out.", address=TORCH_INDEX))
    else:
        say("  " + tr("Only PyTorch for {flavour} can be had from here: training will not use the NVIDIA card.", flavour=offered.upper()))
        say("  " + tr("Later, with {address} reachable: {command}", address=TORCH_INDEX,
                      command="python3 packaging/bootstrap.py --torch cuda"))
    installer.install(1, *again, *where, requirement)
    return offered


def accept_cuda(installer: Installer, entry: dict[str, Any], asked: bool, yes: bool) -> None:
    """No file for the CPU is to be had: say what the one with CUDA costs, and ask where somebody can answer."""
    if asked:
        raise Trouble(tr("PyTorch for the CPU cannot be had from here; {address} does not answer.", address=TORCH_INDEX),
                      tr("Make it reachable, or put its wheel into a folder and use --wheels DIR. Without --torch, the file "
                         "with CUDA is taken."))
    say("  " + tr("Only the file with CUDA can be had from here. It works without a card, but it is large:"))
    say("  " + tr("some 2.5 GB to fetch and 6 GB on disk."))
    free = shutil.disk_usage(installer.environment.folder).free
    if free < 8e9:
        raise Trouble(tr("There are {free} free on this disk; 8 GB are needed.", free=size(free)),
                      tr("Free some, or make {address} reachable.", address=TORCH_INDEX))
    if yes or not sys.stdin.isatty():
        say("  " + tr("Nobody is here to ask, or --yes was given: going on with it."))
        return
    if input("  " + tr("Fetch it? [y/N] ")).strip().lower() not in ("y", "yes"):
        raise Trouble(tr("Stopped: nothing was installed."), tr("For a small install, make {address} reachable or use --wheels DIR.",
                                                               address=TORCH_INDEX))


def requirements(extras: Iterable[str] = ()) -> list[str]:
    """What pyproject.toml asks for, PyTorch first."""
    # Here, not at the top: this module exists from Python 3.11 on, and older ones must get far enough to be told so.
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted: list[str] = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return sorted(wanted, key=lambda need: not need.startswith("torch=="))


def fingerprint(python: tuple[int, ...]) -> str:
    """Changes when what must be installed changes."""
    made = hashlib.sha256(f"{STAMP_FORM} {python[:2]} {platform.machine()} {ROOT}".encode())
    for name in ("pyproject.toml", "packaging/constraints.txt"):
        made.update((ROOT / name).read_bytes())
    made.update(image_sources())
    return made.hexdigest()


def read_stamp(environment: Environment) -> dict[str, Any]:
    try:
        stamp = json.loads(environment.stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def image_sources() -> bytes:
    """What names the image that verifiers run in; b"" in a checkout without it."""
    named = ROOT / "engine" / "verifiers" / "image.py"
    return named.read_bytes() if named.exists() else b""


def build_image(environment: Environment, log: Log, wheels: Path | None) -> bool:
    """The image that verifiers run in, unless it is there. False where it cannot be built, as without a network: all else works."""
    script = ROOT / "packaging" / "build_verifier_image.py"
    command = [str(environment.python), str(script), *(["--wheels", str(wheels)] if wheels else [])]
    if log.run([*command, "--check"]) == 0:
        return True
    say(tr("Building the image that verifiers run in; this takes some 20 seconds"))
    if log.run(command) == 0:
        return True
    say("  " + tr("It could not be built; the log is {path}.", path=log.path))
    say("  " + tr("Verifiers with code are refused until it is, everything else works. Later, with the package index reachable: {command}",
                  command="python3 packaging/bootstrap.py --no-run"))
    return False


def is_installed(environment: Environment, extras: Sequence[str], torch: str) -> bool:
    """Whether a finished install serves: same settings, these extras, the asked PyTorch ("auto": any)."""
    stamp = read_stamp(environment)
    if not stamp or not environment.fledge.exists() or stamp.get("fingerprint") != fingerprint(environment.version()):
        return False
    # On a Mac "cpu" is served by the build with MPS: there is no other.
    return set(extras) <= set(stamp.get("extras", [])) and torch in ("auto", str(stamp.get("torch")).replace("mps", "cpu"))


def write_stamp(environment: Environment, extras: Sequence[str], torch: str) -> None:
    stamp = {"fingerprint": fingerprint(environment.version()), "extras": sorted(extras), "torch": torch, "finished": int(time.time())}
    aside = environment.stamp.with_suffix(".new")
    aside.write_text(json.dumps(stamp), encoding="utf-8")
    os.replace(aside, environment.stamp)


@contextmanager
def alone(environment: Environment) -> Iterator[None]:
    """Holds the environment while installing, so that a second start does not install into the same folder."""
    environment.folder.mkdir(parents=True, exist_ok=True)
    with (environment.folder / "fledge-install.lock").open("a+b") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Trouble(tr("Another install into {path} is under way.", path=environment.folder), tr("Wait for it to end."), 4) from None
        yield


def install(environment: Environment, options: argparse.Namespace, extras: Sequence[str], log: Log) -> None:
    """Everything up to the stamp. Each part looks first whether it is done already."""
    began = time.monotonic()
    machine = look_at_machine()
    check_machine(machine)
    program = find_python(options.python)
    wheels = Path(options.wheels).resolve() if options.wheels else None
    if wheels and not wheels.is_dir():
        raise Trouble(tr("There is no folder {path}.", path=wheels), tr("Give --wheels a folder of downloaded wheels."), 2)
    choice = choose_torch(machine, options.torch)
    rebuild = bool(options.python) and environment.version()[:2] != ask_version(program)[:2]
    extras = sorted(set(extras) | set(read_stamp(environment).get("extras", [])))
    environment.stamp.unlink(missing_ok=True)
    make_environment(environment, program, rebuild, log, wheels)
    sweep(environment)
    installer = Installer(environment, log, wheels)
    installer.update_pip()
    wanted = requirements(extras)
    flavour = install_torch(installer, wanted[0], choice, options.torch != "auto", options.yes)
    say(tr("Working out what else is needed"))
    plan = installer.plan("--constraint", str(ROOT / "packaging" / "constraints.txt"), *wanted)
    if plan is None:
        installer.fail()
    pins = [f"{entry['metadata']['name']}=={entry['metadata']['version']}" for entry in plan]
    if pins:
        say(trn("Installing {count} package", "Installing {count} packages", len(pins)))
        installer.install(len(pins), *pins)
    say(tr("Installing Fledge itself, from {path}", path=ROOT))
    if installer.pip("install", "--no-deps", "--no-build-isolation", *installer.source, "--editable", str(ROOT)) != 0:
        installer.fail()
    write_stamp(environment, extras, flavour)
    build_image(environment, log, wheels)
    say(tr("Installed in {seconds} s.", seconds=round(time.monotonic() - began)))


# --- what to do with it ----------------------------------------------------------------------------------------------------------


def open_program(environment: Environment) -> int:
    """The window; without a display, the guided demo in the terminal."""
    if has_display(platform.system(), os.environ):
        return become([str(environment.fledge)])
    folder = free_folder(Path.home() / "fledge-demo")
    say(tr("This machine has no display, so the window stays closed."))
    say(tr("Running the guided demo in the terminal instead, into {path}.", path=folder))
    say(tr("For a window, start this again from a desktop session, or through ssh -X."))
    return become([str(environment.fledge), "demo", str(folder), "--quick"])


def free_folder(wanted: Path) -> Path:
    """`wanted`, or the first of wanted-2, wanted-3, ... that does not exist."""
    found, number = wanted, 1
    while found.exists():
        number += 1
        found = wanted.with_name(f"{wanted.name}-{number}")
    return found


def become(command: list[str]) -> int:
    """Replaces this process by the program, so that signals and exit codes are the program's own."""
    sys.stdout.flush()
    if os.name == "nt":
        return subprocess.call(command)
    os.execv(command[0], command)


def run_tests(environment: Environment, arguments: Sequence[str], install_seconds: float) -> int:
    """The gate: lint, types, imports, tests; the first failure's exit code. With arguments, only pytest, with those.

    Tests that measure time or fill the machine come first, one after another; the others by two processes, a file in one of them. These
    say their counts in the last line. The times of the parts are handed to them, for their summary."""
    python = str(environment.python)
    settings = dict(os.environ, QT_QPA_PLATFORM="offscreen", PYTHONDONTWRITEBYTECODE="1")
    checks: list[tuple[str, list[str]]] = [] if arguments else [
        ("lint", [python, "-m", "ruff", "check", "--no-cache", "."]),
        ("types", [python, "-m", "mypy"]),
        ("imports", [str(environment.scripts / "lint-imports"), "--no-cache"]),
        ("tests alone", [python, "-m", "pytest", "-m", "alone and not slow"]),
    ]
    rest = list(arguments) or ["-n", "2", "--dist", "loadfile", "-m", "not alone and not slow"]
    first_failure, times = 0, [("install", install_seconds)]
    for name, command in checks:
        say(f"--- {name}: {' '.join(command[1:])}")
        began = time.monotonic()
        code = subprocess.call(command, cwd=ROOT, env=settings)
        times.append((name, time.monotonic() - began))
        first_failure = first_failure or code
    settings["FLEDGE_GATE_TIMES"] = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in times)
    if first_failure:
        settings["FLEDGE_GATE_FAILED"] = "1"
    code = subprocess.call([python, "-m", "pytest", *rest], cwd=ROOT, env=settings)
    return first_failure or code


def read_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Options, and what goes to pytest after `test`."""
    parser = argparse.ArgumentParser(prog="bootstrap.py", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="python3 packaging/bootstrap.py [test] [OPTIONS]",
        description=tr("Installs Fledge into .venv beside its source and opens it.\n"
                       "With `test` as the first word it runs lint, types, import rules and tests. Options it does not know go to\n"
                       "pytest, and then only pytest is run: bootstrap.py test -k tokenizer"))
    parser.add_argument("--torch", choices=("auto", "cpu", "cuda"), default="auto",
                        help=tr("which PyTorch; by default what the machine has"))
    parser.add_argument("--wheels", metavar="DIR", help=tr("install offline from a folder of wheels"))
    parser.add_argument("--python", metavar="EXE", help=tr("the Python to build on (3.11 to 3.13)"))
    parser.add_argument("--no-run", action="store_true", help=tr("install and stop there"))
    parser.add_argument("--yes", action="store_true", help=tr("ask nothing"))
    testing = list(argv[:1]) == ["test"]
    options, rest = parser.parse_known_args(argv[1:] if testing else argv)
    if rest and not testing:
        parser.error(tr("unknown: {words}", words=" ".join(rest)))
    options.test = testing
    return options, rest


def main(argv: Sequence[str]) -> int:
    options, rest = read_arguments(argv)
    environment = Environment(ROOT / ".venv")
    extras = ["test"] if options.test else []
    began = time.monotonic()
    ready = is_installed(environment, extras, options.torch) and (not options.python or supported(environment.version()))
    log = Log(environment.folder / "fledge-install.log")
    prepare_system(log, has_display(platform.system(), os.environ) and not options.no_run, options.test)
    if not ready:
        with alone(environment):
            install(environment, options, extras, log)
    elif options.test or options.no_run:    # what could not be built without a network is tried again
        build_image(environment, log, Path(options.wheels).resolve() if options.wheels else None)
    if options.test:
        return run_tests(environment, rest, time.monotonic() - began)
    if options.no_run:
        say(tr("Ready: {command}", command=environment.fledge))
        return 0
    return open_program(environment)


def start() -> int:
    try:
        return main(sys.argv[1:])
    except Trouble as trouble:
        sys.stdout.flush()
        print(trouble.sentence, file=sys.stderr)
        if trouble.remedy:
            print(trouble.remedy, file=sys.stderr)
        return trouble.code
    except KeyboardInterrupt:
        print("\n" + tr("Stopped. Start it again and it goes on where it was."), file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(start())
