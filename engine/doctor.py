"""`fledge doctor`: looks at this machine and says what each finding means and what to do about it. Changes nothing, installs nothing.

`diagnose` gives plain findings; printing is the command line's. Qt is never imported: a process of its own tries to load its libraries,
so that a broken installation is told, not suffered.
"""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from engine import __version__
from engine.contract import units
from engine.contract.errors import Missing
from engine.contract.machine import DeviceFacts
from engine.contract.words import tr
from engine.model.lora_shape import FOUR_BIT_LIBRARY, check_four_bit
from engine.project import layout
from engine.project.project import place_warning
from engine.training import devices

PYTHONS = ((3, 11), (3, 13))
LITTLE_MEMORY = 3_000_000_000
LITTLE_DISK, NO_DISK = 5_000_000_000, 500_000_000
SLOW_DISK = 20_000_000
PROBE_BYTES = 16 << 20

# What Qt opens at run time, and the package that holds it: Debian and Ubuntu, Fedora, Arch, openSUSE. packaging/bootstrap.py, which runs
# before anything is installed, has the same table; a test holds them together.
LIBRARIES = {
    "libglib-2.0.so.0": ("libglib2.0-0", "glib2", "glib2", "libglib-2_0-0"),
    "libGL.so.1": ("libgl1", "libglvnd-glx", "libglvnd", "Mesa-libGL1"),
    "libEGL.so.1": ("libegl1", "libglvnd-egl", "libglvnd", "Mesa-libEGL1"),
    "libxkbcommon.so.0": ("libxkbcommon0", "libxkbcommon", "libxkbcommon", "libxkbcommon0"),
    "libfontconfig.so.1": ("libfontconfig1", "fontconfig", "fontconfig", "libfontconfig1"),
    "libdbus-1.so.3": ("libdbus-1-3", "dbus-libs", "dbus", "libdbus-1-3"),
    "libgssapi_krb5.so.2": ("libgssapi-krb5-2", "krb5-libs", "krb5", "krb5"),
    "libxcb-cursor.so.0": ("libxcb-cursor0", "xcb-util-cursor", "xcb-util-cursor", "libxcb-cursor0"),
    "libxcb-icccm.so.4": ("libxcb-icccm4", "xcb-util-wm", "xcb-util-wm", "libxcb-icccm4"),
    "libxcb-keysyms.so.1": ("libxcb-keysyms1", "xcb-util-keysyms", "xcb-util-keysyms", "libxcb-keysyms1"),
    "libxcb-shape.so.0": ("libxcb-shape0", "libxcb", "libxcb", "libxcb-shape0"),
    "libxcb-xkb.so.1": ("libxcb-xkb1", "libxcb", "libxcb", "libxcb-xkb1"),
    "libxkbcommon-x11.so.0": ("libxkbcommon-x11-0", "libxkbcommon-x11", "libxkbcommon-x11", "libxkbcommon-x11-0"),
}
FAMILIES = ("debian", "fedora", "arch", "suse")
INSTALL = {"debian": "apt-get install -y", "fedora": "dnf install -y", "arch": "pacman -S --needed", "suse": "zypper install -y"}
KIN = {"ubuntu": "debian", "linuxmint": "debian", "pop": "debian", "raspbian": "debian", "rhel": "fedora", "centos": "fedora",
       "rocky": "fedora", "almalinux": "fedora", "manjaro": "arch", "endeavouros": "arch", "opensuse": "suse", "sles": "suse"}

# Loads each library named on the command line, by soname or path, and says which could not be and why.
PROBE = """
import ctypes, json, sys
wrong = {}
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError as error:
        wrong[name] = str(error)
print(json.dumps(wrong))
"""

Status = Literal["ok", "warn", "problem"]


@dataclass(frozen=True)
class Finding:
    """`id` is stable, for machines; `value` what was found; `meaning` what that means here; `remedy` what to do about it, "" if nothing."""

    id: str
    status: Status
    title: str
    value: str
    meaning: str = ""
    remedy: str = ""


