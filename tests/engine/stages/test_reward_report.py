"""What is told of a reward model, against numbers worked by hand; heads against torch; the curve on data whose truth is known."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.contract.machine import DeviceFacts
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.reward_model import RewardHead
from engine.stages.reward import report
from engine.stages.reward.estimates import Doubt, fit_head, learning_curve
from engine.stages.reward.learning import HeldOut, Learning, around, bradley_terry_nats, read, spread
from engine.stages.reward.spec import RewardSpec
from engine.training.pair_rows import EncodedPairs, PairRows, pair_batch
from engine.training.ranks import Ranks
from engine.training.tuning_plan import Load, resolve
from tests.attempts import one_thread  # noqa: F401

ONE = Ranks(0, 1, torch.device("cpu"))


def pairs_of(count, seed=1):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 9, (count, 3))
    starts = np.concatenate([[0], np.cumsum(sizes.reshape(-1))]).astype(np.int64)
    return EncodedPairs(draw.integers(1, 60, starts[-1]).astype(np.uint32), starts, np.zeros((count, 2), np.int64),
                        draw.integers(0, 4, count).astype(np.int8), draw.random(count) < 0.3, np.zeros(count, bool), np.arange(count),
                        draw.integers(0, 2**63, count).astype(np.uint64))


def small(tied=True):
    config = ModelConfig(vocab_size=64, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=64,
                         max_seq_len=64, tie_embeddings=tied)
    model = Decoder(config, seed=1)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 2:
                p.mul_(4)
    return model


# ------------------------------------------------------------------------------------------------------------------ learning


@pytest.mark.parametrize("row", [None, 24])
def test_loss_and_gradients_of_a_batch_are_those_of_conversations_one_by_one(row):
    spec = RewardSpec(margin=0.3, centre=0.05, label_smoothing=0.1)
    pairs, made = pairs_of(7), []
    for batched in (True, False):
        head = RewardHead(32, 5)
        model = around(head, small())
        if batched:
            loss = Learning(spec, ONE)(model, pair_batch(pairs, range(7), row=row))
        else:
            total = []
            for n in range(7):
                c, r = (head(model.decoder(torch.from_numpy(pairs.conversation(n, side)[0].astype(np.int64))[None])[0, -1:])[0]
                        for side in (0, 1))
                m = 0.3 * float(pairs.strengths[n])
                if pairs.ties[n]:
                    one = -0.5 * (F.logsigmoid(c - r) + F.logsigmoid(r - c))
                else:
                    one = -0.9 * F.logsigmoid(c - r - m) - 0.1 * F.logsigmoid(-(c - r - m))
                total.append(one + 0.05 * (c + r) ** 2)
            loss = torch.stack(total).sum()
        loss.backward()
        made.append((loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    assert made[0][0] == pytest.approx(made[1][0], rel=1e-5)
    assert made[0][1].keys() == made[1][1].keys() and len(made[0][1]) > 8
    for name, gradient in made[0][1].items():
        torch.testing.assert_close(gradient, made[1][1][name], rtol=1e-4, atol=1e-5)


def test_measures_are_means_over_the_pairs_of_a_step_and_a_rank_without_work_does_not_count():
    pairs, learning = pairs_of(9), Learning(RewardSpec(), ONE)
    model = around(RewardHead(32, 5), small(tied=False))
    assert not model.decoder.head.weight.requires_grad
    for numbers in ([0, 1, 2], [3, 4, 5, 6, 7, 8]):
        learning(model, pair_batch(pairs, numbers))
    idle = learning(model, pair_batch(pairs, [1], weight=0.0))
    assert idle.item() == 0 and idle.requires_grad
    rewards = read(model, pairs, range(9)).rewards
    difference, decided = rewards[:, 0] - rewards[:, 1], ~pairs.ties
    assert learning.measures() == pytest.approx({"accuracy": (difference[decided] > 0).mean(), "margin": difference[decided].mean(),
                                                 "chosen_reward": rewards[:, 0].mean(), "rejected_reward": rewards[:, 1].mean()}, abs=1e-5)
    assert learning.measures()["accuracy"] == 0  # of a step with nothing in it


def test_what_is_read_of_pairs_is_in_the_order_asked_and_the_mode_comes_back():
    pairs, model = pairs_of(12), around(RewardHead(32, 5), small())
    model.train()
    some = read(model, pairs, [7, 2, 11], means=True, batch_tokens=20)
    assert model.training and some.rewards.shape == (3, 2) and some.differences.shape == (3, 64)
    everything = read(model, pairs, range(12), means=True)
    np.testing.assert_allclose(some.rewards, everything.rewards[[7, 2, 11]], atol=1e-5)
    np.testing.assert_allclose(some.differences, everything.differences[[7, 2, 11]], atol=1e-5)
    np.testing.assert_allclose(some.differences[:, :32] @ model.head.weight.detach().numpy()[0],
                               some.rewards[:, 0] - some.rewards[:, 1], atol=1e-5)
    ids, begin = pairs.conversation(7, 1)
    with torch.no_grad():
        hidden = model.decoder(torch.from_numpy(ids.astype(np.int64))[None])[0, begin:].mean(0).numpy()
        other = model.decoder(torch.from_numpy(pairs.conversation(7, 0)[0].astype(np.int64))[None])[0, begin:].mean(0).numpy()
    np.testing.assert_allclose(some.differences[0, 32:], other - hidden, atol=1e-5)


def test_held_out_values_are_of_bradley_and_terry_and_ranks_share_the_pairs():
    pairs, head = pairs_of(20), RewardHead(32, 5)
    made = HeldOut(pairs, head, ONE)(small())
    rewards = read(around(head, small()), pairs, range(20)).rewards
    difference, tie = rewards[:, 0] - rewards[:, 1], pairs.ties
    assert made["val_accuracy"] == pytest.approx((difference[~tie] > 0).mean())
    assert made["val_loss"] == pytest.approx(bradley_terry_nats(difference, tie).mean(), abs=1e-6)
    some = spread(pairs, 5).tolist()
    assert some == sorted(set(some)) and len(some) == 5 and len(spread(pairs, 99)) == 20


def test_the_estimate_of_memory_counts_no_logits():
    config = ModelConfig(vocab_size=32_000, hidden_size=256, num_layers=4, num_heads=4, num_kv_heads=4, head_dim=64,
                         intermediate_size=688, max_seq_len=512, tie_embeddings=True)
    device = DeviceFacts(id="cpu", kind="cpu", title="CPU", memory_total=32 * 2**30, memory_free=16 * 2**30)
    load = dict(steps=10, batch=8, units=8, seq_len=400, tokens_per_step=2400.0, epochs=1.0, unit="pairs")
    with_logits, without = (resolve(RewardSpec(micro_batch_size=8), config, Load(**load, predicts=yes), device).cost.memory
                            for yes in (True, False))
    assert without < with_logits - 32_000 * 256 * 4
    assert "8 pairs" in resolve(RewardSpec(), config, Load(**load), device).sentence()


def test_rows_of_pairs_know_what_stands_in_them():
    pairs = pairs_of(10)
    rows = PairRows(pairs, batch_size=4, seed=1)
    assert rows.longest_pair == pairs.sizes().max() and rows.tokens_per_step == pytest.approx(len(pairs.ids) * 4 / 10)
    assert PairRows(pairs, batch_size=4, seed=1, row=64).tokens_per_step == pytest.approx(pairs.tokens * 4 / 10)


# ------------------------------------------------------------------------------------------------------------------ report


REWARDS = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0], [1.0, -1.0], [0.0, 4.0]])


def test_accuracy_by_hand():
    made = report.accuracy(REWARDS, np.array([1, 1, 0, 2, 2]), np.array([False] * 4 + [True]), ["ann", "bob", "ann", "", "bob"])
    assert (made["count"], made["right"], made["share"], made["ties"]) == (4, 2.5, 0.625, 1)
    assert made["by_strength"]["1"]["share"] == 0.5 and made["by_strength"]["0"]["right"] == 0.5 and made["by_strength"]["2"]["count"] == 1
    assert made["by_annotator"]["ann"]["right"] == 1.5 and made["by_annotator"]["bob"]["count"] == 1
    nothing = report.accuracy(np.zeros((0, 2)), np.zeros(0, int), np.zeros(0, bool), [])
    assert nothing["share"] is None and (nothing["low"], nothing["high"]) == (0.0, 1.0)


def test_calibration_by_hand_and_of_a_model_that_says_what_is_true():
    sure = 1 / (1 + math.exp(-2))
    made = report.calibration(np.array([2.0, 2.0, -2.0, 0.1]))
    by_place = {round(one["from"], 2): one for one in made["bins"]}
    assert by_place[0.85]["count"] == 3 and by_place[0.85]["share"] == pytest.approx(2 / 3) and by_place[0.5]["share"] == 1
    assert made["error"] == pytest.approx((3 * abs(2 / 3 - sure) + abs(1 - 1 / (1 + math.exp(-0.1)))) / 4)
    draw = np.random.default_rng(1)
    margins = draw.normal(0, 2, 40_000)
    labelled = np.where(draw.random(40_000) < 1 / (1 + np.exp(-margins)), margins, -margins)
    assert report.calibration(labelled)["error"] < 0.01 < 0.1 < report.calibration(5 * labelled)["error"]
    assert report.calibration(np.zeros(0)) == {"bins": [], "error": None, "predicted": None}


def test_correlations_equal_numpys_and_ranks_share_places():
    draw = np.random.default_rng(2)
    x, y = draw.normal(size=50), draw.integers(0, 5, 50).astype(float)
    assert report.pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert report.ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]
    assert report.spearman(x, np.exp(x)) == pytest.approx(1.0) and report.spearman(np.ones(4), x[:4]) is None


def test_liking_length_shows():
    tokens = np.array([[10, 5], [4, 8], [7, 7], [20, 3]])
    made = report.length(tokens.astype(float), tokens)
    assert made["all"]["pearson"] == pytest.approx(1) and made["within"]["pearson"] == pytest.approx(1)
    assert made["longer_wins"]["model"]["share"] == 1 and made["longer_wins"]["people"] == report.share(2.0, 3)
    turned = report.length(-tokens.astype(float), tokens)
    assert turned["within"]["spearman"] == pytest.approx(-1) and turned["longer_wins"]["model"]["share"] == 0


def test_the_pairs_to_look_at_are_the_surest_mistakes_and_the_least_sure():
    rewards = np.array([[0, 5], [9, 0], [0, 1], [3, 2.9], [0, 99]], float)
    made = report.shown(rewards, np.array([False] * 4 + [True]))
    assert made == {"worst": [0, 2], "best": [1, 3], "unsure": [3, 2, 0, 1]}
    shape = report.histogram(rewards)
    assert sum(shape["chosen"]) == 5 and len(shape["edges"]) == report.COLUMNS + 1 and report.histogram(rewards[:0])["edges"] == []


# ------------------------------------------------------------------------------------------------------------------ estimates


def drawn(count, features=24, noise=1.0, seed=3):
    """Pairs whose better answer is drawn by Bradley and Terry's model of known weights; differences of chosen less rejected."""
    draw = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(size=features)
    x = draw.normal(size=(count, features))
    first = draw.random(count) < 1 / (1 + np.exp(-(x @ weights) / noise))
    return np.where(first[:, None], x, -x), weights


