"""The keys of the review: what each does, which key it has, and what a person made of that. No Qt: keys are written as Qt writes them."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.contract.words import tr

SETTING = "review.keys"


@dataclass(frozen=True)
class Action:
    """`hint`: stands in the line of keys below the card, in one or two words."""

    id: str
    words: str
    key: str
    hint: str = ""


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


class Keys:
    """`key(action)`; `put(action, key)` gives an action another key: whoever had it gets none. Only what differs from the start is kept."""

    def __init__(self, kept: Mapping[str, str] | None = None) -> None:
        self._start = {a.id: a.key for a in actions()}
        self._keys = dict(self._start)
        for id, key in (kept or {}).items():
            if id in self._keys and isinstance(key, str):
                self._keys[id] = key

    def key(self, id: str) -> str:
        """"" where it has none."""
        return self._keys[id]

    def all(self) -> dict[str, str]:
        return dict(self._keys)

    def owner(self, key: str) -> str:
        """The action that a key belongs to, "" for a free one."""
        return next((id for id, its in self._keys.items() if its == key and key), "")

    def put(self, id: str, key: str) -> str:
        """The action that lost the key, "" for none."""
        before = self.owner(key)
        if before and before != id:
            self._keys[before] = ""
        self._keys[id] = key
        return before if before != id else ""

    def reset(self) -> None:
        self._keys = dict(self._start)

    def kept(self) -> dict[str, str] | None:
        """What the settings keep: None where nothing was changed."""
        return {id: key for id, key in self._keys.items() if key != self._start[id]} or None
