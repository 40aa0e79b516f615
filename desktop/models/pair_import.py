"""An import of pairs before it happens: what was seen in a file, how its columns are read, what is in the way. No Qt; files are looked into
elsewhere."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.contract.spec import Problem
from engine.contract.words import tr

if TYPE_CHECKING:
    from engine.text.preferences import Look, Mapping

COLUMNS: dict[str, tuple[str, ...]] = {
    "fledge": (), "argilla": ("prompt", "first", "second", "label"), "transcripts": ("chosen", "rejected"),
    "chosen": ("prompt", "chosen", "rejected", "system", "strength", "by"), "implicit": ("chosen", "rejected"),
    "columns": ("prompt", "first", "second", "label", "tie", "strength", "score_first", "score_second", "model_first", "model_second",
                "system", "by")}
"""Which columns matter, by the kind of file."""
ALL = ("prompt", "chosen", "rejected", "first", "second", "label", "tie", "strength", "score_first", "score_second", "model_first",
       "model_second", "system", "by")


def column_words(name: str) -> tuple[str, str]:
    """What a part of the mapping is called, and what it is."""
    return {
        "prompt": (tr("Prompt"), tr("what was asked")), "chosen": (tr("Better answer"), tr("the chosen one")),
        "rejected": (tr("Worse answer"), tr("the rejected one")), "first": (tr("First answer"), tr("a text")),
        "second": (tr("Second answer"), tr("a text")), "label": (tr("Label"), tr("which is better")),
        "tie": (tr("Tie"), tr("true where neither is better")), "strength": (tr("Strength"), tr("1, slightly, to 3, much better")),
        "score_first": (tr("Score of the first"), tr("a number")), "score_second": (tr("Score of the second"), tr("a number")),
        "model_first": (tr("Maker of the first"), tr("hidden while you label")),
        "model_second": (tr("Maker of the second"), tr("hidden while you label")),
        "system": (tr("System prompt"), tr("how the model is to behave")), "by": (tr("Annotator"), tr("who compared them"))}[name]


@dataclass
class PairImportPlan:
    """`look` is what the file holds by `mapping`; `files` are those that wait after it."""

    file: str = ""
    files: list[str] = field(default_factory=list)
    title: str = ""
    look: "Look | None" = None
    mapping: "Mapping | None" = None
    looking: bool = False

    def begin(self, names: list[str]) -> None:
        """The first of these files, the others after it."""
        self.file, self.files = names[0], list(names[1:])
        name = Path(self.file).name
        self.title = name.partition(".")[0] or name
        self.look = self.mapping = None

    def take(self, found: "Look") -> None:
        self.look, self.mapping = found, found.mapping

    def set_kind(self, kind: str) -> None:
        """Another kind of file: columns that it does not have are let go."""
        assert self.mapping is not None
        self.mapping = replace(self.mapping, kind=kind, **{n: "" for n in ALL if n not in COLUMNS[kind]})  # type: ignore[arg-type]

    def set_column(self, part: str, column: str) -> None:
        assert self.mapping is not None
        self.mapping = replace(self.mapping, **{part: column})  # type: ignore[arg-type]

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
            return [Problem("prompt", tr("It is not clear which columns hold prompts and answers."), tr("Choose them."))]
        if not self.look.preview:
            first = self.look.problems[0] if self.look.problems else None
            return [Problem("", tr("None of the first rows is a pair."),
                            tr("Row {line}: {reason}.", line=first.line, reason=first.reason) if first else tr("Choose other columns."))]
        return []
