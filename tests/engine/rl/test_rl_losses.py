"""Losses of preferences and policies against TRL's own code and numbers worked by hand, with gradients, on random inputs."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from engine.rl.advantages import gae, group_advantages, token_rewards, whiten, without_signal
from engine.rl.policy import KlController, average, clipped_policy_loss_NT, clipped_share, kl_NT, value_loss
from engine.rl.preferences import Pairs, bradley_terry_loss, dpo_loss, kto_loss

TOLERANCE = dict(rtol=1e-5, atol=1e-6)


def generator(seed):
    return torch.Generator().manual_seed(seed)


# ---- DPO against TRL's trainer


def trl_dpo(policy_2NT, reference_2NT, mask_2NT, beta, kind, smoothing):
    """The loss lines of TRL 1.16's DPOTrainer, run as they stand on given log-probabilities."""
    import inspect
    import textwrap

    from trl.trainer.dpo_trainer import DPOTrainer
    source = textwrap.dedent(inspect.getsource(DPOTrainer._compute_loss))
    begin, end = source.index("    # Get the log ratios"), source.index("        if self.use_weighting:")
    code = textwrap.dedent(source[begin:end]) + "\n    loss += per_sequence_loss.mean() * loss_weight\n"
    mine = SimpleNamespace(f_divergence_type="reverse_kl", loss_types=[kind], loss_weights=[1.0], beta=beta, label_smoothing=smoothing)
    chosen, rejected = (policy_2NT * mask_2NT).sum(1).chunk(2)
    ref_chosen, ref_rejected = (reference_2NT * mask_2NT).sum(1).chunk(2)
    names = {"self": mine, "torch": torch, "F": F, "math": math, "chosen_logps": chosen, "rejected_logps": rejected,
             "ref_chosen_logps": ref_chosen, "ref_rejected_logps": ref_rejected, "completion_mask": mask_2NT,
             "shift_completion_mask": mask_2NT, "per_token_logps": policy_2NT * mask_2NT}
    exec(code, names)
    return names["loss"]


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "hinge"])
@pytest.mark.parametrize("beta", [0.1, 0.5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_dpo_equals_trl_with_gradients(kind, beta, seed):
    policy = (-torch.rand(12, 9, generator=generator(seed)) * 3).requires_grad_()
    reference = -torch.rand(12, 9, generator=generator(seed + 100)) * 3
    mask = (torch.arange(9) < torch.randint(1, 10, (12, 1), generator=generator(seed + 200))).float()
    wanted = trl_dpo(policy, reference, mask, beta, kind, 0.0)
    wanted_gradient, = torch.autograd.grad(wanted, policy)
    sums, tokens = (policy * mask).sum(1), mask.sum(1)
    fixed = (reference * mask).sum(1)
    pairs = Pairs(sums[:6], sums[6:], fixed[:6], fixed[6:], tokens[:6], tokens[6:])
    got = dpo_loss(pairs, beta=beta, kind=kind)
    torch.testing.assert_close(got, wanted, **TOLERANCE)
    torch.testing.assert_close(torch.autograd.grad(got, policy)[0], wanted_gradient, **TOLERANCE)


def pair(chosen, rejected, reference_chosen=0.0, reference_rejected=0.0, tokens=(4, 2)):
    return Pairs(*(torch.tensor([float(x)]) for x in (chosen, rejected, reference_chosen, reference_rejected, *tokens)))


def test_losses_of_a_pair_by_hand():
    one = pair(-2.0, -3.0, -2.5, -2.5)       # log-ratios 0.5 and -0.5: difference 1
    assert dpo_loss(one, beta=0.5).item() == pytest.approx(math.log(1 + math.exp(-0.5)))
    smooth = 0.9 * math.log(1 + math.exp(-0.5)) + 0.1 * math.log(1 + math.exp(0.5))
    assert dpo_loss(one, beta=0.5, label_smoothing=0.1).item() == pytest.approx(smooth)
    assert dpo_loss(one, beta=0.5, kind="hinge").item() == pytest.approx(0.5)
    assert dpo_loss(one, beta=0.5, kind="ipo").item() == pytest.approx((0.5 / 4 + 0.5 / 2 - 1) ** 2)
    # SimPO: -2/4 and -3/2 a token: difference 1, times 2, less a margin of 0.5
    assert dpo_loss(one, beta=2.0, kind="simpo", margin=0.5).item() == pytest.approx(math.log(1 + math.exp(-1.5)))


def trl_reward_loss(chosen, rejected, margin, centre):
    """The loss lines of TRL 1.16's RewardTrainer, run as they stand on given rewards."""
    import inspect
    import textwrap

    from torch import nn
    from trl.trainer.reward_trainer import RewardTrainer
    source = inspect.getsource(RewardTrainer.compute_loss)
    begin, end = source.index("        # Split the rewards into chosen"), source.index('        if mode == "train":')
    names = {"self": SimpleNamespace(args=SimpleNamespace(center_rewards_coefficient=centre)), "torch": torch, "nn": nn,
             "inputs": {} if margin is None else {"margin": margin},
             "outputs": SimpleNamespace(logits=torch.cat([chosen, rejected])[:, None])}
    exec(textwrap.dedent(source[begin:end]), names)
    return names["loss"]


@pytest.mark.parametrize("with_margin", [False, True])
@pytest.mark.parametrize("centre", [None, 0.01, 0.5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bradley_terry_equals_trl_with_gradients(seed, centre, with_margin):
    chosen, rejected = (3 * torch.randn(16, generator=generator(seed + n)) for n in (0, 100))
    rewards = chosen.requires_grad_(), rejected.requires_grad_()
    margin = torch.rand(16, generator=generator(seed + 200)) if with_margin else None
    wanted = trl_reward_loss(*rewards, margin, centre)
    wanted_gradients = torch.autograd.grad(wanted, rewards)
    got = bradley_terry_loss(*rewards, margin_N=margin, centre=centre or 0.0)
    torch.testing.assert_close(got, wanted, **TOLERANCE)
    for a, b in zip(torch.autograd.grad(got, rewards), wanted_gradients, strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)


def test_bradley_terry_by_hand():
    two, zero = torch.tensor([2.0]), torch.tensor([0.0])
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert bradley_terry_loss(two, zero).item() == pytest.approx(right)
    assert bradley_terry_loss(two, zero, label_smoothing=0.1).item() == pytest.approx(0.9 * right + 0.1 * wrong)
    assert bradley_terry_loss(two, zero, margin_N=torch.tensor([1.5]), label_smoothing=0.1, centre=0.25).item() == pytest.approx(
        0.9 * math.log(1 + math.exp(-0.5)) + 0.1 * math.log(1 + math.exp(0.5)) + 0.25 * 4)
    mixed = bradley_terry_loss(torch.tensor([2.0, 2.0]), torch.zeros(2), tie_N=torch.tensor([True, False]),
                               margin_N=torch.tensor([9.0, 0.0]))
    assert mixed.item() == pytest.approx((0.5 * (right + wrong) + right) / 2)  # a tie has no margin
    tie = bradley_terry_loss(torch.tensor([2.0]), torch.tensor([0.0]), tie_N=torch.tensor([True]))
    assert tie.item() == pytest.approx(0.5 * (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))))
    even = torch.zeros(1, requires_grad=True)
    assert torch.autograd.grad(bradley_terry_loss(even, torch.zeros(1), tie_N=torch.tensor([True])), even)[0].item() == 0


def test_kto_by_hand():
    loss = kto_loss(torch.tensor([-1.0, -4.0]), torch.tensor([-2.0, -3.0]), torch.tensor([True, False]), torch.tensor(0.2), beta=0.5,
                    good_weight=1.0, bad_weight=2.0)
    up, down = 1 - 1 / (1 + math.exp(-0.5 * 0.8)), 1 - 1 / (1 + math.exp(-0.5 * 1.2))
    assert loss.item() == pytest.approx((up + 2 * down) / 2)


# ---- GRPO against TRL's trainer


def trl_grpo(logprobs, old, reference, advantages, mask, *, loss_type, beta, low, high, level, delta, longest):
    """TRL 1.16's GRPOTrainer._compute_loss on given log-probabilities."""
    from collections import defaultdict

    from trl.trainer.grpo_trainer import GRPOTrainer
    n, t = logprobs.shape
    stand = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprobs, torch.zeros_like(logprobs), None), aux_loss_enabled=False,
        top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level=level, beta=beta,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=delta, steps_per_generation=1, report_to=[]), loss_type=loss_type,
        epsilon_low=low, epsilon_high=high, use_vllm=False, vllm_importance_sampling_correction=False,
        model=SimpleNamespace(training=True), current_gradient_accumulation_steps=1, max_completion_length=longest,
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, gather_for_metrics=lambda x: x,
                                    reduce=lambda x, reduction: x),
        _entropy_bonus_enabled=False, _metrics=defaultdict(lambda: defaultdict(list)), entropy_coef=0.0)
    inputs = {"prompt_ids": torch.zeros(n, 1, dtype=torch.long), "prompt_mask": torch.ones(n, 1, dtype=torch.long),
              "completion_ids": torch.zeros(n, t, dtype=torch.long), "completion_mask": mask.long(), "advantages": advantages,
              "old_per_token_logps": old, "ref_per_token_logps": reference, "num_items_in_batch": mask.sum()}
    return GRPOTrainer._compute_loss(stand, None, inputs)


