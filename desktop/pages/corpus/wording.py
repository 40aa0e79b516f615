"""Words of the document browser: badges of a row, why a document was removed in a sentence, its facts in a line. No widget."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from desktop.models.languages import language_name
from engine.contract import units
from engine.contract.words import tr, trn
from engine.text.removal import CHANGES, STEPS, rule_name

Row = Mapping[str, Any]
SHOWN_HARM = 0.1
"""Scores below it are noise that every text has."""


@dataclass(frozen=True)
class Mark:
    """A badge: words and the tone of its ground ("" outline)."""

    words: str
    tone: str = ""


def step_name(step: str) -> str:
    """What a removing step is called in lists and menus."""
    return {"read": tr("Could not be read"), "exact": tr("Exact duplicates"), "near": tr("Near duplicates"),
            "contained": tr("Excerpts")}.get(step) or STEPS.get(step, step)


def change_name(step: str) -> str:
    """What a changing step is called."""
    return CHANGES.get(step, step)


def short_step(step: str) -> str:
    """Why a document was removed, as a badge."""
    return {"minimum_length": tr("too short"), "language": tr("other language"), "quality": tr("quality"), "harmful": tr("harmful"),
            "exact": tr("exact duplicate"), "exact_duplicates": tr("exact duplicate"), "near": tr("near duplicate"),
            "near_duplicates": tr("near duplicate"), "contained": tr("excerpt"), "repeated_passages": tr("only repeats"),
            "contamination": tr("held-out text"), "hand": tr("excluded"), "mix": tr("not in the mix")}.get(step, tr("removed"))


def split_name(split: str) -> str:
    return {"train": tr("Training"), "validation": tr("Validation"), "both": tr("Training and validation"), "removed": tr("Removed"),
            "kept": tr("Kept")}.get(split, split)


def marks_of(row: Row, keep: bool | None) -> list[Mark]:
    """At most two badges: what was decided by hand first, then why it was removed, what a person should look at, what was changed."""
    found = []
    step = row.get("step")
    if keep is True:
        found.append(Mark(tr("restored") if step and step != "hand" else tr("kept by hand"), "ok"))
    elif keep is False:
        found.append(Mark(tr("excluded"), "danger"))
    if step and not (step == "hand" and keep is not None):
        found.append(Mark(short_step("contained" if row.get("rule") == "contained" else step)))
    if not step and row.get("borderline"):
        found.append(Mark(tr("borderline"), "warn"))
    if row.get("overlap") and step != "contamination":
        found.append(Mark(tr("held-out text"), "warn"))
    if not step and row.get("split") == "validation":
        found.append(Mark(tr("validation"), "accent"))
    if not step and row.get("touched"):
        found.append(Mark(tr("changed")))
    return found[:2]


def row_words(row: Row, keep: bool | None) -> str:
    """A row for a screen reader."""
    marks = ", ".join(m.words for m in marks_of(row, keep))
    return ", ".join(p for p in (str(row["source"]), marks, str(row.get("snippet") or ""), units.size(row["bytes"])) if p)


def facts_line(row: Row) -> str:
    """The facts of a document in one line."""
    found = []
    if row.get("language"):
        score = row.get("language_score")
        name = language_name(str(row["language"]))
        found.append(tr("{language}, {share} sure", language=name, share=units.percent(score)) if score else name)
    found.append(units.size(row["bytes"]))
    if row.get("split") in ("train", "validation", "both"):
        found.append(split_name(row["split"]).lower())
    if (row.get("copies") or 1) > 1:
        found.append(trn("{count} time in training", "{count} times in training", int(row["copies"])))
    if row.get("quality") is not None:
        found.append(tr("quality {value}", value=f"{float(row['quality']):.2f}"))
    if (row.get("harm") or 0) >= SHOWN_HARM:
        found.append(tr("harm {value}", value=f"{float(row['harm']):.2f}"))
    if row.get("touched"):
        found.append(tr("changed by {steps}", steps=", ".join(change_name(s).lower() for s in row["touched"])))
    return " · ".join(found)


def why_removed(row: Row, other: str = "") -> str:
    """A sentence on why a document was removed; "" for one that is kept. `other` is the source of the document that stayed."""
    step, detail, similarity = row.get("step"), str(row.get("detail") or ""), row.get("similarity") or 0.0
    if not step:
        return ""
    near = tr("similarity {value}", value=f"{similarity:.2f}") if 0 < similarity < 1 else ""
    if step in ("exact", "exact_duplicates"):
        return tr("The same text stands in {other}, but for letter case, punctuation and white space.",
                  other=other or tr("another document"))
    if step == "contained" or row.get("rule") == "contained":
        return tr("Its text stands in {other}, which is longer.", other=other or tr("another document"))
    if step in ("near", "near_duplicates"):
        words = tr("Nearly the same as {other}", other=other or tr("another document"))
        return f"{words}, {near}." if near else f"{words}."
    if step == "hand":
        return tr("You excluded it before this corpus was made.")
    if step == "mix":
        return tr("Its source gave more text than its share of the mix.")
    name = step_name(step)
    rule = detail or rule_name(str(row.get("rule") or ""))
    return f"{name}: {rule}." if rule else f"{name}."


def borderline_words(row: Row) -> str:
    """What a person is asked about a document that a step was not sure of."""
    kind = str(row.get("harm_kind") or "")
    if kind:
        return tr("Perhaps harmful ({kind}, {score}). Your word teaches the classifier.", kind=harm_name(kind),
                  score=f"{float(row.get('harm') or 0):.2f}")
    return tr("A step was not sure about this document. Have a look.")


def harm_name(kind: str) -> str:
    return {"adult": tr("adult"), "hate": tr("hateful"), "violence": tr("violent"), "self_harm": tr("self-harm")}.get(kind, kind)
