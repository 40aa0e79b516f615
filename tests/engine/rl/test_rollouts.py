"""Answers sampled to be trained on: what they depend on, how they are laid out and read, what happens where memory runs out."""

from types import SimpleNamespace

import pytest
import torch

from engine.contract.errors import Corrupt, OutOfMemory
from engine.contract.rows import Message, Rollout
from engine.model import lora
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.project import layout
from engine.project import rollouts as rollout_files
from engine.rl import rollouts
from engine.rl.rollouts import Order, Question, Reference, ask, gap, lay, mask_of, read, sampled_of, seeds
from engine.rl.value_head import PolicyAndValue, ValueHead, ValueModel
from engine.sampling.sampling import Sampling
from tests.attempts import one_thread  # noqa: F401

VOCAB, STOP = 53, 3
WORDS = SimpleNamespace(special={"<end>": STOP}, decode=lambda ids: " ".join(map(str, ids)))
NEAR = dict(rtol=1e-5, atol=1e-4)
SAMPLING = Sampling(max_new_tokens=10, stop_ids=(STOP,))


def model_of(seed=0, **changes):
    made = Decoder(ModelConfig(**{"vocab_size": VOCAB, "hidden_size": 32, "num_layers": 2, "num_heads": 2, "num_kv_heads": 2,
                                  "head_dim": 16, "intermediate_size": 64, "max_seq_len": 48, **changes}), seed=seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(6 if weight.dim() > 1 else 1)
    return made.eval()


def questions(*lengths):
    draw = torch.Generator().manual_seed(1)
    return [Question((Message(role="user", content=str(n)),), tuple(torch.randint(4, VOCAB, (size,), generator=draw).tolist()))
            for n, size in enumerate(lengths)]


def test_an_answer_depends_on_its_question_and_seed_alone():
    model, asked = model_of(), questions(5, 9, 2, 5)
    whole = ask(model, WORDS, asked, SAMPLING, seeds=[1, 2, 3, 4])
    assert [a.question for a in whole] == asked and {a.finish for a in whole} <= {"stop", "length"}
    assert len({a.ids for a in whole}) == 4 and all(len(a.sampled) == len(a.ids) for a in whole)
    alone = [ask(model, WORDS, [asked[n]], SAMPLING, seeds=[n + 1])[0] for n in range(4)]
    assert [a.ids for a in alone] == [a.ids for a in whole]
    assert [a.ids for a in ask(model, WORDS, asked[:1], SAMPLING, seeds=[9])] != [whole[0].ids]
    ended = next(a for a in ask(model, WORDS, asked * 8, SAMPLING, seeds=range(32)) if a.ended)
    assert ended.ids[-1] == STOP and ended.text == " ".join(map(str, ended.ids[:-1]))
    assert ended.conversation[-1] == Message(role="assistant", content=ended.text)


def test_a_prompt_is_read_once_however_often_it_is_asked(monkeypatch):
    model, (one, other) = model_of(), questions(6, 6)
    copy = Question(one.messages, tuple(one.ids))
    read_rows = []
    forward = Decoder.forward

    def watched(self, tokens_BT, **more):
        read_rows.append(tuple(tokens_BT.shape))
        return forward(self, tokens_BT, **more)
    monkeypatch.setattr(Decoder, "forward", watched)
    made = ask(model, WORDS, [one, other, copy], SAMPLING, seeds=range(9), generations=3)
    assert read_rows[0] == (2, 6)                          # two prompts, nine answers
    assert [a.question for a in made[:6]] == [one] * 3 + [other] * 3
    apart = [ask(model, WORDS, [q], SAMPLING, seeds=[n])[0].ids for n, q in enumerate([one] * 3 + [other] * 3 + [copy] * 3)]
    assert [a.ids for a in made] == apart


def test_a_bfloat16_policy_says_the_same_with_weights_cast_once_and_keeps_its_own(monkeypatch):
    model, asked = model_of(), questions(4, 7)
    model.compute_dtype = torch.bfloat16
    before = {name: p.data_ptr() for name, p in model.named_parameters()}
    seen = []
    generate = rollouts.generate
    monkeypatch.setattr(rollouts, "generate", lambda model, *a, **k: seen.append(model.embed.weight.dtype) or generate(model, *a, **k))
    made = ask(model, WORDS, asked, SAMPLING, seeds=[5, 6])
    plain = generate(model, [q.ids for q in asked], SAMPLING, seeds=[5, 6])
    assert seen == [torch.bfloat16] and [a.ids for a in made] == [tuple(c.ids) for c in plain]
    assert [a.sampled for a in made] == [tuple(c.logprobs) for c in plain]

    def broken(*given, **more):
        raise RuntimeError("broken")
    monkeypatch.setattr(rollouts, "generate", broken)
    with pytest.raises(RuntimeError, match="broken"):
        ask(model, WORDS, asked, SAMPLING, seeds=[5, 6])
    assert all(p.data_ptr() == before[name] and p.dtype == torch.float32 for name, p in model.named_parameters())


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
@pytest.mark.parametrize("flat", [True, False])
def test_laid_out_answers_are_read_as_each_alone(shape, flat, monkeypatch):
    model = model_of(shape=shape, **({"qk_norm": False} if shape == "gpt2" else {"num_kv_heads": 1}))
    head = ValueHead(32)
    with torch.no_grad():
        head.weight.normal_(generator=torch.Generator().manual_seed(2))
    module = PolicyAndValue(model, head, temperature=1.3)
    answers = ask(model, WORDS, questions(5, 9, 2, 5, 12), Sampling(temperature=1.3, max_new_tokens=10, stop_ids=(STOP,)), seeds=range(5))
    monkeypatch.setattr(rollouts, "lies_flat", lambda decoder: flat)
    found, mask = read(module, answers), mask_of(answers)
    with torch.no_grad():
        for n, a in enumerate(answers):
            ids = torch.tensor([*a.question.ids, *a.ids])
            hidden = model(ids[None, :-1])[0, len(a.question.ids) - 1:]
            every = (model.logits(hidden) / 1.3).log_softmax(-1)
            count = len(a.ids)
            torch.testing.assert_close(found.logprobs_NT[n, :count], every.gather(1, torch.tensor(a.ids)[:, None])[:, 0], **NEAR)
            torch.testing.assert_close(found.entropy_NT[n, :count], -(every.exp() * every).sum(-1), **NEAR)
            torch.testing.assert_close(found.values_NT[n, :count], head(hidden), **NEAR)
            assert found.logprobs_NT[n, count:].abs().sum() == 0 and mask[n].sum() == count
    batch = lay(answers, [2, 0], flat)
    assert batch.weight == len(answers[2].ids) + len(answers[0].ids) and batch.tokens == batch.weight + 2 + 5 - 2
    assert batch.answers_A.tolist() == [*answers[2].ids, *answers[0].ids] and batch.tokens_BT.shape[0] == (1 if flat else 2)
    table = torch.arange(5 * mask.shape[1]).view(5, -1)
    assert rollouts.flat_of(table, batch).tolist() == [*table[2, :len(answers[2].ids)].tolist(), *table[0, :len(answers[0].ids)].tolist()]


def test_the_sampler_and_the_trainer_agree_and_the_gap_is_told():
    model = model_of()
    answers = ask(model, WORDS, questions(5, 9, 2), SAMPLING, seeds=range(3))
    exact = gap(sampled_of(answers), read(PolicyAndValue(model), answers).logprobs_NT, mask_of(answers))
    assert exact.most < 1e-4
    model.compute_dtype = torch.bfloat16
    answers = ask(model, WORDS, questions(5, 9, 2), SAMPLING, seeds=range(3))
    rounded = gap(sampled_of(answers), read(PolicyAndValue(model), answers).logprobs_NT, mask_of(answers))
    assert 1e-4 < rounded.mean <= rounded.most < 1
    off = gap(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.5, 0.0]]), torch.tensor([[1.0, 0.0]]))
    assert (off.mean, off.most) == (0.5, 0.5)


