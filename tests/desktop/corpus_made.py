"""A small corpus artifact with everything the browser shows: duplicates in groups, changed, removed, borderline and held-out documents."""

import random

from engine.project.artifacts import Artifact
from engine.project.project import Project
from tests.engine.text.browse.made import Made, make

WORDS = ("the steamer reached roads on monday evening after passage of eleven days having lost boat and part her rail in gale captain "
         "crew are well harbour master letters").split()
GROUPS = 12


def documents(groups: int = GROUPS) -> list[Made]:
    """Eight a group: the first is kept, the next two are its near duplicates, then one of each other kind."""
    draw, made = random.Random(1), []
    for group in range(groups):
        def text(length: int = 60) -> str:
            return " ".join(draw.choice(WORDS) for _ in range(length))
        first = text()
        late = first.split()
        late[5], late[20] = "late", "LATE"
        source = f"gazette/{1890 + group}.txt"
        of = {"cluster": group, "duplicate_of": group * 8, "step": "near_duplicates", "rule": "near"}
        made += [Made(first, source=source, cluster=group),
                 Made(" ".join(late), source=f"letters/{group}.txt", similarity=0.91, detail="0.91", **of),
                 Made(first + " the 4th inst.", source=source, similarity=0.95, detail="0.95", **of),
                 Made(text() + f" unique{group}", source=source, original="Menu | Home\n" + text(5), touched=("repeated_lines",)),
                 Made(text(), source=source, step="quality", rule="gopher_symbols", detail="0.14 symbols a word, at most 0.10"),
                 Made(text(), source=source, borderline="harmful", harm=0.45, harm_kind="violence"),
                 Made(text(), source=f"letters/{group}.txt", language="pt", overlap="math.jsonl:12" if group == 3 else None),
                 Made(text(), source=source, split="validation")]
    return made


def corpus(project: Project, made: list[Made] | None = None) -> Artifact:
    with project.artifacts.create("corpus", title="Gazette corpus") as writer:
        make(writer.path, documents() if made is None else made)
        return writer.finish(documents=1)
