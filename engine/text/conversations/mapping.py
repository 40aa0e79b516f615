"""Which column of a file is what of a conversation. It reads nothing."""

from dataclasses import dataclass
from typing import Any, Literal

from engine.contract.words import tr

Kind = Literal["fledge", "messages", "sharegpt", "preferences", "prompt_completion", "alpaca", "questions", "columns"]
KINDS: dict[Kind, str] = {
    "fledge": tr("Fledge's examples"), "messages": tr("Messages (OpenAI)"), "sharegpt": tr("Conversations (ShareGPT)"),
    "preferences": tr("Chosen and rejected answers (TRL)"), "prompt_completion": tr("Prompts and completions (TRL)"),
    "alpaca": tr("Instructions (Alpaca)"), "questions": tr("Questions and answers"), "columns": tr("Columns")}
"""What a file looks like, in words."""

ROLES = ("system", "user", "assistant", "tool")
CALLED = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user", "person": "user", "customer": "user", "question": "user", "instruction": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant", "ai": "assistant", "chatbot": "assistant",
    "chatgpt": "assistant", "claude": "assistant", "bard": "assistant", "bing": "assistant", "agent": "assistant", "answer": "assistant",
    "function_call": "assistant", "tool_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool", "tool_response": "tool", "ipython": "tool"}
"""What other programs call the four roles. Any other name is refused until a person says which role it is."""


@dataclass(frozen=True)
class Mapping:
    """Names of columns, "" where there is none.

    conversation   a list of messages ({"role", "content"} or {"from", "value"}), which prompt and answer then need not be
    prompt, answer texts, or lists of messages; `input` is put below the prompt, `history` holds earlier [question, answer] pairs
    system         the system prompt
    rejected       the answer that lost: goes into facts["rejected"]
    known          the short known answer: goes into facts["answer"], of "... #### 72" only what stands behind the mark
    score          a number
    facts          columns that are kept as facts
    roles          (name in the file, one of ROLES) beside those everybody uses
    """

    kind: Kind = "columns"
    conversation: str = ""
    prompt: str = ""
    input: str = ""
    answer: str = ""
    system: str = ""
    history: str = ""
    rejected: str = ""
    known: str = ""
    score: str = ""
    facts: tuple[str, ...] = ()
    roles: tuple[tuple[str, str], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether rows can be made of it."""
        return self.kind == "fledge" or bool(self.conversation or self.answer and (self.prompt or self.kind == "preferences"))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column it names."""
        named = (self.conversation, self.prompt, self.input, self.answer, self.system, self.history, self.rejected, self.known, self.score)
        return tuple(dict.fromkeys(name for name in (*named, *self.facts) if name))


def mapping_of(plain: dict[str, Any]) -> Mapping:
    """A mapping out of JSON."""
    return Mapping(**{**plain, "facts": tuple(plain.get("facts", ())), "roles": tuple((a, b) for a, b in plain.get("roles", ()))})
