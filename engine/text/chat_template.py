"""The chat template: how a conversation becomes one text, in the Jinja dialect that transformers, llama.cpp and Ollama read.

The default has a space between a role's token and its text: byte pairs are mostly learned with a leading space (" How"), so the first
word of a turn is the same token as in running text; small models need that. Content is trimmed, and closed by `<|end|>` right after its
last word. It knows no tools. Templates of others run sandboxed: no attribute of Python objects, no import, no file.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from engine.contract.errors import FormatError
from engine.contract.words import tr

DEFAULT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('This template knows the roles system, user and assistant.') }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|> ' + (message['content'] | trim) + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""The prompt for an answer ends with `<|assistant|>` and no space: the model's first token brings its own, as it does in training."""


def render(template: str, messages: Sequence[Mapping[str, Any]], *, bos_token: str = "", eos_token: str = "",
           add_generation_prompt: bool = True, **values: Any) -> str:
    """`messages` ({"role", "content"}) as one text. A template that refuses the conversation, or is broken, is a FormatError."""
    from jinja2 import TemplateError

    try:
        return _compiled(template).render(messages=[dict(m) for m in messages], bos_token=bos_token, eos_token=eos_token,
                                          add_generation_prompt=add_generation_prompt, **values)
    except TemplateError as wrong:
        raise FormatError(tr("The chat template cannot show this conversation: {reason}", reason=str(wrong)),
                          tr("Change the roles, or the template of the tokenizer."), code="chat_template") from wrong
    except (TypeError, ValueError, ArithmeticError, LookupError) as wrong:
        raise FormatError(tr("The chat template failed on this conversation: {reason}", reason=str(wrong)),
                          tr("Change the template of the tokenizer."), code="chat_template") from wrong


@lru_cache(maxsize=16)
def _compiled(template: str) -> Any:
    import json

    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(reason: str) -> None:
        raise TemplateError(reason)

    def plain_json(value: Any, indent: int | None = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    room = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    room.globals["raise_exception"] = refuse
    room.filters["tojson"] = plain_json
    return room.from_string(template)
