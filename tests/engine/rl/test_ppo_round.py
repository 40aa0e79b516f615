"""A whole round of PPO on small real models: our flat batches against a plain loop on transformers, padded, written out from the papers'
formulas, with gradients."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import transformers

from engine.contract.context import RunContext
from engine.contract.rows import Message
from engine.model import hf
from engine.model.decoder import Decoder
from engine.rl.rollouts import Question, Reference
from engine.rl.value_head import REACH, PolicyAndValue, ValueHead
from engine.stages.ppo.rounds import Rounds
from engine.stages.ppo.spec import PpoSpec
from engine.training.ranks import Ranks
from tests.attempts import one_thread  # noqa: F401

VOCAB, STOPS = 61, tuple(range(8))
WORDS = SimpleNamespace(special={}, decode=lambda ids: " ".join(map(str, ids)))


class Length:
    """Likes answers by the sum of their numbers: any number will do."""

    def score(self, conversations):
        return [math.sin(sum(int(word) for word in messages[-1].content.split())) for messages in conversations]


def theirs(shape, seed):
    torch.manual_seed(seed)
    if shape == "llama":
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, initializer_range=0.3, bos_token_id=None, eos_token_id=None)).eval()
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3, bos_token_id=None,
        eos_token_id=None)).eval()


def ours(model):
    config = hf.config_from_hf(model.config.to_dict())
    made = Decoder(config, seed=None)
    made.load_state_dict(dict(hf.from_hf(config, model.state_dict().__getitem__)))
    return made.eval()


def rounds_of(tmp_path, policy, reference, head, **settings):
    spec = PpoSpec(**{"model": "m", "reward": "r", "examples": ("e",), "batch_size": 10, "max_new_tokens": 9, "minibatches": 1, **settings})
    draw = torch.Generator().manual_seed(5)
    questions = []
    for n in range(7):
        ids = torch.randint(8, VOCAB, (int(torch.randint(2, 12, (), generator=draw)),), generator=draw).tolist()
        questions.append(Question((Message(role="user", content=str(n)),), tuple(ids), n))
    context = RunContext(run_dir=tmp_path, project_dir=tmp_path, run_id="1-ppo", emitter=lambda event: None)
    made = Rounds(spec, questions, WORDS, STOPS, Length(), head, context, Ranks(0, 1, torch.device("cpu")))
    module = PolicyAndValue(policy, head, temperature=spec.temperature, entropy_gradient=spec.entropy_weight > 0)
    made.bind(module, Reference(policy, reference, temperature=spec.temperature))
    return spec, made, module


def plain_read(model, answers, temperature, weight=None, bias=None):
    """Right-padded, one answer a row, all logits: (log-probabilities, entropies, values), [N, T]."""
    longest = max(len(a.question.ids) + len(a.ids) for a in answers)
    tokens = torch.tensor([[*a.question.ids, *a.ids] + [0] * (longest - len(a.question.ids) - len(a.ids)) for a in answers])
    mask = torch.tensor([[1] * (len(a.question.ids) + len(a.ids)) + [0] * (longest - len(a.question.ids) - len(a.ids)) for a in answers])
    made = model(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
    every = (made.logits / temperature).log_softmax(-1)
    size = max(len(a.ids) for a in answers)
    columns = []
    for row, a in enumerate(answers):
        first, count = len(a.question.ids) - 1, len(a.ids)
        chosen = every[row, first:first + count]
        hidden = made.hidden_states[-1][row, first:first + count]
        values = torch.zeros(count) if weight is None else REACH * (hidden @ weight + bias)
        told = (chosen.gather(1, torch.tensor(a.ids)[:, None])[:, 0], -(chosen.exp() * chosen).sum(-1), values)
        columns.append([F.pad(one, (0, size - count)) for one in told])
    return [torch.stack(one) for one in zip(*columns, strict=True)]


def plain_loss(model, old_model, reference_model, answers, spec, weight, bias):
    """PPO's loss on one round in its plainest form, one token at a time where that is plainest."""
    with torch.no_grad():
        old, _, values = plain_read(old_model, answers, spec.temperature, weight, bias)
        reference, _, _ = plain_read(reference_model, answers, spec.temperature)
        scores = Length().score([a.conversation for a in answers])
        rewards, advantages = torch.zeros_like(old), torch.zeros_like(old)
        for n, a in enumerate(answers):
            count = len(a.ids)
            for t in range(count):
                rewards[n, t] = -spec.kl_coef * (old[n, t] - reference[n, t])
            rewards[n, count - 1] += scores[n] + (0 if a.ids[-1] in STOPS else spec.missing_end)
        inside = torch.tensor([[t < len(a.ids) for t in range(old.shape[1])] for a in answers])
        if spec.whiten_rewards:
            mean, spread = rewards[inside].mean(), rewards[inside].std()
            rewards = torch.where(inside, (rewards - mean) / spread + mean, 0.0)
        for n, a in enumerate(answers):
            for t in range(len(a.ids)):
                for k in range(t, len(a.ids)):
                    after = values[n, k + 1] if k + 1 < len(a.ids) else 0.0
                    advantages[n, t] += (spec.gamma * spec.lam) ** (k - t) * (rewards[n, k] + spec.gamma * after - values[n, k])
        returns = advantages + values
        advantages = (advantages - advantages[inside].mean()) / advantages[inside].std()
    new, entropy, now = plain_read(model, answers, spec.temperature, weight, bias)
    ratio = torch.exp(new - old)[inside]
    a = advantages[inside]
    policy = torch.maximum(-a * ratio, -a * ratio.clamp(1 - spec.clip, 1 + spec.clip)).mean()
    now, before, wanted = now[inside], values[inside], returns[inside]
    held = before + (now - before).clamp(-spec.value_clip, spec.value_clip)
    value = 0.5 * torch.maximum((now - wanted) ** 2, (held - wanted) ** 2).mean()
    return policy + spec.value_weight * value - spec.entropy_weight * entropy[inside].mean(), policy, value


