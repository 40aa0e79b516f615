"""A finished export in words: the round trip in figures, and what to type to use it. From the receipt's facts alone; no Qt."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.units import number, percent, significant
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact

TARGET_WORDS = {"hf": "transformers", "gguf": "GGUF", "ollama": "Ollama", "lora": "PEFT"}


@dataclass(frozen=True)
class Figure:
    """One measure of the round trip: what, how much, a line under it. `tone`: ok, warn or ""."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Result:
    """`path` is a file, a folder, or the address of a model in Ollama (`created`)."""

    artifact: Artifact

    @property
    def facts(self) -> dict[str, Any]:
        return self.artifact.facts

    @property
    def to(self) -> str:
        return str(self.facts.get("to", ""))

    @property
    def path(self) -> str:
        return str(self.facts.get("path", ""))

    @property
    def created(self) -> bool:
        return bool(self.facts.get("created"))

    @property
    def folder(self) -> Path | None:
        """What "Open the folder" opens; None where it is not on this disk."""
        if self.created or not self.path:
            return None
        return Path(self.path) if self.to != "gguf" else Path(self.path).parent

    @property
    def round_trip(self) -> dict[str, Any] | None:
        found = self.facts.get("round_trip")
        return found if isinstance(found, dict) else None

    def files(self) -> list[tuple[str, int, str]]:
        """(name, bytes, sha256), the largest first."""
        found = [(name, int(entry.get("size", 0)), str(entry.get("sha256", ""))) for name, entry in (self.facts.get("files") or {}).items()]
        return sorted(found, key=lambda f: -f[1])

    def verdict(self) -> tuple[str, str, str]:
        """(kind of note, title, sentence)."""
        told = self.round_trip
        if told is None and self.to == "lora":
            return "info", tr("Not checked"), tr("An adapter is not tried by itself. Export the model whole to have it tried elsewhere.")
        if told is None:
            return "info", tr("Not checked"), tr("Nothing was run in the other program. An export with prompts says whether it agrees.")
        sentence = str(told.get("sentence", ""))
        for head in (tr("Faithful"), tr("Not faithful")):  # said by the title already
            if sentence.startswith(f"{head}: "):
                sentence = sentence.removeprefix(f"{head}: ")
                sentence = sentence[:1].upper() + sentence[1:]
        if told.get("faithful") is None:
            return "info", tr("Not checked"), sentence
        if told["faithful"]:
            return "info", tr("Faithful"), sentence
        return "danger", tr("Not faithful"), sentence

    def figures(self) -> list[Figure]:
        told = self.round_trip
        if not told or told.get("faithful") is None or not told.get("texts"):
            return []
        texts, equal, prompts, greedy = (int(told.get(k, 0)) for k in ("texts", "texts_equal", "prompts", "greedy_equal"))
        here, there = float(told.get("perplexity", 0)), float(told.get("perplexity_there", 0))
        near = int(told.get("near_ties", 0))
        same = tr("{tokens} tokens each", tokens=number(told.get("greedy_tokens", 0)))
        if near:
            same = trn("{count} near tie", "{count} near ties", near)
        return [Figure(tr("Tokenizer"), tr("{equal} of {all}", equal=number(equal), all=number(texts)), tr("texts cut the same way"),
                       "ok" if equal == texts else "warn"),
                Figure(tr("Greedy text"), tr("{equal} of {all}", equal=number(greedy), all=number(prompts)), same,
                       "ok" if greedy + near >= prompts else ""),
                Figure(tr("Largest difference"), significant(float(told.get("largest_difference", 0)), 2),
                       tr("nats, at one token")),
                Figure(tr("Perplexity"), change(here, there), tr("{there} there, {here} here", there=significant(there, 4),
                                                                 here=significant(here, 4)))]

    def differences(self) -> list[tuple[str, str, str]]:
        """(asked, here, there) of the first texts that part, where the export is not faithful; near ties of a faithful one say nothing."""
        told, found = self.round_trip or {}, []
        if told.get("faithful") is not False:
            return []
        for each in told.get("examples") or ():
            if each.get("kind") == "greedy":
                found.append((str(each.get("prompt", "")), str(each.get("here", "")), str(each.get("there", ""))))
            else:
                found.append((str(each.get("text", "")), str(each.get("here", "")), str(each.get("there", ""))))
        return found

    def lines(self) -> list[tuple[str, str]]:
        """(for what, lines to copy)."""
        path, name = self.path, str(self.facts.get("name", ""))
        if self.to == "hf":
            python = ("from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
                      f"folder = {path!r}\ntokenizer = AutoTokenizer.from_pretrained(folder)\n"
                      "model = AutoModelForCausalLM.from_pretrained(folder)\n"
                      "ids = tokenizer(\"Once upon a time\", return_tensors=\"pt\")\n"
                      "print(tokenizer.decode(model.generate(**ids, max_new_tokens=64)[0]))")
            return [("transformers", python), ("mlx-lm", f"mlx_lm.generate --model {shlex.quote(path)} --prompt \"Once upon a time\"")]
        if self.to == "lora":
            python = ("from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
                      f"folder = {path!r}\nbase = AutoModelForCausalLM.from_pretrained(\"FOLDER_OF_THE_BASE\")\n"
                      "model = PeftModel.from_pretrained(base, folder)\ntokenizer = AutoTokenizer.from_pretrained(folder)")
            return [("PEFT", python)]
        if self.to == "gguf":
            return [("llama.cpp", f"llama-cli -m {shlex.quote(path)} -p \"Once upon a time\" -n 64"),
                    ("llama-cpp-python", f"from llama_cpp import Llama\n\nmodel = Llama({path!r})\n"
                                         "print(model(\"Once upon a time\", max_tokens=64)[\"choices\"][0][\"text\"])")]
        if self.created:
            return [("Ollama", f"ollama run {shlex.quote(name)}")]
        return [("Ollama", f"cd {shlex.quote(path)}\nollama create {shlex.quote(name)} -f Modelfile\nollama run {shlex.quote(name)}")]


def change(here: float, there: float) -> str:
    """The relative difference of two perplexities, with its sign."""
    if not here > 0 or there != there:
        return tr("unknown")
    share = there / here - 1
    return tr("the same") if abs(share) < 5e-5 else ("+" if share > 0 else "") + percent(share, 2)
