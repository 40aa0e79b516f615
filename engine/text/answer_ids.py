"""A conversation as token ids up to the end of its last answer, where that answer begins, and how what does not fit is made to: for
everything that judges or compares whole answers (pairs, reward models). No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.contract.rows import Message
from engine.text import chat_mask
from engine.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class AnswerIds:
    """ids uint32[N]: nothing stands behind the answer's last token. The answer is ids[start:], its closing token with it where the template
    closes it (`ended`)."""

    ids: np.ndarray
    start: int
    ended: bool


def encode_answer(tokenizer: Tokenizer, prompt: Sequence[Message], answer: str, *, template: str = "",
                  system: str = "") -> AnswerIds | None:
    """One answer to a prompt; None where the template writes nothing of it. Raises what chat_mask.encode raises."""
    made = chat_mask.encode(tokenizer, [*prompt, Message(role="assistant", content=answer)], template=template, loss_on="last",
                            system=system)
    if not made.spans:
        return None
    start = max(1, made.spans[0].start)  # the first token of a conversation is never a target
    stop = made.spans[-1].stop
    return AnswerIds(made.ids[:stop], start, made.spans[-1].ended) if stop > start else None


def fit_answers(tokenizer: Tokenizer, prompt: Sequence[Message], answers: Sequence[str], most: int, *, template: str = "", system: str = "",
                cut: bool = True) -> tuple[list[AnswerIds | None], int]:
    """Several answers to one prompt, all with the same part of it, and how many of its turns were taken away (-1: it was not made to fit).

    Where the longest has more than `most` tokens and `cut` allows, the oldest turns are taken away, up to the next turn of the user, until
    all fit. A system prompt and the last turn always stay: then what comes back may be longer than `most`.
    """
    turns = list(prompt)
    while True:
        made = [encode_answer(tokenizer, turns, answer, template=template, system=system) for answer in answers]
        if all(one is None or len(one.ids) <= most for one in made):
            return made, len(prompt) - len(turns)
        first = 1 if turns and turns[0].role == "system" else 0
        later = [n for n in range(first + 1, len(turns)) if turns[n].role == "user"]
        if not cut or not later:
            return made, -1
        turns[first:later[0]] = []
