"""The real server process, asked over HTTP: what streams, what it refuses, and that answers do not depend on the company."""

import concurrent.futures
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import psutil
import pytest
import torch

from engine.contract.errors import Locked
from engine.model.checkpoint import load_model
from engine.project import layout
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.serve import address
from engine.text.tokenizer import Tokenizer
from tests.serving import CONTEXT, ServerProcess, make_project

PROMPT = "The ferry left the quay"
MODEL, UNTRAINED = "model-1", "1-pretrain@0"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    project = make_project(tmp_path_factory.mktemp("served") / "project")
    made = ServerProcess(project.dir)
    yield made
    assert made.stop() == 0


@pytest.fixture
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address.url, headers=server.address.headers, timeout=60) as client:
        yield client


def ask(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    reply = http.post("/v1/completions", json={"model": MODEL, "prompt": PROMPT, "max_tokens": 24, **fields})
    assert reply.status_code == 200, reply.text
    return reply.json()


def events(http: httpx.Client, path: str = "/v1/completions", **fields: Any) -> list[dict[str, Any]]:
    with http.stream("POST", path, json={"model": MODEL, "stream": True, **fields}) as reply:
        assert reply.status_code == 200, reply.read()
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def idle(http: httpx.Client, seconds: float = 10) -> bool:
    """Whether nobody is being answered, within some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        health = http.get("/health").json()
        if health["active"] == health["waiting"] == 0:
            return True
        time.sleep(0.02)
    return False


def test_every_checkpoint_is_listed_with_what_the_page_needs(http: httpx.Client) -> None:
    models = {m["id"]: m for m in http.get("/v1/models").json()["data"]}
    assert set(models) == {MODEL, UNTRAINED, "1-pretrain@20"}
    trained, untrained = models["1-pretrain@20"], models[UNTRAINED]
    assert (trained["step"], trained["bpb"], trained["chat"], trained["untrained"]) == (20, 1.25, False, False)
    assert (untrained["step"], untrained["bpb"], untrained["untrained"]) == (0, None, True)
    assert trained["best"] and not untrained["best"] and models[MODEL]["bpb"] == 0.974
    assert trained["title"] == "gazette-tiny, step 20" and trained["context"] == CONTEXT and trained["run"] == "1-pretrain"
    weights = load_model(Path(server_folder(http, "1-pretrain@20")))
    assert trained["parameters"] == sum(p.numel() for p in weights.parameters())
    assert http.get("/v1/models/1-pretrain@20").json()["id"] == "1-pretrain@20"


def server_folder(http: httpx.Client, id: str) -> Path:
    from engine.project.models import resolve
    return resolve(Project.open(_PROJECT[str(http.base_url)]), id).folder


_PROJECT: dict[str, Path] = {}


@pytest.fixture(autouse=True)
def _where(server: ServerProcess) -> None:
    _PROJECT[server.address.url] = server.project
    _PROJECT[server.address.url + "/"] = server.project


def test_greedy_text_equals_direct_generation(http: httpx.Client) -> None:
    folder = server_folder(http, MODEL)
    words, model = Tokenizer.load(folder), load_model(folder)
    ids = [words.bos_id, *words.encode(PROMPT)]
    with torch.no_grad():
        direct = generate(model, [ids], Sampling(temperature=0, max_new_tokens=24, stop_ids=(words.eos_id, words.end_id, words.bos_id)))[0]
    served = ask(http, temperature=0, logprobs=5)["choices"][0]["logprobs"]
    kept = [i for i in direct.ids if i not in (words.eos_id, words.end_id, words.bos_id)]
    assert [t["id"] for t in served["content"]] == kept and len(kept) > 4
    assert len(set(kept)) > 3, "a model that repeats itself would make this test empty"
    assert served["token_logprobs"] == pytest.approx(direct.logprobs[:len(kept)], abs=1e-4)


def test_sampled_text_equals_direct_generation_with_the_same_seed(http: httpx.Client) -> None:
    folder = server_folder(http, MODEL)
    words, model = Tokenizer.load(folder), load_model(folder)
    stops = tuple({words.eos_id, words.end_id, words.bos_id})
    sampling = Sampling(temperature=0.9, top_k=40, top_p=0.9, repetition_penalty=1.2, seed=7, max_new_tokens=24, stop_ids=stops)
    with torch.no_grad():
        direct = generate(model, [[words.bos_id, *words.encode(PROMPT)]], sampling, seeds=[7])[0]
    served = ask(http, temperature=0.9, top_k=40, top_p=0.9, repetition_penalty=1.2, seed=7, logprobs=0)["choices"][0]
    assert [t["id"] for t in served["logprobs"]["content"]] == [i for i in direct.ids if i not in stops]


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_equals_the_answer_in_one_piece(http: httpx.Client, n: int) -> None:
    fields = {"temperature": 1.0, "seed": 5, "max_tokens": 40, "logprobs": 5, "prompt": PROMPT, "n": n}
    whole = ask(http, **fields)
    parts = events(http, **fields, stream_options={"include_usage": True})
    assert parts[-1]["usage"] == whole["usage"] and parts[-1]["choices"] == []
    for index in range(n):
        mine = [c for part in parts for c in part["choices"] if c["index"] == index]
        said = whole["choices"][index]
        assert "".join(c["text"] for c in mine) == said["text"] != ""
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == [said["finish_reason"]]
        for key in ("tokens", "text_offset", "content"):
            assert [x for c in mine if c["logprobs"] for x in c["logprobs"][key]] == said["logprobs"][key], key
    assert whole["usage"]["prompt_tokens"] == 1 + len(Tokenizer.load(server_folder(http, MODEL)).encode(PROMPT))


def test_probabilities_are_the_models_own_whatever_the_temperature(http: httpx.Client) -> None:
    cold = ask(http, temperature=0.3, seed=1, logprobs=5, max_tokens=1)["choices"][0]["logprobs"]["content"][0]
    hot = ask(http, temperature=2.0, seed=1, logprobs=5, max_tokens=1)["choices"][0]["logprobs"]["content"][0]
    assert [(c["id"], pytest.approx(c["logprob"], abs=1e-5)) for c in cold["top_logprobs"]] == [
        (c["id"], c["logprob"]) for c in hot["top_logprobs"]]
    assert len(cold["top_logprobs"]) == 5
    for told in (cold, hot):
        likeliest = [c["id"] for c in told["top_logprobs"]]
        assert told["rank"] == likeliest.index(told["id"]) + 1 if told["id"] in likeliest else told["rank"] > 5


def test_the_bytes_of_the_tokens_are_the_text(http: httpx.Client) -> None:
    said = ask(http, seed=11, max_tokens=60, logprobs=0)["choices"][0]
    ids = [t["id"] for t in said["logprobs"]["content"]]
    special = Tokenizer.load(server_folder(http, MODEL)).special.values()
    data = b"".join(bytes(t["bytes"]) for t in said["logprobs"]["content"] if t["id"] not in special)
    assert data.decode("utf-8", "replace") == said["text"]
    assert len(ids) == len(said["logprobs"]["tokens"])


def test_the_same_seed_repeats_and_a_fresh_one_is_told(http: httpx.Client) -> None:
    first = ask(http, max_tokens=40)
    again = ask(http, max_tokens=40, seed=first["fledge"]["seed"])
    assert first["choices"][0]["text"] == again["choices"][0]["text"]
    assert ask(http, max_tokens=40, seed=1)["choices"][0]["text"] != ask(http, max_tokens=40, seed=2)["choices"][0]["text"]


def test_concurrent_requests_give_what_each_gives_alone(server: ServerProcess, http: httpx.Client) -> None:
    prompts = [PROMPT, "The captain", "noon", "a heavy sea outside", "forty", "the mail"]
    wanted = [{"prompt": p, "seed": i, "temperature": (0.0, 0.7, 1.3)[i % 3], "max_tokens": 12 + 7 * (i % 4),
               "model": (MODEL, UNTRAINED)[i % 2]} for i, p in enumerate(prompts * 6)]
    alone = [ask(http, **fields)["choices"][0]["text"] for fields in wanted]
    with concurrent.futures.ThreadPoolExecutor(len(wanted)) as pool, \
            httpx.Client(base_url=server.address.url, headers=server.address.headers, timeout=60,
                         limits=httpx.Limits(max_connections=len(wanted))) as many:
        together = list(pool.map(lambda fields: ask(many, **fields)["choices"][0]["text"], wanted))
    assert together == alone


def test_more_requests_than_slots_and_backlog_are_all_answered(server: ServerProcess) -> None:
    """A backlog of 5 broke at 32; here 120 connections come at once and each gets its tokens."""
    with concurrent.futures.ThreadPoolExecutor(120) as pool:
        def one(seed: int) -> int:
            with httpx.Client(base_url=server.address.url, headers=server.address.headers, timeout=120) as own:
                return ask(own, seed=seed, max_tokens=4)["usage"]["completion_tokens"]
        counts = list(pool.map(one, range(120)))
    assert len(counts) == 120 and all(0 <= c <= 4 for c in counts) and sum(counts) > 200


def test_stop_strings_end_the_text_before_them(http: httpx.Client) -> None:
    full = ask(http, seed=3, max_tokens=60, temperature=1.0, logprobs=0)["choices"][0]
    stop = full["text"][20:23]
    at = full["text"].index(stop)
    cut = ask(http, seed=3, max_tokens=60, temperature=1.0, logprobs=0, stop=[stop, "never in there"])
    assert cut["choices"][0]["text"] == full["text"][:at] and cut["choices"][0]["finish_reason"] == "stop"
    assert "".join(t["text"] for t in cut["choices"][0]["logprobs"]["content"]) == full["text"][:at]
    streamed = events(http, prompt=PROMPT, seed=3, max_tokens=60, temperature=1.0, stop=stop)
    assert "".join(c["text"] for e in streamed for c in e["choices"]) == full["text"][:at]


def test_an_answer_ends_where_the_context_does(http: httpx.Client) -> None:
    said = ask(http, max_tokens=10_000, seed=2, logprobs=0)
    if said["choices"][0]["finish_reason"] == "length":
        assert said["usage"]["total_tokens"] == CONTEXT and said["fledge"]["stopped_by"] == ["context"]
    lengths = [ask(http, max_tokens=10_000, seed=s)["usage"]["total_tokens"] for s in range(8)]
    assert max(lengths) == CONTEXT


def test_prompts_come_as_texts_and_as_ids(http: httpx.Client) -> None:
    words = Tokenizer.load(server_folder(http, MODEL))
    ids = [words.bos_id, *words.encode(PROMPT)]
    by_text, by_ids = ask(http, temperature=0), ask(http, temperature=0, prompt=ids)
    assert by_text["choices"][0]["text"] == by_ids["choices"][0]["text"]
    two = ask(http, temperature=0, prompt=[PROMPT, "noon"], n=2)
    assert [c["index"] for c in two["choices"]] == [0, 1, 2, 3]
    assert two["choices"][0]["text"] == two["choices"][1]["text"] == by_text["choices"][0]["text"]
    assert two["choices"][2]["text"] == ask(http, temperature=0, prompt="noon")["choices"][0]["text"]


def test_chat_uses_the_tokenizers_template(http: httpx.Client) -> None:
    words = Tokenizer.load(server_folder(http, MODEL))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "When does the ferry leave? <|end|>"}]
    reply = http.post("/v1/chat/completions", json={"model": MODEL, "messages": turns, "temperature": 0, "max_tokens": 12, "logprobs": True,
                                                    "top_logprobs": 2}).json()
    ids = words.encode_chat(turns)
    assert reply["usage"]["prompt_tokens"] == len(ids)
    assert ids.count(words.special["<|end|>"]) == 2, "a special token typed by a person stays plain text"
    by_ids = ask(http, prompt=ids, temperature=0, max_tokens=12)
    message = reply["choices"][0]["message"]
    assert message["role"] == "assistant" and message["content"] == by_ids["choices"][0]["text"]
    assert len(reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2
    parts = events(http, "/v1/chat/completions", messages=turns, temperature=0, max_tokens=12)
    assert parts[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(c["delta"].get("content", "") for p in parts for c in p["choices"]) == message["content"]


def test_two_checkpoints_answer_side_by_side(http: httpx.Client, server: ServerProcess) -> None:
    fields = {"prompt": PROMPT, "seed": 42, "max_tokens": 60, "temperature": 1.0, "stream": True}
    with httpx.Client(base_url=server.address.url, headers=server.address.headers) as other, \
            http.stream("POST", "/v1/completions", json={**fields, "model": MODEL}) as left, \
            other.stream("POST", "/v1/completions", json={**fields, "model": UNTRAINED}) as right:
        texts = []
        for reply in (left, right):
            parts = [json.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: {")]
            texts.append("".join(c["text"] for p in parts for c in p["choices"]))
    assert texts == [ask(http, **{**fields, "stream": False, "model": m})["choices"][0]["text"] for m in (MODEL, UNTRAINED)]
    listed = {m["id"]: m["loaded"] for m in http.get("/v1/models").json()["data"]}
    assert listed[MODEL] and listed[UNTRAINED]


def test_a_client_that_vanishes_frees_its_slots(server: ServerProcess, http: httpx.Client) -> None:
    for stream in (True, False):
        with pytest.raises(httpx.TimeoutException), httpx.Client(base_url=server.address.url, headers=server.address.headers) as leaving:
            # more than can be said in the time: 64 completions of a whole context
            leaving.post("/v1/completions", timeout=0.15, json={"model": MODEL, "prompt": [PROMPT] * 4, "n": 64, "max_tokens": 10_000,
                                                               "stream": stream})
            raise httpx.ReadTimeout("the server was quick")
        assert idle(http), http.get("/health").json()


def test_cancelling_by_id_ends_the_stream(http: httpx.Client, server: ServerProcess) -> None:
    seen: list[dict[str, Any]] = []
    with httpx.Client(base_url=server.address.url, headers=server.address.headers) as other, \
            http.stream("POST", "/v1/completions", json={"model": MODEL, "prompt": [PROMPT] * 4, "n": 60, "max_tokens": 10_000,
                                                         "stream": True}) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {"):
                seen.append(json.loads(line[6:]))
                if len(seen) == 2:
                    answer = other.delete("/v1/completions/" + seen[0]["id"])
                    assert answer.status_code == 200 and answer.json()["cancelled"]
    assert "cancelled" in seen[-1]["fledge"]["stopped_by"]
    assert idle(http)
    gone = http.delete("/v1/completions/" + seen[0]["id"])
    assert gone.status_code == 404 and gone.json()["error"]["code"] == "answer_not_found"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/completions", "/nothing"])
def test_without_the_token_nothing_is_told(server: ServerProcess, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": server.address.token}):
        reply = httpx.get(server.address.url + path, headers=headers)
        assert reply.status_code == 401 and reply.json()["error"]["code"] == "bad_token", path
        assert reply.headers["www-authenticate"] == "Bearer"
    assert server.address.token not in httpx.get(server.address.url + "/health").text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:{port}", "localhost:1", ""])
def test_other_host_names_are_refused(server: ServerProcess, host: str) -> None:
    reply = httpx.get(server.address.url + "/health", headers={"Host": host.format(port=server.address.port)})
    assert reply.status_code in (400, 403)
    assert httpx.get(f"http://localhost:{server.address.port}/health").status_code == 200


def test_web_pages_from_elsewhere_are_refused(http: httpx.Client) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
        assert http.get("/v1/models", headers={"Origin": origin}).json()["error"]["code"] == "bad_origin"
    assert http.get("/v1/models", headers={"Origin": "http://localhost:3000"}).status_code == 200


@pytest.mark.parametrize(("body", "status", "code", "words"), [
    (b"{not json", 400, "bad_json", "line 1, column 2"),
    (b"\xff\xfe{}", 400, "bad_json", "not valid JSON"),
    (b"[" * 100_000, 400, "bad_json", "not valid JSON"),
    (b"[1]", 400, "bad_json", "not a JSON object"),
    ({"prompt": "a"}, 400, "missing_parameter", "model is missing"),
    ({"model": MODEL}, 400, "missing_parameter", "prompt is missing"),
    ({"model": "model-9", "prompt": "a"}, 404, "model_not_found", "It has: model-1"),
    ({"model": "../model-1", "prompt": "a"}, 404, "model_not_found", "model-1"),
    ({"model": MODEL, "prompt": "a", "temperature": -1}, 400, "bad_parameter", "temperature cannot be -1"),
    ({"model": MODEL, "prompt": "a", "top_p": 0}, 400, "bad_parameter", "top_p cannot be 0"),
    ({"model": MODEL, "prompt": "a", "n": 0}, 400, "bad_parameter", "n cannot be 0"),
    ({"model": MODEL, "prompt": "a", "max_tokens": 0}, 400, "bad_parameter", "max_tokens cannot be 0"),
    ({"model": MODEL, "prompt": "a", "stop": ["x"] * 17}, 400, "bad_parameter", "stop"),
    ({"model": MODEL, "prompt": "a", "best_of": 3}, 400, "unsupported_parameter", "does not do best_of"),
    ({"model": MODEL, "prompt": "a", "temprature": 1}, 400, "unknown_parameter", "temprature"),
    ({"model": MODEL, "prompt": []}, 400, "bad_parameter", "prompt is empty"),
    ({"model": MODEL, "prompt": [[5, 999_999]]}, 400, "bad_parameter", "no token 999999"),
    ({"model": MODEL, "prompt": ["a"] * 64, "n": 64}, 400, "bad_parameter", "4,096 are too many"),
])
def test_mistakes_are_told_in_a_sentence(http: httpx.Client, body: Any, status: int, code: str, words: str) -> None:
    reply = http.post("/v1/completions", content=body if isinstance(body, bytes) else json.dumps(body).encode())
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, code)
    assert words in error["message"] and error["sentence"] and error["remedy"]


def test_parameters_that_change_nothing_are_accepted(http: httpx.Client) -> None:
    ask(http, user="me", echo=False, best_of=1, logit_bias={}, presence_penalty=0, frequency_penalty=0.0, suffix=None, temperature=None)


@pytest.mark.parametrize("stream", [False, True])
def test_too_long_a_prompt_is_refused_with_the_numbers(http: httpx.Client, stream: bool) -> None:
    words = Tokenizer.load(server_folder(http, MODEL))
    long = PROMPT * 200
    count = 1 + len(words.encode(long))
    reply = http.post("/v1/completions", json={"model": MODEL, "prompt": long, "stream": stream})
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["code"] == "context_length_exceeded" and error["param"] == "prompt"
    assert f"{count:,} tokens" in error["message"] and f" {CONTEXT}" in error["message"] and f"{count - CONTEXT + 1:,}" in error["remedy"]


def test_a_body_past_the_limit_is_refused(http: httpx.Client) -> None:
    reply = http.post("/v1/completions", content=b" " * (17 * 2**20))
    assert reply.status_code == 413 and reply.json()["error"]["code"] == "too_large"


def test_wrong_paths_and_methods_are_told(http: httpx.Client) -> None:
    assert (http.get("/v2/x").status_code, http.get("/v2/x").json()["error"]["code"]) == (404, "no_such_path")
    assert (http.put("/v1/models").status_code, http.put("/v1/models").json()["error"]["code"]) == (405, "bad_method")


def test_the_openai_package_works_unmodified(server: ServerProcess, http: httpx.Client) -> None:
    client = openai.OpenAI(base_url=server.address.url + "/v1", api_key=server.address.token, max_retries=0)
    assert {m.id for m in client.models.list()} == {MODEL, UNTRAINED, "1-pretrain@20"}
    turns: Any = [{"role": "user", "content": "Hello"}]
    whole = client.chat.completions.create(model=MODEL, messages=turns, max_tokens=20, seed=4, logprobs=True, top_logprobs=3)
    stream = client.chat.completions.create(model=MODEL, messages=turns, max_tokens=20, seed=4, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream) == whole.choices[0].message.content != ""
    assert whole.choices[0].logprobs is not None and whole.choices[0].logprobs.content is not None
    assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 3
    text = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=10, temperature=0, extra_body={"top_k": 5})
    assert text.choices[0].text == ask(http, temperature=0, max_tokens=10)["choices"][0]["text"]
    with pytest.raises(openai.NotFoundError, match="no model called gpt-5"):
        client.chat.completions.create(model="gpt-5", messages=turns)
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model=MODEL, prompt=PROMPT * 200)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=server.address.url + "/v1", api_key="wrong", max_retries=0).models.list()


def test_the_server_file_is_for_its_owner_only(server: ServerProcess) -> None:
    mode = layout.server_file(server.project).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert len(server.address.token) >= 32 and address.read(server.project) == server.address


def test_a_second_server_for_the_project_is_refused(server: ServerProcess) -> None:
    done = subprocess.run([sys.executable, "-m", "engine.serve.main", str(server.project)], capture_output=True, text=True, timeout=60,
                          cwd=Path(__file__).parents[3])
    assert done.returncode == Locked.exit_code and server.address.url in done.stderr
    assert httpx.get(server.address.url + "/health").status_code == 200 and address.read(server.project) is not None


def test_a_training_run_on_the_device_makes_the_server_modest(http: httpx.Client) -> None:
    assert not http.get("/health").json()["sharing"]
    lock = FileLock(layout.device_lock("cpu"))
    assert lock.acquire(wait=5)
    try:
        assert eventually(lambda: http.get("/health").json()["sharing"])
        assert ask(http, max_tokens=4)["usage"]["completion_tokens"] >= 0
    finally:
        lock.release()
    assert eventually(lambda: not http.get("/health").json()["sharing"])


def test_the_server_yields_the_processor(server: ServerProcess) -> None:
    assert psutil.Process(server.process.pid).nice() > psutil.Process().nice()


def eventually(look: Any, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if look():
            return True
        time.sleep(0.05)
    return False


# -- life and death: servers of their own ------------------------------------------------------------------------------


def test_it_ends_with_its_owner_and_leaves_no_file(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    server = ServerProcess(project.dir, "--owner-pid", str(owner.pid), ready=False)
    time.sleep(1.5)
    assert server.process.poll() is None
    owner.kill()
    owner.wait()
    assert server.process.wait(20) == 0, server.said()
    assert not layout.server_file(project.dir).exists() and address.read(project.dir) is None


def test_a_killed_server_leaves_a_file_that_is_known_to_be_stale(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    first = ServerProcess(project.dir, ready=False)
    first.process.kill()
    first.process.wait()
    assert layout.server_file(project.dir).exists() and address.read(project.dir) is None
    second = ServerProcess(project.dir)
    assert second.address != first.address
    with httpx.Client(base_url=second.address.url, headers=second.address.headers, timeout=60) as http:
        assert ask(http, max_tokens=3)
    assert second.stop() == 0
    assert not layout.server_file(project.dir).exists()


def test_it_answers_while_torch_still_loads_and_a_stream_ends_with_sigterm(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", context=4096)
    server = ServerProcess(project.dir, ready=False)
    with httpx.Client(base_url=server.address.url, headers=server.address.headers, timeout=60) as http:
        assert http.get("/health").json()["state"] == "loading"
        assert len(http.get("/v1/models").json()["data"]) == 3
        long = {"model": MODEL, "prompt": PROMPT, "max_tokens": 4000, "n": 8, "stream": True}
        with http.stream("POST", "/v1/completions", json=long) as reply:
            lines = reply.iter_lines()
            assert next(lines).startswith("data: {")
            assert server.stop() == 0, server.said()
    assert not layout.server_file(project.dir).exists()


def test_a_damaged_checkpoint_is_named_and_the_others_still_answer(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    weights = layout.checkpoint(project.runs.get("1").dir, 20) / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    server = ServerProcess(project.dir, ready=False)
    with httpx.Client(base_url=server.address.url, headers=server.address.headers, timeout=60) as http:
        broken = http.post("/v1/completions", json={"model": "1-pretrain@20", "prompt": PROMPT})
        assert broken.status_code == 409 and broken.json()["error"]["code"] == "corrupt"
        assert ask(http, max_tokens=3)
        (project.artifacts.get("model-1").path).rename(tmp_path / "gone")
        assert http.post("/v1/completions", json={"model": MODEL, "prompt": PROMPT}).status_code == 404
    assert server.stop() == 0


def test_the_command_serves_until_ctrl_c_and_says_where(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    command = [sys.executable, "-m", "engine.cli", "serve", str(project.dir), "--json"]
    made = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    said = json.loads(made.stdout.readline())
    where = address.read(project.dir)
    assert where is not None and said["url"] == where.url and said["token_file"] == str(layout.server_file(project.dir))
    assert where.token not in json.dumps(said)
    assert httpx.get(said["url"] + "/v1/models", headers=where.headers).status_code == 200
    made.send_signal(signal.SIGINT)
    assert made.wait(20) == 0
    assert not layout.server_file(project.dir).exists()


def test_without_a_token_the_unmodified_clients_need_none(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    command = [sys.executable, "-m", "engine.cli", "serve", str(project.dir), "--no-token", "--keep-alive", "0.3s", "--json"]
    made = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    url = json.loads(made.stdout.readline())["url"]
    ours = ollama.Client(host=url)
    assert ours.chat(MODEL, [{"role": "user", "content": "Hello"}], options={"num_predict": 3}).message.content is not None
    assert openai.OpenAI(base_url=url + "/v1", api_key="unused").completions.create(model=MODEL, prompt=PROMPT, max_tokens=3).choices
    assert eventually(lambda: not ours.ps().models), "an idle model leaves"
    assert httpx.get(url + "/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403
    made.send_signal(signal.SIGINT)
    assert made.wait(20) == 0


@pytest.mark.parametrize(("options", "words"), [
    (["--host", "0.0.0.0", "--no-token"], "Without a token"), (["--keep-alive", "soon"], "no length"),
    (["--host", "example.com"], "not an address")])
def test_the_command_refuses_what_is_not_safe(tmp_path: Path, options: list[str], words: str) -> None:
    project = Project.create(tmp_path / "project")
    command = [sys.executable, "-m", "engine.cli", "serve", str(project.dir), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3])
    assert done.returncode == 2 and words in done.stderr


def test_beyond_the_machine_it_listens_and_asks_for_the_token(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    server = ServerProcess(project.dir, "--host", "0.0.0.0", ready=False, FLEDGE_SERVE_TOKEN="kept-from-start-to-start")
    assert server.address.url == f"http://127.0.0.1:{server.address.port}" and server.address.token == "kept-from-start-to-start"
    asked = {"Host": f"192.168.7.7:{server.address.port}"}
    assert httpx.get(server.address.url + "/v1/models", headers=asked).status_code == 401
    assert httpx.get(server.address.url + "/v1/models", headers={**asked, **server.address.headers}).status_code == 200
    assert httpx.get(server.address.url + "/v1/models", headers={"Host": "evil.example", **server.address.headers}).status_code == 403
    assert server.stop() == 0
