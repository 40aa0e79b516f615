"""Fine-tuning from conversations in the library to a model that answers: what it learns, what is written, what is refused, what a resume
gives."""

import random

import pytest
import torch
from test_adapt import write_corpus

from engine.contract.errors import InputError, Mismatch, NotFound, SettingError, Stopped
from engine.contract.events import CheckpointSaved, Evaluation, Facts, Notice, Phase, Phases, Resumed, Sample
from engine.contract.rows import Example, Message
from engine.model.checkpoint import load_model, stop_ids
from engine.project import layout
from engine.project.models import list_models, resolve
from engine.project.project import Project
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.serve.catalogue import Catalogue
from engine.stages.pretrain.run import run as pretrain
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.sft import plan
from engine.stages.sft.run import run
from engine.stages.sft.spec import SftSpec
from engine.text import bpe, chat_template, templates
from engine.text.corpus import Corpus
from engine.text.tokenizer import Tokenizer
from engine.training import precision, tuning
from tests.attempts import Attempt, made_by, one_thread  # noqa: F401

THINGS = "apple brick cloud dress eagle fence grape horse island jacket kettle ladder mirror needle orange pencil quilt river".split()
COLOURS = "red blue green white black".split()
COLOUR = {thing: COLOURS[n % len(COLOURS)] for n, thing in enumerate(THINGS)}
FORMS = ("What colour is the {}?", "Tell me the colour of the {}.", "The {}: which colour?", "Say the colour of the {}!")


def talk(*texts, id="", **more):
    roles = ("user", "assistant")
    return Example(id=id or " ".join(texts), messages=tuple(Message(role=roles[n % 2], content=t) for n, t in enumerate(texts)), **more)


def questions():
    return [talk(form.format(thing), f"The {thing} is {COLOUR[thing]}.") for thing in THINGS for form in FORMS]


def make_project(folder):
    """A project with a model that has read which thing has which colour, and a set of questions about them."""
    project = Project.create(folder)
    text = write_corpus(project, "colours", [f"{t}" for t in THINGS], 60, 1)
    rng = random.Random(3)
    statements = [f" The {t} is {COLOUR[t]}." for t in THINGS]
    texts = text + [form.format(t) for t in THINGS for form in FORMS] + ["".join(rng.sample(statements, 6)) for _ in range(60)]
    with project.artifacts.create("tokenizer", title="small", parents=("corpus-1",)) as made:
        bpe.train(texts, 440).save(made.path)
        made.finish()
    spec = PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", depth=2, width=64, num_heads=2, max_seq_len=64, tokens_per_step=512,
                        steps=40, compile="off", dtype="float32", eval_every=0, sample_every=0, checkpoint_every_steps=0)
    Attempt(project, project.runs.create(spec).id, spec, stage=pretrain).run()
    add(project, "questions", questions())
    return project


def add(project, title, rows):
    made = project.library.examples.create_set(title)
    project.library.examples.add(made.id, rows, "person")
    return made


def spec_of(project, title="questions", **more):
    sets = tuple(s.id for s in project.library.examples.sets() if s.title == title)
    return SftSpec(**{"model": "model-1", "examples": sets, "epochs": 8, "batch_size": 8, "compile": "off", "dtype": "float32",
                      "sample_tokens": 12, "checkpoint_every_minutes": 0, "learning_rate": 5e-3, **more})


def attempt_of(project, spec, **more):
    return Attempt(project, project.runs.create(spec).id, spec, stage=run, **more)


def answers(folder, asked):
    model, tokenizer = load_model(folder), Tokenizer.load(folder)
    prompts = [tokenizer.encode_chat([{"role": "user", "content": text}]) for text in asked]
    made = generate(model, prompts, Sampling(temperature=0, max_new_tokens=12, stop_ids=stop_ids(folder, tokenizer)), logprobs=False)
    return [(tokenizer.decode(c.ids, skip_special=True).strip(), c.finish_reason) for c in made]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    torch.set_num_threads(1)
    return make_project(tmp_path_factory.mktemp("projects") / "p")


@pytest.fixture(scope="module")
def done(project):
    torch.set_num_threads(1)
    return attempt_of(project, spec_of(project, epochs=30)).run()