HOW = {"grpo": "sequence", "bnpo": "token", "dapo": "token", "dr_grpo": "constant"}


@pytest.mark.parametrize("loss_type", sorted(HOW))
@pytest.mark.parametrize(("level", "beta", "delta"), [("token", 0.0, None), ("token", 0.04, None), ("sequence", 0.0, None),
                                                      ("token", 0.0, 1.5)])
def test_grpo_equals_trl_with_gradients(loss_type, level, beta, delta):
    logprobs = (-torch.rand(8, 11, generator=generator(5)) * 2).requires_grad_()
    old = logprobs.detach() + 0.3 * torch.randn(8, 11, generator=generator(6))
    reference = logprobs.detach() + 0.3 * torch.randn(8, 11, generator=generator(7))
    advantages = torch.randn(8, generator=generator(8))
    mask = (torch.arange(11) < torch.randint(1, 12, (8, 1), generator=generator(9))).float()
    wanted = trl_grpo(logprobs, old, reference, advantages, mask, loss_type=loss_type, beta=beta, low=0.2, high=0.28, level=level,
                      delta=delta, longest=16)
    wanted_gradient, = torch.autograd.grad(wanted, logprobs)
    loss, ratio = clipped_policy_loss_NT(logprobs, old, advantages, mask, clip_low=0.2, clip_high=0.28, level=level, most=delta)
    assert ratio.shape == ((8, 1) if level == "sequence" else (8, 11))
    if beta:
        loss = loss + beta * kl_NT(logprobs, reference)
    got = average(loss.expand(8, 11), mask, HOW[loss_type], longest=16)
    torch.testing.assert_close(got, wanted, **TOLERANCE)
    torch.testing.assert_close(torch.autograd.grad(got, logprobs)[0], wanted_gradient, **TOLERANCE)


