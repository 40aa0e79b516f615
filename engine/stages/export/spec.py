"""Settings of an export: which model, for whom, how precise, whether to try it. No torch."""

import re
from pathlib import Path
from typing import Any, ClassVar, Self

from engine.contract.errors import SettingError
from engine.contract.spec import Problem, Spec, option
from engine.contract.words import tr

TARGETS = {"hf": "transformers", "gguf": "llama.cpp", "ollama": "ollama"}
"""Each target and whose verdict of engine/model/exportability.py decides about it."""
QUANTISATIONS = ("f32", "f16", "bf16", "q8_0", "q6_k", "q4_k_m")
"""Of GGUF files, named as llama.cpp names them; the last two are its own quantiser's."""


class ExportSpec(Spec):
    stage: ClassVar[str] = "export"

    model: str = option("", label=tr("Model"), help=tr("A finished model's id, or run@step for a checkpoint."))
    to: str = option("hf", label=tr("For"), help=tr("The program that shall run it. GGUF is what llama.cpp, LM Studio and Jan open."),
        choices=(("hf", tr("transformers, mlx-lm, vLLM")), ("gguf", tr("llama.cpp and its relatives (GGUF)")), ("ollama", tr("Ollama")),
                 ("lora", tr("PEFT (adapters)"))))
    out: str = option("", label=tr("To"), help=tr("The folder (transformers, Ollama) or file (GGUF) to write, as a whole path. For Ollama "
                                                  "it is used when none runs here."))
    dtype: str = option("float32", label=tr("Numbers"), visible_if=("to", "hf"),
        choices=(("float32", "float32"), ("bfloat16", "bfloat16"), ("float16", "float16")),
        help=tr("float32 is exact; the others take half the space and round each weight."))
    quantisation: str = option("f32", label=tr("Precision"),
        choices=tuple((kind, kind.upper()) for kind in QUANTISATIONS),
        help=tr("Of GGUF files. F32 is exact, Q8_0 takes a quarter of it at nearly no loss. Q6_K and Q4_K_M are smaller still and need a "
                "binding of llama.cpp."))
    check_prompts: int = option(0, label=tr("Try it with"), unit=tr("prompts"), ge=0, le=500,
        help=tr("Runs so many prompts here and in the other program, where one is installed, and says whether they agree. 0: not."))
    licence: str = option("", label=tr("Licence"),
        help=tr("For the model card: an identifier such as apache-2.0 or cc-by-4.0, or a sentence."))
    name: str = option("", label=tr("Name in Ollama"), visible_if=("to", "ollama"),
        help=tr("How Ollama calls it; made from the title unless set."))
    host: str = option("", label=tr("Ollama's address"), visible_if=("to", "ollama"), advanced=True,
        help=tr("Another one than this machine's is asked only when it is named here."))
    overwrite: bool = option(False, label=tr("Write over"), help=tr("Replaces an export that is there."))
    base_name: str = option("", label=tr("Base model"), visible_if=("to", "lora"), advanced=True,
        help=tr("What PEFT shall load the base by: the folder it is exported to, or its name on the hub. Whoever loads it can say it too."))
    title: str = option("", label=tr("Title"), help=tr("How the model and this export are called; as in the project unless set."))

    @classmethod
    def asked(cls, model: str, called: str, to: str, out: Path | None, precision: str = "", **rest: Any) -> Self:
        """A spec from a command's words: `precision` is the target's own or the other's name for it, `out` anywhere from here; both are
        chosen where they are empty."""
        if to == "lora" and precision.lower() not in ("", "float32", "f32"):
            raise SettingError(tr("Adapters are written in float32."), tr("Leave the precision out."), field="dtype")
        field = "dtype" if to in ("hf", "lora") else "quantisation"
        twins = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
        known = {short: long for long, short in twins.items()} if field == "dtype" else twins
        words = precision.lower()
        values: dict[str, Any] = {**rest, "model": model, "to": to, **({field: known.get(words, words)} if words else {})}
        stem = re.sub(r"[^\w.-]+", "-", called).strip("-.") or model.replace("@", "-")
        if out is None and to != "ollama":
            out = Path(f"{stem}-{to}" if to in ("hf", "lora") else f"{stem}-{values.get(field, 'f32')}.gguf")
        return cls.check({**values, "out": str(out.expanduser().absolute()) if out is not None else ""})

    def problems(self) -> list[Problem]:
        found = []
        if self.to == "lora" and self.check_prompts:
            found.append(Problem("check_prompts", tr("An adapter cannot be tried by itself."),
                                 tr("Export the whole model for transformers (hf) to try it; it computes the same.")))
        if not self.model:
            found.append(Problem("model", tr("There is no model to export."), tr("Choose a finished model or a checkpoint.")))
        if not self.out and self.to != "ollama":
            found.append(Problem("out", tr("It is not said where the export goes."), tr("Choose a folder or a file.")))
        if self.out and not Path(self.out).is_absolute():
            found.append(Problem("out", tr("{path} is not a whole path.", path=self.out), tr("Begin at the root of the disk.")))
        return found