@pytest.mark.parametrize(("shape", "settings"), [
    ("llama", {}), ("llama", {"temperature": 0.7, "entropy_weight": 0.02, "gamma": 0.97, "lam": 0.9}),
    ("llama", {"whiten_rewards": True, "missing_end": -2.0, "clip": 0.05}), ("gpt2", {"value_weight": 1.0})])
@pytest.mark.parametrize("micro", [10, 3])
def test_loss_and_gradients_equal_those_of_a_plain_padded_loop(tmp_path, shape, settings, micro):
    start, reference = theirs(shape, 1), theirs(shape, 2)
    moved = theirs(shape, 1)
    with torch.no_grad():                                 # what the updates before this one did
        torch.manual_seed(3)
        for weight in moved.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    head = ValueHead(32, kl_coef=0.2)
    with torch.no_grad():
        head.weight.normal_(0, 0.03, generator=torch.Generator().manual_seed(4))
        head.bias.fill_(0.02)
    spec, rounds, module = rounds_of(tmp_path, ours(start), ours(reference), head, kl_coef=0.2, **settings)
    batches = rounds.batches(0, micro)
    assert len(batches) == math.ceil(10 / micro) and sum(len(b.answers.numbers) for b in batches) == 10
    module.decoder.load_state_dict(ours(moved).state_dict())
    tokens = sum(b.weight for b in batches)
    got = sum(rounds.loss(module, batch) for batch in batches) / tokens
    got.backward()
    told = rounds.measures()
    answers = rounds.sampled(0).answers
    assert {a.finish for a in answers} == {"stop", "length"} and len({len(a.ids) for a in answers}) > 2
    weight, bias = head.weight.detach().clone().requires_grad_(), head.bias.detach().clone().requires_grad_()
    wanted, policy, value = plain_loss(moved, start, reference, answers, spec, weight, bias)
    wanted.backward()
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    assert told["policy_loss"] == pytest.approx(policy.item(), abs=1e-4) and told["value_loss"] == pytest.approx(value.item(), rel=1e-4)
    torch.testing.assert_close(head.weight.grad, weight.grad, rtol=1e-3, atol=1e-5)
    grads = {name: p.grad for name, p in moved.named_parameters() if p.grad is not None}
    theirs_as_ours = dict(hf.from_hf(module.decoder.config, lambda name: grads[name]))
    for name, parameter in module.decoder.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs_as_ours[name], rtol=1e-3, atol=2e-5, msg=lambda said, n=name: f"{n}: {said}")


