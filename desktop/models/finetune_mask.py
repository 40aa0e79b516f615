"""What the loss-mask microscope said, as the window shows it: pages of rows, problems with their remedies, counts in words. No Qt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.contract.units import count, number, percent
from engine.contract.words import tr, trn

PAGE_TOKENS = 400
MOST_ROWS = 12


@dataclass(frozen=True)
class MaskRemedy:
    """A button: its words, and what it does: "set" (`changes` to the settings), "go" (to the step `to`), "look" (at the `examples`)."""

    words: str
    act: str
    changes: tuple[tuple[str, Any], ...] = ()
    to: str = ""


@dataclass(frozen=True)
class MaskProblem:
    """Why a run would be for nothing (`blocks`) or worse than it could be."""

    code: str
    sentence: str
    remedy: str
    blocks: bool
    field: str = ""
    share: float = 0.0
    examples: tuple[str, ...] = ()
    remedies: tuple[MaskRemedy, ...] = ()


@dataclass(frozen=True)
class MaskRow:
    """One row of a batch. `pieces` are plain values: text, state (trained, masked, truncated, pad), example, count."""

    batch: int
    number: int
    tokens: int
    trained: int
    examples: int
    pieces: Sequence[Mapping[str, Any]]

    @property
    def words(self) -> str:
        told = [trn("{shown} token", "{shown} tokens", self.tokens, shown=number(self.tokens)),
                tr("{trained} trained", trained=number(self.trained))]
        if self.examples > 1:
            told.insert(0, trn("{count} example", "{count} examples", self.examples))
        return ", ".join(told)


@dataclass(frozen=True)
class Looked:
    """`pages` of rows; `real`: they are the run's own batches (False: the first examples as they are, since none can be trained on)."""

    problems: tuple[MaskProblem, ...] = ()
    pages: tuple[tuple[MaskRow, ...], ...] = ()
    counts: Mapping[str, Any] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = ()
    rendered: str = ""
    template: Mapping[str, str] = field(default_factory=dict)
    padding: float = 0.0
    batches: int = 0
    real: bool = True
    note: str = ""

    @property
    def blocked(self) -> bool:
        return any(p.blocks for p in self.problems)

    def facts(self) -> list[tuple[str, str]]:
        """The counts as names and values."""
        c = self.counts
        if not c.get("looked_at"):
            return [(tr("Examples"), number(c.get("examples", 0)))]
        found = [(tr("To train on"), number(c["train"])), (tr("For validation"), number(c["held_out"])),
                 (tr("Tokens"), count(c["tokens"])), (tr("Of these trained"), percent(c["share_trained"])),
                 (tr("Longest"), trn("{shown} token", "{shown} tokens", c["longest"], shown=number(c["longest"])))]
        if self.real and self.padding:
            found.append((tr("Padding"), percent(self.padding)))
        if c.get("left_out"):
            found.append((tr("Left out"), number(c["left_out"])))
        return found


def looked(answer: Mapping[str, Any], values: Mapping[str, Any], context: int) -> Looked:
    """From what the microscope printed; `values` are the settings it looked with, `context` the model's."""
    rows: list[MaskRow] = []
    tokens = padding = 0
    real = True
    for batch in answer["batches"]:
        real = real and batch["step"] >= 0
        tokens, padding = tokens + batch["tokens"], padding + batch["padding"]
        for number_, made in enumerate(batch["rows"]):
            pieces = made["pieces"]
            rows.append(MaskRow(max(0, batch["step"]), number_, made["tokens"], sum(p["state"] == "trained" for p in pieces),
                                len({p["example"] for p in pieces if p["example"] >= 0}), pieces))
    problems = tuple(MaskProblem(p["code"], p["sentence"], p["remedy"], p["level"] == "block", p.get("field", ""), p.get("share", 0.0),
                                 tuple(p.get("examples", ())), remedies(p, values, answer, context)) for p in answer["problems"])
    return Looked(problems, _paged(rows), answer["counts"], answer["examples"], answer["rendered"], answer["template"],
                  padding / (tokens + padding) if padding else 0.0, len(answer["batches"]), real, answer.get("note", ""))


def _paged(rows: Sequence[MaskRow]) -> tuple[tuple[MaskRow, ...], ...]:
    """As many rows a page as can be read at once."""
    pages: list[list[MaskRow]] = []
    held = 0
    for row in rows:
        if not pages or held + row.tokens > PAGE_TOKENS or len(pages[-1]) >= MOST_ROWS:
            pages.append([])
            held = 0
        pages[-1].append(row)
        held += row.tokens
    return tuple(tuple(page) for page in pages)


def remedies(problem: Mapping[str, Any], values: Mapping[str, Any], answer: Mapping[str, Any], context: int) -> tuple[MaskRemedy, ...]:
    """What can be done about a problem, the likeliest first."""
    code, asked = problem["code"], bool(values.get("template"))
    look = MaskRemedy(tr("Look at these examples"), "look")
    own = MaskRemedy(tr("Use the template that fits this model"), "set", (("template", ""),))
    another = MaskRemedy(tr("Choose another model"), "go", to="goal")
    sets = MaskRemedy(tr("Choose other examples"), "go", to="data")
    by_template = (own,) if asked else (MaskRemedy(tr("Write a template"), "edit"), another)
    longer = (MaskRemedy(tr("Use the model's whole context, {tokens} tokens", tokens=number(context)), "set", (("max_seq_len", None),)),) \
        if values.get("max_seq_len") and values["max_seq_len"] < context else ()
    found: dict[str, tuple[MaskRemedy, ...]] = {
        "no_examples": (MaskRemedy(tr("Take unreviewed ones too"), "set", (("only_accepted", False),)), sets)
        if values.get("only_accepted") else (sets,),
        "template_tokens": by_template, "no_end_token": by_template, "unclear_mask": by_template, "refused": (*by_template[:1], look),
        "role_dropped": by_template[:1] if asked else (), "unknown_role": (look, *((own,) if asked else ())),
        "all_too_long": (*longer, another, look), "too_long": (*longer, look),
        "answers_cut": (MaskRemedy(tr("Leave longer examples out"), "set", (("too_long", "leave_out"),)), *longer),
        "nothing_trained": (*longer, *_nothing(values, answer, own, look)), "nothing_left": (sets,),
        "little_trained": ()}
    return found.get(code, (sets,) if problem["level"] == "block" else ())


def _nothing(values: Mapping[str, Any], answer: Mapping[str, Any], own: MaskRemedy, look: MaskRemedy) -> tuple[MaskRemedy, ...]:
    if not answer["roles"].get("assistant"):
        return (look, MaskRemedy(tr("Learn everything"), "set", (("loss_on", "all"),)))
    return (own, look) if values.get("template") else (look,)
