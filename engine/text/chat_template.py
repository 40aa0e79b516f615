"""The chat template: how a conversation becomes one text, in the Jinja dialect that transformers, llama.cpp and Ollama read.

The default has a space between a role's token and its text: byte pairs are mostly learned with a leading space (" How"), so the first
word of a turn is the same token as in running text; small models need that. Content is trimmed, and closed by `<|end|>` right after its
last word. It knows no tools. Templates of others run sandboxed: no attribute of Python objects, no import, no file.

`{% generation %} .. {% endgeneration %}` (transformers' tag) says what of the text the model writes itself; `render_marked` tells where
that is. Elsewhere the tag leaves no trace.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

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


OPEN, CLOSE = "generation_begins", "generation_ends"
"""Names of the template's variables that stand around a `{% generation %}` block; empty unless somebody wants to know where it is."""


def render(template: str, messages: Sequence[Mapping[str, Any]], *, bos_token: str = "", eos_token: str = "",
           add_generation_prompt: bool = True, **values: Any) -> str:
    """`messages` ({"role", "content"}) as one text. A template that refuses the conversation, or is broken, is a FormatError."""
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        return _compiled(template).render(messages=[dict(m) for m in messages], bos_token=bos_token, eos_token=eos_token,
                                          add_generation_prompt=add_generation_prompt, **values)
    except TemplateSyntaxError as wrong:
        raise FormatError(tr("The chat template is no template: line {line}, {reason}.", line=wrong.lineno,
                             reason=str(wrong.message).rstrip(".")), tr("Correct it there, or choose another template."),
                          code="chat_template") from wrong
    except TemplateError as wrong:
        raise FormatError(tr("The chat template cannot show this conversation: {reason}", reason=str(wrong)),
                          tr("Change the roles, or the template of the tokenizer."), code="chat_template") from wrong
    except (TypeError, ValueError, ArithmeticError, LookupError) as wrong:
        raise FormatError(tr("The chat template failed on this conversation: {reason}", reason=str(wrong)),
                          tr("Change the template of the tokenizer."), code="chat_template") from wrong


def render_marked(template: str, messages: Sequence[Mapping[str, Any]], **values: Any) -> tuple[str, list[tuple[int, int]]]:
    """What `render` gives, and the ranges of characters (start, stop) that `{% generation %}` blocks wrote, in order. Blocks that wrote
    nothing are left out; a block inside a block counts as one."""
    known = "".join(str(value) for message in messages for value in message.values()) + template
    begin, end = [c for c in map(chr, range(0xF0000, 0x10FFFE)) if c not in known][:2]
    text = render(template, messages, **{**values, OPEN: begin, CLOSE: end})
    plain: list[str] = []
    ranges: list[tuple[int, int]] = []
    at = depth = start = 0
    for part in re.split(f"([{begin}{end}])", text):
        if part == begin:
            start = start if depth else at
            depth += 1
        elif part == end:
            depth -= 1
            if not depth and at > start:
                ranges.append((start, at))
        else:
            plain.append(part)
            at += len(part)
    if depth:  # the template jumped out of a block
        raise FormatError(tr("The chat template failed on this conversation: {reason}", reason="generation"),
                          tr("Change the template of the tokenizer."), code="chat_template")
    return "".join(plain), ranges


def marks_generation(template: str) -> bool:
    """Whether the template has a `{% generation %}` block."""
    return re.search(r"\{%[-+]?\s*generation\s*[-+]?%\}", template) is not None


@lru_cache(maxsize=16)
def _compiled(template: str) -> Any:
    import json

    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags: ClassVar[set[str]] = {"generation"}

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            around = [nodes.Output([nodes.Name(name, "load")]) for name in (OPEN, CLOSE)]
            return nodes.Scope([around[0], *body, around[1]]).set_lineno(line)

    def refuse(reason: str) -> None:
        raise TemplateError(reason)

    def plain_json(value: Any, indent: int | None = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    room = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation])
    room.globals["raise_exception"] = refuse
    room.filters["tojson"] = plain_json
    return room.from_string(template)