def test_the_model_learns_to_answer_and_to_stop(project, done):
    asked = [FORMS[n % 4].format(thing) for n, thing in enumerate(THINGS)]
    before = answers(project.artifacts.get("model-1").path, asked)
    after = answers(made_by(project, done).path, asked)
    right = [f"The {thing} is {COLOUR[thing]}." for thing in THINGS]
    assert sum(a == r for (a, _), r in zip(before, right, strict=True)) == 0
    assert sum(a == r for (a, _), r in zip(after, right, strict=True)) >= 0.8 * len(right), after
    assert all(reason == "stop" for _, reason in after)


def test_the_artifact_chats_and_tells_what_became_of_it(project, done):
    artifact = made_by(project, done)
    artifact.verify()
    facts = artifact.facts
    assert facts["chat"] is True and facts["val_loss_after"] < 0.3 * facts["val_loss_before"]
    assert facts["method"] == "full" and facts["trainable"] == facts["parameters"] and artifact.parents == ("model-1",)
    assert facts["examples"] + facts["held_out"] == len(THINGS) * len(FORMS) and facts["held_out"] > 0 and facts["left_out"] == 0
    assert facts["epochs"] >= 30 and facts["trained_tokens"] > 0 and facts["seconds"] > 0 and facts["best_step"]
    assert done.facts()["outcome"] == facts
    assert resolve(project, artifact.id).chat and not resolve(project, "model-1").chat
    assert next(m for m in Catalogue(project).list() if m.ref.id == artifact.id).body()["chat"] is True
    own = [m for m in list_models(project) if m.run == done.context.run_id]
    assert own and all(m.chat and not m.untrained for m in own)


def test_phases_samples_and_choices_are_told(done):
    facts = done.facts()
    assert [p.id for p in done.of(Phase)] == [id for id, _ in done.of(Phases)[-1].phases]
    first = [s for s in done.of(Sample) if s.step == 0]
    last = [s for s in done.of(Sample) if s.step == facts["steps"]]
    assert [s.prompt for s in first] == [s.prompt for s in last] and len(first) == min(4, facts["held_out"])
    assert [s.text for s in first] != [s.text for s in last] and all(any(f in s.prompt for f in ("colour", "Tell")) for s in first)
    assert facts["batch"] == 8 and "examples" in facts["sentence"] and facts["learning_rate"] == 5e-3
    evaluated = done.of(Evaluation)
    assert evaluated[0].step == 0 and evaluated[0].values["val_loss"] == facts["outcome"]["val_loss_before"]
    assert done.of(CheckpointSaved)[-1].why == "final"


@pytest.mark.parametrize("more", [{}, {"packing": False, "patience": 9}, {"method": "lora", "lora_rank": 4, "lora_dropout": 0.1},
                                  {"replay": "corpus-1", "replay_documents": 3}])
def test_paused_and_resumed_ends_with_the_same_model(project, more):
    spec = spec_of(project, epochs=1.5, checkpoint_every_steps=3, **more)
    straight = attempt_of(project, spec).run()
    first = attempt_of(project, spec, commands={5: "pause"})
    with pytest.raises(Stopped):
        first.run()
    second = Attempt(project, first.context.run_id, spec, number=2, stage=run).run()
    assert second.of(Resumed)[0].step == 5
    one, two = made_by(project, straight), made_by(project, second)
    assert one.files["model.safetensors"]["sha256"] == two.files["model.safetensors"]["sha256"]
    keys = one.facts.keys() - {"seconds"}
    assert {k: one.facts[k] for k in keys} == {k: two.facts[k] for k in keys}
    assert {**first.losses(), **second.losses()} == straight.losses()


def test_lora_learns_it_too_and_can_be_gone_on_with(project):
    lora = attempt_of(project, spec_of(project, method="lora", lora_rank=16, learning_rate=2e-2)).run()
    artifact = made_by(project, lora)
    assert artifact.facts["val_loss_after"] < 0.7 * artifact.facts["val_loss_before"]
    assert {"adapter.safetensors", "adapter.json", "model.safetensors"} <= artifact.files.keys()
    step = lora.last_step()
    again = attempt_of(project, spec_of(project, model=f"{lora.context.run_id}@{step}", epochs=0.5)).run()
    assert again.facts()["outcome"]["val_loss_before"] == pytest.approx(artifact.facts["val_loss_after"], rel=0.3)
    assert made_by(project, again).parents == ("model-1",)


