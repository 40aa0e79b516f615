"""Tokens that a model has never met, and whose rows are therefore trained where the rest of the table of tokens is not.

A base model that read plain documents has never seen the tokens that part the turns of a conversation. In its table their rows were all
moved alike (away from every text), so that they point the same way; while the table is frozen none of them can be likelier than all the
others, and the model does not learn to end an answer. Which rows of a table are such is read from the file of weights, in blocks.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

import torch

from engine.contract.errors import SettingError
from engine.contract.tuning import TuningSpec
from engine.contract.words import tr
from engine.model.formats.weights import Weights
from engine.text.tokenizer import Tokenizer

ALIKE = 0.97
"""Cosine of two rows of the table from which on neither token was ever trained (measured: 0.98 and more among those, at most 0.67 for
tokens of text)."""
BLOCK = 1 << 22
"""Numbers of the table that are looked at together."""


def unmet(folder: Path, special: Collection[int], others: Collection[int] = ()) -> tuple[int, ...]:
    """Those tokens that the model in `folder` has never met, in order: of the `special` ones those whose row is like any other row, of
    the `others` (tokens of text) those whose row is like one of these. Raises what reading its weights raises."""
    found = _like_any(folder, special)
    if not found or not others:
        return found
    with Weights(folder) as weights:
        table = "embed.weight" if weights.config.tie_embeddings else "head.weight"
        rows_KC = _directions(torch.cat([weights.rows(table, id, 1) for id in found]))
        text = [id for id in sorted(set(others) - set(found))
                if float((rows_KC @ _directions(weights.rows(table, id, 1)).T).amax()) > ALIKE]
    return tuple(sorted((*found, *text)))


def _like_any(folder: Path, ids: Collection[int]) -> tuple[int, ...]:
    asked = sorted(ids)
    if not asked:
        return ()
    with Weights(folder) as weights:
        table = "embed.weight" if weights.config.tie_embeddings else "head.weight"
        rows_KC = _directions(torch.cat([weights.rows(table, id, 1) for id in asked]))
        likest_K = torch.full((len(asked),), -1.0)
        vocabulary, width = weights.shape(table)
        step = max(1, BLOCK // width)
        for first in range(0, vocabulary, step):
            count = min(step, vocabulary - first)
            likeness_KV = rows_KC @ _directions(weights.rows(table, first, count)).T
            for k, id in enumerate(asked):
                if first <= id < first + count:
                    likeness_KV[k, id - first] = -1.0  # itself
            likest_K = torch.maximum(likest_K, likeness_KV.amax(1))
    return tuple(id for id, likest in zip(asked, likest_K.tolist(), strict=True) if likest > ALIKE)


def _directions(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows.float(), dim=1)


def chosen(spec: TuningSpec, tokenizer: Tokenizer, automatic: Iterable[int] = ()) -> tuple[int, ...]:
    """The tokens whose rows are trained: those that the spec names, or `automatic`; none where the whole table is trained. Raises
    SettingError for a name that is no token."""
    if spec.method == "full" and not spec.freeze_embeddings:
        return ()
    if spec.lora_tokens is None:
        return tuple(automatic)
    found = []
    for name in spec.lora_tokens:
        ids = [tokenizer.special[name]] if name in tokenizer.special else tokenizer.encode(name)
        if len(ids) != 1:
            raise SettingError(tr("{name} is not one token of this model.", name=name),
                               tr("Its special tokens are: {known}.", known=", ".join(list(tokenizer.special)[:12]) or tr("none")),
                               field="lora_tokens")
        found.append(ids[0])
    return tuple(dict.fromkeys(found))
