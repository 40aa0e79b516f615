"""Which column of a file is what of a problem. It reads nothing."""

from dataclasses import dataclass
from typing import Any, Literal

from engine.contract.words import tr

Kind = Literal["fledge", "gsm8k", "boxed", "columns", "prompts"]
KINDS: dict[Kind, str] = {
    "fledge": tr("Fledge's problems"), "gsm8k": tr("Solutions with the answer after ####"),
    "boxed": tr("Solutions with the answer in \\boxed{…}"), "columns": tr("Questions and answers"),
    "prompts": tr("Questions without answers")}
"""What a file looks like, in words."""

HELD_OUT = ("test", "validation", "valid", "val", "dev", "eval", "held_out", "held-out", "heldout", "true", "1", "yes", "y")
"""Values of a column that say that a problem is held out, unless the person names others; in any case of letters."""


@dataclass(frozen=True)
class Mapping:
    """Names of columns, "" where there is none; with dots what is inside of one ("reward_model.ground_truth").

    prompt            a text, a list of messages, or a transcript
    answer            the known answer: a text, a number, or JSON; of the kinds gsm8k and boxed the solution that it stands in
    choices           the possible answers of a multiple choice: a list, or an object with `label` and `text`; put behind the question
    solution          a worked solution, kept beside the answer
    difficulty        a number, a text with one ("Level 3"), or easy, medium, hard
    held_out          a column whose value says that a problem is held out: one of `held_out_values`, or of HELD_OUT
    system            the system prompt
    facts             columns that are kept as facts; `rest`: all others, too
    roles             (name in the file, one of conversations.ROLES) beside those everybody uses
    """

    kind: Kind = "columns"
    prompt: str = ""
    answer: str = ""
    choices: str = ""
    solution: str = ""
    difficulty: str = ""
    held_out: str = ""
    system: str = ""
    held_out_values: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    rest: bool = False
    roles: tuple[tuple[str, str], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether rows can be made of it."""
        return self.kind == "fledge" or bool(self.prompt and (self.answer or self.kind == "prompts"))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column it names."""
        named = (self.prompt, self.answer, self.choices, self.solution, self.difficulty, self.held_out, self.system, *self.facts)
        return tuple(dict.fromkeys(name for name in named if name))


def mapping_of(plain: dict[str, Any]) -> Mapping:
    """A mapping out of JSON."""
    return Mapping(**{**plain, **{name: tuple(plain.get(name, ())) for name in ("facts", "held_out_values")},
                      "roles": tuple((a, b) for a, b in plain.get("roles", ()))})
