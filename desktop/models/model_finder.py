"""Which local models there are now: those that a process of the engine finds, and the servers and files that the person added by hand.

Servers and files are kept in the settings, the same ones for every page. Nothing outside this machine is asked but what a person typed.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from desktop.jobs.inquiry import Inquiry
from desktop.models import instruct_found
from desktop.models.local_models import ModelChoice, Place
from engine.contract.errors import FledgeError
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext

FIND_MODULE = "engine.generators.find"
SERVERS, FILES = "instruct.servers", "instruct.files"


class ModelFinder(QObject):
    """`look()`, then `found` with `places` (None until then), or `failed(error)`."""

    found = Signal()
    failed = Signal(object)

    def __init__(self, context: "AppContext", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._find = Inquiry(self)
        self._seen: list[Place] = []
        self.places: list[Place] | None = None

    @property
    def busy(self) -> bool:
        return self._find.busy

    @property
    def confirmed(self) -> set[str]:
        """Hosts outside this machine that the person typed and confirmed."""
        return {str(s[1]) for s in self._kept(SERVERS) if isinstance(s, list) and len(s) == 3 and s[1]}

    def _kept(self, key: str) -> list[Any]:
        kept = self._context.settings.get(key, [])
        return kept if isinstance(kept, list) else []

    def look(self) -> None:
        """Look for models on this machine, unless somebody does already."""
        if self._context.project is None or self._find.busy:
            return
        self._find.ask(FIND_MODULE, str(self._context.project.dir), {}, self._models_found, self._not_found)

    def stop(self) -> None:
        self._find.stop()

    def _models_found(self, answer: Any) -> None:
        self._seen = instruct_found.places(answer if isinstance(answer, list) else answer.get("found", []))
        self.take()

    def take(self) -> None:
        """What was found, with what the person added."""
        places = list(self._seen)
        for each in self._kept(SERVERS):
            address, host, names = str(each[0]), str(each[1]), [str(n) for n in each[2]]
            if all(p.address != address or not p.running for p in places):
                models = tuple(ModelChoice(instruct_found.setting_name("openai", address, n), n) for n in names)
                places = [p for p in places if p.address != address]
                places.append(Place("openai", host or tr("Server"), address, True, models, added=True))
        there = [str(f) for f in self._kept(FILES) if Path(str(f)).is_file()]
        self.places = instruct_found.with_files(places, there, tr("Chosen files"))
        self.found.emit()

    def _not_found(self, wrong: FledgeError) -> None:
        self.places = self.places or []
        self.failed.emit(FledgeError(tr("This machine could not be looked at for models."), wrong.remedy, code=wrong.code))

    def add_server(self, address: str, host: str, models: list[dict[str, Any]]) -> None:
        """A server that the person typed answered: it is kept among the places."""
        others = [s for s in self._kept(SERVERS) if s[0] != address]
        self._context.remember(SERVERS, [*others, [address, host, [str(m["name"]) for m in models]]])
        self.take()

    def add_file(self, name: str) -> str:
        """A GGUF file that the person chose; how a setting names it."""
        self._context.remember(FILES, [*(f for f in self._kept(FILES) if f != name), name])
        self.take()
        return f"gguf:{name}"
