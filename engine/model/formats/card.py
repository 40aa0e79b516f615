"""The model card that goes with an export: what the model was trained on, from what, how well, under which licence, and how to load it.

Every statement comes from the project's own records; what they do not say is not said. Written in English, as cards on the hub are, with
the metadata block that the hub reads.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from engine import __version__
from engine.contract import units
from engine.model.config import ModelConfig
from engine.project import taken_sets
from engine.project.models import ModelRef, parents_of
from engine.project.project import Project
from engine.project.verifiers import named

IMPORT = "import_model"
"""The stage that takes in other people's models."""
TUNING = ("sft", "adapt", "dpo", "ppo", "grpo")
"""Stages that make a model of a model."""
WHAT = {"adapt": "text of a domain", "dpo": "labelled pairs of answers", "ppo": "answers of its own, scored by a reward model,",
        "grpo": "answers of its own to problems, checked by a verifier,"}
KINDS = ("examples", "pairs", "problems")
"""What a set can be of."""
METHODS = {"full": "training every weight", "lora": "LoRA", "qlora": "QLoRA"}
PLAIN_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,40}")
"""An identifier of the hub; any other text goes into the card's body."""


@dataclass(frozen=True)
class Ancestor:
    """One artifact or run that the model comes from."""

    id: str
    kind: str
    title: str
    facts: dict[str, Any]
    parents: tuple[str, ...]
    run: str = ""
    spec: dict[str, Any] = field(default_factory=dict)


def lineage(project: Project, ref: ModelRef) -> list[Ancestor]:
    """What the model comes from, nearest first, each once. What was deleted since is left out."""
    known = {a.id: a for a in project.artifacts.list()}
    waiting, seen, made = list(parents_of(project, ref)), set(), []
    while waiting:
        id = waiting.pop(0)
        if id in seen or id not in known:
            continue
        seen.add(id)
        artifact = known[id]
        parents = artifact.parents
        made.append(Ancestor(id, artifact.kind, artifact.title, artifact.facts, parents, artifact.run, artifact.spec))
        waiting += parents
    return made


def raised_here(project: Project, ref: ModelRef) -> bool:
    """Whether the model began with random weights in this project: nothing it comes from was imported."""
    return ref.stage != IMPORT and not any(a.kind == "model" and a.run.endswith("-" + IMPORT) for a in lineage(project, ref))


def outcome(project: Project, ref: ModelRef) -> dict[str, Any]:
    """What is known of how well the model does: a finished one's facts, a checkpoint's step and what was measured there."""
    if "@" not in ref.id:
        return dict(ref.facts)
    state = project.runs.get(ref.run).state()
    found: dict[str, Any] = {"step": ref.step, **ref.facts}
    at = [e for e in state.evaluations if e.step == ref.step]
    return found | (dict(at[-1].values) if at else {})


def model_card(project: Project, ref: ModelRef, config: ModelConfig, *, licence: str = "", dtype: str = "", architecture: str = "",
               chat: bool = False, library: str = "transformers", use: list[str] | None = None) -> str:
    """README.md of the exported folder. `use`: how it is loaded, where that is not as a whole model of transformers."""
    facts, comes_from = outcome(project, ref), lineage(project, ref)
    head = {"library_name": library, "pipeline_tag": "text-generation", "tags": ["fledge"]}
    if PLAIN_LICENCE.fullmatch(licence.lower()):
        head["license"] = licence.lower()
    elif licence:
        head |= {"license": "other", "license_name": "see-card"}
    lines = ["---", *(f"{key}: {_yaml(value)}" for key, value in head.items()), "---", "", f"# {_line(ref.title)}", "",
             f"A decoder-only language model with {units.number(config.parameters)} parameters, exported from "
             f"Fledge {__version__} as `{ref.id}`.", ""]
    if ref.untrained:
        lines += ["**Its weights are random: it was not trained yet.**", ""]
    lines += ["## Trained on", "", *_data(comes_from), ""]
    if tuned := _tuned(project, ref, comes_from):
        lines += ["## Tuned", "", *tuned, ""]
    lines += ["## How well", "", *_losses(facts), "", "## Shape", "", *_shape(config), ""]
    lines += ["## Lineage", "", *_lineage(ref, comes_from), "", "## Settings", "", *_settings(project, ref), ""]
    lines += ["## Licence", "", _line(licence) if licence else "None was named. Ask whoever gave you this model.", ""]
    lines += ["## Use", "", *(use or _use(architecture, dtype, chat))]
    return "\n".join(lines) + "\n"


