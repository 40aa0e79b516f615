"""Models of the Hugging Face hub, through `huggingface_hub`: their files with sizes, then those a model needs, with progress and resume.

Off unless the person has switched the network on (`network` in their settings, `fledge network on`): nothing here contacts anybody before
that is checked, and nothing else of the import does at all. What comes from there is trusted as little as any folder. Tells the hub
nothing but what is asked for; a token is sent only if the person has logged in with huggingface_hub's own tools.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import Corrupt, FledgeError, FormatError, InputError, MachineError, NotFound, SettingError
from engine.contract.words import tr
from engine.project import files, layout

SETTING = "network"
# Everything a model may need of its folder; never code, pickles or pictures.
NEEDED = re.compile(r"config\.json|generation_config\.json|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json"
                    r"|chat_template\.(json|jinja)|adapter_config\.json|tokenizer\.model|README\.md|LICEN[CS]E(\.txt|\.md)?"
                    r"|[A-Za-z0-9_.-]+\.safetensors(\.index\.json)?")
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95})(?:/([A-Za-z0-9][A-Za-z0-9._-]{0,200}\.gguf))?"
                   r"(?:@([A-Za-z0-9._/-]{1,100}))?")


@dataclass(frozen=True)
class File:
    name: str
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class Listing:
    """What the hub has under a name: the files a model needs. `revision` is the commit they belong to."""

    name: str
    revision: str
    files: tuple[File, ...]
    licence: str = ""
    gguf: str = ""

    @property
    def nbytes(self) -> int:
        return sum(file.size for file in self.files)


def allowed() -> bool:
    """Whether the person has switched the network on."""
    kept = files.read_json(layout.settings_file(), {})
    return isinstance(kept, dict) and kept.get(SETTING) is True


def allow(on: bool) -> None:
    kept = files.read_json(layout.settings_file(), {})
    files.write_json(layout.settings_file(), {**(kept if isinstance(kept, dict) else {}), SETTING: on})


def look(named: str) -> Listing:
    """The files of OWNER/NAME[/FILE.gguf][@REVISION], with sizes; fetches nothing.

    Raises SettingError (network off), NotFound, InputError (not allowed), FormatError (nothing to import), MachineError (no connection).
    """
    owner_name, gguf, revision = _parse(named)
    _need_network()
    api, errors = _library()
    try:
        info = api.model_info(owner_name, revision=revision or None, files_metadata=True, timeout=30)
    except errors.GatedRepoError:
        raise InputError(tr("{name} is given only to those who have accepted its terms.", name=owner_name),
                         tr("Accept them on its page, log in with `hf auth login`, and try again."), code="gated") from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise NotFound(tr("The hub has no model {name}.", name=named), tr("Check the name: it is OWNER/NAME.")) from None
    except Exception as wrong:  # whatever the network brings
        raise _no_connection(wrong) from None
    listed = []
    for one in info.siblings or ():
        name = str(one.rfilename)
        if (name == gguf or name in ("README.md", "LICENSE")) if gguf else NEEDED.fullmatch(name) and not name.startswith("consolidated"):
            listed.append(File(name, int(one.size or 0), str(one.lfs.sha256) if one.lfs else ""))
    if gguf and not any(file.name == gguf for file in listed):
        raise NotFound(tr("{name} has no file {file}.", name=owner_name, file=gguf), tr("Look at its page for the names."))
    if not gguf and not any(file.name.endswith(".safetensors") for file in listed):
        raise FormatError(tr("{name} has no safetensors.", name=owner_name), tr("Choose a model that has them, or name a GGUF file: "
                          "hub:OWNER/NAME/FILE.gguf."), code="pickle")
    card: Any = info.card_data
    return Listing(owner_name, str(info.sha), tuple(listed), str(card.get("license") or "") if card else "", gguf)


def fetch(found: Listing, folder: Path, report: Callable[[int], None] = lambda done: None,
          check: Callable[[], None] = lambda: None) -> Path:
    """Bring the files of a listing into `folder`; where the model lies. What is there already, and what an earlier attempt has begun, is
    not fetched again. `report` hears the bytes that are here, `check` may raise to stop.

    Raises SettingError, Corrupt, MachineError, DiskFull.
    """
    _need_network()
    _library()
    folder.mkdir(parents=True, exist_ok=True)
    done = 0
    for file in found.files:
        check()
        path = folder / file.name
        if not (path.is_file() and path.stat().st_size == file.size):
            part = folder / f".part-{found.revision[:12]}-{file.name}"
            _get(found, file, part, lambda here, before=done: report(before + here), check)
            if part.stat().st_size != file.size or (file.sha256 and _hash(part, check) != file.sha256):
                part.unlink()
                raise Corrupt(tr("{file} came damaged from the hub.", file=file.name), tr("Resume the run: it is fetched again."))
            files.rename(part, path)
        done += file.size
        report(done)
    return folder / found.gguf if found.gguf else folder


def _get(found: Listing, file: File, part: Path, report: Callable[[int], None], check: Callable[[], None]) -> None:
    """Append to `part` what is missing. hf_hub_download itself begins each file anew in another process, so only its transport is used."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        """Shows nothing; hands on how much has come."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            self.here = int(kwargs.get("initial") or 0)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.here += int(n or 0)
            report(self.here)
            check()
            return None

    if part.exists() and part.stat().st_size > file.size:
        part.unlink()
    try:
        with open(part, "ab") as opened:
            http_get(hf_hub_url(found.name, file.name, revision=found.revision), opened, resume_size=opened.tell(), expected_size=file.size,
                     headers=build_hf_headers(), tqdm_class=Bar)
    except FledgeError:
        raise
    except OSError as wrong:
        if (full := files.disk_error(wrong, part)) is not wrong:
            raise full from None
        raise _no_connection(wrong) from None
    except Exception as wrong:  # whatever the network brings
        raise _no_connection(wrong) from None


def _parse(named: str) -> tuple[str, str, str]:
    made = _NAME.fullmatch(named)
    if not made or ".." in named:
        raise SettingError(tr("{name} is no name of a model on the hub.", name=ascii(named)[:100]),
                           tr("Write hub:OWNER/NAME, or hub:OWNER/NAME/FILE.gguf."), field="folder")
    return made.group(1), made.group(2) or "", made.group(3) or ""


def _need_network() -> None:
    if not allowed():
        raise SettingError(tr("The network is off: Fledge contacts nobody."),
                           tr("Switch it on in the settings, or with `fledge network on`; or import a folder from disk."),
                           code="network_off")


def _library() -> tuple[Any, Any]:
    """huggingface_hub, told to be quiet: plain HTTP, no telemetry, no bars."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # its threads hear no stop
    import huggingface_hub
    from huggingface_hub import constants, errors
    constants.HF_HUB_DISABLE_TELEMETRY = constants.HF_HUB_DISABLE_XET = True
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return huggingface_hub.HfApi(), errors


def _no_connection(wrong: Exception) -> MachineError:
    return MachineError(tr("The hub could not be reached: {reason}.", reason=(str(wrong).splitlines() or [type(wrong).__name__])[0][:160]),
                        tr("Check the connection, and resume the run: what has come is kept."), code="network")


def _hash(path: Path, check: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(8_000_000):
            digest.update(block)
            check()
    return digest.hexdigest()