def test_clipping_counts_only_where_it_cuts_the_gradient():
    ratio = torch.tensor([[0.5, 0.5, 1.5, 1.5, 1.0]])
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0]])
    low, high = clipped_share(ratio, advantages, torch.ones(1, 5), 0.2, 0.2)
    assert low.item() == pytest.approx(0.2) and high.item() == pytest.approx(0.2)


# ---- advantages


def test_group_advantages_by_hand():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert group_advantages(rewards, scale="none")[0].tolist() == pytest.approx([0.75, -0.25, -0.25, -0.25])
    assert group_advantages(rewards, scale="group", eps=0.0)[0].tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5])
    assert group_advantages(rewards, scale="group")[1].abs().max() == 0
    spread = torch.tensor([1.0, 0, 0, 0, 1, 1, 1, 1]).std().item()
    assert group_advantages(rewards, scale="batch", eps=0.0)[0, 0].item() == pytest.approx(0.75 / spread)
    assert without_signal(rewards).tolist() == [False, True]


def test_a_completion_without_a_reward_leaves_its_group():
    rewards = torch.tensor([[1.0, 0.0, torch.nan, 0.0], [torch.inf, 1.0, 1.0, 1.0]])
    kept = torch.isfinite(rewards)
    got = group_advantages(rewards, scale="none", kept_PG=kept)
    assert got[0].tolist() == pytest.approx([2 / 3, -1 / 3, 0.0, -1 / 3]) and got[1].tolist() == [0, 0, 0, 0]
    assert without_signal(rewards, kept).tolist() == [False, True]


