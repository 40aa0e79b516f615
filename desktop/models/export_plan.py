"""What an export comes to before it starts: the model, where it may go, how large it becomes, where it is put. No Qt, no torch.

What a model is and where it loads is the probe's answer (engine/stages/export/probe.py); this file judges no format.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError
from engine.contract.spec import Problem
from engine.contract.units import count, number, size
from engine.contract.words import tr, trn
from engine.project.models import ModelRef
from engine.stages.export.spec import ExportSpec

PROMPTS = 20
TARGETS = ("hf", "gguf", "ollama", "lora")
"""The last one is offered only for a model that has an adapter."""
K_BYTES = {"q6_k": 6.5625 / 8, "q4_k_m": 4.85 / 8}
"""Bytes a weight of the precisions that llama.cpp makes, about: only it knows which tensors stay finer."""


@dataclass(frozen=True)
class Goes:
    """A verdict, as the probe tells it."""

    title: str
    loads: bool
    architecture: str = ""
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Handed:
    """What is known of the chosen model. `sizes` bytes by precision; `runtimes` what on this machine could try each target."""

    id: str
    title: str
    parameters: int
    context: int
    vocab_size: int
    stored: str
    template: bool
    licence: str
    imported: bool
    k_quants: bool
    ollama: str
    ollama_url: str
    sizes: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, Goes] = field(default_factory=dict)
    runtimes: dict[str, str] = field(default_factory=dict)
    adapter: dict[str, Any] | None = None

    @classmethod
    def of(cls, raw: dict[str, Any]) -> "Handed":
        known = {k: v for k, v in raw.items() if k in cls.__dataclass_fields__}
        verdicts = {to: Goes(**v) for to, v in raw["verdicts"].items()}
        if raw.get("adapter"):  # it is loaded onto a base that transformers has to load
            rank = tr("LoRA of rank {rank}", rank=raw["adapter"]["rank"])
            verdicts["lora"] = replace(verdicts["hf"], title="PEFT", architecture=rank)
        return cls(**{**known, "verdicts": verdicts})


class ExportPlan:
    """`values` are those of ExportSpec. `out` follows the model's name until the person has chosen a place."""

    def __init__(self, folder: str = "", values: dict[str, Any] | None = None) -> None:
        base = ExportSpec()
        self.values: dict[str, Any] = {name: getattr(base, name) for name in ExportSpec.model_fields} | {"check_prompts": PROMPTS}
        self.values |= {k: v for k, v in (values or {}).items() if k in self.values}
        self.folder = folder or str(Path.home() / "Models")
        self.models: list[ModelRef] = []
        self.found: Handed | None = None
        self.wrong: FledgeError | None = None
        self.chosen_place = False

    # choosing ---------------------------------------------------------------------------------------------------------

    def set_models(self, models: Sequence[ModelRef], wanted: str = "") -> None:
        """What there is; the chosen one stays if it is still there."""
        self.models = list(models)
        known = [m.id for m in models]
        chosen = wanted if wanted in known else self.values["model"] if self.values["model"] in known else known[0] if known else ""
        self.choose_model(chosen)

    def choose_model(self, id: str) -> None:
        if id != self.values["model"]:
            self.values |= {"model": id, "title": "", "name": "", "overwrite": False}
            self.found, self.wrong, self.chosen_place = None, None, False
        self._place()

    def take(self, found: Handed) -> None:
        """The probe has answered. A target that does not load gives way to one that does; a precision that cannot be made, too."""
        self.found = found
        if not self.loads(self.to):
            self.values["to"] = next((to for to in TARGETS if self.loads(to)), self.to)
        if self.values["quantisation"] in K_BYTES and not found.k_quants:
            self.values["quantisation"] = "q8_0"
        self._place()

    def choose_target(self, to: str) -> None:
        if to != self.to:
            self.values |= {"to": to, "overwrite": False}
            self.chosen_place = False
            self._place()

    def set_values(self, values: dict[str, Any]) -> None:
        """Some settings are new; the others stay."""
        self.values |= values
        self._place()

    def put(self, path: str) -> None:
        """The person has chosen a place; its folder is where the next one is offered."""
        self.values |= {"out": path, "overwrite": False}
        self.chosen_place = True
        if path and Path(path).is_absolute():
            self.folder = str(Path(path).parent)

    def _place(self) -> None:
        if not self.chosen_place:
            name = slug(self.shown_title)
            tail = {"gguf": f"-{self.values['quantisation']}.gguf", "ollama": "-ollama", "lora": "-lora"}.get(self.to, "")
            self.values["out"] = str(Path(self.folder) / f"{name}{tail}") if self.values["model"] else ""

    # what follows -----------------------------------------------------------------------------------------------------

    @property
    def to(self) -> str:
        return str(self.values["to"])

    @property
    def model(self) -> ModelRef | None:
        return next((m for m in self.models if m.id == self.values["model"]), None)

    @property
    def shown_title(self) -> str:
        """How the model is called there: as the person says, else as here."""
        return str(self.values["title"]).strip() or (self.found.title if self.found else self.model.title if self.model else "")

    @property
    def shown_name(self) -> str:
        """How Ollama calls it."""
        return str(self.values["name"]).strip() or slug(self.shown_title)

    @property
    def precision(self) -> str:
        return "float32" if self.to == "lora" else str(self.values["dtype"] if self.to == "hf" else self.values["quantisation"])

    def loads(self, to: str) -> bool:
        return self.found is not None and to in self.found.verdicts and self.found.verdicts[to].loads

    def bytes(self, to: str) -> int:
        """About how large it becomes for this target; 0 while that is not known."""
        if self.found is None or not self.loads(to):
            return 0
        if to == "lora":
            return self.found.sizes.get("adapter", 0)
        precision = self.values["dtype"] if to == "hf" else self.values["quantisation"]
        return round(self.found.parameters * K_BYTES[precision]) if precision in K_BYTES else self.found.sizes.get(precision, 0)

    def runtime(self) -> str:
        """The program here that would try the export; "" for none."""
        return self.found.runtimes.get(self.to, "") if self.found else ""

    def precisions(self) -> list[tuple[str, str]]:
        """GGUF precisions that can be made on this machine, with their words."""
        every = ExportSpec.option_of("quantisation").choices
        return [(v, words) for v, words in every if v not in K_BYTES or (self.found is not None and self.found.k_quants)]

    def spec(self) -> ExportSpec:
        """Ready to run: without a check where nothing here could do it."""
        return ExportSpec.check({**self.values, "check_prompts": self.values["check_prompts"] if self.runtime() else 0})

    def problems(self) -> list[Problem]:
        tried = {} if self.to != "lora" else {"check_prompts": 0}  # the number stays for the other targets
        found = list(ExportSpec.field_problems({**self.values, **tried}))
        if self.found is not None and self.to in self.found.verdicts and not self.loads(self.to):
            goes = self.found.verdicts[self.to]
            sentence = tr("{program} cannot load this model: {reason}.", program=goes.title, reason=goes.reason)
            found.append(Problem("to", sentence, goes.remedy))
        return found

    # words ------------------------------------------------------------------------------------------------------------

    def goes_in(self) -> tuple[str, str]:
        if self.model is None:
            return tr("Nothing yet"), tr("a model or a checkpoint")
        facts = tr("{parameters} parameters, step {step}", parameters=count(self.found.parameters), step=number(self.model.step)) \
            if self.found and self.model.step else tr("{parameters} parameters", parameters=count(self.found.parameters)) \
            if self.found else tr("being looked at")
        return self.model.title, facts

    def will_happen(self) -> tuple[str, str]:
        form = {"hf": tr("A folder for transformers"), "gguf": tr("A GGUF file"), "ollama": tr("A model in Ollama"),
                "lora": tr("An adapter for PEFT")}[self.to]
        nbytes = self.bytes(self.to)
        line = tr("{size} in {precision}", size=size(nbytes), precision=precision_words(self.precision)) if nbytes else \
            precision_words(self.precision)
        prompts = int(self.values["check_prompts"] or 0) if isinstance(self.values["check_prompts"], int) and self.runtime() else 0
        tried = trn(", {count} prompt", ", {count} prompts", prompts) if prompts else ""
        return form, line + tried

    def comes_out(self) -> tuple[str, str]:
        if self.to == "ollama" and self.found is not None and self.found.ollama:
            return self.shown_name, tr("in the Ollama at {url}", url=self.found.ollama_url)
        out = Path(self.values["out"]) if self.values["out"] else None
        return (out.name, str(out.parent)) if out else (tr("Nothing yet"), tr("files that other programs open"))


def slug(title: str) -> str:
    """A name for a file or for Ollama."""
    return re.sub(r"[^a-z0-9_.]+", "-", title.lower().replace("\u00a0", " ")).strip("-.") or "model"


def precision_words(precision: str) -> str:
    """q8_0 -> "Q8_0", float32 as it is."""
    return precision if precision.startswith(("float", "bfloat")) else precision.upper()