def test_a_head_is_the_least_of_its_objective():
    x, weights = drawn(400, features=6)
    mine = fit_head(x, 2.0)
    w = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    data = torch.from_numpy(x)
    optimizer = torch.optim.LBFGS([w], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def objective():
        optimizer.zero_grad()
        loss = -F.logsigmoid(data @ w).sum() + 1.0 * (w @ w)
        loss.backward()
        return loss
    optimizer.step(objective)
    np.testing.assert_allclose(mine, w.detach().numpy(), atol=1e-5)
    assert np.corrcoef(mine, weights)[0, 1] > 0.9


def test_the_curve_rises_and_its_promise_holds_on_more_pairs_of_the_same_kind():
    x, _ = drawn(200, features=40)
    made = learning_curve(x, np.arange(200), seed=1, more=200)
    accuracies = [point[1] for point in made.points]
    assert accuracies[0] < accuracies[2] < accuracies[-1] and made.b > 0
    assert [point[0] for point in made.points] == [16, 40, 80, 120, 160]
    assert all(low <= mean <= high for _, mean, low, high in made.points)
    test, _ = drawn(20_000, features=40, seed=8)

    def truth(count):
        return np.mean([((test @ fit_head(drawn(count, features=40, seed=s)[0], 10.0)) > 0).mean() for s in range(20, 28)])
    gain = truth(400) - truth(200)
    assert 0.015 < gain and 0 <= made.low <= gain <= made.high < 0.15
    assert learning_curve(x, np.arange(200), seed=1, more=200) == made
    assert made.at(160) == pytest.approx(accuracies[-1], abs=0.03) and made.at(10**9) <= 1


def test_where_there_is_nothing_to_learn_more_labels_promise_nothing_and_few_pairs_make_no_curve():
    noise = np.random.default_rng(4).normal(size=(300, 10))
    made = learning_curve(noise, np.arange(300), seed=1)
    assert abs(made.points[-1][1] - 0.5) < 0.1 and made.gain < 0.01
    assert learning_curve(noise[:30], np.arange(30), seed=1) is None
    assert learning_curve(noise, np.zeros(300, int), seed=1) is None


def test_the_unlike_and_the_even_are_the_unsure_ones():
    x, weights = drawn(300, features=8)
    x[:, 7] = 0  # nothing was ever labelled along this direction
    w = fit_head(x, 3.0)
    w[7] = 0.5
    doubt = Doubt(x, w)
    known, unlike = np.zeros((2, 8))
    known[0], unlike[7] = 3.0, 3.0
    assert doubt.deviation(np.stack([unlike]))[0] > 3 * doubt.deviation(np.stack([known]))[0]
    margins = np.array([3.0, 3.0, 0.0, -3.0])
    probability, uncertainty = doubt.of(margins, np.stack([known, unlike, known, -known]))
    assert uncertainty[0] < uncertainty[1] < uncertainty[2] == 1.0 and probability[2] == 0.5
    assert probability[0] == pytest.approx(1 - probability[3]) and uncertainty[0] == pytest.approx(uncertainty[3])
