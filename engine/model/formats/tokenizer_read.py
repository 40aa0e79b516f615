"""The tokenizer, chat template and generation settings of a foreign model, checked and written as this program keeps them. No torch.

A tokenizer.json is somebody's program: regular expressions that never end, nesting, names that are no text. It is loaded and tried on
awkward texts here, in a process that may be killed over it, so that nobody meets that later. A template is tried on a conversation; one
that fails is kept and said.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError, FormatError, Mismatch
from engine.contract.words import tr
from engine.model.formats import source
from engine.text.tokenizer import CONFIG_FILE, TOKENIZER_FILE, Tokenizer

GENERATION = "generation_config.json"
ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
PROBE = 4_000
"""Characters of a probe that repeats one."""
MOST_TEMPLATE = 1_000_000


@dataclass(frozen=True)
class Found:
    """What was read: `record` the tokenizer.json, `config` its settings with the chat template, `generation` those of the answers."""

    record: str
    config: dict[str, Any]
    generation: dict[str, Any] = field(default_factory=dict)


def read_folder(folder: Path, raw: Mapping[str, Any]) -> Found:
    """The tokenizer files of a folder; `raw` is its config.json. Raises FormatError, also for a tokenizer only sentencepiece can read."""
    path = source.find(folder, TOKENIZER_FILE)
    if path is None:
        raise _without_tokenizer(folder)
    text = source.read_bytes(path, source.MOST_TOKENIZER, TOKENIZER_FILE)
    source.parse_json(text, TOKENIZER_FILE)
    config = source.optional_json(folder, CONFIG_FILE, 16_000_000)
    if config.pop("auto_map", None):
        raise FormatError(tr("The tokenizer of this model needs code of its own (auto_map), which Fledge never runs."),
                          tr("Choose a model that needs no code of its own."), code="remote_code")
    for key, value in source.optional_json(folder, "special_tokens_map.json", 16_000_000).items():
        if key in ROLES:
            config.setdefault(key, value)
    if template := _template(folder, config):
        config["chat_template"] = template
    generation = source.optional_json(folder, GENERATION)
    for role, key in (("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"), ("pad_token", "pad_token_id")):
        for place in (generation, raw):
            value = place.get(key)
            if value is not None and not _ids(value):
                raise FormatError(tr("{key} of this model is {value}, which is no token.", key=key, value=str(value)[:60]), source.again())
        if role not in config and key in raw and raw[key] is not None:
            name = _name_of(text, _ids(raw[key])[0])
            if name:
                config[role] = name
    if "eos_token_id" not in generation and raw.get("eos_token_id") is not None:
        generation["eos_token_id"] = raw["eos_token_id"]
    return Found(text.decode("utf-8"), config, generation)


def _without_tokenizer(folder: Path) -> FormatError:
    remedy = tr("Open it once with transformers' AutoTokenizer and save it: that writes a tokenizer.json.")
    if any((folder / name).exists() for name in ("tokenizer.model", "spiece.model", "tekken.json")):
        return FormatError(tr("{folder} has its tokenizer only in another program's form (sentencepiece); there is no tokenizer.json.",
                              folder=folder.name), remedy, code="no_tokenizer")
    return FormatError(tr("{folder} has no tokenizer.json.", folder=folder.name), remedy, code="no_tokenizer")


def template_of(folder: Path) -> Any:
    """The chat template that lies in a folder, as an adapter brings one; None without."""
    return _template(folder, source.optional_json(folder, CONFIG_FILE, 16_000_000))


def _template(folder: Path, config: Mapping[str, Any]) -> Any:
    """The chat template, wherever versions of transformers have put it."""
    if path := source.find(folder, "chat_template.jinja"):
        return source.read_bytes(path, MOST_TEMPLATE).decode("utf-8", "replace")
    if kept := source.optional_json(folder, "chat_template.json").get("chat_template"):
        return kept
    return config.get("chat_template")


def _ids(value: Any) -> list[int]:
    """A token's id, or several; [] for anything else."""
    listed = value if isinstance(value, list) else [value]
    return listed if listed and all(isinstance(x, int) and not isinstance(x, bool) and 0 <= x < 2**31 for x in listed) else []


