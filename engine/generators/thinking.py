"""What a model thought before it answered, told apart from the answer: servers name it beside, or leave it in the text between marks.

Halves of characters, which models write and no file can hold, become the replacement character, also where JSON spells them."""

import re

_MARKED = re.compile(r"\s*<(think|thinking|thought|reasoning)>(.*?)</\1>\s*", re.DOTALL)
_OPEN = re.compile(r"\s*<(think|thinking|thought|reasoning)>(.*)\Z", re.DOTALL)
_CLOSED = re.compile(r"\A((?:(?!<think).)*?)</(think|thinking)>\s*", re.DOTALL)
_HALF = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}")


def whole(text: str) -> str:
    return _HALF.sub(r"\\ufffd", text.encode("utf-8", "replace").decode())


def parted(text: str, beside: str, think: str) -> tuple[str, str]:
    """(answer, thinking). `beside` is what the server told apart. The answer never holds it; unless `think` is "keep" it is let go."""
    text = whole(text)
    thinking, answer = whole(beside).strip(), text
    if not thinking:
        if found := _MARKED.match(text):
            thinking, answer = found[2].strip(), text[found.end():]
        elif found := _CLOSED.match(text):  # the chat template had opened it
            thinking, answer = found[1].strip(), text[found.end():]
        elif found := _OPEN.match(text):  # it never came to an end
            thinking, answer = found[2].strip(), ""
    return answer, thinking if think == "keep" else ""
