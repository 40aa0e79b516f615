"""One answer of a policy with its reward: what it was asked, what it wrote, what the reward is made of, what went wrong."""

from PySide6.QtWidgets import QWidget

from desktop.models.rollout_rows import error_words, left_out_words
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.layout import Item, col, row
from desktop.widgets.text import Text, small
from engine.contract.rows import Rollout
from engine.contract.units import number, significant
from engine.contract.words import tr, trn

LONG, ASKED = 600, 240


def rollout_card(theme: Theme, each: Rollout, mean: float, *, asked: bool = True, signed: bool = True, long: int = LONG) -> QWidget:
    """`mean`: above it a reward is good. `asked`: with its question. `signed`: rewards with their sign, as of a reward model."""
    facts = each.facts
    prompt = each.prompt[-1].content if each.prompt else ""
    tokens, notes = facts.get("tokens"), []
    if facts.get("advantage") and not signed:
        notes.append(tr("advantage {value}", value=plus(float(facts["advantage"]))))
    if tokens is not None:
        notes.append(trn("{shown} token", "{shown} tokens", int(tokens), shown=number(int(tokens))))
    if facts.get("kl") is not None:
        notes.append(tr("KL {value}", value=significant(float(facts["kl"]), 2)))
    error = str(facts.get("error") or "")
    unknown = facts.get("left_out") == "error"
    cut: Item = Badge(tr("cut"), "warn", tr("It reached the longest length without an end.")) if facts.get("finish") == "length" else None
    wrong: Item = Badge(error_words(error), "danger", str(facts.get("message") or "")) if error else None
    out = left_out_words(str(facts.get("left_out") or ""))
    left: Item = Badge(out[0], "", out[1]) if out[0] and not error and facts.get("left_out") != "cut" else None
    good = each.reward >= mean if signed or facts.get("advantage") is None else float(facts["advantage"]) > 0
    reward = tr("no reward") if unknown else plus(each.reward) if signed else significant(each.reward, 3) if each.reward else "0"
    head = row(Text(reward, "strong", "text3" if unknown else "accent" if good else "text2"), cut, wrong, left, "+",
               small(", ".join(notes), "text3"), gap=6)
    parts = ", ".join(f"{name} {significant(value, 3) if value else '0'}" for name, value in each.parts.items()) \
        if len(each.parts) > 1 else ""
    line, message = facts.get("line"), str(facts.get("message") or "")
    said = (tr("line {line}: {message}", line=int(line), message=message) if line else message) if error else ""
    made = col(head, small(shortened(prompt, ASKED), wrap=True) if asked else None,
               Text(shortened(each.completion, long) or tr("(nothing)"), wrap=True, select=True),
               small(parts, "text3", wrap=True) if parts else None, small(said, "danger", wrap=True) if said else None, gap=2)
    made.setAccessibleName(tr("Reward {reward}. Asked: {prompt} Answer: {answer}", reward=reward, prompt=prompt, answer=each.completion))
    return made


def plus(value: float) -> str:
    """With its sign."""
    return f"{value:+.2f}".replace("-", "−")


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + " …"
