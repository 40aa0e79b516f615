"""OpenAI's protocol beyond plain text: JSON of a schema, embeddings, echo, 32 streams; asked by the unmodified openai package."""

import asyncio
import json
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import openai
import pytest
import torch
from pydantic import BaseModel, ConfigDict, Field

from engine.model.checkpoint import load_model
from engine.project.models import resolve
from engine.project.project import Project
from engine.text.tokenizer import Tokenizer
from tests.serving import ServerProcess

MODEL, PROMPT = "model-1", "The ferry left the quay"
TURNS: Any = [{"role": "user", "content": "When does it leave?"}]


class Sailing(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    port: Literal["north", "south"]
    passengers: int = Field(ge=0, le=400)
    name: str = Field(max_length=6)
    mail: bool
    calls: list[Literal["quay", "bar"]] = Field(max_length=3)


@pytest.fixture
def api(served: ServerProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=served.address.url + "/v1", api_key=served.address.token, max_retries=0)


def folder(served: ServerProcess) -> Path:
    return resolve(Project.open(served.project), MODEL).folder


def schema_format(schema: dict[str, Any]) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_a_random_model_held_to_a_schema_writes_it(api: openai.OpenAI, temperature: float) -> None:
    made = api.chat.completions.create(model=MODEL, messages=TURNS, response_format=schema_format(Sailing.model_json_schema()), n=6,
                                       temperature=temperature, seed=3)
    texts = [choice.message.content or "" for choice in made.choices]
    for choice, text in zip(made.choices, texts, strict=True):
        assert choice.finish_reason == "stop", text
        Sailing.model_validate_json(text)
    assert len(set(texts)) == (1 if temperature == 0 else 6)


def test_the_packages_own_parsing_gives_the_object(api: openai.OpenAI) -> None:
    parsed = api.chat.completions.parse(model=MODEL, messages=TURNS, response_format=Sailing, seed=5).choices[0].message.parsed
    assert isinstance(parsed, Sailing)


def test_a_schema_holds_a_stream_and_a_text_completion_too(api: openai.OpenAI, client: httpx.Client) -> None:
    wanted: Any = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["n"],
                   "additionalProperties": False}
    stream = api.chat.completions.create(model=MODEL, messages=TURNS, response_format=schema_format(wanted), stream=True, seed=1)
    assert 1 <= json.loads("".join(c.choices[0].delta.content or "" for c in stream))["n"] <= 9
    ask = {"model": MODEL, "prompt": PROMPT, "max_tokens": 40, "response_format": schema_format(wanted), "logprobs": 2,
           "repetition_penalty": 1.5, "top_k": 3, "top_p": 0.5}
    made = client.post("/v1/completions", json=ask).json()["choices"][0]
    assert 1 <= json.loads(made["text"])["n"] <= 9
    told = made["logprobs"]["content"]
    assert any(t["rank"] > 2 for t in told), "probabilities stay the model's own: what the schema forbids keeps its place"


def test_json_object_begins_as_one_and_a_full_context_says_length(api: openai.OpenAI) -> None:
    made = api.chat.completions.create(model=MODEL, messages=TURNS, response_format={"type": "json_object"}, max_tokens=12, seed=2)
    assert (made.choices[0].message.content or "").startswith("{")
    if made.choices[0].finish_reason == "stop":
        json.loads(made.choices[0].message.content or "")


@pytest.mark.parametrize(("schema", "words"), [
    ({"$ref": "http://127.0.0.1:1/schema.json"}, "does not fetch"), ({"type": "nonsense"}, "nonsense"),
    ({"$ref": "#"}, "could not be held"), ({"type": "string", "pattern": "(?=a)b"}, "regex"),
    ({"type": "string", "pattern": "("}, "regex"), ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "incompatible"),
    ({"enum": ["x" * 1000 + str(i) for i in range(300)]}, "too long")])