def test_the_reference_of_adapters_is_the_base_and_else_a_copy_that_stays():
    model, base = model_of(), model_of()
    lora.add_lora(model, lora.LoraSettings(rank=4), 0)
    with torch.no_grad():
        for _, weight in lora.lora_parameters(model):
            weight.normal_(0, 0.2)
    answers = ask(base, WORDS, questions(5, 9, 2), SAMPLING, seeds=range(3))
    wanted = read(PolicyAndValue(base), answers).logprobs_NT
    reference = Reference(model)
    assert reference.shared
    torch.testing.assert_close(reference.logprobs(answers), wanted)
    assert (read(PolicyAndValue(model), answers).logprobs_NT - wanted).abs().max() > 0.01
    other = Reference(model_of(seed=1), base)
    torch.testing.assert_close(other.logprobs(answers), wanted)
    assert not other.shared and not any(p.requires_grad for p in base.parameters())
    with pytest.raises(AssertionError):
        Reference(model_of())


def test_memory_that_runs_out_halves_what_is_done_at_a_time(monkeypatch):
    model, asked = model_of(), questions(5, 9, 2, 7)
    wanted = [a.ids for a in ask(model, WORDS, asked, SAMPLING, seeds=range(4))]
    generate, tried = rollouts.generate, []

    def tight(model, *given, max_rows, **more):
        tried.append(max_rows)
        if max_rows > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(model, *given, max_rows=max_rows, **more)
    monkeypatch.setattr(rollouts, "generate", tight)
    assert [a.ids for a in ask(model, WORDS, asked, SAMPLING, seeds=range(4))] == wanted and tried == [4, 2, 1]

    def none(*given, **more):
        raise RuntimeError("MPS backend out of memory")
    monkeypatch.setattr(rollouts, "generate", none)
    with pytest.raises(OutOfMemory):
        ask(model, WORDS, asked, SAMPLING, seeds=range(4))


