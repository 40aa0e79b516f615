"""What is in the library already and could become pairs: votes of chats and blind comparisons, losing answers beside kept ones. No Qt."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project.examples import ExampleFilter
from engine.project.pairs import JUDGE, VOTE

if TYPE_CHECKING:
    from engine.project.project import Project

MOST_LOOKED = 400
"""Examples of a set that are looked at for losing answers."""


@dataclass(frozen=True)
class Found:
    """`kind`: vote or judge; `sets`: those of examples with losing answers; `count`: how many there are at least."""

    kind: str
    title: str
    note: str
    icon: str
    count: int
    sets: tuple[str, ...] = ()


def look(project: "Project") -> list[Found]:
    """In a thread. What became pairs already is left out."""
    library = project.library
    had = {kind: sum(one.count for one in library.pairs.sets() if one.origin == kind) for kind in (VOTE, JUDGE)}
    found, votes = [], len(library.votes.list())
    if votes > had[VOTE]:
        found.append(Found(VOTE, trn("{shown} vote on answers side by side", "{shown} votes on answers side by side", votes,
                                     shown=number(votes)), tr("of chats and blind comparisons; each is a pair that is labelled already"),
                           "chat", votes))
    losing, sets = 0, []
    for one in library.examples.sets():
        rows = library.examples.rows(ExampleFilter(sets=(one.id,)), "position", 0, MOST_LOOKED) if one.count else []
        here = sum(bool(r.example.facts.get("rejected")) and r.status != "rejected" for r in rows)
        if here:
            losing += here
            sets.append(one)
    if losing > had[JUDGE]:
        found.append(Found(JUDGE, tr("Answers that a judge kept and rejected"),
                           tr("in “{title}”", title=sets[0].title) if len(sets) == 1 else
                           trn("in {count} set of examples", "in {count} sets of examples", len(sets)), "list", losing,
                           tuple(one.id for one in sets)))
    return found


def take(project: "Project", one: Found) -> int:
    """Make pairs of what was found; how many are new. In a thread."""
    pairs = project.library.pairs
    return pairs.from_votes() if one.kind == VOTE else pairs.from_examples(list(one.sets))