def _name_of(record: bytes, id: int) -> str:
    raw = json.loads(record)
    for token in raw.get("added_tokens") or ():
        if isinstance(token, dict) and token.get("id") == id:
            return str(token.get("content", ""))
    vocabulary = (raw.get("model") or {}).get("vocab") or {}
    return next((name for name, n in vocabulary.items() if n == id), "") if isinstance(vocabulary, dict) else ""


def check(found: Found, vocab_size: int) -> tuple[Tokenizer, list[str]]:
    """The tokenizer, tried, and what a person should know of it. Raises FormatError, Mismatch."""
    try:
        tokenizer = Tokenizer(found.record, found.config)
        _ = tokenizer.is_byte_level, tokenizer.merges
    except FledgeError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as wrong:
        raise FormatError(tr("tokenizer.json is not one that can be used: {reason}.", reason=f"{type(wrong).__name__}: {wrong}"[:160]),
                          source.again()) from None
    if tokenizer.vocab_size > vocab_size:
        raise Mismatch(tr("The tokenizer has {have} tokens, the model only {room}.", have=f"{tokenizer.vocab_size:,}",
                          room=f"{vocab_size:,}"), tr("The tokenizer and the weights belong to different models."))
    wrong_id = next((name for name, id in tokenizer.special.items() if tokenizer.encode(name, allow_special=True) != [id]), None)
    if wrong_id is not None:
        raise FormatError(tr("tokenizer.json gives its special tokens other numbers than they have: {name}.", name=wrong_id[:60]),
                          source.again())
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if any(id >= vocab_size for id in _ids(found.generation.get(key)) if id is not None):
            raise Mismatch(tr("{key} of this model is {value}, past its last token.", key=key, value=str(found.generation[key])[:60]),
                           source.again())
    for text in probes(found.record):
        try:
            ids = tokenizer.encode(text)
            tokenizer.decode(ids)
        except MemoryError:
            raise
        except FledgeError:
            raise
        except Exception as wrong:  # tokenizers raises bare Exception
            raise FormatError(tr("The tokenizer fails on ordinary text: {reason}.", reason=str(wrong)[:160]), source.again()) from None
    notes = []
    if tokenizer.chat_template:
        try:
            tokenizer.encode_chat([{"role": "user", "content": "Hello"}])
        except FledgeError as wrong:
            notes.append(wrong.sentence[:300])
    return tokenizer, notes


def probes(record: str) -> list[str]:
    """Texts that a regular expression is likely to stumble over: long runs of every sort of character, and of those that its own
    patterns name."""
    sorts = ["a", " ", "\n", "1", "!", "'", "\t", "é", "中", "\u0301", "🙂", "aB", "a ", "a1"]
    patterns = json.dumps([json.loads(record).get(key) for key in ("normalizer", "pre_tokenizer")])
    named = sorted({c for c in patterns if c.isalnum()} - set(sorts))[:64]
    made = [sort * (PROBE // len(sort)) + end for sort in sorts for end in ("", "\x00", "!b")]
    return made + [c * 1_000 + "\x00" for c in named] + ["Hello, world! It's 12,345 o'clock.\r\n\r\n  Привет, мир. 今日は。"]


def write(found: Found, folder: Path) -> None:
    """tokenizer.json as it came (to the byte, so that hashes compare), its settings with the template, generation settings."""
    (folder / TOKENIZER_FILE).write_text(found.record, "utf-8", newline="")
    (folder / CONFIG_FILE).write_text(json.dumps(found.config, ensure_ascii=False, indent=1), "utf-8")
    if found.generation:
        (folder / GENERATION).write_text(json.dumps(found.generation, ensure_ascii=False, indent=1), "utf-8")
