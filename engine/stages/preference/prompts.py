"""The prompts that pairs are made of: typed, from files, from examples of the library, beginnings of documents. Each once, in turns from
each source until there are enough.

They are written into the run's work once, so that a resume asks the same ones whatever has become of the files; afterwards they are read by
their number. Nothing is asked here.
"""

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from engine.contract.errors import FormatError, InputError
from engine.contract.rows import Example, Message
from engine.contract.words import tr
from engine.project import files, layout
from engine.stages.preference.kept import LineFile
from engine.stages.preference.spec import PreferenceSpec
from engine.text import conversations
from engine.text.conversations import Mapping, Refused
from engine.text.corpus import Corpus
from engine.text.lots import scattered
from engine.text.readers.columns import choose_column
from engine.text.readers.cutting import best_cut, lines_of, storable
from engine.text.readers.encoding import Decoded
from engine.text.readers.listing import list_files
from engine.text.readers.reader import Reader

LONGEST = 100_000
"""Characters of a prompt; longer ones are passed over."""
TEXT_KINDS = ("text", "code")


@dataclass(frozen=True)
class Prompt:
    """`messages` end with the person's turn. `plain` is what a model that continues texts is given, where that is not the last turn itself;
    `source` and `document` say where it is from."""

    messages: tuple[Message, ...]
    source: str = ""
    document: str = ""
    plain: str = ""

    @property
    def text(self) -> str:
        """For models that continue texts: all turns, a blank line between them."""
        return self.plain or "\n\n".join(m.content for m in self.messages)


class Prompts:
    """`len()` different prompts, read from the disk by number. `passed` counts what was found and not taken: "twice", "long", "unread"."""

    def __init__(self, path: Path) -> None:
        self.passed: Counter[str] = Counter(files.read_json(_counts(path), {}))
        self._lines = LineFile(path)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, number: int) -> Prompt:
        raw = orjson.loads(self._lines[number])
        return Prompt(tuple(Message(**m) for m in raw["messages"]), raw["source"], raw["document"], raw["plain"])

    def close(self) -> None:
        self._lines.close()


def gather(spec: PreferenceSpec, run_dir: Path, corpus: Corpus | None) -> Prompts:
    """The prompts of a run: those of its first attempt, else found now. InputError where there are none, NotFound and FormatError for a
    file that cannot be read."""
    path = layout.work(run_dir) / "prompts.jsonl"
    if not path.is_file():
        passed: Counter[str] = Counter()
        sources = [_typed(spec), *(_of_file(each, passed) for each in spec.files), _of_examples(spec, run_dir),
                   *([_of_corpus(spec, corpus)] if corpus is not None else [])]
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part")
        try:
            with open(aside, "wb") as out:
                found = 0
                for prompt in _different(_in_turns(sources), spec.system, passed):
                    messages = [m.model_dump() for m in prompt.messages]
                    out.write(orjson.dumps({"messages": messages, "source": prompt.source, "document": prompt.document,
                                            "plain": prompt.plain}) + b"\n")
                    found += 1
                    if found >= spec.count:
                        break
                out.flush()
                os.fsync(out.fileno())
        except OSError as wrong:
            raise files.disk_error(wrong, path) from wrong
        if not found:
            raise InputError(tr("None of what was chosen holds a prompt."), tr("Choose other sets or files, or type some prompts."),
                             code="no_prompts", field="examples")
        files.write_json(_counts(path), dict(passed))
        files.rename(aside, path)
    return Prompts(path)


def _counts(path: Path) -> Path:
    return path.with_suffix(".counts.json")


# ---------------------------------------------------------------------------------------------------------------------- sources


def _typed(spec: PreferenceSpec) -> Iterator[Prompt]:
    for text in spec.prompts:
        if text.strip():
            yield Prompt((Message(role="user", content=text.strip()),), "typed")


def _of_examples(spec: PreferenceSpec, run_dir: Path) -> Iterator[Prompt]:
    """Scattered over the sets where there are more than are wanted."""
    path = layout.input_rows(run_dir, "examples")
    if not path.is_file():
        return
    rows = LineFile(path)
    count = len(rows)
    order = np.arange(count, dtype=np.uint64)
    if count > spec.count:
        order = np.argsort(scattered(order, f"prompts {spec.seed}"))
    try:
        for number in order.tolist():
            if (asked := question_of(Example.model_validate_json(rows[number]), spec.turns)) is not None:
                yield Prompt(asked, "examples")
    finally:
        rows.close()


