"""/v1/score: log-probabilities as a plain forward pass gives them."""

import math
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from engine.contract.rows import Message
from engine.model.checkpoint import load_model
from engine.model.reward_model import RewardFacts, RewardHead, RewardModel, save_reward
from engine.model.scorer import Scorer
from engine.project.models import resolve
from engine.project.project import Project
from engine.text.tokenizer import Tokenizer
from tests.serving import CONTEXT, ServerProcess

MODEL, PROMPT = "model-1", "The ferry left the quay"


@pytest.fixture(scope="module")
def known(served: ServerProcess) -> tuple[Tokenizer, Any]:
    folder = resolve(Project.open(served.project), MODEL).folder
    return Tokenizer.load(folder), load_model(folder).eval()


def direct(model: Any, ids: list[int], start: int) -> list[float]:
    with torch.no_grad():
        table = model.logits(model(torch.tensor([ids])))[0].log_softmax(-1)
    return [float(table[i - 1, ids[i]]) for i in range(start, len(ids))]


def score(client: httpx.Client, *items: Any, **fields: Any) -> dict[str, Any]:
    reply = client.post("/v1/score", json={"model": MODEL, "input": list(items), **fields})
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_texts_prompts_and_conversations_are_scored(client: httpx.Client, known: tuple[Tokenizer, Any]) -> None:
    words, model = known
    turns = [{"role": "user", "content": "When does it leave?"}]
    made = score(client, PROMPT, {"prompt": "The ferry", "completion": " left the quay"}, {"prompt": "The ferry", "completion": " left",
                 "end": True}, {"messages": turns, "completion": "At noon", "end": True}, [9, 8, 7],
                 {"prompt": [words.bos_id, 5], "completion": [6, 7]})
    bos, encode = [words.bos_id], words.encode
    before = encode("The ferry")
    wanted = [([*bos, *encode(PROMPT)], 1), ([*bos, *before, *encode(" left the quay")], 1 + len(before)),
              ([*bos, *before, *encode(" left"), words.eos_id], 1 + len(before)),
              ([*words.encode_chat(turns), *encode("At noon"), words.end_id], len(words.encode_chat(turns))), ([9, 8, 7], 1),
              ([words.bos_id, 5, 6, 7], 2)]
    for entry, (ids, start) in zip(made["data"], wanted, strict=True):
        logprobs = direct(model, ids, start)
        told = [x for x in entry["token_logprobs"] if x is not None]
        assert told == pytest.approx(logprobs, abs=2e-4) and entry["count"] == len(logprobs)
        assert entry["logprob"] == pytest.approx(sum(logprobs), abs=1e-3)
        assert [i for i, x in zip(entry["ids"], entry["token_logprobs"], strict=True) if x is not None] == ids[start:]
    assert made["data"][4]["token_logprobs"][0] is None, "before the first id given stands nothing"
    first, ended = made["data"][0], made["data"][2]
    assert first["bytes"] == len(PROMPT) and "".join(first["text"]) == PROMPT and ended["bytes"] == len(" left")
    assert first["bits_per_byte"] == pytest.approx(-first["logprob"] / math.log(2) / len(PROMPT))
    assert made["usage"]["prompt_tokens"] == sum(len(ids) for ids, _ in wanted)


def test_many_texts_of_all_lengths_in_one_request(client: httpx.Client, known: tuple[Tokenizer, Any]) -> None:
    words, model = known
    whole = words.encode(PROMPT * 30)
    lists = [whole[i % 7: i % 7 + 1 + (i * 13) % (CONTEXT - 1)] for i in range(150)]
    made = score(client, *lists)["data"]
    assert [e["index"] for e in made] == list(range(150))
    for entry, ids in list(zip(made, lists, strict=True))[::10]:
        assert entry["token_logprobs"][1:] == pytest.approx(direct(model, ids, 1), abs=5e-4)


def test_sums_alone_when_tokens_are_not_wanted(client: httpx.Client) -> None:
    made = score(client, PROMPT, tokens=False)["data"][0]
    assert "token_logprobs" not in made and made["logprob"] == score(client, PROMPT)["data"][0]["logprob"]


@pytest.fixture(scope="module")
def taste(served: ServerProcess) -> Path:
    """A reward model in the server's project, made while it runs."""
    project = Project.open(served.project)
    base = resolve(project, MODEL).folder
    decoder = load_model(base)
    with project.artifacts.create("reward_model", title="Taste") as writer:
        save_reward(writer.path, RewardModel(decoder, RewardHead(decoder.config.hidden_size, seed=4)), RewardFacts(0.3, 0.7, "own"))
        Tokenizer.load(base).save(writer.path)
        return writer.finish().path


def test_answers_are_rewarded_as_each_is_alone(client: httpx.Client, taste: Path) -> None:
    turns = [{"role": "user", "content": "When does it leave?"}]
    items = [{"messages": turns, "completion": "At noon"}, {"messages": turns, "completion": "At seven on Tuesday morning"},
             {"prompt": "The mail?", "completion": "On the quay"}] * 5
    reply = client.post("/v1/score", json={"model": taste.name, "kind": "reward", "input": items})
    assert reply.status_code == 200, reply.text
    scorer = Scorer(taste)
    for entry, item in zip(reply.json()["data"], items, strict=True):
        asked = item["messages"][0]["content"] if "messages" in item else item["prompt"]
        alone = scorer.score([(Message(role="user", content=asked), Message(role="assistant", content=item["completion"]))])[0]
        assert entry["reward"] == pytest.approx(alone, abs=1e-4) and entry["normalised"] == pytest.approx((alone - 0.3) / 0.7, abs=2e-4)


@pytest.mark.parametrize(("path", "body", "status", "words"), [
    ("/v1/score", {"kind": "reward", "input": ["At noon"]}, 400, "needs messages"),
    ("/v1/score", {"kind": "reward", "input": [{"prompt": "When?", "completion": [1, 2]}]}, 400, "needs messages"),
    ("/v1/completions", {"prompt": "The"}, 404, "no model called")])
def test_a_reward_model_scores_answers_and_nothing_else(client: httpx.Client, taste: Path, path: str, body: dict[str, Any], status: int,
                                                        words: str) -> None:
    reply = client.post(path, json={"model": taste.name, **body})
    assert reply.status_code == status and words in reply.json()["error"]["message"], reply.text


@pytest.mark.parametrize(("fields", "code", "words"), [
    ({"input": [{"prompt": "a", "completion": "b"}], "kind": "reward"}, "no_reward_model", "gives no rewards"),
    ({"input": "a", "kind": "taste"}, "bad_parameter", 'Choose "logprob" or "reward".'),
    ({"input": []}, "bad_parameter", "input is empty"), ({"input": [{"completion": "a"}]}, "bad_parameter", "either a prompt or messages"),
    ({"input": [{"prompt": "a"}]}, "bad_parameter", "a prompt or messages, and a completion"),
    ({"input": [{"prompt": "a", "completion": ""}]}, "bad_parameter", "empty"), ({"input": [[99_999]]}, "bad_parameter", "no token 99999"),
    ({"input": [PROMPT * 100]}, "context_length_exceeded", "sees 96")])
def test_what_cannot_be_scored_is_refused(client: httpx.Client, fields: dict[str, Any], code: str, words: str) -> None:
    reply = client.post("/v1/score", json={"model": MODEL, **fields})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, code) and words in reply.json()["error"]["message"]


def test_a_text_that_fills_the_context_is_scored(client: httpx.Client) -> None:
    assert score(client, [7] * CONTEXT)["data"][0]["count"] == CONTEXT - 1