def test_gae_by_hand():
    rewards = torch.tensor([[0.0, 1.0, 9.0]])
    values = torch.tensor([[0.5, 0.25, 7.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0]])          # the last column is padding
    advantages, returns = gae(rewards, values, mask, gamma=0.9, lam=0.8)
    last = 1.0 - 0.25
    first = (0.0 + 0.9 * 0.25 - 0.5) + 0.9 * 0.8 * last
    assert advantages[0].tolist() == pytest.approx([first, last, 0.0])
    assert returns[0].tolist() == pytest.approx([first + 0.5, 1.0, 0.0])


def test_gae_against_the_sum_over_all_later_steps():
    steps, gamma, lam = 7, 0.97, 0.9
    rewards, values = torch.randn(4, steps, generator=generator(1)), torch.randn(4, steps, generator=generator(2))
    got, _ = gae(rewards, values, torch.ones(4, steps), gamma=gamma, lam=lam)
    after = torch.cat([values[:, 1:], torch.zeros(4, 1)], 1)
    delta = rewards + gamma * after - values
    wanted = torch.stack([sum((gamma * lam) ** (k - t) * delta[:, k] for k in range(t, steps)) for t in range(steps)], 1)
    torch.testing.assert_close(got, wanted, **TOLERANCE)


def test_the_score_stands_at_the_last_token_and_kl_at_each():
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    logprobs, reference = torch.full((2, 3), -1.0), torch.full((2, 3), -1.5)
    got = token_rewards(torch.tensor([2.0, 3.0]), logprobs, reference, mask, kl_coef=0.1)
    assert got.tolist() == [pytest.approx([-0.05, 1.95, 0.0]), pytest.approx([-0.05, -0.05, 2.95])]


def test_whitened_values_have_mean_0_and_variance_1_within_the_mask():
    values, mask = torch.randn(5, 6, generator=generator(3)) * 3 + 2, (torch.rand(5, 6, generator=generator(4)) > 0.3).float()
    white = whiten(values, mask)
    inside = white[mask.bool()]
    assert inside.mean().abs() < 1e-6 and inside.var().item() == pytest.approx(1, abs=1e-5) and white[mask == 0].abs().max() == 0
    kept = whiten(values, mask, shift_mean=False)[mask.bool()]
    assert kept.mean().item() == pytest.approx(values[mask.bool()].mean().item(), abs=1e-5)


def test_the_value_loss_takes_the_worse_of_both_errors():
    values, old, returns = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 2.0]]), torch.tensor([[1.0, 0.0]])
    mask = torch.ones(1, 2)
    held = (0.7 - 1.0) ** 2                          # 1.0 is held at 0.5 + 0.2
    assert value_loss(values, old, returns, mask, clip=0.2).item() == pytest.approx(0.5 * (held + 4.0) / 2)
    assert value_loss(values, old, returns, mask, clip=0).item() == pytest.approx(0.5 * 4.0 / 2)


def test_estimates_of_kl_are_right_on_average():
    torch.manual_seed(0)
    policy, reference = torch.randn(6).log_softmax(0), torch.randn(6).log_softmax(0)
    true = (policy.exp() * (policy - reference)).sum().item()
    for estimate in ("k1", "k3"):
        expected = (policy.exp() * kl_NT(policy, reference, estimate)).sum().item()
        assert expected == pytest.approx(true, abs=1e-6)
    assert (kl_NT(policy, reference, "k3") >= 0).all() and (kl_NT(policy, policy, "k2") == 0).all()


def test_the_kl_coefficient_follows_its_target():
    controller = KlController(0.1, target=2.0, horizon=1000)
    controller.update(4.0, 100)
    assert controller.value == pytest.approx(0.1 * (1 + 0.2 * 0.1))
    controller.update(0.0, 100)
    assert controller.value == pytest.approx(0.102 * (1 - 0.2 * 0.1))
    fixed = KlController(0.1)
    fixed.update(100.0, 100)
    assert fixed.value == 0.1