def question_of(example: Example, turns: str) -> tuple[Message, ...] | None:
    """What of a conversation is asked; None where nobody asks."""
    asked = [i for i, m in enumerate(example.messages) if m.role == "user" and m.content.strip()]
    if not asked:
        return None
    return example.messages[:(asked[-1] if turns == "last" else asked[0]) + 1]


def _of_corpus(spec: PreferenceSpec, corpus: Corpus) -> Iterator[Prompt]:
    """Beginnings of training documents, scattered over the corpus."""
    count = corpus.count("train")
    for number in np.argsort(scattered(np.arange(count, dtype=np.uint64), f"documents {spec.seed}")).tolist():
        document = corpus.document("train", number)
        text = document.text.strip()
        if len(text) > spec.beginning:
            text = text[:best_cut(text, spec.beginning // 2, spec.beginning)].rstrip()
        if text:
            asked = spec.corpus_prompt.replace("{text}", text)
            yield Prompt((Message(role="user", content=asked),), spec.corpus, document.id, text)


def _of_file(path: str, passed: Counter[str]) -> Iterator[Prompt]:
    """Text: one a line. Tables and JSON: a column that is told by its name, else by its texts."""
    found, skipped = list_files([path])
    if len(found) != 1 or Path(path).expanduser().is_dir() and found[0].kind != "hf":
        why = skipped[0].reason if skipped and not found else tr("it is a folder")
        raise FormatError(tr("{name} cannot be read as prompts: {reason}.", name=Path(path).name, reason=why),
                          tr("Take a text with one prompt a line, or a table."), field="files")
    file = found[0]
    if file.kind in TEXT_KINDS:
        with Reader(file).opened() as stream:
            for _, line in lines_of(Decoded(stream, "auto"), LONGEST):
                if line is None:
                    passed["long"] += 1
                elif line.strip():
                    yield Prompt((Message(role="user", content=storable(line.strip())),), file.name)
        return
    for row in conversations.read(path, _mapping(path)):
        if isinstance(row, Refused):
            passed["unread"] += 1
        elif (asked := question_of(row, "last")) is not None:
            yield Prompt(asked, file.name)


def _mapping(path: str) -> Mapping:
    """Which column asks. Where the file holds no answers, the column of prompts stands in for them, and only what asks is taken."""
    look = conversations.look(path)
    if look.problem:
        raise FormatError(look.problem, look.remedy, field="files")
    if look.mapping.complete:
        return look.mapping
    column = look.mapping.prompt or look.mapping.answer or choose_column(look.name, _values(path, look.columns))
    return Mapping("columns", prompt=column, answer=column, system=look.mapping.system)


def _values(path: str, columns: Iterable[str]) -> dict[str, list[Any]]:
    """First texts of each column, to tell prose from numbers."""
    found: dict[str, list[Any]] = {}
    for column in columns:
        shown = conversations.look(path, Mapping("columns", prompt=column, answer=column), examples=50)
        found[column] = [e.messages[0].content for e in shown.preview]
    return found


# ------------------------------------------------------------------------------------------------------------------- once each


def _in_turns(sources: list[Iterator[Prompt]]) -> Iterator[Prompt]:
    """One of each in turn, until all are through."""
    while sources:
        for source in list(sources):
            prompt = next(source, None)
            if prompt is None:
                sources.remove(source)
            else:
                yield prompt


def _different(prompts: Iterable[Prompt], system: str, passed: Counter[str]) -> Iterator[Prompt]:
    """Each once, with the system prompt before those that have none."""
    seen: set[bytes] = set()
    for prompt in prompts:
        if sum(len(m.content) for m in prompt.messages) > LONGEST:
            passed["long"] += 1
            continue
        said = json.dumps([[m.role, " ".join(m.content.split())] for m in prompt.messages])
        key = hashlib.blake2b(said.encode(), digest_size=10).digest()
        if key in seen:
            passed["twice"] += 1
            continue
        seen.add(key)
        if system.strip() and prompt.messages[0].role != "system":
            plain = prompt.text
            prompt = dataclasses.replace(prompt, messages=(Message(role="system", content=system.strip()), *prompt.messages), plain=plain)
        yield prompt
