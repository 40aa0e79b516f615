"""Which column of a file is what of a pair. It reads nothing."""

from dataclasses import dataclass
from typing import Any, Literal

from engine.contract.words import tr

Kind = Literal["fledge", "argilla", "transcripts", "chosen", "implicit", "columns"]
KINDS: dict[Kind, str] = {
    "fledge": tr("Fledge's pairs"), "argilla": tr("Records of Argilla"), "transcripts": tr("Transcripts (Anthropic)"),
    "chosen": tr("Chosen and rejected answers (TRL)"), "implicit": tr("Texts that begin alike (TRL)"),
    "columns": tr("Two answers and a label")}
"""What a file looks like, in words."""

MEANINGS = ("first", "second", "tie", "bad", "skip")
"""What a label can say: which answer is better, neither, both are bad, nothing."""


@dataclass(frozen=True)
class Mapping:
    """Names of columns, "" where there is none. Of Argilla's records: of fields.

    prompt            a text, a list of messages, or a transcript; not needed where both answers are whole conversations
    chosen, rejected  the answers of which the file knows the better one: texts, lists of messages, or transcripts
    first, second     the answers otherwise; `label` says which is better
    tie               a column that is true where neither is better
    strength          1 (slightly) to 3 (much better)
    score_first, score_second, model_first, model_second    of the first (or chosen) and the second (or rejected) answer; equal scores are a
                      tie, and without a label the higher one is better
    system            the system prompt
    by                who compared them
    facts             columns that are kept as facts
    roles             (name in the file, one of conversations.ROLES) beside those everybody uses
    labels            (value of the label, one of MEANINGS, or "first:2" with a strength) beside words that say it themselves
    """

    kind: Kind = "columns"
    prompt: str = ""
    chosen: str = ""
    rejected: str = ""
    first: str = ""
    second: str = ""
    label: str = ""
    tie: str = ""
    strength: str = ""
    score_first: str = ""
    score_second: str = ""
    model_first: str = ""
    model_second: str = ""
    system: str = ""
    by: str = ""
    facts: tuple[str, ...] = ()
    roles: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether rows can be made of it."""
        if self.kind in ("fledge", "argilla"):
            return True
        if self.kind in ("transcripts", "implicit", "chosen"):
            return bool(self.chosen and self.rejected)
        return bool(self.chosen and self.rejected and self.prompt) or bool(self.first and self.second and self.prompt)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column it names."""
        named = (self.prompt, self.chosen, self.rejected, self.first, self.second, self.label, self.tie, self.strength, self.score_first,
                 self.score_second, self.model_first, self.model_second, self.system, self.by, *self.facts)
        return tuple(dict.fromkeys(name for name in named if name))


def mapping_of(plain: dict[str, Any]) -> Mapping:
    """A mapping out of JSON."""
    def couples(name: str) -> tuple[tuple[str, str], ...]:
        return tuple((a, b) for a, b in plain.get(name, ()))

    return Mapping(**{**plain, "facts": tuple(plain.get("facts", ())), "roles": couples("roles"), "labels": couples("labels")})
