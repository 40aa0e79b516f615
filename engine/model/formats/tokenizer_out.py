"""A tokenizer as other programs take it: tokenizer.json and tokenizer_config.json of transformers, and the lists of a GGUF file.

What a model raised here expects goes along: its documents begin with the begin token, and nothing but the next begin token ends them. So
the exported tokenizer puts that token in front of a text, as Llama 3's does, and it is among those that end a generation.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.model.exportability import TokenizerFacts, tokenizer_facts
from engine.text.tokenizer import CONFIG_FILE, TOKENIZER_FILE, Tokenizer

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Token types of a GGUF file."""
_KEPT = ("unk_token", "sep_token", "cls_token", "mask_token", "padding_side", "truncation_side", "add_prefix_space",
         "clean_up_tokenization_spaces", "split_special_tokens", "model_input_names")
"""What of a foreign tokenizer_config.json goes along: nothing that names code or files."""


@dataclass(frozen=True)
class Words:
    """`raised_here`: the model was trained from random weights in this program, on documents that begin with the begin token.
    `ends`: further tokens that end a generation, which an imported model's settings named."""

    tokenizer: Tokenizer
    raised_here: bool = True
    ends: tuple[int, ...] = ()

    @property
    def bos_id(self) -> int | None:
        return self.tokenizer.bos_id

    @property
    def eos_id(self) -> int | None:
        return self.tokenizer.eos_id

    @property
    def pad_id(self) -> int | None:
        return self.tokenizer.pad_id

    @property
    def stop_ids(self) -> list[int]:
        """Tokens that end a generation, as in this program."""
        t = self.tokenizer
        known = set(self._vocabulary.values())
        wanted = (t.eos_id, t.end_id, t.bos_id if self.adds_bos and self.raised_here else None, *(id for id in self.ends if id in known))
        return list(dict.fromkeys(id for id in wanted if id is not None))

    @cached_property
    def facts(self) -> TokenizerFacts:
        return tokenizer_facts(self.tokenizer.record)

    @cached_property
    def raw(self) -> dict[str, Any]:
        return json.loads(self.tokenizer.record)

    @cached_property
    def adds_bos(self) -> bool:
        """Whether a text begins with the begin token: as the tokenizer's own post-processor does it; without one, as training did."""
        bos = self.tokenizer.bos_id
        if bos is None:
            return False
        if not self._adds_by_itself and self.raised_here:
            return True
        return self._adds_by_itself

    @cached_property
    def _adds_by_itself(self) -> bool:
        import tokenizers

        return tokenizers.Tokenizer.from_str(self.tokenizer.record).encode("a").ids[:1] == [self.tokenizer.bos_id]

    def name(self, id: int | None) -> str:
        return "" if id is None else next(name for name, known in self._vocabulary.items() if known == id)

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        made = dict((self.raw.get("model") or {}).get("vocab") or {})
        return made | {str(t["content"]): int(t["id"]) for t in self.raw.get("added_tokens") or ()}

    # ---- transformers

    def record(self) -> dict[str, Any]:
        """tokenizer.json, with the begin token put in front of texts where training did so."""
        made = dict(self.raw)
        if self.adds_bos and not self._adds_by_itself:
            name = self.name(self.bos_id)
            begin = {"SpecialToken": {"id": name, "type_id": 0}}
            template = {"type": "TemplateProcessing", "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
                        "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": name, "type_id": 1}},
                                 {"Sequence": {"id": "B", "type_id": 1}}],
                        "special_tokens": {name: {"id": name, "ids": [self.bos_id], "tokens": [name]}}}
            before = made.get("post_processor")
            made["post_processor"] = template if before is None else {"type": "Sequence", "processors": [before, template]}
        return made

    def config(self, context: int) -> dict[str, Any]:
        """tokenizer_config.json for transformers 4 and 5. `context`: tokens the model reads."""
        kept = self.tokenizer.config
        made: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        made |= {key: kept[key] for key in _KEPT if kept.get(key) is not None}
        for key, id in (("bos_token", self.bos_id), ("eos_token", self.eos_id), ("pad_token", self.pad_id)):
            if id is not None:
                made[key] = self.name(id)
        if self.tokenizer.chat_template:
            made["chat_template"] = self.tokenizer.chat_template
        flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
        made["added_tokens_decoder"] = {str(t["id"]): {key: t.get(key, False) for key in flags}
                                        for t in self.raw.get("added_tokens") or ()}
        return made | {"model_max_length": context}

    def write(self, folder: Path, context: int) -> None:
        (folder / TOKENIZER_FILE).write_text(json.dumps(self.record(), ensure_ascii=False), "utf-8")
        (folder / CONFIG_FILE).write_text(json.dumps(self.config(context), ensure_ascii=False, indent=2) + "\n", "utf-8")

    # ---- GGUF

    def tokens(self, rows: int) -> tuple[list[str], list[int]]:
        """(token, type) for each row of the embedding; rows without a token are padding."""
        added = {int(t["id"]): bool(t.get("special")) for t in self.raw.get("added_tokens") or ()}
        names = {id: name for name, id in self._vocabulary.items()}
        made, kinds = [], []
        for id in range(rows):
            made.append(names.get(id, f"[PAD{id}]"))
            kinds.append(UNUSED if id not in names else NORMAL if id not in added else CONTROL if added[id] else USER_DEFINED)
        return made, kinds

    def merges(self) -> Sequence[str]:
        """"left right" in order."""
        return [merge if isinstance(merge, str) else " ".join(merge) for merge in self.raw["model"]["merges"]]
