"""How the local server holds up: `python -m tests.benchmarks.serve_load`. One stream, then 32 at once, through the real server process.

A 10M-parameter Llama shape with random weights and 8,192 tokens, three of which end a text. What every stream brought is compared with
what the server says it sent, and every eighth with the same request asked alone: nothing lost, nothing changed. Then: the longest silence
of a stream while another client sends a prompt as long as the context, how soon the slots of 16 clients that vanish are free, and `n`
completions of one prompt beside one. Ends with one line of figures.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import torch

from engine.model.checkpoint import save_weights
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.project.project import Project
from engine.text import bpe
from tests.serving import TEXT, ServerProcess

CONTEXT = 2048
MODEL = "model-1"


def make_project(folder: Path) -> Project:
    """`model-1`: 10M random parameters. The tokenizer knows a few hundred of the model's tokens; the others have no text."""
    config = ModelConfig(vocab_size=8192, hidden_size=320, num_layers=6, num_heads=5, num_kv_heads=5, head_dim=64, intermediate_size=864,
                         max_seq_len=CONTEXT)
    project = Project.create(folder, "Load")
    with project.artifacts.create("model", title="random") as made:
        model = Decoder(config, seed=0)
        with torch.no_grad():
            model.embed.weight.mul_(2.5)  # wide enough apart that the likeliest token is clear
        save_weights(made.path, model)
        bpe.train([TEXT], 400).save(made.path)
        made.finish(step=0)
    return project


class Stream:
    """One streamed completion: its token ids and when each part came."""

    def __init__(self, seed: int, tokens: int, prompt: list[int] | None = None) -> None:
        self.body: dict[str, Any] = {"model": MODEL, "prompt": prompt or [300 + (seed * 37 + i) % 90 for i in range(32)],
                                     "max_tokens": tokens, "seed": seed, "stream": True, "logprobs": 0, "temperature": 1.0}
        self.ids: list[int] = []
        self.times: list[float] = []
        self.reason = ""
        self.told = -1

    async def run(self, http: httpx.AsyncClient) -> "Stream":
        parts: list[tuple[float, str]] = []
        async with http.stream("POST", "/v1/completions", json=self.body) as reply:
            assert reply.status_code == 200, await reply.aread()
            async for line in reply.aiter_lines():
                if line:
                    parts.append((time.perf_counter(), line))
        assert parts.pop()[1] == "data: [DONE]", "the stream was cut"
        for when, line in parts:  # parsed afterwards: the client shares the processor with the server
            for choice in json.loads(line[6:])["choices"]:
                self.ids += [t["id"] for t in (choice["logprobs"] or {}).get("content", []) if t["id"] >= 0]
                self.reason = choice["finish_reason"] or self.reason
            if "fledge" in line:
                self.told = json.loads(line[6:])["fledge"]["completion_tokens"][0]
            self.times.append(when)
        return self

    @property
    def lost(self) -> bool:
        """Whether fewer or more tokens came than the server sent, or no end."""
        return len(self.ids) != self.told or not (self.reason == "stop" or len(self.ids) == self.body["max_tokens"])


async def together(http: httpx.AsyncClient, streams: list[Stream]) -> float:
    """Seconds for all of them."""
    began = time.perf_counter()
    await asyncio.gather(*(stream.run(http) for stream in streams))
    return time.perf_counter() - began


async def idle(http: httpx.AsyncClient) -> float:
    """Seconds until nobody is being answered."""
    began = time.perf_counter()
    while (health := (await http.get("/health")).json())["active"] or health["waiting"]:
        await asyncio.sleep(0.005)
    return time.perf_counter() - began


async def measure(http: httpx.AsyncClient, count: int, tokens: int, rounds: int) -> None:
    await together(http, [Stream(0, 8)])  # loads the model
    one, many = [], []
    for turn in range(rounds):
        first = Stream(turn, tokens)
        seconds = await together(http, [first])
        one.append(len(first.ids) / seconds)
        streams = [Stream(seed, tokens) for seed in range(count)]
        seconds = await together(http, streams)
        many.append(sum(len(s.ids) for s in streams) / seconds)
    lost = sum(s.lost for s in streams)
    alone = [await Stream(seed, tokens).run(http) for seed in range(0, count, 8)]
    changed = sum(streams[seed].ids != s.ids for seed, s in zip(range(0, count, 8), alone, strict=True))
    single, aggregate = statistics.median(one), statistics.median(many)
    print(f"one stream {single:,.0f} tokens/s, {count} streams {aggregate:,.0f} tokens/s together: {aggregate / single:.2f} times; "
          f"lost or cut {lost} of {count}, other tokens than alone {changed} of {len(alone)}", flush=True)

    talker = Stream(1, 400)
    talking = asyncio.create_task(talker.run(http))
    await asyncio.sleep(0.4)
    sent = time.perf_counter()
    await Stream(2, 1, [300 + i % 90 for i in range(CONTEXT - 8)]).run(http)
    long = time.perf_counter() - sent
    await talking
    gaps = [b - a for a, b in zip(talker.times, talker.times[1:], strict=False)]
    print(f"a prompt of {CONTEXT - 8:,} tokens took {long:.2f} s beside a stream whose longest silence was {1000 * max(gaps):.0f} ms "
          f"(median {1000 * statistics.median(gaps):.0f})", flush=True)

    tasks = [asyncio.create_task(Stream(seed, 1500).run(http)) for seed in range(16)]
    await asyncio.sleep(0.6)
    busy = (await http.get("/health")).json()["active"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(f"{busy} clients vanished: their slots were free after {1000 * await idle(http):.0f} ms", flush=True)

    long_prompt = [300 + i % 90 for i in range(1024)]
    body: dict[str, Any] = {"model": MODEL, "prompt": long_prompt, "max_tokens": 1}
    seconds = []
    for n in (1, 8):
        began = time.perf_counter()
        assert (await http.post("/v1/completions", json={**body, "n": n})).status_code == 200
        seconds.append(time.perf_counter() - began)
    print(f"a prompt of 1,024 tokens: n=1 {seconds[0]:.2f} s, n=8 {seconds[1]:.2f} s", flush=True)
    print(f"figures: single {single:.0f} aggregate {aggregate:.0f} ratio {aggregate / single:.2f} lost {lost} changed {changed} "
          f"silence_ms {1000 * max(gaps):.0f}", flush=True)
    assert not lost and not changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()

    async def run() -> None:
        limits = httpx.Limits(max_connections=chosen.streams + 8, max_keepalive_connections=chosen.streams + 8)
        async with httpx.AsyncClient(base_url=server.address.url, headers=server.address.headers, timeout=300, limits=limits) as http:
            await measure(http, chosen.streams, chosen.tokens, chosen.rounds)
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(make_project(Path(folder) / "project").dir)
        try:
            asyncio.run(run())
        finally:
            server.stop()


if __name__ == "__main__":
    main()
