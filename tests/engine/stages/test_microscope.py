"""The microscope shows what a run would train on, and names what would spoil it: each fault is planted and must be found, nothing else."""

import json
import subprocess
import sys
import time

import pytest

from engine.contract.errors import InputError, NotFound
from engine.contract.rows import Example, Message
from engine.model.checkpoint import save_weights
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.project.project import Project
from engine.stages.sft import microscope
from engine.stages.sft.microscope import inspect
from engine.text import bpe, chat_template
from engine.text.tokenizer import Tokenizer
from engine.training.examples import ExampleRows, encode_examples

OURS = chat_template.DEFAULT_TEMPLATE
NO_END = OURS.replace("(message['content'] | trim) + '<|end|>'", "(message['content'] | trim) + '\n'")
EMPTY_BLOCK = ("{% for message in messages %}{{ '<|' + message['role'] + '|> ' + message['content'] + '<|end|>' }}{% endfor %}"
               "{% generation %}{% endgeneration %}")
END_OUTSIDE = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}{{ '<|assistant|>' }}"
               "{% generation %}{{ ' ' + message['content'] }}{% endgeneration %}{{ '<|end|>' }}"
               "{% else %}{{ '<|' + message['role'] + '|> ' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}")
CHATML_LIKE = ("{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
               "{% if add_generation_prompt %}<|assistant|>{% endif %}")
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML_LIKE
DEAF = CHATML_LIKE.replace("{% for message in messages %}", "{% for message in messages if message['role'] != 'system' %}")


def talk(n, question="which boat runs", answer="the harbour master runs the boats", roles=("user", "assistant")):
    return Example(id=f"e{n}", messages=(Message(role=roles[0], content=f"{question} {n}?"), Message(role=roles[1], content=answer)))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project.create(tmp_path_factory.mktemp("projects") / "p")
    tokenizer = bpe.train(["the harbour master runs the boats and answers which. " * 5, "0123456789 ? " * 4] * 3, 340)
    model = Decoder(ModelConfig(vocab_size=tokenizer.vocab_size, hidden_size=16, num_layers=1, num_heads=2, num_kv_heads=2, head_dim=8,
                                intermediate_size=32, max_seq_len=64), seed=0)
    with made.artifacts.create("model", title="small") as writer:
        save_weights(writer.path, model)
        tokenizer.save(writer.path)
        writer.finish(step=0)
    return made


def spec_of(project, examples, **more):
    kept = project.library.examples.create_set("a set")
    project.library.examples.add(kept.id, examples, "person")
    return {"model": "model-1", "examples": [kept.id], "batch_size": 8, **more}


def look(project, examples, **more):
    return inspect(project.dir, spec_of(project, examples, **more))


def plain(ids):
    """Without what the library adds to an id that it has already."""
    return [id.partition("@")[0] for id in ids]


def blocking(found):
    return [p["code"] for p in found["problems"] if p["level"] == "block"]


def good(count=40):
    return [talk(n) for n in range(count)]


@pytest.mark.parametrize("more", [{}, {"packing": False}, {"loss_on": "all"}, {"loss_on": "last"}, {"template": OURS},
                                  {"system": "be brief"}, {"validation_percent": 0}])
def test_nothing_is_wrong_with_good_examples(project, more):
    found = look(project, good(), **more)
    assert found["problems"] == [] and not found["sampled"] and found["note"] == ""
    counts = found["counts"]
    assert (counts["examples"], counts["looked_at"], counts["usable"], counts["left_out"]) == (40, 40, 40, 0)
    assert counts["train"] + counts["held_out"] == 40 and 0 < counts["share_trained"] <= 1
    assert found["rendered"].endswith("<|end|>") and plain([found["rendered_example"]]) == ["e0"]
    json.dumps(found)


@pytest.mark.parametrize("packing", [True, False])
def test_batches_are_those_that_the_run_trains_on(project, packing):
    examples = good(30)
    spec = spec_of(project, examples, packing=packing)
    found = inspect(project.dir, spec, batches=3)
    tokenizer = Tokenizer.load(project.artifacts.get("model-1").path)
    train, _ = encode_examples(tokenizer, examples, max_seq_len=64).split(5.0)
    rows = ExampleRows(train, max_seq_len=64, batch_size=8, seed=42, pad=tokenizer.pad_id, packing=packing)
    assert [b["step"] for b in found["batches"]] == [0, 1, 2]
    for step, shown in enumerate(found["batches"]):
        trained = 0
        for row, numbers in zip(shown["rows"], rows.rows(step), strict=True):
            pieces = [p for p in row["pieces"] if p["state"] != "pad"]
            ids, learned = zip(*(rows.item(n) for n in numbers), strict=True)
            assert [p["text"] for p in pieces] == [tokenizer.token_text(int(i)) for part in ids for i in part]
            assert [p["state"] == "trained" for p in pieces] == [bool(t) for part in learned for t in part]
            trained += sum(int(part.sum()) for part in learned)
            named = [found["examples"][p["example"]]["id"] for p in pieces]
            assert plain(dict.fromkeys(named)) == [f"e{train.numbers[n]}" for n in numbers]
        assert shown["trained"] == trained == sum(b.weight for b in rows.batches(step, 4)) and shown["more_rows"] == 0
        assert shown["tokens"] == sum(row["tokens"] for row in shown["rows"]) and all(row["tokens"] <= 64 for row in shown["rows"])
        if packing:  # the last token of each example is learned but not read: it takes no place
            places = {sum(p.get("count", 1) for p in row["pieces"]) - len(numbers)
                      for row, numbers in zip(shown["rows"], rows.rows(step), strict=True)}
            assert len(places) == 1 and max(places) <= 64
        else:
            assert shown["padding"] == 0 and not any(p["state"] == "pad" for row in shown["rows"] for p in row["pieces"])


# ---- the four faults, and their kin


@pytest.mark.parametrize("template", [NO_END, END_OUTSIDE])
@pytest.mark.parametrize("loss_on", ["assistant", "last", "all"])
def test_a_template_without_an_end_token_is_blocked(project, template, loss_on):
    if template == END_OUTSIDE and loss_on == "all":  # everything is learned, the end too
        assert look(project, good(), template=template, loss_on=loss_on)["problems"] == []
        return
    found = look(project, good(), template=template, loss_on=loss_on)
    assert blocking(found) == ["no_end_token"]
    assert "<|end|>" in found["problems"][0]["remedy"] and found["problems"][0]["share"] == 1


def test_answers_longer_than_the_context_are_blocked_when_they_would_be_cut(project):
    long = [talk(n, answer="the harbour master runs the boats " * 20) for n in range(100, 110)]
    found = look(project, good() + long, too_long="cut")
    assert blocking(found) == ["answers_cut"]
    [problem] = found["problems"]
    assert problem["share"] == pytest.approx(0.2) and set(plain(problem["examples"])) <= {e.id for e in long}
    cut = [p for b in inspect(project.dir, spec_of(project, long, too_long="cut"))["batches"] for row in b["rows"] for p in row["pieces"]
           if p["state"] == "truncated"]
    assert cut and cut[-1]["text"] == "<|end|>"
    few = look(project, good(60) + long[:1], too_long="cut")
    assert blocking(few) == [] and [p["code"] for p in few["problems"]] == ["answers_cut"]


def test_long_examples_are_left_out_with_a_warning_and_all_of_them_block(project):
    long = [talk(n, answer="the harbour master runs the boats " * 20) for n in range(100, 110)]
    found = look(project, good() + long)
    assert blocking(found) == [] and [p["code"] for p in found["problems"]] == ["too_long"]
    assert found["counts"]["too_long"] == 10 and found["counts"]["left_out"] == 10
    every = look(project, long)
    assert blocking(every) == ["all_too_long"] and every["counts"]["usable"] == 0
    assert every["batches"][0]["step"] == -1
    states = [p["state"] for p in every["batches"][0]["rows"][0]["pieces"]]
    assert {"masked", "trained", "truncated"} == set(states) and states.index("truncated") == 64


@pytest.mark.parametrize("more,examples", [
    ({}, [Example(id=f"q{n}", messages=(Message(role="user", content=f"and {n}"),)) for n in range(20)]),
    ({"template": EMPTY_BLOCK}, [talk(n) for n in range(20)]),
    ({"too_long": "cut"}, [talk(n, question="which boats " * 60) for n in range(100, 120)]),
])
def test_labels_that_are_all_masked_are_blocked(project, more, examples):
    found = look(project, examples, **more)
    assert blocking(found) == ["nothing_trained"] and found["problems"][0]["share"] == 1
    assert found["counts"]["trained_tokens"] == 0 and found["batches"][0]["rows"]
    assert not any(p["state"] == "trained" for row in found["batches"][0]["rows"] for p in row["pieces"])
    if "template" not in more:
        mixed = look(project, good() + examples[:2], **more)
        assert [(p["level"], p["code"]) for p in mixed["problems"]] == [("warn", "nothing_trained")]


@pytest.mark.parametrize("template", ["", CHATML_LIKE])
@pytest.mark.parametrize("count", [20, 1])
def test_wrong_role_names_are_blocked_by_name(project, template, count):
    wrong = [talk(n, roles=("human", "gpt")) for n in range(100, 100 + count)]
    found = look(project, (good() if count == 1 else []) + wrong, template=template)
    [problem] = [p for p in found["problems"] if p["code"] == "unknown_role"]
    assert "unknown_role" in blocking(found) and "“human”" in problem["sentence"] and "“gpt”" in problem["sentence"]
    assert plain(problem["examples"]) == ["e100"] and "assistant" in problem["remedy"]
    assert found["roles"]["gpt"] == count


def test_a_known_role_that_the_template_refuses_or_leaves_out_is_named(project):
    def with_system(n):
        return Example(id=f"s{n}", messages=(Message(role="system", content="be brief"), *talk(n).messages))
    examples = [with_system(n) for n in range(20)]
    refused = look(project, examples, template=NO_SYSTEM)
    assert "unknown_role" in blocking(refused) and "“system”" in refused["problems"][0]["sentence"]
    deaf = look(project, examples, template=DEAF)
    assert blocking(deaf) == [] and [p["code"] for p in deaf["problems"]] == ["role_dropped"]
    tool = [Example(id="t", messages=(*talk(1).messages, Message(role="tool", content="4"), Message(role="assistant", content="4")))]
    assert "“tool”" in look(project, tool)["problems"][0]["sentence"]


def test_a_template_that_hides_who_says_what_is_blocked(project):
    rewriting = CHATML_LIKE.replace("message['content'] +", "(message['content'] if loop.last else '..') +")
    turns = tuple(m for n in range(2) for m in talk(n).messages)
    found = look(project, [Example(id=str(n), messages=turns) for n in range(10)], template=rewriting)
    assert blocking(found) == ["unclear_mask"]
    broken = look(project, good(), template="{% for m in messages %}{{ m['content'] }}")
    assert blocking(broken) == ["refused"]
    assert blocking(look(project, good(), template="<|im_start|>{{ messages[0]['content'] }}")) == ["template_tokens"]


def test_no_examples_are_said_so(project):
    assert blocking(look(project, [])) == ["no_examples"]
    assert blocking(look(project, good(), only_accepted=True)) == ["no_examples"]


def test_a_run_can_refuse_what_the_microscope_blocks(project):
    with pytest.raises(InputError) as caught:
        microscope.refuse([microscope.Fault("warn", "a", "A.", "a."), microscope.Fault("block", "b", "B.", "b.", field="template")])
    assert (caught.value.code, caught.value.sentence, caught.value.field) == ("b", "B.", "template")
    microscope.refuse([microscope.Fault("warn", "a", "A.", "a.")])


# ---- size, process


def test_of_many_examples_an_even_sample_is_looked_at(project):
    began = time.process_time()
    found = look(project, [talk(n, roles=("user", "assistant") if n != 9_001 else ("user", "robot")) for n in range(10_000)])
    assert time.process_time() - began < 30
    counts = found["counts"]
    assert found["sampled"] and counts["examples"] == 10_000 and 1_000 <= counts["looked_at"] <= 4_000
    assert f"{counts['looked_at']:,}" in found["note"] and "10,000" in found["note"]
    assert blocking(found) == ["unknown_role"] and found["roles"]["robot"] == 1  # the one wrong role is found though not sampled
    assert counts["steps"] == pytest.approx(3 * 10_000 * 0.95 / 8, rel=0.05)


def test_a_sample_is_even_and_keeps_the_order():
    sample = microscope.Sample((talk(n) for n in range(1000)), most=50)
    numbers = [int(e.id[1:]) for e in sample.kept]
    assert numbers == list(range(0, 1000, numbers[1])) and 50 <= len(numbers) <= 100 and sample.count == 1000


def test_the_window_runs_it_as_a_process(project):
    def ask(text):
        done = subprocess.run([sys.executable, "-m", "engine.stages.sft.microscope", str(project.dir), "--batches", "1"], input=text,
                              capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, json.loads(done.stdout)
    code, found = ask(json.dumps(spec_of(project, good())))
    assert code == 0 and len(found["batches"]) == 1 and found["problems"] == []
    assert ask("no json")[1]["error"]["code"] == "format"
    code, found = ask(json.dumps({"model": "model-9", "examples": ["1"]}))
    assert code == NotFound.exit_code and "model-9" in found["error"]["sentence"]