def test_a_schema_that_cannot_be_followed_is_refused(api: openai.OpenAI, schema: dict[str, Any], words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as wrong:
        api.chat.completions.create(model=MODEL, messages=TURNS, response_format=schema_format(schema))
    assert wrong.value.code == "bad_schema" and wrong.value.param == "response_format"


def test_an_embedding_is_the_direction_of_the_mean_of_the_last_hidden_states(api: openai.OpenAI, served: ServerProcess) -> None:
    texts = ["noon", PROMPT, "The captain reported a stiff breeze and a heavy sea outside the bar"]
    made = api.embeddings.create(model=MODEL, input=texts)  # the package asks for base64
    words, model = Tokenizer.load(folder(served)), load_model(folder(served)).eval()
    for text, entry in zip(texts, made.data, strict=True):
        ids = [words.bos_id, *words.encode(text)]
        with torch.no_grad():
            mean = model(torch.tensor([ids]))[0].mean(0).numpy()
        assert entry.embedding == pytest.approx(list(mean / np.linalg.norm(mean)), abs=2e-5)
    assert made.usage.prompt_tokens == sum(1 + len(words.encode(t)) for t in texts)


def test_embeddings_take_ids_dimensions_and_formats(api: openai.OpenAI, served: ServerProcess) -> None:
    words = Tokenizer.load(folder(served))
    ids = [words.bos_id, *words.encode("noon")]
    by_text, by_ids = (api.embeddings.create(model=MODEL, input=i, encoding_format="float").data[0].embedding for i in ("noon", [ids]))
    short = api.embeddings.create(model=MODEL, input="noon", dimensions=8).data[0].embedding
    assert by_text == by_ids and len(by_text) == 32
    assert np.allclose(short, np.array(by_text[:8]) / np.linalg.norm(by_text[:8]), atol=1e-6)
    with pytest.raises(openai.BadRequestError, match="32 numbers"):
        api.embeddings.create(model=MODEL, input="noon", dimensions=33)
    with pytest.raises(openai.BadRequestError, match="this model sees 96") as long:
        api.embeddings.create(model=MODEL, input=PROMPT * 100)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        api.embeddings.create(model="model-9", input="noon")


def test_an_echo_tells_the_prompt_with_its_probabilities(api: openai.OpenAI, served: ServerProcess) -> None:
    made = api.completions.create(model=MODEL, prompt=PROMPT, echo=True, max_tokens=0, logprobs=3).choices[0]
    words, model = Tokenizer.load(folder(served)), load_model(folder(served)).eval()
    ids = [words.bos_id, *words.encode(PROMPT)]
    with torch.no_grad():
        table = model.logits(model(torch.tensor([ids])))[0].log_softmax(-1)
    assert made.text == PROMPT and made.finish_reason == "length" and made.logprobs is not None
    assert made.logprobs.token_logprobs == pytest.approx([float(table[i, id]) for i, id in enumerate(ids[1:])], abs=1e-4)
    assert made.logprobs.text_offset == [sum(len(t) for t in made.logprobs.tokens[:i]) for i in range(len(made.logprobs.tokens))]


def test_an_echo_is_followed_by_what_comes_without_one(api: openai.OpenAI) -> None:
    plain = api.completions.create(model=MODEL, prompt=PROMPT, max_tokens=9, temperature=0)
    for logprobs in (None, 2):
        echoed = api.completions.create(model=MODEL, prompt=PROMPT, max_tokens=9, temperature=0, echo=True, logprobs=logprobs)
        assert echoed.choices[0].text == PROMPT + plain.choices[0].text and echoed.usage == plain.usage
    stream = api.completions.create(model=MODEL, prompt=PROMPT, max_tokens=9, temperature=0, echo=True, stream=True, stop=["quay"])
    assert "".join(part.choices[0].text for part in stream if part.choices).startswith(PROMPT), "stop strings are for what is written"


def test_ids_given_have_no_probability_for_the_first(client: httpx.Client) -> None:
    made = client.post("/v1/completions", json={"model": MODEL, "prompt": [5, 6, 7], "echo": True, "max_tokens": 0, "logprobs": 1})
    assert made.json()["choices"][0]["logprobs"]["token_logprobs"][0] is None


@pytest.mark.parametrize(("path", "body", "field", "words"), [
    ("completions", {"prompt": "a", "temperature": "hot"}, "temperature", 'temperature cannot be "hot". Give a number.'),
    ("completions", {"prompt": "a", "temperature": 11}, "temperature", "The most is 10."),
    ("completions", {"prompt": "a", "n": 1.5}, "n", "Give a whole number."),
    ("completions", {"prompt": "a", "n": 65}, "n", "The most is 64."),
    ("completions", {"prompt": "a", "stream": "yes"}, "stream", "Give true or false."),
    ("completions", {"prompt": {"a": 1}}, "prompt", "Give a text, a list of texts, or token ids."),
    ("completions", {"prompt": "a", "stop": [""]}, "stop", 'stop[0] cannot be "".'),
    ("completions", {"prompt": "a", "max_tokens": 0}, "max_tokens", "The least is 1."),
    ("completions", {"prompt": "a", "response_format": {"type": "xml"}}, "response_format", 'Choose "text", "json_object" or "json_'),
    ("completions", {"prompt": "a", "response_format": {"type": "json_schema"}}, "response_format", "json_schema is missing"),
    ("chat/completions", {"messages": [{"role": "oracle", "content": "x"}]}, "messages", 'messages[0].role cannot be "oracle".'),
    ("chat/completions", {"messages": [{"role": "user"}]}, "messages", "messages[0].content is missing."),
    ("chat/completions", {"messages": []}, "messages", "Give a list of turns"),
    ("chat/completions", {"messages": TURNS, "top_logprobs": 21}, "top_logprobs", "The most is 20."),
    ("chat/completions", {"messages": TURNS, "tools": [{"type": "function"}]}, "tools", "This server does not do tools."),
    ("embeddings", {"input": 5}, "input", "input cannot be 5."), ("embeddings", {"input": []}, "input", "input is empty."),
    ("embeddings", {"input": "a", "dimensions": 0}, "dimensions", "The least is 1.")])
def test_mistakes_are_told_in_our_own_words(client: httpx.Client, path: str, body: dict[str, Any], field: str, words: str) -> None:
    reply = client.post(f"/v1/{path}", json={"model": MODEL, **body})
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["param"] == field and words in error["message"]
    for foreign in ("should be", "Input", "validation", "pydantic"):
        assert foreign not in error["message"]


def test_thirty_two_streams_at_once_lose_nothing(served: ServerProcess) -> None:
    """Each brings as many tokens as the server says it sent, with an end, and what it brings alone."""
    async def streamed(api: openai.AsyncOpenAI, seed: int) -> tuple[str, int, int, str]:
        parts = await api.completions.create(model=MODEL, prompt=f"{PROMPT} {seed}", max_tokens=40, seed=seed, logprobs=0, stream=True)
        text, came, told, reason = "", 0, -1, ""
        async for part in parts:
            for choice in part.choices:
                text, reason = text + choice.text, choice.finish_reason or reason
                came += sum(t["id"] >= 0 for t in choice.logprobs.model_extra["content"]) if choice.logprobs else 0
            told = ((part.model_extra or {}).get("fledge") or {"completion_tokens": [told]})["completion_tokens"][0]
        return text, came, told, reason

    async def both() -> tuple[list[Any], list[Any]]:
        async with openai.AsyncOpenAI(base_url=served.address.url + "/v1", api_key=served.address.token, max_retries=0) as api:
            together = await asyncio.gather(*(streamed(api, seed) for seed in range(32)))
            return list(together), [await streamed(api, seed) for seed in range(32)]
    together, alone = asyncio.run(both())
    assert all(came == told and reason == ("length" if came == 40 else "stop") for _, came, told, reason in together)
    # These sharp weights magnify the rounding that differs with the size of a batch: one draw in some thousands may fall the other way.
    assert sum(a == b for a, b in zip(together, alone, strict=True)) >= 29 and len({text for text, *_ in together}) > 25