def diagnose(folder: Path | str = ".", measure: bool = True) -> list[Finding]:
    """All findings, in the order in which a person would ask. `folder` is judged as a place for projects; `measure` times matrix products
    that were not timed here before (half a second a device)."""
    place = Path(folder).expanduser()
    found = [_version(), _python(), *_torch()]
    known = devices.machine(measure=measure)
    for device in known.devices:
        found += [_device(device, device is known.devices[0]), _memory(device)]
    found += [_attention(known.devices[0]), _compiler(known.compile_lacks, known.compiler), *_four_bit(known.devices), _llama_cpp()]
    found += _window()
    return [*found, _space(place), _speed(place), _own_folder()]


# ------------------------------------------------------------------------------------------------------------------ software


def _version() -> Finding:
    return Finding("fledge", "ok", tr("Fledge"), __version__, tr("Runs on this machine alone; nothing leaves it."))


def _python() -> Finding:
    (low, high), here = PYTHONS, sys.version_info[:2]
    value = f"{platform.python_version()} ({sys.executable})"
    if low <= here <= high:
        return Finding("python", "ok", tr("Python"), value, tr("Fits."))
    return Finding("python", "warn", tr("Python"), value,
                   tr("Fledge is tested with {low} to {high}.", low=_dotted(low), high=_dotted(high)),
                   tr("Install one of these and run packaging/bootstrap.py with it."))


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _torch() -> list[Finding]:
    """PyTorch's version and build, and whether a GPU lies idle because the build cannot use it."""
    import torch

    version = str(torch.__version__)
    found = [Finding("torch", "ok", "PyTorch", version, tr("Built for CUDA {version}.", version=torch.version.cuda) if torch.version.cuda
                     else tr("Built for the CPU and what the system brings."))]
    wanted = next((name.removeprefix("torch==") for name in metadata_requirements() if name.startswith("torch==")), "")
    if wanted and version.partition("+")[0] != wanted:
        found[0] = Finding("torch", "warn", "PyTorch", version, tr("This Fledge was made and measured with {wanted}.", wanted=wanted),
                           tr("Run packaging/bootstrap.py to install it."))
    driver = Path("/proc/driver/nvidia/version").exists() or bool(shutil.which("nvidia-smi"))
    if driver and not torch.cuda.is_available():
        found.append(Finding("cuda", "warn", tr("NVIDIA GPU"), tr("not usable"),
                             tr("A driver is installed, but PyTorch cannot use it: training runs on the CPU, many times slower."),
                             tr("Install PyTorch for CUDA: packaging/bootstrap.py --torch cuda. If it is, look at nvidia-smi.")))
    return found


def metadata_requirements() -> list[str]:
    """What the installed distribution asks for; empty when it runs from a checkout without one."""
    try:
        return [line.replace(" ", "") for line in metadata.requires("fledge") or []]
    except metadata.PackageNotFoundError:
        return []


# ------------------------------------------------------------------------------------------------------------------ machine


def _device(device: DeviceFacts, first: bool) -> Finding:
    speeds = ", ".join(f"{dtype} {units.significant(device.peak(dtype) / 1e12)} TFLOP/s" for dtype in device.dtypes if device.peak(dtype))
    threads = tr("{count} threads", count=device.threads) if device.threads else ""
    value = " · ".join(part for part in (device.title, threads, device.capability, speeds) if part)
    bf16 = device.dtype == "bfloat16"
    meaning = tr("Trains here unless another device is chosen.") if first else tr("Can be chosen for a run.")
    if bf16 and device.peak("float32"):
        gain = units.number(device.peak("bfloat16") / device.peak("float32"), 1)
        meaning += " " + tr("bfloat16 makes matrix products {gain} times as fast as float32; weights stay in float32.", gain=gain)
    elif bf16:
        meaning += " " + tr("It computes in bfloat16; weights stay in float32.")
    else:
        meaning += " " + tr("It has no bfloat16 of its own, so it computes in float32.")
    if device.kind == "cpu":
        meaning += " " + tr("On a CPU, models up to some ten million parameters train in minutes to hours.")
    return Finding(f"device.{device.id}", "ok", tr("Device {id}", id=device.id), value, meaning)


