"""Fetches a model into Ollama, only when the person asks for it: Ollama itself loads it from its library.

For the window: `python -m engine.generators.pull MODEL` prints a JSON object a line: {"status", "done", "total"} bytes while it goes on, at
last {"ok": true}, or {"error", "sentence", "remedy"}. Ending the process ends the fetch; Ollama keeps what it has and goes on from there.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import ollama

from engine.contract.errors import FledgeError, MachineError, Missing, NotFound
from engine.contract.words import tr
from engine.generators import ollama_provider, reach, refusals

SILENCE = 300.0
"""Seconds without a word after which a fetch has failed."""
EVERY = 0.2


@dataclass(frozen=True)
class Fetched:
    """`status` in Ollama's words; `done` of `total` bytes of all layers known so far (0: unknown)."""

    status: str
    done: int = 0
    total: int = 0


def pull(model: str, allowed_host: str = "") -> Iterator[Fetched]:
    """Fetch; the last one has the status "success". Missing (Ollama does not run), NotFound (no such model), MachineError (no network, no
    space)."""
    address = ollama_provider.address(allowed_host)
    client = ollama.Client(address, **reach.settings(SILENCE, reach.key_headers()))
    layers: dict[str, tuple[int, int]] = {}
    told, status = 0.0, ""
    try:
        for part in client.pull(model, stream=True):
            if part.digest and part.total:
                layers[part.digest] = (int(part.completed or 0), int(part.total))
            if part.status != status or time.monotonic() - told > EVERY:
                status, told = part.status or "", time.monotonic()
                yield Fetched(status, sum(d for d, _ in layers.values()), sum(t for _, t in layers.values()))
    except ollama.ResponseError as wrong:
        said = str(wrong.error)
        if wrong.status_code == 404 or "file does not exist" in said or "not found" in said:
            raise NotFound(tr("Ollama's library has no model {model}.", model=model), tr("See ollama.com/library for the names."),
                           code="no_model") from wrong
        raise MachineError(tr("Ollama could not fetch {model}: {reason}", model=model, reason=said[:300]),
                           tr("Check the network and the space on the disk, then try again: it goes on where it was."),
                           code="pull") from wrong
    except (httpx.TransportError, ConnectionError) as wrong:
        lost = refusals.of_transport(wrong, tr("Ollama at {address}", address=address), ollama_provider.what_to_start(address))
        if lost.reason == "gone":
            raise Missing(tr("Ollama does not run at {address}.", address=address), lost.remedy, code="no_server") from wrong
        raise lost from wrong
    except (ValueError, TypeError) as wrong:
        raise refusals.of_form(tr("Ollama"), type(wrong).__name__) from wrong
    finally:
        client._client.close()
    if status != "success":
        raise MachineError(tr("Ollama stopped fetching {model} before its end.", model=model),
                           tr("Try again: it goes on where it was."), code="pull")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engine.generators.pull")
    parser.add_argument("model")
    parser.add_argument("--host", default="")
    asked = parser.parse_args(arguments)
    try:
        for part in pull(asked.model, asked.host):
            print(json.dumps({"status": part.status, "done": part.done, "total": part.total}), flush=True)
    except FledgeError as wrong:
        print(json.dumps({"error": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy}), flush=True)
        return wrong.exit_code
    print(json.dumps({"ok": True}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
