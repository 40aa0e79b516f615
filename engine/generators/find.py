"""Looks for local models: this project's, Ollama, servers of OpenAI's protocol at the ports they use by default, GGUF files.

For the window: `python -m engine.generators.find PROJECT [--host NAME]` prints them as one JSON array. Only this machine is asked, and a
host that the person confirmed for Ollama; nothing is started.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.generators import gguf_provider, ollama_provider, project_provider
from engine.generators.openai_provider import OpenAIProvider
from engine.generators.provider import Found, Unavailable

SECONDS = 2.0
SERVERS = (("LM Studio", 1234, tr("In LM Studio: Developer, then Start server.")),
           ("llama.cpp", 8080, tr("Start it with: llama-server -m FILE.gguf")),
           ("vLLM", 8000, tr("Start it with: vllm serve MODEL")))
FILES = (("LM Studio", Path("~/.lmstudio/models")), ("llama.cpp", Path("~/.cache/llama.cpp")))


def look(project_dir: Path | None = None, allowed_host: str = "", seconds: float = SECONDS) -> list[Found]:
    """All places in the order of the list above, running or not."""
    places: list[Callable[[], Found]] = [lambda: _project(project_dir)] if project_dir else []
    places.append(lambda: _ollama(allowed_host, seconds))
    places += [lambda at=at: _server(*at, seconds) for at in SERVERS]  # type: ignore[misc]
    places.append(_files)
    with ThreadPoolExecutor(len(places)) as pool:
        return [made.result() for made in [pool.submit(place) for place in places]]


def _project(project_dir: Path) -> Found:
    try:
        models = tuple(project_provider.listed(project_dir))
    except FledgeError as wrong:
        return Found("project", tr("This project"), "", False, (), str(wrong))
    return Found("project", tr("This project"), "", bool(models), models, "" if models else
                 tr("Pretrain or import a model: it needs nothing else installed."))


def _ollama(allowed_host: str, seconds: float) -> Found:
    title, address = tr("Ollama"), ""
    try:
        address = ollama_provider.address(allowed_host)
        with_models = ollama_provider.OllamaProvider("ollama:", "", address, timeout=seconds)
        try:
            models = tuple(with_models.models())
        finally:
            with_models.close()
    except FledgeError as wrong:
        return Found("ollama", title, address, False, (), wrong.remedy or wrong.sentence)
    return Found("ollama", title, address, True, models, "" if models else tr("It runs and has no model: fetch one, llama3.2 say."))


def _server(title: str, port: int, what_to_do: str, seconds: float) -> Found:
    address = f"http://127.0.0.1:{port}/v1"
    provider = OpenAIProvider(f"{address} ", "", address, timeout=seconds)
    try:
        models = tuple(provider.models())
    except Unavailable:
        return Found("openai", title, address, False, (), what_to_do)
    except FledgeError as wrong:
        return Found("openai", title, address, False, (), what_to_do if wrong.code == "no_server" else str(wrong))
    finally:
        provider.close()
    return Found("openai", title, address, True, models, "" if models else tr("It runs and has no model loaded."))


def _files() -> Found:
    files = [(title, file) for title, folder in FILES for file in gguf_provider.cache_files(folder.expanduser())]
    models = tuple(gguf_provider.LocalModel(str(file), f"{file.stem} ({title})", file.stat().st_size) for title, file in files)
    ready = bool(gguf_provider.binding())
    return Found("gguf", tr("GGUF files"), "", ready, models, "" if ready else gguf_provider.how_to_install())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engine.generators.find")
    parser.add_argument("project", type=Path, nargs="?")
    parser.add_argument("--host", default="")
    asked = parser.parse_args(arguments)
    print(json.dumps([dataclasses.asdict(found) for found in look(asked.project, asked.host)], ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