def _memory(device: DeviceFacts) -> Finding:
    value = tr("{free} free of {total}", free=units.size(device.memory_free), total=units.size(device.memory_total))
    # Weights, gradients and two moments in float32, and as much again for activations.
    largest = units.count(device.memory_free / 32)
    meaning = tr("Roughly enough to train {count} parameters from the beginning.", count=largest)
    if device.memory_free < LITTLE_MEMORY:
        return Finding(f"memory.{device.id}", "warn", tr("Memory of {id}", id=device.id), value, meaning,
                       tr("Close other programs before a long run."))
    return Finding(f"memory.{device.id}", "ok", tr("Memory of {id}", id=device.id), value, meaning)


def _attention(device: DeviceFacts) -> Finding:
    """Changes the last token and looks whether earlier positions of causal attention notice. Some drivers did let the future through."""
    leaks = [dtype for dtype in device.dtypes if attention_leaks(device.id, dtype)]
    if leaks:
        return Finding("attention", "problem", tr("Attention"), tr("sees the future in {dtypes}", dtypes=", ".join(leaks)),
                       tr("Models trained here would learn to copy what they should predict: their loss would look far too good."),
                       tr("Choose float32 or another device, and update the system and PyTorch."))
    return Finding("attention", "ok", tr("Attention"), tr("causal"), tr("Checked on {id}: no position sees later tokens.", id=device.id))


def attention_leaks(device: str, dtype: str) -> bool:
    """Whether a change of the last token shows at an earlier position of `scaled_dot_product_attention(is_causal=True)`."""
    import torch

    generator = torch.Generator().manual_seed(1)
    query_BHTD, key_BHTD, value_BHTD = (torch.randn(2, 2, 64, 32, generator=generator).to(device, getattr(torch, dtype)) for _ in range(3))
    attend = torch.nn.functional.scaled_dot_product_attention
    before = attend(query_BHTD, key_BHTD, value_BHTD, is_causal=True)[:, :, :-1].clone()
    key_BHTD[:, :, -1] += 100.0
    value_BHTD[:, :, -1] += 100.0
    after = attend(query_BHTD, key_BHTD, value_BHTD, is_causal=True)[:, :, :-1]
    return not torch.allclose(before, after, rtol=0, atol=2e-2)


def _compiler(lacks: Sequence[str], path: str) -> Finding:
    if not lacks:
        return Finding("compiler", "ok", "torch.compile", path,
                       tr("Long runs can be compiled: faster steps after a start-up of up to a minute."))
    names = {"compiler": tr("a C++ compiler"), "python_headers": tr("the headers of Python"), "triton": "Triton"}
    family = distribution()
    packages = {"debian": ["g++", f"python{_dotted(sys.version_info[:2])}-dev"], "fedora": ["gcc-c++", "python3-devel"],
                "arch": ["gcc", "python"], "suse": ["gcc-c++", "python3-devel"]}.get(family, [])
    needed = [package for package, lack in zip(packages, ("compiler", "python_headers"), strict=False) if lack in lacks]
    if needed:
        remedy = install_command(family, needed)
    elif sys.platform == "darwin":
        remedy = "xcode-select --install"
    else:
        remedy = tr("Install a C++ compiler and the headers of Python if you want it.")
    return Finding("compiler", "warn", "torch.compile", tr("lacks {names}", names=", ".join(names[lack] for lack in lacks)),
                   tr("Everything works; long runs could be faster."), remedy)


