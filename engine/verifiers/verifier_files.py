"""Verifiers as files: a Python source as .py, a composition as .json. Read and written, never run or imported."""

import json
from dataclasses import dataclass
from pathlib import Path

from engine.contract.composition import parse
from engine.contract.errors import FormatError, NotFound
from engine.contract.words import tr
from engine.project import files
from engine.project.verifiers import LONGEST, Kind, Verifiers
from engine.verifiers.starters import title_of


@dataclass(frozen=True)
class VerifierFile:
    """`body` as the library keeps it. `name`: the file's, without its ending."""

    name: str
    title: str
    kind: Kind
    body: str

    @property
    def origin(self) -> str:
        return f"import:{self.name}"


def read(path: Path) -> VerifierFile:
    """Raises NotFound, FormatError (no text, too long, another ending) and SettingError (a .json that is no composition). A source need not
    be right: the editor says what is wrong with it."""
    if not path.is_file():
        raise NotFound(tr("{path} does not exist.", path=str(path)), tr("Choose another file."))
    ending = path.suffix.lower()
    if ending not in (".py", ".json"):
        raise FormatError(tr("{name} is no verifier.", name=path.name), tr("Choose a .py file, or a .json file with parts."))
    with open(path, "rb") as file:
        data = file.read(4 * LONGEST + 4)
    try:
        body = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise FormatError(tr("{name} is no text in UTF-8.", name=path.name), tr("Save it as UTF-8.")) from None
    if len(body) > LONGEST:
        raise FormatError(tr("{name} is longer than {count} characters.", name=path.name, count=f"{LONGEST:,}"), tr("Shorten it."))
    if ending == ".json":
        return VerifierFile(path.stem, path.stem, "parts", json.dumps(parse(body).plain(), ensure_ascii=False, indent=1))
    return VerifierFile(path.stem, title_of(body) or path.stem, "python", body)


def text_of(held: Verifiers, ref: str) -> tuple[str, str]:
    """(ending, text) of a version for a file: a source as it is; parts with every reference replaced, since another library has others."""
    version = held.version(ref)
    if held.get(version.verifier).kind == "python":
        return ".py", version.body
    return ".json", json.dumps(held.composition(ref).bare().plain(), ensure_ascii=False, indent=1) + "\n"


def write(held: Verifiers, ref: str, target: Path) -> None:
    """One version into a file, replaced in one step. Raises NotFound, DiskFull."""
    files.write_bytes(target, text_of(held, ref)[1].encode("utf-8"))