def _data(comes_from: list[Ancestor]) -> list[str]:
    made = []
    for each in comes_from:
        if each.kind == "corpus":
            parts = [f"{units.number(each.facts[key])} {word}" for key, word in (("documents", "documents"), ("bytes", "bytes"))
                     if isinstance(each.facts.get(key), (int, float))]
            made.append(f"- Corpus *{_line(each.title)}* (`{each.id}`)" + (f": {', '.join(parts)}" if parts else ""))
            for source in list(each.facts.get("sources") or ())[:20]:
                if isinstance(source, dict) and (name := source.get("title") or source.get("name") or source.get("path")):
                    told = f", licence {_line(str(source['licence']))}" if source.get("licence") else ""
                    made.append(f"  - {_line(str(name).rpartition('/')[2])}{told}")
        elif each.kind == "tokenizer":
            size = each.facts.get("vocab_size")
            made.append(f"- Tokenizer *{_line(each.title)}* (`{each.id}`)" + (f": {units.number(size)} tokens" if size else ""))
        elif each.kind == "model" and each.run.endswith("-" + IMPORT):
            licence = each.facts.get("licence")
            made.append(f"- An open model: *{_line(each.title)}* (`{each.id}`)" + (f", licence {_line(str(licence))}" if licence else ""))
    return made or ["The project no longer holds a record of it."]


def _tuned(project: Project, ref: ModelRef, comes_from: list[Ancestor]) -> list[str]:
    """By which method each model on the way was tuned from which, and on which examples, the last one first."""
    steps = [(a.id, a.run, a.spec, a.facts.get("sets"), a.facts.get("verifier")) for a in comes_from
             if a.kind == "model" and a.run.partition("-")[2] in TUNING]
    if ref.run and ref.stage in TUNING:  # a checkpoint
        run = project.runs.get(ref.run)
        steps.insert(0, (ref.id, run.id, run.spec, taken_sets.told(taken_sets.taken(run), run.stage), named(run.dir)))
    titles = {a.id: a.title for a in comes_from}
    made = []
    for id, run_id, spec, sets, verifier in steps:
        start, corpus, method = str(spec.get("model", "")), str(spec.get("corpus", "")), str(spec.get("method", "full"))
        how = METHODS.get(method, method) + (f" of rank {spec['lora_rank']}" if method != "full" and spec.get("lora_rank") else "")
        model = f"*{_line(titles[start])}* (`{start}`)" if titles.get(start) else f"`{start}`"
        what = WHAT.get(run_id.partition("-")[2], "conversations")
        made.append(f"- `{id}` is {model}, trained on {what} by {how}")
        if spec.get("reward"):
            made.append(f"  - Reward model *{_line(titles.get(str(spec['reward']), str(spec['reward'])))}* (`{spec['reward']}`)")
        if isinstance(verifier, dict) and verifier.get("sha256"):
            who = ", ".join([*([f"`{verifier['ref']}`"] if verifier.get("ref") else []), f"SHA-256 `{verifier['sha256']}`"])
            made.append(f"  - Verifier *{_line(str(verifier.get('title') or 'of several parts'))}* ({who})")
        if corpus in titles:
            made.append(f"  - Corpus *{_line(titles[corpus])}* (`{corpus}`)")
        for one in sets or ():
            writers = next((dict(a.facts.get("models") or {}) for a in comes_from if a.kind == "examples" and a.run == one.get("run")), {})
            by = f", written by {', '.join(dict.fromkeys(_line(str(name)) for name in writers.values()))}" if writers else ""
            of_pairs = "prompts of pairs" if spec.get("reward") else "labelled pairs"
            made.append(f"  - Set *{_line(str(one.get('title')))}*: {units.number(int(next((one[k] for k in KINDS if k in one), 0)))} "
                        f"{of_pairs if 'pairs' in one else 'problems' if 'problems' in one else 'examples'}{by}, "
                        "licence unknown")
    return made