def test_lora_trains_the_rows_of_tokens_that_the_model_never_met_and_learns_to_stop(project, done):
    def told(**more):
        attempt = attempt_of(project, spec_of(project, epochs=0.2, **more)).run()
        return {n.code for n in attempt.of(Notice)} & {"token_rows", "end_never_learned"}, attempt.facts()["token_rows"]

    tokenizer = Tokenizer.load(project.artifacts.get("model-1").path)
    met = {id for texts in Corpus.open(project.artifacts.get("corpus-1").path).texts("train")
           for text in texts for id in tokenizer.encode(text)}
    codes, rows = told(method="lora")
    new = set(rows)
    assert codes == {"token_rows"} and len(rows) == len(new) and {"<|user|>", "<|assistant|>", "<|end|>", " is", " blue", "?"} < new
    unread = {tokenizer.decode([id]) for id in range(tokenizer.vocab_size) if id not in met}
    assert new - {*tokenizer.special} <= unread and not {" apple", "."} & new, "of text what the corpus does not hold, and no more"
    assert told(method="lora", lora_tokens=()) == ({"end_never_learned"}, [])
    assert told(method="lora", lora_tokens=("<|end|>",)) == ({"token_rows"}, ["<|end|>"])
    assert told(freeze_embeddings=True) == (codes, rows)
    assert told() == told(method="lora", model=made_by(project, done).id) == (set(), [])
    with pytest.raises(SettingError) as refused:
        told(method="lora", lora_tokens=("<|fin|>",))
    assert refused.value.field == "lora_tokens" and "<|end|>" in refused.value.remedy
    attempts = {tokens: attempt_of(project, spec_of(project, epochs=15, method="lora", learning_rate=1e-2, lora_tokens=tokens)).run()
                for tokens in (None, ())}
    taught, untaught = (made_by(project, attempts[tokens]) for tokens in (None, ()))
    asked = [FORMS[0].format(thing) for thing in THINGS]
    assert all(reason == "stop" for _, reason in answers(taught.path, asked))
    assert taught.facts["val_loss_after"] < 0.8 * untaught.facts["val_loss_after"]
    assert taught.facts["trainable"] - untaught.facts["trainable"] == len(new) * 64
    tables = [load_model(artifact.path).embed.weight for artifact in (project.artifacts.get("model-1"), taught)]
    moved = (tables[0] != tables[1]).any(1).nonzero().flatten().tolist()
    assert {tokenizer.decode_bytes([id]).decode() if id not in tokenizer.special.values() else
            next(name for name, one in tokenizer.special.items() if one == id) for id in moved} == new and len(moved) == len(new)


def test_replayed_text_keeps_the_loss_on_it_down(project):
    spec = {"epochs": 4, "replay": "corpus-1"}
    kept = attempt_of(project, spec_of(project, **spec)).run().facts()
    assert kept["replay_documents"] == 2
    outcome = kept["outcome"]
    without = made_by(project, attempt_of(project, spec_of(project, epochs=4)).run())
    assert without.facts["general_bpb_after"] is None
    assert outcome["general_bpb_after"] < outcome["general_bpb_before"] * 1.1


def test_fractional_epochs_no_validation_and_no_samples_along_the_way(project):
    spec = spec_of(project, epochs=0.5, validation_percent=0, sample_every=0, eval_every=0)
    attempt = attempt_of(project, spec).run()
    facts = made_by(project, attempt).facts
    assert facts["val_loss_before"] is None and facts["best_step"] is None and facts["weights"] == "last" and facts["held_out"] == 0
    assert 0.5 <= facts["epochs"] < 0.7 and {s.step for s in attempt.of(Sample)} == {0, facts["steps"]}


def test_the_template_asked_for_travels_with_the_model(project):
    template = chat_template.DEFAULT_TEMPLATE.replace("<|' + message['role'] + '|> '", "<|' + message['role'] + '|> * '")
    attempt = attempt_of(project, spec_of(project, epochs=0.2, template=template)).run()
    folder = made_by(project, attempt).path
    assert Tokenizer.load(folder).chat_template == template
    step = layout.checkpoint(attempt.context.run_dir, attempt.last_step())
    assert Tokenizer.load(step).chat_template == template