def test_each_question_comes_once_before_any_comes_again():
    order = Order(7, seed=3)
    asked = [n for round in range(5) for n in order.numbers(round, 4)]
    assert sorted(asked[:7]) == sorted(asked[7:14]) == list(range(7)) and asked[:7] != asked[7:14]
    assert Order(7, seed=3).numbers(3, 4) == asked[12:16] and Order(7, seed=4).numbers(0, 7) != asked[:7]
    made = [s for round in range(3) for s in seeds(1, "rollout", round, range(5))]
    assert len(set(made)) == 15 and seeds(1, "rollout", 2, [4]) == made[-1:] and all(0 <= s < 2**63 for s in made)


def test_a_value_model_of_its_own_keeps_only_what_is_trained():
    decoder = model_of()
    lora.add_lora(decoder, lora.LoraSettings(rank=2), 0)
    made = ValueModel(decoder, torch.ones(32), kl_coef=0.3)
    kept = made.state_dict()
    assert {"weight", "bias", "kl_coef"} < kept.keys() and all("lora" in name for name in kept.keys() - {"weight", "bias", "kl_coef"})
    torch.testing.assert_close(made(torch.full((2, 32), 0.5)), torch.full((2,), 16.0))
    other = ValueModel(model_of(), None)
    assert "decoder.layers.0.attention.qkv.weight" in other.state_dict()
    with torch.no_grad():
        made.kl_coef.fill_(0.7)
    made.load_state_dict(kept | {"kl_coef": torch.tensor(0.4)})
    assert made.kl_coef.item() == pytest.approx(0.4)


def test_rollouts_of_a_step_are_read_as_they_were_written(tmp_path):
    def row(step, place):
        return Rollout(id=f"{step}/{place}", step=step, prompt=(Message(role="user", content="é?\n"),), completion="a\nb", reward=0.5,
                       parts={"score": 1.0}, facts={"kl": 0.1})
    rows = {step: [row(step, place) for place in range(3)] for step in (0, 4, 8)}
    for step, some in rows.items():
        rollout_files.write(tmp_path, step, some[:2])
        rollout_files.write(tmp_path, step, some[2:], rank=1)
    assert rollout_files.steps(tmp_path) == [0, 4, 8] and list(rollout_files.rows(tmp_path, 4)) == rows[4]
    assert list(rollout_files.rows(tmp_path, 5)) == []
    rollout_files.forget_from(tmp_path, 4)
    assert rollout_files.steps(tmp_path) == [0] and rollout_files.steps(tmp_path / "other") == []
    (layout.rollouts(tmp_path) / "step-00000000.jsonl").write_text('{"id": 1\n')
    with pytest.raises(Corrupt, match="line 1"):
        list(rollout_files.rows(tmp_path, 0))
