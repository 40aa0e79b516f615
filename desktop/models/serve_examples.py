"""What another program needs to talk to the local server: ready lines for a terminal, the openai package, Ollama clients. No Qt."""

import json
from dataclasses import dataclass

HIDDEN = "•" * 12


@dataclass(frozen=True)
class Served:
    """Where the server listens, the token it asks for ("" for none), and a model to show; `chat`: it answers, it does not only continue."""

    url: str
    token: str = ""
    model: str = ""
    chat: bool = False


def curl(served: Served) -> str:
    path, body = ("chat/completions", {"model": served.model, "messages": [{"role": "user", "content": "Hello"}]}) if served.chat else \
        ("completions", {"model": served.model, "prompt": "Once upon a time", "max_tokens": 64})
    lines = [f"curl {served.url}/v1/{path}"]
    if served.token:
        lines.append(f'  -H "Authorization: Bearer {served.token}"')
    lines += ['  -H "Content-Type: application/json"', f"  -d '{json.dumps(body)}'"]
    return " \\\n".join(lines)


def openai(served: Served) -> str:
    ask = f'client.chat.completions.create(model="{served.model}",\n    messages=[{{"role": "user", "content": "Hello"}}])' if served.chat \
        else f'client.completions.create(model="{served.model}",\n    prompt="Once upon a time", max_tokens=64)'
    said = "choices[0].message.content" if served.chat else "choices[0].text"
    return (f'from openai import OpenAI\n\nclient = OpenAI(base_url="{served.url}/v1",\n    api_key="{served.token or "none"}")\n'
            f"answer = {ask}\nprint(answer.{said})")


def ollama(served: Served) -> str:
    key = f',\n    headers={{"Authorization": "Bearer {served.token}"}}' if served.token else ""
    ask = f'client.chat(model="{served.model}",\n    messages=[{{"role": "user", "content": "Hello"}}])' if served.chat else \
        f'client.generate(model="{served.model}",\n    prompt="Once upon a time")'
    said = "message.content" if served.chat else "response"
    return f'from ollama import Client\n\nclient = Client(host="{served.url}"{key})\nanswer = {ask}\nprint(answer.{said})'


def settings(served: Served) -> str:
    """For programs with a form (Open WebUI and others)."""
    return f"{served.url}/v1\n{served.token or 'none'}"