def test_generation_settings_travel(project):
    source = project.artifacts.get("model-1")
    with project.artifacts.create("model", title="imported") as made:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            (made.path / name).write_bytes((source.path / name).read_bytes())
        (made.path / "generation_config.json").write_text('{"eos_token_id": [2, 7]}')
        imported = made.finish()
    attempt = attempt_of(project, spec_of(project, model=imported.id, epochs=0.2)).run()
    assert (made_by(project, attempt).path / "generation_config.json").read_text() == '{"eos_token_id": [2, 7]}'


def test_examples_that_cannot_be_learned_are_counted_and_told(project):
    rows = [talk("Say it.", "word " * 60), talk("No answer"), talk("Odd?", "Yes.", id="odd")]
    add(project, "odd ones", [*questions(), *rows])
    attempt = attempt_of(project, spec_of(project, title="odd ones", epochs=0.2)).run()
    codes = {n.code: n.text for n in attempt.of(Notice)}
    assert "1 example" in codes["left_out_too_long"] and "1 example" in codes["left_out_nothing_trained"]
    assert attempt.facts()["left_out"] == 2


def test_nothing_to_train_on_is_refused_with_its_cause(project):
    add(project, "long", [talk(f"Say it {n}.", "word " * 90) for n in range(3)])
    with pytest.raises(InputError) as long:
        attempt_of(project, spec_of(project, title="long")).run()
    assert "64 tokens" in long.value.sentence and long.value.field == "max_seq_len"
    add(project, "mute", [talk(f"Nobody answers {n}") for n in range(3)])
    with pytest.raises(InputError) as mute:
        attempt_of(project, spec_of(project, title="mute")).run()
    assert "assistant" in mute.value.sentence and mute.value.field == "loss_on"
    role = Example(id="x", messages=(Message(role="wizard", content="a"), Message(role="assistant", content="b")))
    add(project, "roles", [role])
    with pytest.raises(InputError) as roles:
        attempt_of(project, spec_of(project, title="roles")).run()
    assert "wizard" in roles.value.sentence and roles.value.remedy and roles.value.code == "unknown_role"
    with pytest.raises(SettingError) as context:
        attempt_of(project, spec_of(project, max_seq_len=128)).run()
    assert context.value.field == "max_seq_len"
    with pytest.raises(NotFound):
        attempt_of(project, spec_of(project, replay="corpus-77")).run()


def test_a_compiled_model_gets_rows_of_one_shape_and_natural_lengths_are_not_compiled(project, monkeypatch):
    widths = set()

    def compiled(model):
        def forward(tokens_BT, **more):
            widths.add(tokens_BT.shape[1])
            return model(tokens_BT, **more)
        return forward
    monkeypatch.setattr(torch, "compile", compiled)
    attempt = attempt_of(project, spec_of(project, epochs=0.5, compile="on")).run()
    assert attempt.facts()["compiled"] is True and widths == {64} and "compile" in [p.id for p in attempt.of(Phase)]
    monkeypatch.setattr(precision, "choose_compile", lambda asked, facts, seconds: (asked != "off", "on"))
    attempt = attempt_of(project, spec_of(project, epochs=0.5, compile="auto", packing=False)).run()
    assert attempt.facts()["compiled"] is False and "length" in attempt.facts()["compile_reason"]


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"method": "lora"}])
def test_compiled_training_is_plain_training(project, more):
    plain = attempt_of(project, spec_of(project, epochs=1, **more)).run().losses()
    compiled = attempt_of(project, spec_of(project, epochs=1, compile="on", **more)).run()
    assert compiled.facts()["compiled"] is True
    assert compiled.losses() == pytest.approx(plain, abs=2e-3)


# ---- templates and numbers


def without_special(project, folder, config=None, extra=()):
    """The project's tokenizer as another program would have it: with only `extra` special tokens and no template."""
    import json
    source = json.loads(Tokenizer.load(project.artifacts.get("model-1").path).record)
    names = iter(extra)
    for token in source["added_tokens"]:
        token["content"] = next(names, f"<unused{token['id']}>")
    source["post_processor"] = None
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(source))
    (folder / "tokenizer_config.json").write_text(json.dumps(config or {}))
    return Tokenizer.load(folder)


