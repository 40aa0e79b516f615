"""The keys of the review: what each does, and which key it has at the start. No Qt: keys are written as Qt writes them."""

from collections.abc import Mapping

from desktop.models.key_map import Action, KeyMap
from engine.contract.words import tr

SETTING = "review.keys"


def actions() -> list[Action]:
    """In the order of the list of keys."""
    return [Action("previous", tr("The one before"), "Left"), Action("next", tr("The next one"), "Right"),
            Action("accept", tr("Accept, and go on"), "A", tr("accept")), Action("reject", tr("Reject, and go on"), "R", tr("reject")),
            Action("skip", tr("Skip: decide later"), "S", tr("skip")), Action("new", tr("Not decided yet after all"), "O"),
            Action("edit", tr("Edit the answer, or the message that has the focus"), "E", tr("edit")),
            Action("add_turn", tr("Add a turn"), "T"), Action("comment", tr("Write a comment"), "C"),
            Action("beside", tr("The losing answer beside the kept one"), "L"), Action("written", tr("Text as it is written, or set"), "M"),
            Action("undo", tr("Undo the last step"), "U", tr("undo")), Action("redo", tr("Redo"), "Shift+U"),
            Action("delete", tr("Delete the example"), "Del"), Action("view", tr("Table or card"), "V"),
            Action("search", tr("Search"), "/"), Action("write", tr("Write an example"), "N"),
            Action("keys", tr("All keys"), "?", tr("all keys"))]


class Keys(KeyMap):
    """The keys of the review as a person has them."""

    def __init__(self, kept: Mapping[str, str] | None = None) -> None:
        super().__init__(actions(), kept)
