"""Ollama: its Go template from the Jinja one, the Modelfile, and its API against a protocol fake that checks digests and templates."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.contract.errors import MachineError, Missing, SettingError
from engine.model.formats import go_template as go
from engine.model.formats import ollama
from engine.model.formats.tokenizer_out import Words
from engine.text.tokenizer import Tokenizer
from tests.engine.model.formats import made
from tests.engine.model.formats.ollama_fake import FakeOllama, Go

CHATML = ("{% for message in messages %}"
          "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
QWEN = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}" + CHATML.removeprefix("{% for message in messages %}"))
LLAMA3 = ("{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
          "message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
          "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")
MISTRAL = ("{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
           "{{ raise_exception('Roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}"
           "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token + ' ' }}{% endif %}{% endfor %}")
INSIDE = ("{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set s = messages[0]['content'] %}{% set messages = messages[1:] %}"
          "{% else %}{% set s = '' %}{% endif %}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {% if loop.first and s %}"
          "<<SYS>>{{ s }}<</SYS>>{% endif %}{{ m['content'] }} [/INST]{% else %}{{ m['content'] }}</s>{% endif %}{% endfor %}")
TEMPLATES = {"own": "", "chatml": CHATML, "qwen, with a system prompt of its own": QWEN, "llama 3": LLAMA3, "mistral": MISTRAL}
TALKS = [[("user", "Where?")], [("user", "a {{ .Role }} b"), ("assistant", "At the quay.\nThere."), ("user", "Thanks")],
         [("system", "Be brief."), ("user", "Where?"), ("assistant", "There."), ("user", "And now?")]]


def words(template: str = "") -> Words:
    plain = made.tokenizer()
    return Words(Tokenizer(plain.record, {**plain.config, **({"chat_template": template} if template else {})}))


def talks(name: str) -> list[list[dict[str, str]]]:
    return [[{"role": r, "content": c} for r, c in talk] for talk in TALKS if name != "mistral" or talk[0][0] != "system"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_go_template_writes_what_the_jinja_template_does(name: str) -> None:
    known = words(TEMPLATES[name])
    template = go.go_template(known)
    assert template.exact and template.trims == (name in ("own", "llama 3"))
    for talk in talks(name):
        bos = known.name(known.bos_id)
        wanted = known.tokenizer.render_chat(talk).removeprefix(bos)  # llama.cpp puts the begin token there itself
        assert Go(template.text).render(talk) == wanted
        last = talk[-1]["content"]
        if template.trims:
            assert Go(template.text).render([*talk[:-1], {"role": "user", "content": f" {last} "}]) != wanted


@pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")
def test_go_itself_agrees(tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text("""package main
import ("encoding/json"; "os"; "strings"; "text/template")
type M struct{ Role, Content string }
func main() {
    var in []struct{ Template string; Talks [][]M }
    if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil { panic(err) }
    out := []string{}
    for _, one := range in {
        made := template.Must(template.New("x").Parse(one.Template))
        for _, talk := range one.Talks {
            var text strings.Builder
            if err := made.Execute(&text, map[string]any{"Messages": talk}); err != nil { panic(err) }
            out = append(out, text.String())
        }
    }
    json.NewEncoder(os.Stdout).Encode(out)
}""")
    asked = [{"Template": go.go_template(words(source)).text, "Talks": [[{"Role": m["role"], "Content": m["content"]} for m in talk]
                                                                       for talk in talks(name)]} for name, source in TEMPLATES.items()]
    env = {"HOME": str(tmp_path), "GOCACHE": str(tmp_path / "cache"), "GOFLAGS": "-mod=mod", "PATH": "/usr/bin:/bin:/usr/local/go/bin"}
    done = subprocess.run(["go", "run", "main.go"], input=json.dumps(asked), capture_output=True, text=True, cwd=tmp_path, env=env,
                          check=True, timeout=120)
    wanted = [words(source).tokenizer.render_chat(talk).removeprefix(words().name(words().bos_id))
              for name, source in TEMPLATES.items() for talk in talks(name)]
    assert json.loads(done.stdout) == wanted


def test_a_template_that_does_more_is_called_inexact() -> None:
    assert not go.go_template(words(INSIDE)).exact
    assert go.go_template(words("{{ messages | length }}")) == go.GoTemplate("", False)


def test_an_answer_begun_by_the_asker_stays_open() -> None:
    text = Go(go.go_template(words()).text).render([{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "At the"}])
    assert text == "<|user|> Where?<|end|><|assistant|> At the"


def recipe(licence: str = "") -> ollama.Recipe:
    known = words()
    return ollama.recipe(known, go.go_template(known), 128, licence, {"temperature": 0.6, "repetition_penalty": 1.1, "do_sample": True})


def test_the_modelfile_holds_template_stops_and_parameters() -> None:
    lines = recipe("cc-by-4.0").modelfile("model.gguf")
    assert lines.startswith('FROM ./model.gguf\nTEMPLATE """{{ range $i, $m := .Messages }}') and 'LICENSE "cc-by-4.0"' in lines
    assert 'PARAMETER stop "<|end|>"\n' in lines and "PARAMETER num_ctx 128\n" in lines and "PARAMETER repeat_penalty 1.1\n" in lines
    assert lines.count('"""') == 2 and "do_sample" not in lines


