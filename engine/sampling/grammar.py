"""Completions that are JSON, or JSON of a given schema: which tokens may come next, by llguidance. No model, no sampling,
no torch.

llguidance works on the bytes of the tokens, so any tokenizer will do; of ours it needs nothing but `token_bytes`. It fetches nothing: a
schema that points elsewhere is refused. White space between the parts of the JSON is fixed (", " and ": "), since a model that was never
taught better would fill the answer with blanks.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.contract.errors import FormatError, SettingError
from engine.contract.words import tr
from engine.text.tokenizer import Tokenizer

ANY_OBJECT: dict[str, Any] = {"type": "object"}
MAX_SCHEMA = 200_000
KEPT = 16
MARK = "\x02"  # stands in no JSON
LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def grammar_of(schema: dict[str, Any]) -> str:
    """A JSON schema in llguidance's form. A SettingError says what of it is not understood."""
    import llguidance
    if len(json.dumps(schema)) > MAX_SCHEMA:
        raise SettingError(tr("The JSON schema is too long."), tr("Use a shorter one."), code="bad_schema", field="response_format")
    try:
        made = llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=LAYOUT)  # type: ignore[arg-type]
    except ValueError as wrong:
        raise _refused(str(wrong)) from None
    wrong_with = llguidance.LLMatcher.validate_grammar(made)
    if wrong_with and not wrong_with.startswith("WARNING"):
        raise _refused(wrong_with)
    return made


def _refused(reason: str) -> SettingError:
    line = next((line.strip() for line in reason.splitlines() if line.strip()), reason)
    return SettingError(tr("This JSON schema cannot be followed: {reason}.", reason=line[:300].rstrip(".:")), tr("Simplify the schema."),
                        code="bad_schema", field="response_format")


class Grammars:
    """Makes constraints for one tokenizer. `rows` is the height of the model's embedding, `stop_ids` what may end a finished text."""

    def __init__(self, tokenizer: Tokenizer, rows: int, stop_ids: Sequence[int]) -> None:
        import llguidance
        known = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]
        special = sorted(tokenizer.special.values())
        words = _Words(tokenizer, known + [b""] * (rows - len(known)), special, stop_ids)
        ends = [id for id in stop_ids if id < rows]
        if not ends:
            raise FormatError(tr("This model has no token that ends a text, so it cannot be held to a schema."),
                              tr("Ask without response_format."), code="no_end_token")
        self.rows = rows
        self._known: OrderedDict[str, Any] = OrderedDict()  # matchers at their beginning: to read a schema costs more than to copy
        self._tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(words), n_vocab=rows, eos_token=ends,
                                                 slices=llguidance.LLTokenizer.json_slices())

    def constraint(self, grammar: str) -> "JsonConstraint":
        """A fresh constraint of a grammar made by `grammar_of`."""
        import llguidance
        if grammar not in self._known:
            matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
            if matcher.is_error():
                raise _refused(matcher.get_error())
            self._known[grammar] = matcher
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(grammar)
        return JsonConstraint(self._known[grammar].deep_copy(), self.rows)


class JsonConstraint:
    """One completion's place in its grammar (batch.Constraint)."""

    def __init__(self, matcher: Any, rows: int) -> None:
        self._matcher, self._rows, self.error = matcher, rows, ""

    def allowed(self) -> np.ndarray:
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")[: self._rows]
        mask_V = np.zeros(self._rows, bool)
        mask_V[: len(bits)] = bits
        if self._matcher.is_error() or not mask_V.any():
            self.error = self._matcher.get_error() or "no token fits"
            mask_V[:] = True  # the row ends with this step, and says why
        return mask_V

    def accept(self, id: int) -> bool:
        if self.error:
            return True
        if not self._matcher.consume_token(id):
            self.error = self._matcher.get_error() or "the token does not fit"
            return True
        return bool(self._matcher.is_stopped())


class _Words:
    """A tokenizer as llguidance wants to see it: the bytes of the tokens of a text must be the text, for it is those that it forces."""

    def __init__(self, tokenizer: Tokenizer, tokens: list[bytes], special: list[int], stop_ids: Sequence[int]) -> None:
        self.tokens, self.special_token_ids = tokens, special
        self.bos_token_id = tokenizer.bos_id
        self.eos_token_id = next(iter(stop_ids), 0)
        self._tokenizer = tokenizer
        apart = set(special)
        self._by_bytes = {raw: id for id, raw in reversed(list(enumerate(tokens))) if raw and id not in apart}
        self._longest = max(map(len, self._by_bytes), default=1)

    def __call__(self, text: bytes | str) -> list[int]:
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        for before in ("", MARK):  # tokenizers that put a blank before a text do not put one inside
            ids = self._tokenizer.encode(before + raw.decode("utf-8", "replace"))
            start = next((i + 1 for i, id in enumerate(ids) if self.tokens[id].endswith(before.encode())), 0) if before else 0
            if b"".join(self.tokens[id] for id in ids[start:]) == raw:
                return ids[start:]
        return self._greedy(raw)

    def _greedy(self, raw: bytes) -> list[int]:
        """The longest token each time, for tokenizers that change what they read."""
        ids, at = [], 0
        while at < len(raw):
            size = next((n for n in range(min(self._longest, len(raw) - at), 0, -1) if raw[at : at + n] in self._by_bytes), 0)
            if not size:
                break
            ids.append(self._by_bytes[raw[at : at + size]])
            at += size
        return ids
