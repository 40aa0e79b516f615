"""Which key does what on a page, and what a person made of that. No Qt: keys are written as Qt writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """`hint`: stands in the line of keys below the card, in one or two words."""

    id: str
    words: str
    key: str
    hint: str = ""


class KeyMap:
    """`key(action)`; `put(action, key)` gives an action another key: whoever had it gets none. Only what differs from the start is kept."""

    def __init__(self, actions: Sequence[Action], kept: Mapping[str, str] | None = None) -> None:
        self.actions = list(actions)
        self._start = {a.id: a.key for a in actions}
        self._keys = dict(self._start)
        for id, key in (kept or {}).items():
            if id in self._keys and isinstance(key, str):
                self._keys[id] = key

    def key(self, id: str) -> str:
        """"" where it has none."""
        return self._keys[id]

    def all(self) -> dict[str, str]:
        return dict(self._keys)

    def words(self, id: str) -> str:
        """What an action does, "" for an unknown one."""
        return next((a.words for a in self.actions if a.id == id), "")

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
