"""Each provider against servers that answer well, badly and not at all: typed errors in plain words, fall-backs said once."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.contract.errors import FledgeError, FormatError, MachineError, Missing, NotFound, OutOfMemory
from engine.contract.events import Notice
from engine.contract.rows import Message
from engine.generators import provider, pull, refusals
from engine.generators.provider import Ask, Provider, TooLong, Unavailable
from engine.generators.thinking import parted, whole
from tests.engine.generators.servers import Hostile, hostile

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def ask(schema: dict[str, Any] | None = None, text: str = "Hello?") -> Ask:
    return Ask((Message(role="system", content="Be short."), Message(role="user", content=text)), 9, 0.3, 7, schema, ("\n\n",))


def made(kind: str, server: Hostile, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Provider:
    if kind == "ollama":
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        return provider.of("ollama:tiny", **settings)
    return provider.of(server.name, **settings)


both = pytest.mark.parametrize("kind", ["openai", "ollama"])


def test_openai_is_asked_with_everything_that_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_GENERATOR_KEY", "sesame")
    with hostile(lambda n, body: '{"a": "b"}') as server:
        asked = provider.of(server.name)
        asked.check()
        reply = asked.ask(ask(SCHEMA))
        asked.close()
    body = server.bodies[0]
    assert (reply.text, reply.tokens_in, reply.tokens_out, reply.finish, reply.model) == ('{"a": "b"}', 7, 3, "stop", server.name)
    assert body["messages"][0] == {"role": "system", "content": "Be short."} and body["stop"] == ["\n\n"]
    assert (body["max_tokens"], body["temperature"], body["seed"], body["model"]) == (9, 0.3, 7, "tiny")
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA and body["chat_template_kwargs"] == {"enable_thinking": False}
    assert server.headers[0]["authorization"] == "Bearer sesame"


def test_ollama_is_asked_with_everything_that_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(lambda n, body: '{"a": "b"}') as server:
        asked = made("ollama", server, monkeypatch, context=2048)
        asked.check()
        assert asked.ask(ask(SCHEMA)).text == '{"a": "b"}'
        assert [m.name for m in asked.models()] == ["tiny"]
        asked.close()
    body = server.bodies[0]
    assert body["options"] == {"temperature": 0.3, "seed": 7, "num_ctx": 2048, "num_predict": 9, "stop": ["\n\n"]}
    assert body["format"] == SCHEMA and body["think"] is False and body["keep_alive"] and body["stream"] is False


def test_a_server_without_schemas_is_asked_in_words_and_that_is_said_once() -> None:
    said: list[Notice] = []

    def script(number: int, body: dict[str, Any]) -> Any:
        refused = "response_format" in body
        return ("status", 400, {}, {"error": "unsupported field response_format"}) if refused else '{"a": "c"}'
    with hostile(script) as server:
        asked = provider.of(server.name, tell=said.append)
        assert asked.ask(ask(SCHEMA)).text == '{"a": "c"}' == asked.ask(ask(SCHEMA)).text
        assert server.asks == 3  # the second one knew
        asked.close()
    assert [n.code for n in said] == ["no_schemas"]


def test_a_server_that_knows_no_thinking_switch_is_asked_without() -> None:
    def script(number: int, body: dict[str, Any]) -> Any:
        return ("status", 422, {}, "extra field chat_template_kwargs") if "chat_template_kwargs" in body else "well"
    with hostile(script) as server:
        asked = provider.of(server.name)
        assert asked.ask(ask()).text == "well" and asked.ask(ask()).text == "well" and server.asks == 3
        asked.close()


@both
@pytest.mark.parametrize("answer,kind_of_error,word", [
    (("status", 429, {"Retry-After": "7"}, "slow down"), Unavailable, "busy"),
    (("status", 503, {}, "loading"), Unavailable, "busy"),
    (("status", 500, {}, "oops"), Unavailable, "server"),
    (("status", 502, {}, "<html>bad gateway</html>"), Unavailable, "server"),
    (("drop",), Unavailable, "dropped"),
    (("slow", 1.0, "late"), Unavailable, "slow"),
    (("raw", b"{not json"), Unavailable, "form"),
    (("raw", b"[]"), Unavailable, "form"),
    (("raw", b'{"choices": []}'), Unavailable, "form"),
    (("raw", b"\xff\xfe\x00garbage"), Unavailable, "form"),
    (("status", 404, {}, "model not found"), NotFound, "no_model"),
    (("status", 401, {}, "who are you"), MachineError, "key"),
    (("status", 400, {}, {"error": {"message": "request (900 tokens) exceeds the available context size"}}), TooLong, "context_too_small"),
    (("status", 400, {}, {"error": "This model's maximum context length is 512"}), TooLong, "context_too_small"),
    (("status", 500, {}, {"error": "model requires more system memory (9 GiB) than is available"}), OutOfMemory, "out_of_memory"),
    (("status", 400, {}, "no such thing"), MachineError, "refused"),
])
def test_every_way_to_fail_has_its_error(kind: str, answer: Any, kind_of_error: type[FledgeError], word: str,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(lambda n, body: answer) as server:
        asked = made(kind, server, monkeypatch, timeout=0.4 if answer[0] == "slow" else 20)
        with pytest.raises(kind_of_error) as found:
            asked.ask(ask())
        asked.close()
    wrong = found.value
    assert (wrong.reason if isinstance(wrong, Unavailable) else wrong.code) == word and wrong.sentence and wrong.remedy
    if answer[1:2] == (429,):
        assert isinstance(wrong, Unavailable) and wrong.retry_after == 7


@both
def test_nothing_running_says_what_to_start(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile() as server:
        pass
    asked = made(kind, server, monkeypatch)
    for question in (asked.check, asked.models):
        with pytest.raises(Missing) as found:
            question()
        assert found.value.code == "no_server" and "start" in found.value.remedy.lower()
    with pytest.raises(Unavailable) as gone:
        asked.ask(ask())
    assert gone.value.reason == "gone"
    asked.close()


@both
def test_a_missing_model_says_how_to_get_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(models=("other",)) as server:
        asked = made(kind, server, monkeypatch)
        with pytest.raises(NotFound) as found:
            asked.check()
        assert ("ollama pull tiny" if kind == "ollama" else "other") in found.value.remedy
        asked.close()


def test_what_is_no_model_server_is_told_so() -> None:
    with hostile() as server:
        asked = provider.of(f"{server.address} tiny")  # the /v1 was forgotten
        with pytest.raises(Missing) as found:
            asked.check()
        assert "/v1" in found.value.remedy
        asked.close()


def test_a_prompt_that_ollama_has_cut_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = {"model": "tiny", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "of half a question"},
           "done": True, "done_reason": "stop", "prompt_eval_count": 512, "eval_count": 3}
    with hostile(lambda n, body: cut) as server:
        asked = made("ollama", server, monkeypatch, context=512)
        with pytest.raises(TooLong):
            asked.ask(ask())
        with pytest.raises(TooLong):
            asked.ask(ask(text="word " * 20_000))
        assert server.asks == 1  # the second one was not even sent
        asked.close()


@pytest.mark.parametrize("think,text,thought", [("off", "4", ""), ("drop", "4", ""), ("keep", "4", "two and two")])
def test_thinking_is_apart_from_the_answer(think: Any, text: str, thought: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in ("<think>\ntwo and two</think>\n\n4", "two and two</think>4",
                   {"choices": [{"message": {"content": "4", "reasoning_content": "two and two"}, "finish_reason": "stop"}]}):
        with hostile(lambda n, body, answer=answer: answer) as server:
            asked = provider.of(server.name, think=think)
            reply = asked.ask(ask())
            assert (reply.text, reply.thinking) == (text, thought), answer
            assert ("chat_template_kwargs" in server.bodies[0]) == (think == "off")
            asked.close()


def test_a_model_that_does_not_think_is_asked_for_the_answer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Notice] = []

    def script(number: int, body: dict[str, Any]) -> Any:
        return ("status", 400, {}, {"error": '"tiny" does not support thinking'}) if body.get("think") else "well"
    with hostile(script) as server:
        asked = made("ollama", server, monkeypatch, think="keep", tell=said.append)
        assert asked.ask(ask()).text == "well" == asked.ask(ask()).text
        assert server.asks == 3 and [n.code for n in said] == ["no_thinking"]
        asked.close()


def test_a_cut_answer_says_so() -> None:
    cut = {"choices": [{"message": {"content": "and so on"}, "finish_reason": "length"}]}
    with hostile(lambda n, body: cut) as server:
        asked = provider.of(server.name)
        assert asked.ask(ask()).finish == "length"
        asked.close()


@both
def test_close_breaks_off_what_is_under_way(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(lambda n, body: ("slow", 2.0, "late")) as server:
        asked, caught = made(kind, server, monkeypatch), []

        def wait() -> None:
            try:
                asked.ask(ask())
            except Exception as wrong:
                caught.append(wrong)
        thread = threading.Thread(target=wait)
        thread.start()
        while not server.asks:
            time.sleep(0.01)
        asked.close()
        thread.join(1)
        assert not thread.is_alive() and len(caught) == 1


def test_halves_of_characters_become_whole() -> None:
    assert whole("a\ud800b") == "a?b"
    assert whole('{"a": "\\ud83d x \\ud83d\\ude00"}') == '{"a": "\\ufffd x \\ud83d\\ude00"}'
    assert parted("<think>never ends", "", "keep") == ("", "never ends")
    assert parted("plain <think> in the middle", "", "off")[0] == "plain <think> in the middle"


def test_retry_after_is_read_in_both_forms() -> None:
    from email.utils import formatdate
    assert refusals.retry_after("3") == 3 and refusals.retry_after("") is None and refusals.retry_after("soon") is None
    assert 50 < (refusals.retry_after(formatdate(time.time() + 60, usegmt=True)) or 0) <= 60
    assert refusals.retry_after("-5") == 0 and refusals.retry_after("1e9") == refusals.LONGEST_WAIT and refusals.retry_after("nan") is None


def test_a_gguf_file_that_is_none_or_missing_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        provider.of(f"gguf:{tmp_path}/none.gguf").check()
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(FormatError):
        provider.of(f"gguf:{tmp_path}/text.gguf").check()


def test_pulling_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (b'{"status": "pulling manifest"}\n{"status": "pulling a1", "digest": "sha256:a1", "total": 100, "completed": 40}\n'
             b'{"status": "verifying"}\n{"status": "success"}\n')
    with hostile(lambda n, body: ("raw", lines)) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        told = list(pull.pull("tiny"))
        assert [t.status for t in told] == ["pulling manifest", "pulling a1", "verifying", "success"]
        assert (told[1].done, told[1].total) == (40, 100)
        assert pull.main(["tiny"]) == 0 and capsys.readouterr().out.splitlines()[-1] == '{"ok": true}'
    assert pull.main(["tiny"]) == 5 and '"error": "no_server"' in capsys.readouterr().out


@pytest.mark.parametrize("body,code", [(b'{"error": "pull model manifest: file does not exist"}\n', "no_model"),
                                       (b'{"error": "write: no space left on device"}\n', "pull"), (b"garbage\n", "unavailable"),
                                       (b'{"status": "pulling"}\n', "pull")])
def test_a_pull_that_fails_says_why(body: bytes, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(lambda n, b: ("raw", body)) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        with pytest.raises(FledgeError) as found:
            list(pull.pull("tiny"))
        assert found.value.code == code