def test_kl_reward_and_explained_variance_are_what_they_say(tmp_path):
    start, reference = theirs("llama", 1), theirs("llama", 2)
    head = ValueHead(32, kl_coef=0.1)
    with torch.no_grad():
        head.weight.normal_(0, 0.03, generator=torch.Generator().manual_seed(4))
    spec, rounds, _ = rounds_of(tmp_path, ours(start), ours(reference), head, missing_end=-0.5)
    rounds.batches(0, 10)
    told, answers = rounds.measures(), rounds.sampled(0).answers
    with torch.no_grad():
        old, entropy, values = plain_read(start, answers, 1.0, head.weight, head.bias)
        other, _, _ = plain_read(reference, answers, 1.0)
    inside = torch.tensor([[t < len(a.ids) for t in range(old.shape[1])] for a in answers])
    assert told["kl"] == pytest.approx(((old - other) * inside).sum(1).mean().item(), rel=1e-4)
    cut = torch.tensor([a.ids[-1] not in STOPS for a in answers])
    rewards = torch.tensor(Length().score([a.conversation for a in answers])) - 0.5 * cut
    assert told["reward"] == pytest.approx(rewards.mean().item(), rel=1e-5)
    assert told["reward_std"] == pytest.approx(rewards.std(correction=0).item(), rel=1e-4)
    assert told["ended"] == sum(a.ids[-1] in STOPS for a in answers) / 10 and told["length"] == sum(len(a.ids) for a in answers) / 10
    returns = rounds.experience(0).returns_NT[inside]
    wanted = 1 - (returns - values[inside]).var(correction=0) / returns.var(correction=0)
    assert told["explained_variance"] == pytest.approx(wanted.item(), abs=1e-4)
    assert told["sampler_gap"] < 1e-5


def test_each_pass_deals_all_answers_out_once_in_another_order(tmp_path):
    model = ours(theirs("llama", 1))
    _, rounds, _ = rounds_of(tmp_path, model, ours(theirs("llama", 1)), ValueHead(32), ppo_epochs=2, minibatches=2)
    dealt = [[n for b in rounds.batches(step, 2) for n in b.answers.numbers] for step in range(4)]
    assert sorted(dealt[0] + dealt[1]) == sorted(dealt[2] + dealt[3]) == list(range(10)) and [len(d) for d in dealt] == [5] * 4
    assert set(dealt[0]) != set(dealt[2])
    again = [[n for b in rounds.batches(step, 5) for n in b.answers.numbers] for step in range(4)]
    assert [sorted(one) for one in again] == [sorted(one) for one in dealt]  # another micro batch, the same answers


def test_advantages_are_whitened_as_the_formula_says(tmp_path):
    model = ours(theirs("llama", 1))
    _, rounds, _ = rounds_of(tmp_path, model, ours(theirs("llama", 2)), ValueHead(32, 0.05))
    made = rounds.experience(0)
    inside = made.advantages_NT[made.sampled.mask_NT.bool()]
    assert inside.mean().abs() < 1e-5 and inside.std().item() == pytest.approx(1, abs=1e-4)
    assert made.advantages_NT[made.sampled.mask_NT == 0].abs().max() == 0
