"""An import of rows before it happens: what was seen in a file, how its columns are read, what is in the way. What a row is stands in
instruct_import.py and pair_import.py. No Qt; files are looked into elsewhere."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engine.contract.spec import Problem
from engine.contract.words import tr

if TYPE_CHECKING:
    from engine.text.row_files.kind import Look


@dataclass
class RowsImportPlan:
    """`look` is what the file holds by `mapping` (the dataclass of the rows' kind); `files` are those that wait after it.

    A subclass says which parts of the mapping there are, in the order they are asked for, which of them matter by the kind of file, which
    are marked where it is not clear how to read it, and the sentences.
    """

    every_part: ClassVar[tuple[str, ...]] = ()
    parts_of_kind: ClassVar[dict[str, tuple[str, ...]]] = {}
    marked: ClassVar[tuple[str, ...]] = ()

    file: str = ""
    files: list[str] = field(default_factory=list)
    title: str = ""
    look: "Look | None" = None
    mapping: Any = None
    looking: bool = False

    def begin(self, names: list[str]) -> None:
        """The first of these files, the others after it."""
        self.file, self.files = names[0], list(names[1:])
        self.title = self.title_of(Path(self.file))
        self.look = self.mapping = None

    def take(self, found: "Look") -> None:
        self.look, self.mapping = found, found.mapping

    def set_kind(self, kind: str) -> None:
        """Another kind of file: columns that it does not have are let go."""
        assert self.mapping is not None
        self.mapping = replace(self.mapping, kind=kind, **{n: "" for n in self.every_part if n not in self.parts_of_kind[kind]})

    def set_column(self, part: str, column: str) -> None:
        assert self.mapping is not None
        self.mapping = replace(self.mapping, **{part: column})

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the mapping that are asked for."""
        return self.parts_of_kind[self.mapping.kind] if self.mapping is not None else ()

    @property
    def plain(self) -> dict[str, Any]:
        return asdict(self.mapping) if self.mapping is not None else {}

    def problems(self) -> list[Problem]:
        if self.look is None or self.mapping is None:
            return [Problem("", tr("The file is still being looked at."))]
        if self.look.problem and not self.look.preview:
            return [Problem("", self.look.problem, self.look.remedy)]
        if not self.mapping.complete:
            return [Problem("prompt", self.unclear(), tr("Choose them."))]
        if not self.look.preview:
            first = self.look.problems[0] if self.look.problems else None
            return [Problem("", self.none_of_them(),
                            tr("Row {line}: {reason}.", line=first.line, reason=first.reason) if first else tr("Choose other columns."))]
        return []

    # what a kind of rows says for itself ------------------------------------------------------------------------------

    def title_of(self, file: Path) -> str:
        """What the set is called unless the person says otherwise."""
        return file.stem

    def part_words(self, part: str) -> tuple[str, str]:
        """What a part of the mapping is called, and what it is."""
        raise NotImplementedError

    def unclear(self) -> str:
        """That the columns do not say how to read them."""
        raise NotImplementedError

    def none_of_them(self) -> str:
        """That the first rows are no such rows."""
        raise NotImplementedError
