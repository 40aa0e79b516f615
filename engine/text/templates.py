"""Which chat template a model is trained with: the one asked for, its own, or, where it has none, one that its tokens allow. No torch.

A base model of another program often has no template. If it has the special tokens of a known form (ChatML, Gemma's), that form is taken;
else a plain one, whose turns are ordinary words and whose answers end with the token that ends a text. A template that writes special
tokens which the tokenizer lacks would be learned as ordinary text in pieces: it is refused by name.
"""

import re
from dataclasses import dataclass

from engine.contract.errors import Mismatch
from engine.contract.words import tr
from engine.text.tokenizer import Tokenizer

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + (message['content'] | trim) + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{% set before = (messages[0]['content'] | trim) + '\\n\\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set before = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\\n' + (before if loop.first else '')"
    " + (message['content'] | trim) + '<end_of_turn>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
PLAIN = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ (message['content'] | trim) + '\\n\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + (message['content'] | trim) + eos_token + '\\n' }}"
    "{% else %}{{ 'User: ' + (message['content'] | trim) + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
KNOWN = (("ChatML", CHATML, ("<|im_start|>", "<|im_end|>")), ("Gemma", GEMMA, ("<start_of_turn>", "<end_of_turn>")))
WRITTEN = re.compile(r"<\|[A-Za-z0-9_]+\|>|<(?:start|end)_of_turn>")
"""What looks like a special token in a template's text."""


@dataclass(frozen=True)
class Chosen:
    """`source` is the template in Jinja; `origin` "asked", "own", "known" (the form `name` that its tokens allow) or "plain"."""

    source: str
    origin: str
    name: str = ""

    @property
    def sentence(self) -> str:
        """For people; "" where the model's own was taken."""
        if self.origin == "known":
            return tr("This model has no chat template; its tokens allow {name}, which is taken.", name=self.name)
        if self.origin == "plain":
            return tr("This model has no chat template and no tokens for turns: turns are written as “User:” and “Assistant:”.")
        return ""


def choose(tokenizer: Tokenizer, asked: str = "") -> Chosen:
    """The template to train with. Mismatch where the tokenizer lacks what it needs."""
    if asked:
        lacking = [name for name in dict.fromkeys(WRITTEN.findall(asked)) if name not in tokenizer.special]
        if lacking:
            raise Mismatch(tr("The chat template writes {token}, which this model's tokenizer does not have as a special token.",
                              token=lacking[0]),
                           tr("Leave the template empty to use one that fits this model, or change its tokens to: {known}.",
                              known=", ".join(list(tokenizer.special)[:12]) or tr("none")), code="template_tokens", field="template")
        return Chosen(asked, "asked")
    if tokenizer.chat_template:
        return Chosen(tokenizer.chat_template, "own")
    for name, source, tokens in KNOWN:
        if all(token in tokenizer.special for token in tokens):
            return Chosen(source, "known", name)
    if tokenizer.eos_id is None:
        raise Mismatch(tr("This model's tokenizer has no token that ends a text, so the model could never learn to end an answer."),
                       tr("Choose another model, or train one with a Fledge tokenizer."), code="no_end_token", field="model")
    return Chosen(PLAIN, "plain")