def _losses(facts: dict[str, Any]) -> list[str]:
    rewarded = any(facts.get(key) is not None for key in ("val_reward", "val_reward_before", "pass_at_1", "pass_at_1_before"))
    losses = () if rewarded else (("val_loss", "Loss in nats a token, held out", 4), ("val_loss_before", "The same before tuning", 4))
    rows = (("bpb", "Bits per byte, held-out text", 4), *losses,
            ("pass_at_1_after", "Share of held-out problems solved in one sampled answer", 3),
            ("pass_at_1", "Share of held-out problems solved in one sampled answer", 3), ("pass_at_1_before", "The same before tuning", 3),
            ("val_reward_after", "Reward on held-out prompts", 3), ("val_reward", "Reward on held-out prompts", 3),
            ("val_reward_before", "The same before tuning", 3),
            ("unigram_bpb", "Bits per byte of a unigram model of the same tokens, for comparison", 4), ("step", "Step", 0),
            ("steps", "Steps", 0),
            ("tokens", "Tokens seen", 0), ("epochs", "Passes over the text", 2), ("seconds", "Seconds of training", 0))
    made = [f"- {words}: {units.number(facts[key], digits)}" for key, words, digits in rows
            if isinstance(facts.get(key), (int, float)) and not isinstance(facts.get(key), bool)]
    return made or ["Nothing was measured."]


def _shape(c: ModelConfig) -> list[str]:
    rows = [("Layers", c.num_layers), ("Width", c.hidden_size), ("Heads", c.num_heads), ("Key and value heads", c.num_kv_heads),
            ("Head width", c.head_dim), ("MLP width", c.intermediate_size), ("Vocabulary", c.vocab_size), ("Context", c.max_seq_len)]
    return ["| | |", "|---|---|", *(f"| {name} | {units.number(value)} |" for name, value in rows),
            f"| Embeddings tied | {'yes' if c.tie_embeddings else 'no'} |"]


def _lineage(ref: ModelRef, comes_from: list[Ancestor]) -> list[str]:
    made = [f"- `{ref.id}`" + (f" of run `{ref.run}`" if ref.run else "")]
    for each in comes_from:
        if each.id != ref.id:
            told = f", from {', '.join(f'`{p}`' for p in each.parents)}" if each.parents else ""
            made.append(f"- `{each.id}` ({each.kind}): {_line(each.title)}{told}")
    return made


def _settings(project: Project, ref: ModelRef) -> list[str]:
    if ref.run:
        spec = project.runs.get(ref.run).spec
    else:
        spec = next((a.spec for a in project.artifacts.list("model") if a.id == ref.id), {})
    # No paths: they tell about the person's disk, not about the model.
    rows = [(key, value) for key, value in spec.items() if isinstance(value, (int, float, str)) and value != ""
            and not (isinstance(value, str) and ("/" in value or "\\" in value))]
    return [f"- {key}: {_line(str(value))}" for key, value in rows] or ["None were recorded."]


def _use(architecture: str, dtype: str, chat: bool) -> list[str]:
    talk = ('prompt = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], add_generation_prompt=True, '
            'return_tensors="pt", return_dict=True)') if chat else 'prompt = tokenizer("Once upon a time", return_tensors="pt")'
    return [f"The weights are {dtype}; transformers loads them as `{architecture}`, without code of their own.", "", "```python",
            "from transformers import AutoModelForCausalLM, AutoTokenizer", "", 'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")',
            'model = AutoModelForCausalLM.from_pretrained("THIS_FOLDER")', talk,
            "print(tokenizer.decode(model.generate(**prompt, max_new_tokens=64)[0]))", "```", "",
            "On Apple silicon, mlx-lm loads the same folder:", "", "```shell",
            "mlx_lm.generate --model THIS_FOLDER --prompt \"Hello\"", "```"]


def _line(text: str) -> str:
    """One line of plain text: titles come from people and from other projects."""
    return re.sub(r"([`*_<>\[\]|\\])", r"\\\1", " ".join(text.split()))[:300]


def _yaml(value: Any) -> str:
    return "[" + ", ".join(value) + "]" if isinstance(value, list) else str(value)