def test_a_model_is_created_from_a_blob_that_is_sent_once(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00" + b"weights" * 500_000)
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    sent: list[int] = []
    with FakeOllama() as fake:
        server = ollama.Ollama(fake.url)
        assert server.version() == "0.5.7" and not server.has("tiny")
        assert server.upload(file, sha, sent.append) and sum(sent) == file.stat().st_size and len(sent) > 2
        assert not server.upload(file, sha)  # it has it
        assert [m for m, path in fake.log if "/blobs/" in path] == ["HEAD", "POST", "HEAD"]
        server.create("tiny", {"model.gguf": sha}, recipe("apache-2.0"))
        assert server.has("tiny") and server.has("tiny:latest") and not server.has("tin")
        body = fake.models["tiny:latest"]
        assert body["files"] == {"model.gguf": f"sha256:{sha}"} and body["license"] == "apache-2.0"
        assert body["parameters"] == {"num_ctx": 128, "stop": ["<|end_of_text|>", "<|end|>", "<|begin_of_text|>"], "temperature": 0.6,
                                      "repeat_penalty": 1.1}
        assert Go(body["template"]).render([{"role": "user", "content": "Hi"}]) == "<|user|> Hi<|end|><|assistant|>"
        assert server.show("tiny")["template"] == body["template"]
        server.close()


def test_what_ollama_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00")
    with FakeOllama() as fake:
        server = ollama.Ollama(fake.url)
        with pytest.raises(MachineError, match="digest does not match"):
            server.upload(file, "0" * 64)
        with pytest.raises(MachineError, match="blob sha256:1111"):
            server.create("tiny", {"model.gguf": "1" * 64}, recipe())
        sha = hashlib.sha256(file.read_bytes()).hexdigest()
        server.upload(file, sha)
        with pytest.raises(MachineError, match="template error"):
            server.create("tiny", {"model.gguf": sha}, ollama.Recipe(go.GoTemplate("{{ range $i, $m := .Messages }}", True)))
        assert not fake.models
        server.close()
    gone = ollama.Ollama(fake.url)
    assert gone.version() == ""
    with pytest.raises(Missing, match="does not answer"):
        gone.models()
    gone.close()


def test_only_this_machine_is_asked_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    assert ollama.address() == "http://127.0.0.1:11434"
    for said, wanted in (("0.0.0.0", "http://127.0.0.1:11434"), ("localhost:9", "http://localhost:9"), ("[::1]:9", "http://[::1]:9"),
                         ("192.168.1.7:11434", "http://127.0.0.1:11434"), ("ollama.example", "http://127.0.0.1:11434")):
        monkeypatch.setenv("OLLAMA_HOST", said)
        assert ollama.address() == wanted
    assert ollama.address("gpu-box:1234") == "http://gpu-box:1234" and not ollama.is_loopback("http://gpu-box:1234")
    with pytest.raises(SettingError):
        ollama.address("ftp://x")
    for name in ("", "a b", "../x", "x" * 200, "a/b/c/d"):
        with pytest.raises(SettingError):
            ollama.check_name(name)
    ollama.check_name("me/tiny-world:q8")
