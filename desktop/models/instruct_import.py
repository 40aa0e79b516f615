"""An import before it happens: what was seen in a file, how its columns are read, what is in the way. No Qt; files are looked into
elsewhere."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.contract.spec import Problem
from engine.contract.words import tr

if TYPE_CHECKING:
    from engine.text.conversations import Look, Mapping

COLUMNS: dict[str, tuple[str, ...]] = {
    "fledge": (), "messages": ("conversation", "system", "known", "score"), "sharegpt": ("conversation", "system", "known", "score"),
    "preferences": ("prompt", "answer", "rejected", "system"), "prompt_completion": ("prompt", "answer", "system", "known"),
    "alpaca": ("prompt", "input", "answer", "system", "history", "known"),
    "questions": ("prompt", "input", "answer", "known", "system", "score"),
    "columns": ("prompt", "answer", "input", "system", "conversation", "rejected", "known", "score")}
"""Which columns matter, by the kind of file."""
FORGOTTEN = ("conversation", "prompt", "input", "answer", "system", "history", "rejected", "known", "score")


def column_words(name: str) -> tuple[str, str]:
    """What a part of the mapping is called, and what it is."""
    return {
        "conversation": (tr("Messages"), tr("a list of messages, each with who speaks and what is said")),
        "prompt": (tr("Question"), tr("what is asked")), "answer": (tr("Answer"), tr("what the model learns to say")),
        "input": (tr("Input"), tr("put below the question")), "system": (tr("System prompt"), tr("how the model is to behave")),
        "history": (tr("Earlier turns"), tr("pairs of questions and answers before")),
        "rejected": (tr("Rejected answer"), tr("the one that lost, kept beside it")),
        "known": (tr("Known answer"), tr("short, to be compared in an evaluation")), "score": (tr("Score"), tr("a number"))}[name]


@dataclass
class ImportPlan:
    """`look` is what the file holds by `mapping`; `files` are those that wait after it. `wrong` is why nothing can be read."""

    file: str = ""
    files: list[str] = field(default_factory=list)
    title: str = ""
    look: "Look | None" = None
    mapping: "Mapping | None" = None
    looking: bool = False

    def begin(self, names: list[str]) -> None:
        """The first of these files, the others after it."""
        self.file, self.files = names[0], list(names[1:])
        self.title, self.look, self.mapping = Path(self.file).stem, None, None

    def take(self, found: "Look") -> None:
        self.look, self.mapping = found, found.mapping

    def set_kind(self, kind: str) -> None:
        """Another kind of file: columns that it does not have are let go."""
        assert self.mapping is not None
        dropped = {name: "" for name in FORGOTTEN if name not in COLUMNS[kind]}
        self.mapping = replace(self.mapping, kind=kind, **dropped)  # type: ignore[arg-type]

    def set_column(self, part: str, column: str) -> None:
        assert self.mapping is not None
        self.mapping = replace(self.mapping, **{part: column})  # type: ignore[arg-type]

    def set_roles(self, lines: tuple[str, ...]) -> None:
        """"narrator = user" a line; lines that say something else are left out."""
        assert self.mapping is not None
        pairs = [(a.strip(), b.strip()) for a, _, b in (line.partition("=") for line in lines)]
        self.mapping = replace(self.mapping, roles=tuple((a, b) for a, b in pairs if a and b in ("system", "user", "assistant", "tool")))

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the mapping that are asked for."""
        return COLUMNS[self.mapping.kind] if self.mapping is not None else ()

    @property
    def plain(self) -> dict[str, Any]:
        return asdict(self.mapping) if self.mapping is not None else {}

    def problems(self) -> list[Problem]:
        if self.look is None or self.mapping is None:
            return [Problem("", tr("The file is still being looked at."))]
        if self.look.problem and not self.look.preview:
            return [Problem("", self.look.problem, self.look.remedy)]
        if not self.mapping.complete:
            return [Problem("prompt", tr("It is not clear which columns hold questions and answers."), tr("Choose them."))]
        if not self.look.preview:
            first = self.look.problems[0] if self.look.problems else None
            return [Problem("", tr("None of the first rows is an example."),
                            tr("Row {line}: {reason}.", line=first.line, reason=first.reason) if first else tr("Choose other columns."))]
        return []