def _four_bit(all_devices: Sequence[DeviceFacts]) -> list[Finding]:
    """Whether QLoRA can run, where there is a card for it."""
    if not any(device.kind == "cuda" for device in all_devices):
        return []
    try:
        check_four_bit("cuda")
    except Missing as lack:
        return [Finding("qlora", "ok", "QLoRA", tr("not installed"), tr("Needed only to tune models that are too large for LoRA."),
                        lack.remedy)]
    return [Finding("qlora", "ok", "QLoRA", metadata.version(FOUR_BIT_LIBRARY),
                    tr("Large models can be tuned with their frozen weights in 4 bits."))]


def _llama_cpp() -> Finding:
    """Which binding of llama.cpp there is: GGUF files are run and checked with it."""
    there = [name for name in ("xllamacpp", "llama-cpp-python") if _installed(name)]
    if there:
        return Finding("llama_cpp", "ok", "llama.cpp", ", ".join(f"{name} {metadata.version(name)}" for name in there),
                       tr("GGUF files can write and judge instruction data, and exports are tried in it."))
    return Finding("llama_cpp", "ok", "llama.cpp", tr("not installed"),
                   tr("Needed only to run GGUF files here; Ollama and other servers do without it."),
                   tr("To have it: pip install xllamacpp"))


# ------------------------------------------------------------------------------------------------------------------ window


def _window() -> list[Finding]:
    spec = importlib.util.find_spec("PySide6")
    if spec is None or not spec.submodule_search_locations:
        return [Finding("qt", "warn", "Qt", tr("not installed"), tr("The window cannot open. Every command without a window works."),
                        tr("Run packaging/bootstrap.py."))]
    found = [_libraries(Path(spec.submodule_search_locations[0]))]
    shown = display()
    if shown:
        found.append(Finding("display", "ok", tr("Display"), shown, tr("A window can open.")))
    else:
        found.append(Finding("display", "warn", tr("Display"), tr("none"),
                             tr("The window cannot open here. Commands and the demo need none."),
                             tr("Try `fledge demo DIR`, or log in with a desktop.")))
    return found


def display() -> str:
    """What a window would open on, "" where there is nothing."""
    if sys.platform in ("win32", "darwin"):
        return tr("the system's own")
    return next((f"{name}={os.environ[name]}" for name in ("WAYLAND_DISPLAY", "DISPLAY", "QT_QPA_PLATFORM") if os.environ.get(name)), "")


def _libraries(folder: Path) -> Finding:
    """Whether Qt's libraries load, tried in a process of its own."""
    version = metadata.version("PySide6-Essentials") if _installed("PySide6-Essentials") else ""
    wrong = missing_libraries(folder)
    if not wrong:
        return Finding("qt", "ok", "Qt", version, tr("Its libraries load."))
    family = distribution()
    column = FAMILIES.index(family) if family in FAMILIES else -1
    packages = list(dict.fromkeys(LIBRARIES[name][column] for name in wrong if name in LIBRARIES)) if column >= 0 else []
    remedy = (install_command(family, packages) if packages
              else tr("Install the packages of your system that hold: {names}.", names=", ".join(wrong)))
    return Finding("qt", "problem" if display() else "warn", "Qt", tr("{version}, lacks {names}", version=version, names=", ".join(wrong)),
                   tr("The window cannot open. Every command without a window works."), remedy)


def missing_libraries(qt_folder: Path, probe: Callable[[Sequence[str]], dict[str, str]] | None = None) -> list[str]:
    """Sonames of the system that Qt needs and that cannot be loaded (Linux); elsewhere Qt's wheel brings everything.

    The libraries known to be needed are tried by name, then Qt's own by path, whose message names any other that is missing.
    """
    if not sys.platform.startswith("linux"):
        return []
    own = [qt_folder / "Qt" / "lib" / "libQt6Widgets.so.6", qt_folder / "Qt" / "plugins" / "platforms" / "libqxcb.so",
           qt_folder / "Qt" / "plugins" / "platforms" / "libqoffscreen.so"]
    wrong = (probe or _probe)([*LIBRARIES, *(str(path) for path in own if path.exists())])
    missing = [name for name in wrong if name in LIBRARIES]
    for name, why in wrong.items():
        culprit = why.partition(":")[0].strip()
        if name not in LIBRARIES and culprit and culprit not in missing and not culprit.startswith("libQt6"):
            missing.append(Path(culprit).name)
    return missing


