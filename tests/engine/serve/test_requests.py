"""What clients may ask: read, checked, refused by name."""

import json

import pytest

from engine.contract.errors import SettingError
from engine.serve.requests import ChatRequest, CompletionRequest, parse


def completion(**fields: object) -> CompletionRequest:
    return parse(CompletionRequest, json.dumps({"model": "m", "prompt": "p", **fields}).encode())


def test_defaults_are_those_of_the_protocol() -> None:
    made = completion()
    assert (made.temperature, made.top_p, made.n, made.stream, made.max_tokens, made.stop) == (1.0, 1.0, 1, False, None, [])
    assert made.choices_wanted == -1 and made.seed is None and made.seed_or_fresh() != completion().seed_or_fresh()


def test_null_means_the_default() -> None:
    made = completion(temperature=None, top_p=None, top_k=None, n=None, stream=None, stop=None, max_tokens=None, logprobs=None, seed=None)
    assert made == completion()


@pytest.mark.parametrize(("prompt", "prompts"), [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]]),
                                                 ([], [])])
def test_prompts_in_their_four_forms(prompt: object, prompts: list[object]) -> None:
    assert completion(prompt=prompt).prompts() == prompts


def test_seeds_of_any_sign_become_usable() -> None:
    assert completion(seed=-1).seed_or_fresh() == 2**31 - 1 and completion(seed=2**31 + 5).seed_or_fresh() == 5


def test_probabilities_are_asked_for_in_three_ways() -> None:
    assert completion(logprobs=True).choices_wanted == 5 and completion(logprobs=0).choices_wanted == 0
    chat = {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}
    made = parse(ChatRequest, json.dumps({**chat, "logprobs": True, "top_logprobs": 3}).encode())
    assert made.choices_wanted == 3 and made.messages[0].text == "ab"
    assert parse(ChatRequest, json.dumps({**chat, "top_logprobs": 3}).encode()).choices_wanted == -1


@pytest.mark.parametrize(("fields", "code", "field"), [
    ({"temprature": 1}, "unknown_parameter", "temprature"), ({"best_of": 3}, "unsupported_parameter", "best_of"),
    ({"logit_bias": {"5": 1}}, "unsupported_parameter", "logit_bias"), ({"temperature": "hot"}, "bad_parameter", "temperature"),
    ({"logprobs": 6}, "bad_parameter", "logprobs"), ({"stop": [""]}, "bad_parameter", "stop"), ({"seed": 2**70}, "bad_parameter", "seed"),
    ({"temperature": float("nan")}, "bad_parameter", "temperature")])
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, object], code: str, field: str) -> None:
    with pytest.raises(SettingError) as wrong:
        completion(**fields)
    assert (wrong.value.code, wrong.value.field) == (code, field) and wrong.value.remedy


def test_a_role_nobody_has_is_refused() -> None:
    with pytest.raises(SettingError) as wrong:
        parse(ChatRequest, b'{"model": "m", "messages": [{"role": "oracle", "content": "x"}]}')
    assert wrong.value.field == "messages"