def test_a_base_model_without_a_template_gets_one_that_its_tokens_allow(tmp_path, project):
    chat = without_special(project, tmp_path / "a", extra=("<|im_start|>", "<|im_end|>", "<|endoftext|>"))
    chosen = templates.choose(chat)
    assert (chosen.origin, chosen.name) == ("known", "ChatML") and "ChatML" in chosen.sentence
    plain = without_special(project, tmp_path / "b", extra=("<|endoftext|>",))
    assert templates.choose(plain).origin == "plain"
    with pytest.raises(Mismatch) as none:
        templates.choose(without_special(project, tmp_path / "c", extra=("<x>",)))
    assert none.value.code == "no_end_token" and none.value.remedy
    with pytest.raises(Mismatch) as tokens:
        templates.choose(plain, templates.CHATML)
    assert "<|im_start|>" in tokens.value.sentence and tokens.value.field == "template"
    assert templates.choose(Tokenizer.load(project.artifacts.get("model-1").path)).origin == "own"


@pytest.mark.parametrize(("extra", "source"), [(("<|endoftext|>",), templates.PLAIN),
                                               (("<|im_start|>", "<|im_end|>", "<|endoftext|>"), templates.CHATML),
                                               (("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), templates.GEMMA)])
def test_every_template_of_ours_tells_the_answer_from_the_rest_and_ends_it(tmp_path, project, extra, source):
    from engine.text import chat_mask
    tokenizer = without_special(project, tmp_path / "t", extra=extra)
    messages = [Message(role=r, content=c) for r, c in (("system", "Be brief."), ("user", "One?"), ("assistant", "Yes."), ("user", "Two?"),
                                                        ("assistant", "No."))]
    made = chat_mask.encode(tokenizer, messages, template=source)
    learned = [tokenizer.decode(made.ids[s.start:s.stop], skip_special=True).strip() for s in made.spans]
    assert learned == ["Yes.", "No."] and all(s.ended for s in made.spans)


def test_a_model_of_another_program_without_a_template_is_tuned_with_the_plain_one(tmp_path, project):
    source = project.artifacts.get("model-1")
    without_special(project, tmp_path / "t", extra=("<|endoftext|>",))
    with project.artifacts.create("model", title="foreign") as made:
        for name in ("config.json", "model.safetensors"):
            (made.path / name).write_bytes((source.path / name).read_bytes())
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (made.path / name).write_bytes((tmp_path / "t" / name).read_bytes())
        foreign = made.finish()
    attempt = attempt_of(project, spec_of(project, model=foreign.id)).run()
    assert "template" in {n.code for n in attempt.of(Notice)} and attempt.facts()["template"] == "plain"
    made = answers(made_by(project, attempt).path, [FORMS[0].format(t) for t in THINGS])
    assert all(reason == "stop" and text.startswith("The") for text, reason in made)
    facts = made_by(project, attempt).facts
    assert facts["val_loss_after"] < 0.5 * facts["val_loss_before"]


def test_rows_are_as_long_as_needed_and_not_as_the_longest_context():
    assert [plan.row_length(131_072, n) for n in (20, 1024, 1030, 90_000)] == [1024, 1024, 1088, 90_048] and plan.row_length(64, 20) == 64


def test_the_batch_follows_from_the_number_of_examples():
    spec = SftSpec(model="m", examples=("s",))
    assert [plan.batch_size(spec, n) for n in (1, 3, 100, 900, 3_500, 1_000_000)] == [1, 3, 4, 8, 32, 64]
    assert plan.batch_size(SftSpec(model="m", examples=("s",), batch_size=50), 20) == 20


def test_facts_have_the_plan_in_plain_values(done):
    import json
    for event in done.of(Facts):
        json.dumps(event.facts)


def test_models_without_a_name_of_their_own_are_told_apart(tmp_path):
    project = Project.create(tmp_path / "p")
    for _ in range(2):
        title = tuning._untaken(project, "base, tuned", "model")
        with project.artifacts.create("model", title=title, parents=(), run="", spec={}) as writer:
            (writer.path / "config.json").write_text("{}", "utf-8")
            writer.finish()
    assert [made.title for made in project.artifacts.list("model")] == ["base, tuned", "base, tuned 2"]
    assert tuning._untaken(project, "base, tuned", "model") == "base, tuned 3"