def _probe(names: Sequence[str]) -> dict[str, str]:
    done = subprocess.run([sys.executable, "-I", "-c", PROBE, *names], capture_output=True, text=True, timeout=60, check=False)
    try:
        wrong = json.loads(done.stdout)
    except ValueError:  # a library killed the process: say what it said last
        return {"Qt": (done.stderr.strip().splitlines() or [tr("loading ended with code {code}", code=done.returncode)])[-1]}
    return {str(name): str(why) for name, why in wrong.items()}


def distribution(files: Sequence[Path] = (Path("/etc/os-release"), Path("/usr/lib/os-release"))) -> str:
    """The family of this Linux: debian, fedora, arch, suse, or "" for another system."""
    for file in files:
        try:
            lines = file.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        values = dict(line.partition("=")[::2] for line in lines if "=" in line)
        for name in f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".replace('"', "").split():
            family = KIN.get(name, KIN.get(name.partition("-")[0], name.partition("-")[0]))
            if family in FAMILIES:
                return family
    return ""


def install_command(family: str, packages: Sequence[str]) -> str:
    """The exact command, with sudo unless this is root already."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return ("" if root else "sudo ") + INSTALL[family] + " " + " ".join(packages)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------------------ disk


def _space(folder: Path) -> Finding:
    place = _existing(folder)
    usage = shutil.disk_usage(place)
    value = tr("{free} free of {total} at {folder}", free=units.size(usage.free), total=units.size(usage.total), folder=str(place))
    warning = place_warning(place)
    if usage.free < NO_DISK:
        return Finding("disk", "problem", tr("Disk"), value, tr("Too little to save a checkpoint."), tr("Free some space."))
    if warning:
        return Finding("disk", "warn", tr("Disk"), value, warning,
                       tr("Keep projects in a local folder and export finished models from there."))
    if usage.free < LITTLE_DISK:
        return Finding("disk", "warn", tr("Disk"), value, tr("Enough for small models only: a checkpoint takes 12 bytes a parameter."),
                       tr("Free some space before a long run."))
    return Finding("disk", "ok", tr("Disk"), value,
                   tr("Enough for checkpoints of models up to {count} parameters (three are kept, and the best).",
                      count=units.count(usage.free / 12 / 5)))


def _speed(folder: Path) -> Finding:
    place, title = _existing(folder), tr("Disk speed")
    probe, data = place / f".fledge-probe-{uuid.uuid4().hex[:8]}", os.urandom(PROBE_BYTES)
    try:
        start = time.perf_counter()
        with open(probe, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        rate = PROBE_BYTES / (time.perf_counter() - start)
    except OSError as wrong:
        return Finding("disk_speed", "problem", title, tr("cannot be written"), str(wrong),
                       tr("Choose a folder of your own with free space."))
    finally:
        probe.unlink(missing_ok=True)
    value = tr("{rate} a second, synced", rate=units.size(rate))
    if rate < SLOW_DISK:
        return Finding("disk_speed", "warn", title, value, tr("Each checkpoint makes training wait for it."),
                       tr("Save less often, or keep projects on a faster disk."))
    return Finding("disk_speed", "ok", title, value, tr("Checkpoints cost little."))


def _own_folder() -> Finding:
    """Device locks and the queue lie in the person's own folder: it must be writable."""
    place = layout.user_state()
    found = Finding("own_folder", "ok", tr("Own folder"), str(place), tr("Holds the queue, device locks and measurements of this machine."))
    if os.access(_existing(place), os.W_OK):
        return found
    return Finding("own_folder", "problem", found.title, found.value, tr("It cannot be written: runs could not lock their device."),
                   tr("Make it writable, or set FLEDGE_HOME to a folder of yours."))


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that is there."""
    folder = folder.expanduser().resolve()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder
