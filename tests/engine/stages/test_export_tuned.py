"""A model that was tuned here and exported: it answers as a chat elsewhere, stops where it learned to, and its card says what it was tuned
from, how and on what."""

import json

import pytest
import torch
from test_export_lora import export
from test_sft import COLOUR, FORMS, THINGS, answers, attempt_of, make_project, spec_of

from engine.contract.rows import Message
from engine.generators import provider
from engine.generators.asks import Ask
from tests.attempts import made_by, one_thread  # noqa: F401

transformers = pytest.importorskip("transformers")

ASKED = [FORMS[n % 4].format(thing) for n, thing in enumerate(THINGS)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    torch.set_num_threads(1)
    return make_project(tmp_path_factory.mktemp("projects") / "p")


@pytest.fixture(scope="module")
def tuned(project):
    """model-2: all weights; model-3: an adapter on top of it, with its checkpoints."""
    torch.set_num_threads(1)
    whole = attempt_of(project, spec_of(project, epochs=30).model_copy(update={"title": "Painter"})).run()
    lora = attempt_of(project, spec_of(project, model="model-2", method="lora", lora_rank=4, epochs=1, learning_rate=1e-4)).run()
    return made_by(project, whole), made_by(project, lora), lora.context.run_id


def test_the_gguf_answers_as_a_chat_in_llama_cpp_as_the_model_does_here(project, tuned, tmp_path):
    pytest.importorskip("xllamacpp")
    export(project, model="model-2", to="gguf", out=str(tmp_path / "painter.gguf"))
    elsewhere = provider.of(f"gguf:{tmp_path / 'painter.gguf'}", context=64)
    try:
        elsewhere.check()
        asked = ASKED[:8]
        there = [elsewhere.ask(Ask(messages=(Message(role="user", content=text),), temperature=0.0, max_tokens=12)) for text in asked]
    finally:
        elsewhere.finished()
        if hasattr(elsewhere, "close"):
            elsewhere.close()
    here = answers(tuned[0].path, asked)
    assert [(reply.text.strip(), reply.finish) for reply in there] == here
    assert sum(text == f"The {thing} is {COLOUR[thing]}." for (text, _), thing in zip(here, THINGS, strict=False)) >= 6


@torch.no_grad()
def test_the_folder_answers_as_a_chat_in_transformers_and_stops_by_itself(project, tuned, tmp_path):
    export(project, model="model-3", to="hf", out=str(tmp_path / "hf"))
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32).eval()
    for text, (wanted, reason) in zip(ASKED[:4], answers(tuned[1].path, ASKED[:4]), strict=True):
        prompt = words.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt",
                                           return_dict=True)
        made = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1]:]
        assert words.decode(made, skip_special_tokens=True).strip() == wanted
        assert reason != "stop" or len(made) < 12 or int(made[-1]) in model.generation_config.eos_token_id


def test_the_card_says_what_it_was_tuned_from_how_and_on_which_sets(project, tuned, tmp_path):
    _, _, run = tuned
    card, step = {}, project.runs.get(run).checkpoint_steps()[-1]
    for name, id, to in (("hf", "model-3", "hf"), ("lora", "model-3", "lora"), ("step", f"{run}@{step}", "hf")):
        export(project, model=id, to=to, out=str(tmp_path / name))
        card[name] = (tmp_path / name / "README.md").read_text("utf-8")
    whole = "- `model-2` is *model-1* (`model-1`), trained on conversations by training every weight\n" \
            f"  - Set *questions*: {len(THINGS) * len(FORMS)} examples, licence unknown\n"
    for name, text in card.items():
        own = "model-3" if name != "step" else f"{run}@"
        assert f"- `{own}" in text and "is *Painter* (`model-2`), trained on conversations by LoRA of rank 4\n" in text, text
        assert whole in text and text.count("licence unknown") == 2
    assert "The same before tuning" in card["hf"] and "apply_chat_template" in card["hf"]


def test_the_adapter_takes_template_and_stop_tokens_along(project, tuned, tmp_path):
    export(project, model="model-3", to="lora", out=str(tmp_path / "lora"))
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "lora")
    shown = words.apply_chat_template([{"role": "user", "content": "Hello"}], add_generation_prompt=True, tokenize=False)
    assert "Hello" in shown and shown != "Hello"
    own = json.loads((tuned[1].path / "generation_config.json").read_text()) if (tuned[1].path / "generation_config.json").is_file() else {}
    if own:
        assert json.loads((tmp_path / "lora" / "generation_config.json").read_text())["eos_token_id"] == own["eos_token_id"]


def test_what_it_was_tuned_on_stays_with_it(project, tuned):
    facts = tuned[0].facts
    assert facts["sets"] == [{"id": "set-1", "title": "questions", "examples": len(THINGS) * len(FORMS)}] and facts["chat"]
