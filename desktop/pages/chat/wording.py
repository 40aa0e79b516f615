"""The page's sentences that hold numbers, and what its numbers are. Pure; no widgets."""

import math
from collections.abc import Sequence

from desktop.jobs.chat_client import ModelInfo, StreamedToken
from engine.contract.units import NBSP, count, number, percent, significant
from engine.contract.words import tr, trn


def badge_of(model: ModelInfo) -> tuple[str, str]:
    """(words, why) of the badge beside the picker."""
    if model.bpb is not None:
        return (tr("{bpb} bits per byte", bpb=number(model.bpb, 3)),
                tr("Measured on validation text. A byte is a letter, roughly; fewer bits mean better guesses."))
    return (tr("step {step}", step=number(model.step)),
            tr("Updates of the weights so far. This checkpoint was not measured on validation text."))


def nature_of(model: ModelInfo) -> str:
    """One sentence under the picker: what kind of model this is."""
    size = count(model.parameters)
    if model.untrained:
        return tr("{size} random weights. Nothing has been learned.", size=size)
    if model.chat:
        return tr("{size} parameters, tuned to answer.", size=size)
    return tr("A base model continues text; it does not answer questions yet.")


def chance(probability: float) -> str:
    """A share as people read it: 12 %, 0.006 %, never "0 %" for what can happen."""
    if probability >= 0.095:
        return percent(probability)
    if probability >= 0.00001:
        return significant(probability * 100, 2 if probability >= 0.001 else 1) + NBSP + "%"
    return tr("under {least}", least="0.001" + NBSP + "%")


def place_of(rank: int) -> str:
    """"third choice": where the token stood among all."""
    named = {1: tr("first choice"), 2: tr("second choice"), 3: tr("third choice"), 4: tr("fourth choice"), 5: tr("fifth choice")}
    return named.get(rank) or tr("choice {rank}", rank=number(rank))


def bits_a_token(tokens: Sequence[StreamedToken]) -> float:
    """Mean surprise in bits; 0 for no tokens."""
    return -sum(t.logprob for t in tokens) / math.log(2) / len(tokens) if tokens else 0.0


def counted(tokens: int) -> str:
    return trn("{count} token", "{count} tokens", tokens)


def figures(tokens: Sequence[StreamedToken], seconds: float) -> list[str]:
    """The foot of an answer: how many, how fast, how sure."""
    if not tokens:
        return [counted(0)]
    out = [counted(len(tokens))]
    if seconds > 0:
        speed = len(tokens) / seconds
        out.append(tr("{speed} tokens/s", speed=number(speed, 0 if speed >= 10 else 1)))
    out.append(tr("{bits} bits a token", bits=number(bits_a_token(tokens), 1)))
    return out


def why_gibberish(model: ModelInfo, tokens: Sequence[StreamedToken]) -> str:
    """Why an untrained model writes what it writes, with its own numbers."""
    words = tr("Its weights are random numbers, so all {vocabulary} tokens are about equally likely: {share} each.",
               vocabulary=number(model.vocab_size), share=chance(1 / max(1, model.vocab_size)))
    if tokens:
        words += " " + tr("It was {bits} bits unsure of each token; a blind guess is {blind}.", bits=number(bits_a_token(tokens), 1),
                          blind=number(math.log2(max(2, model.vocab_size)), 1))
    return words + " " + tr("Training is what changes that.")


def title_of(prompt: str) -> str:
    """The first words of a prompt, as the name of a chat."""
    line = " ".join(prompt.split())
    return line if len(line) <= 60 else line[:57].rstrip() + "…"
