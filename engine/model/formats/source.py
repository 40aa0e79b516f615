"""What lies in a folder or file that somebody hands us: which files may be opened, JSON read within bounds, licence and card. No torch.

Nothing in it is trusted: names with folders in them, links that lead out, and files that are no files are refused before they are opened.
A link is followed inside the folder, and from a snapshot of the Hugging Face cache to that model's own blobs; nowhere else.
"""

import json
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract import units
from engine.contract.errors import Corrupt, FledgeError, FormatError, NotFound
from engine.contract.words import tr

MOST_CONFIG = 4_000_000
MOST_TOKENIZER = 200_000_000
MOST_DEPTH = 64
MOST_CARD = 4_000_000
EXCERPT = 1_500
"""Characters of a model card that are kept."""

DTYPES = {"as_is": "", "float32": "F32", "bfloat16": "BF16", "float16": "F16"}
"""What the weights may be stored as, and safetensors' name of it."""


@dataclass(frozen=True)
class About:
    """What a folder says of itself: `licence` as its card or file names it ("" if nothing does), `card` the beginning of its text."""

    licence: str = ""
    licence_link: str = ""
    base_model: str = ""
    card: str = ""
    files: tuple[str, ...] = field(default=())


def again() -> str:
    return tr("Fetch the model again, or choose another one.")


def kind_of(path: Path) -> str:
    """"gguf" or "hf"; NotFound where nothing is there, FormatError for a file that is no model."""
    if path.is_dir():
        ggufs = sorted(p for p in path.glob("*.gguf"))
        if not (path / "config.json").exists() and ggufs:
            raise FormatError(tr("{folder} holds GGUF files, not a model in Hugging Face's form.", folder=path.name),
                              tr("Choose one of the files: {names}.", names=", ".join(p.name for p in ggufs[:5])))
        return "hf"
    if not path.exists():
        raise NotFound(tr("There is nothing at {path}.", path=str(path)), tr("Choose the folder of a model, or a GGUF file."))
    with open(path, "rb") as file:
        if path.is_file() and file.read(4) == b"GGUF":
            return "gguf"
    raise FormatError(tr("{file} is neither a model's folder nor a GGUF file.", file=path.name),
                      tr("Choose the folder with config.json and the weights, or a .gguf file."))


def find(folder: Path, name: str) -> Path | None:
    """The file `name` of the folder, fit to be opened; None if there is none. Raises FormatError for what leads elsewhere."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+ -]{0,200}", name):
        raise FormatError(tr("{folder} names a file {name} outside of itself.", folder=folder.name, name=ascii(name)[:80]),
                          tr("Do not use this folder: it was made to mislead."), code="leads_out")
    path = folder / name
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        if path.is_symlink():
            raise NotFound(tr("{file} is a link to nothing.", file=name), again()) from None
        return None
    except (OSError, RuntimeError):
        raise FormatError(tr("{file} is a link that leads in circles.", file=name), again(), code="leads_out") from None
    if path.is_symlink() and not any(real.is_relative_to(place) for place in _homes(folder)):
        raise FormatError(tr("{file} is a link that leads out of the folder.", file=name),
                          tr("Put the file itself into the folder if you trust it."), code="leads_out")
    if not stat.S_ISREG(real.stat().st_mode):
        raise FormatError(tr("{file} is not a file.", file=name), again(), code="leads_out")
    return real


def _homes(folder: Path) -> list[Path]:
    """Where files of this folder may lie."""
    folder = folder.resolve()
    homes = [folder]
    if folder.parent.name == "snapshots" and folder.parents[1].name.startswith("models--"):
        homes.append(folder.parents[1] / "blobs")
    return homes


def read_bytes(path: Path, most: int, name: str = "") -> bytes:
    """A whole file of bounded size. Raises FormatError."""
    size = path.stat().st_size
    if size > most:
        raise FormatError(tr("{file} has {size}, far more than such a file needs.", file=name or path.name, size=units.size(size)), again(),
                          code="too_large")
    with open(path, "rb") as file:
        return file.read(most + 1)


def read_json(path: Path, most: int = MOST_CONFIG, name: str = "") -> dict[str, Any]:
    """A JSON object within bounds of size and depth, without NaN and infinities. Raises FormatError."""
    return parse_json(read_bytes(path, most, name), name or path.name)


def parse_json(raw: bytes, name: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    if _depth(raw) > MOST_DEPTH:
        raise FormatError(tr("{file} is nested more than {depth} deep.", file=name, depth=MOST_DEPTH), again())
    try:
        made = json.loads(raw, parse_constant=refuse)
    except (ValueError, RecursionError) as wrong:
        raise FormatError(tr("{file} is not JSON that can be read: {reason}.", file=name, reason=str(wrong)[:120]), again()) from None
    if not isinstance(made, dict):
        raise FormatError(tr("{file} does not hold what its name says.", file=name), again())
    return made


_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def _depth(raw: bytes) -> int:
    """How deep brackets are nested, up to just over the bound; strings are stepped over."""
    if raw.count(b"[") + raw.count(b"{") <= MOST_DEPTH:
        return 0
    now = deepest = 0
    for found in _BRACKET.finditer(raw):
        sign = found.group()[:1]
        if sign in b"[{":
            now += 1
            deepest = max(deepest, now)
            if deepest > MOST_DEPTH:
                break
        elif sign in b"]}":
            now -= 1
    return deepest


def optional_json(folder: Path, name: str, most: int = MOST_CONFIG) -> dict[str, Any]:
    path = find(folder, name)
    return read_json(path, most, name) if path else {}


def about(folder: Path) -> About:
    """Licence and card of a folder; what cannot be read says nothing, since neither is needed to use the model."""
    meta: dict[str, str] = {}
    text = ""
    files = []
    try:
        if path := find(folder, "README.md"):
            files.append("README.md")
            text = read_bytes(path, MOST_CARD).decode("utf-8", "replace")
    except (FledgeError, OSError):
        text = ""
    if head := re.match(r"---\r?\n(.{0,20000}?)\r?\n---\r?\n", text, re.DOTALL):
        keys = r"^(license|license_name|license_link|base_model):[ \t]*([^\r\n]{1,200})$"
        for key, value in re.findall(keys, head.group(1), re.MULTILINE):
            meta[key] = value.strip().strip("'\"")
        if listed := re.search(r"^base_model:\s*\n\s*-\s*([^\r\n]{1,200})$", head.group(1), re.MULTILINE):
            meta["base_model"] = listed.group(1).strip().strip("'\"")
        text = text[head.end():]
    licence = meta.get("license", "")
    if licence in ("", "other"):
        licence = meta.get("license_name", licence)
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"):
        try:
            if path := find(folder, name):
                files.append(name)
                if not licence:
                    with open(path, "rb") as file:
                        lines = file.read(4_000).decode("utf-8", "replace").splitlines()
                    licence = next((line.strip("# \t")[:120] for line in lines if line.strip("# \t")), "")
        except (FledgeError, OSError):
            continue
    return About(licence, meta.get("license_link", ""), meta.get("base_model", ""), text.strip()[:EXCERPT], tuple(files))


def from_raw_error(name: str, sentence: str, remedy: str, code: str) -> FledgeError:
    """The error that another process has told of, as itself."""
    from engine.contract import errors
    kind = getattr(errors, name, None)
    assert isinstance(kind, type) and issubclass(kind, FledgeError), name
    return kind(sentence, remedy, code=code) if kind is not errors.Stopped else errors.Stopped(sentence)


def damaged(file: str, reason: str) -> Corrupt:
    return Corrupt(tr("{file} is damaged: {reason}.", file=file, reason=reason), again())
