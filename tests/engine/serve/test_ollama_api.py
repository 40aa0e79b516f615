"""Ollama's protocol, asked by the unmodified ollama package and by plain HTTP."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import ollama
import pytest

from engine.contract.errors import SettingError
from engine.serve.ollama_requests import duration
from tests.serving import CONTEXT, ServerProcess

MODEL, BASE = "model-1", "1-pretrain@20"
TURNS = [{"role": "user", "content": "When does the ferry leave?"}]
FEW = {"num_predict": 8, "seed": 4}


@pytest.fixture
def api(served: ServerProcess) -> ollama.Client:
    return ollama.Client(host=served.address.url, headers=served.address.headers)


def test_models_are_listed_and_shown(api: ollama.Client) -> None:
    models = {m.model: m for m in api.list().models}
    assert set(models) == {"model-1:latest", "1-pretrain@20:latest", "1-pretrain@0:latest"}
    entry = models["model-1:latest"]
    assert len(entry.digest or "") == 64 and (entry.size or 0) > 100_000 and entry.modified_at is not None and entry.details is not None
    for name in (MODEL, "model-1:latest"):
        shown = api.show(name)
        assert shown.modelinfo is not None and shown.details is not None
        assert shown.modelinfo["llama.context_length"] == CONTEXT and shown.modelinfo["general.architecture"] == shown.details.family
        assert shown.capabilities == ["completion"] and "num_ctx 96" in (shown.parameters or "") and "messages" in (shown.template or "")


def test_a_chat_in_one_piece_and_streamed(api: ollama.Client) -> None:
    whole = api.chat(MODEL, TURNS, options=FEW)
    parts = list(api.chat("model-1:latest", TURNS, options=FEW, stream=True))
    assert "".join(p.message.content or "" for p in parts) == whole.message.content != ""
    # On a busy machine tokens that wait together leave together: how many parts there are is not promised.
    assert [p.done for p in parts] == [False] * (len(parts) - 1) + [True] and len(parts) > 1
    for end in (whole, parts[-1]):
        assert (end.done_reason, end.eval_count) == ("length", 8) and (end.prompt_eval_count or 0) > 3
        assert (end.total_duration or 0) >= (end.eval_duration or 0) > 0 and (end.prompt_eval_duration or 0) > 0
        assert end.load_duration is not None and end.created_at is not None


def test_what_is_asked_for_equals_openais_way(api: ollama.Client, client: httpx.Client) -> None:
    options = {"temperature": 0.7, "top_k": 9, "top_p": 0.8, "repeat_penalty": 1.3, "seed": 11, "num_predict": 20, "stop": ["zzz"]}
    ours = client.post("/v1/chat/completions", json={"model": MODEL, "messages": TURNS, "temperature": 0.7, "top_k": 9, "top_p": 0.8,
                                                     "repetition_penalty": 1.3, "seed": 11, "max_tokens": 20, "stop": ["zzz"]}).json()
    assert api.chat(MODEL, TURNS, options=options).message.content == ours["choices"][0]["message"]["content"]
    plain = client.post("/v1/completions", json={"model": BASE, "prompt": "The ferry", "temperature": 0, "max_tokens": 9}).json()
    for raw in (True, False):  # a base model continues
        assert api.generate(BASE, "The ferry", raw=raw, options={"temperature": 0, "num_predict": 9, "repeat_penalty": 1}).response == \
            plain["choices"][0]["text"]


def test_stop_strings_and_context_bound_the_text(api: ollama.Client) -> None:
    full = api.generate(MODEL, "The ferry", options={"seed": 3, "num_predict": 30}).response
    stop = full[6:8]
    cut = api.generate(MODEL, "The ferry", options={"seed": 3, "num_predict": 30, "stop": [stop]})
    assert cut.response == full[:full.index(stop)] and cut.done_reason == "stop"
    small = api.generate(MODEL, "The ferry", options={"seed": 3, "num_ctx": 12})
    assert (small.prompt_eval_count or 0) + (small.eval_count or 0) <= 12
    large = api.generate(MODEL, "The ferry", options={"seed": 3, "num_ctx": 1_000_000, "num_predict": -1})
    assert (large.prompt_eval_count or 0) + (large.eval_count or 0) <= CONTEXT


def test_an_answer_is_gone_on_from(api: ollama.Client) -> None:
    greedy = {"temperature": 0, "num_predict": 6, "repeat_penalty": 1}
    first = api.generate(BASE, "The ferry", options=greedy)
    assert first.context is not None
    second = api.generate(BASE, "", context=first.context, options=greedy)
    at_once = api.generate(BASE, "The ferry", options={**greedy, "num_predict": 12})
    assert second.context == at_once.context and at_once.context[:len(first.context)] == first.context
    other = api.generate(BASE, " and", context=first.context, options=greedy)
    assert (other.prompt_eval_count or 0) > len(first.context) and "context" not in api.generate(BASE, "x", raw=True, options=greedy)


def test_json_and_schemas_are_kept_to(api: ollama.Client) -> None:
    fields = {"port": {"enum": ["north", "south"]}, "n": {"type": "integer", "minimum": 0, "maximum": 50}}
    schema: Any = {"type": "object", "properties": fields, "required": ["port", "n"], "additionalProperties": False}
    for seed in range(4):
        made = json.loads(api.chat(MODEL, TURNS, format=schema, options={"seed": seed}).message.content or "")
        assert made["port"] in ("north", "south") and 0 <= made["n"] <= 50 and len(made) == 2
    assert api.generate(MODEL, "x", format="json", options={"num_predict": 5}).response.startswith("{")


def test_probabilities_come_when_asked_for(api: ollama.Client) -> None:
    made = api.chat(MODEL, TURNS, options=FEW, logprobs=True, top_logprobs=3)
    assert made.logprobs is not None and len(made.logprobs) == 8
    assert all(t.logprob <= 0 and len(t.top_logprobs or ()) == 3 for t in made.logprobs)


def test_texts_become_vectors_of_length_one(api: ollama.Client, client: httpx.Client) -> None:
    made = api.embed(MODEL, ["noon", "The captain"])
    assert [round(sum(x * x for x in v), 4) for v in made.embeddings] == [1.0, 1.0]
    theirs = client.post("/v1/embeddings", json={"model": MODEL, "input": "noon"}).json()["data"][0]["embedding"]
    assert list(made.embeddings[0]) == pytest.approx(theirs, abs=1e-6) == list(api.embeddings(MODEL, "noon").embedding)
    assert len(api.embed(MODEL, "noon", dimensions=5).embeddings[0]) == 5
    assert api.embed(MODEL, "noon " * 500).prompt_eval_count == CONTEXT, "too long a text is cut unless told otherwise"
    with pytest.raises(ollama.ResponseError, match="sees 96"):
        api.embed(MODEL, "noon " * 500, truncate=False)


def test_a_model_is_loaded_kept_and_let_go(api: ollama.Client) -> None:
    name = "1-pretrain@0"
    assert api.generate(name, keep_alive="-1m").done_reason == "load"
    held = {m.model: m for m in api.ps().models}
    entry = held[f"{name}:latest"]
    assert (entry.size or 0) > 0 and entry.size_vram == 0 and entry.context_length == CONTEXT
    assert entry.expires_at is not None and entry.expires_at.timestamp() > time.time() + 365 * 86400
    assert api.generate(name, keep_alive=0).done_reason == "unload"
    until = time.monotonic() + 10
    while f"{name}:latest" in {m.model for m in api.ps().models}:
        assert time.monotonic() < until
        time.sleep(0.05)
    api.chat(name, TURNS, options=FEW, keep_alive=0.3)
    while f"{name}:latest" in {m.model for m in api.ps().models}:
        assert time.monotonic() < until + 10
        time.sleep(0.05)


ASKS: list[tuple[Callable[[ollama.Client], Any], int, str]] = [
    (lambda api: api.chat("nope", TURNS), 404, "There is no model called nope"),
    (lambda api: api.show("nope"), 404, "It has: model-1"),
    (lambda api: api.chat(MODEL, [{"role": "user", "content": "Hello " * 500}]), 400, "this model sees 96"),
    (lambda api: api.pull("llama3"), 501, "makes, fetches and removes no models"),
    (lambda api: api.delete(MODEL), 501, "makes, fetches and removes no models"),
    (lambda api: api.generate(MODEL, "a", images=[b"abc"]), 400, "does not do images"),
    (lambda api: api.generate(MODEL, "a", suffix="b"), 400, "does not do suffix"),
    (lambda api: api.chat(MODEL, TURNS, think=True), 400, "does not do think"),
    (lambda api: api.chat(MODEL, TURNS, tools=[{"type": "function", "function": {"name": "f"}}]), 400, "does not do tools"),
    (lambda api: api.generate(MODEL, "a", options={"mirostat": 2}), 400, "does not do mirostat"),
    (lambda api: api.generate(MODEL, "a", options={"weird": 2}), 400, "no option called weird"),
    (lambda api: api.generate(MODEL, "a", options={"temperature": "hot"}), 400, 'options.temperature cannot be "hot". Give a number.'),
    (lambda api: api.generate(MODEL, "a", keep_alive="soon"), 400, "no length of time"),
    (lambda api: api.chat(MODEL, TURNS, format={"type": "nonsense"}), 400, "schema cannot be followed"),
]


@pytest.mark.parametrize(("ask", "status", "words"), ASKS)
def test_mistakes_come_in_ollamas_form(api: ollama.Client, ask: Callable[[ollama.Client], Any], status: int, words: str) -> None:
    with pytest.raises(ollama.ResponseError) as wrong:
        ask(api)
    assert wrong.value.status_code == status and words in wrong.value.error and not wrong.value.error.startswith("{")


def test_streams_tell_mistakes_before_they_begin(api: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as wrong:
        list(api.chat("nope", TURNS, stream=True))
    assert wrong.value.status_code == 404


def test_options_that_change_nothing_are_accepted(api: ollama.Client) -> None:
    off = {"num_thread": 4, "num_gpu": 99, "use_mmap": True, "mirostat": 0, "min_p": 0, "repeat_last_n": 64}
    assert api.generate(MODEL, "a", options={**FEW, **off}).response == api.generate(MODEL, "a", options=FEW).response


def test_bad_json_missing_models_and_probes(client: httpx.Client, served: ServerProcess) -> None:
    assert client.post("/api/chat", content=b"{").json()["error"].startswith("The request is not valid JSON")
    assert client.post("/api/chat", json={"messages": TURNS}).json()["error"] == "model is missing. Add it to the request."
    assert client.get("/api/version").json()["version"].count(".") == 2
    assert client.get("/api/nothing").status_code == 404 and isinstance(client.get("/api/nothing").json()["error"], str)
    bare = httpx.get(served.address.url + "/")
    assert bare.status_code == 200 and "running" in bare.text and httpx.head(served.address.url + "/").status_code == 200
    refused = httpx.get(served.address.url + "/api/tags")
    assert refused.status_code == 401 and isinstance(refused.json()["error"], str)


def test_curl_as_documented_streams_lines(client: httpx.Client) -> None:
    """No content type, `stream` not said: as in the examples of Ollama's documentation."""
    with client.stream("POST", "/api/generate", content=json.dumps({"model": MODEL, "prompt": "Why?", "options": FEW})) as reply:
        assert reply.headers["content-type"].startswith("application/x-ndjson")
        lines = [json.loads(line) for line in reply.iter_lines()]
    assert [x["done"] for x in lines] == [False] * (len(lines) - 1) + [True] and "response" in lines[0]


@pytest.mark.parametrize(("text", "seconds"), [(5, 5), ("5m", 300), ("1h30m", 5400), ("-1", -1), (-1, -1), ("-1m", -60), ("0", 0),
                                               ("300ms", 0.3), ("1.5h", 5400)])
def test_lengths_of_time(text: Any, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 m", "m", "5x", "1h30"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(SettingError):
        duration(text)
