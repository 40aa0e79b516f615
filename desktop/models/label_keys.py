"""The keys of labelling: what each does, and which key it has at the start. No Qt: keys are written as Qt writes them."""

from collections.abc import Mapping

from desktop.models.key_map import Action, KeyMap
from engine.contract.words import tr

SETTING = "label.keys"
PICKS = {"left": "left", "right": "right", "tie": "tie", "bad": "bad", "skip": "skip"}
"""Actions that label the card and go on."""


def actions() -> list[Action]:
    """In the order of the list of keys."""
    return [Action("left", tr("The left answer is better: save, and go on"), "Left"),
            Action("right", tr("The right answer is better: save, and go on"), "Right"),
            Action("tie", tr("Tie: neither is better"), "Up", tr("tie")), Action("bad", tr("Both are bad"), "Down", tr("both bad")),
            Action("skip", tr("Skip: decide later, or never"), "S", tr("skip")),
            Action("strength_1", tr("Slightly better: press it before the arrow"), "1"),
            Action("strength_2", tr("Better"), "2"), Action("strength_3", tr("Much better"), "3"),
            Action("edit", tr("Edit the better answer: the arrow then says which"), "E"),
            Action("comment", tr("Write a comment"), "C"), Action("flag", tr("Flag it, to come back to it"), "F"),
            Action("marks", tr("Mark where the answers differ"), "D"),
            Action("undo", tr("Undo the last label"), "U", tr("undo")), Action("redo", tr("Redo"), "Shift+U"),
            Action("down", tr("Scroll the answers down"), "PgDown"), Action("up", tr("Scroll the answers up"), "PgUp"),
            Action("queues", tr("All pairs of this set in a table"), "Q"), Action("guidelines", tr("Edit the guidelines"), "G"),
            Action("keys", tr("All keys"), "?", tr("all keys"))]


class LabelKeys(KeyMap):
    """The keys of labelling as a person has them."""

    def __init__(self, kept: Mapping[str, str] | None = None) -> None:
        super().__init__(actions(), kept)
