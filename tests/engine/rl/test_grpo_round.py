"""A whole round of GRPO on small real models: our flat batches, with shared prompts, against TRL's own loss on the same answers, and what
decides which answers are learned from."""

import math
import threading
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from engine.contract.context import RunContext
from engine.contract.rows import Message
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.project import rollouts as rollout_files
from engine.rl import rollouts
from engine.rl.rollouts import Question, Reference
from engine.rl.value_head import PolicyAndValue
from engine.rl.verified import Checks
from engine.stages.grpo.problems import Choosing
from engine.stages.grpo.rounds import Pause, Rounds
from engine.stages.grpo.spec import GrpoSpec
from engine.training.ranks import Ranks
from engine.verifiers.api import Verdict, failed
from tests.attempts import one_thread  # noqa: F401

VOCAB, STOPS = 61, tuple(range(8))
WORDS = SimpleNamespace(special={}, decode=lambda ids: " ".join(map(str, ids)))


class Even:
    """Likes answers with many even numbers: groups differ, and some are all alike."""

    def __init__(self, of=lambda text: sum(int(word) % 2 == 0 for word in text.split()) / max(1, len(text.split()))):
        self.of, self.seen = of, []

    def score(self, attempts, check=None):
        self.seen.append((threading.current_thread().name, len(attempts)))
        made = [self.of(attempt.completion) for attempt in attempts]
        return [one if isinstance(one, Verdict) else Verdict(one, {"even": one}) for one in made]

    def check_answers(self, answers):
        return [""] * len(answers)


def model_of(seed=0):
    made = Decoder(ModelConfig(vocab_size=VOCAB, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16,
                               intermediate_size=64, max_seq_len=64), seed=seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(6 if weight.dim() > 1 else 1)
    return made.eval()


def questions():
    draw = torch.Generator().manual_seed(5)
    return [Question((Message(role="user", content=str(n)),), tuple(torch.randint(8, VOCAB, (3 + n,), generator=draw).tolist()), n, str(n))
            for n in range(7)]


def rounds_of(tmp_path, verifier=None, ranks=None, **settings):
    spec = GrpoSpec(**{"model": "m", "verifier": '[{"name": "x"}]', "problem_sets": ("p",), "prompts": 4, "num_generations": 3,
                       "max_new_tokens": 9, "rollouts": 10, **settings}).filled()
    context = RunContext(run_dir=tmp_path, project_dir=tmp_path, run_id="1-grpo", emitter=lambda event: told.append(event))
    told = []
    pause = Pause(context)
    made = Rounds(spec, questions(), WORDS, STOPS, verifier or Even(), context, ranks or Ranks(0, 1, torch.device("cpu")), pause)
    module = PolicyAndValue(model_of(), temperature=spec.temperature)
    made.bind(module, Reference(module.decoder, model_of(2), temperature=spec.temperature) if spec.beta else None)
    return made, module, told, pause


def plain_logprobs(model, answers, temperature):
    """One answer at a time, all logits: [N, T], 0 behind each."""
    rows = []
    for a in answers:
        ids = torch.tensor([[*a.question.ids, *a.ids]])
        every = (model.logits(model(ids[:, :-1])[0, len(a.question.ids) - 1:]).float() / temperature).log_softmax(-1)
        rows.append(every.gather(1, torch.tensor(a.ids)[:, None])[:, 0])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def trl_loss(logprobs, old, reference, advantages, mask, spec, correction):
    """TRL 1.16's GRPOTrainer._compute_loss on given log-probabilities."""
    from trl.trainer.grpo_trainer import GRPOTrainer
    n, t = logprobs.shape
    kind = {"sequence": "grpo", "token": "dapo", "constant": "dr_grpo"}[spec.mean]
    stand = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprobs, torch.zeros_like(logprobs), None), aux_loss_enabled=False,
        top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level=spec.ratio, beta=spec.beta, loss_type=kind,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1, report_to=[]),
        epsilon_low=spec.clip_low, epsilon_high=spec.clip_high, use_vllm=correction is not None,
        vllm_importance_sampling_correction=correction is not None, model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1, max_completion_length=spec.max_new_tokens,
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, gather_for_metrics=lambda x: x, reduce=lambda x, reduction: x),
        _entropy_bonus_enabled=False, _metrics=defaultdict(lambda: defaultdict(list)), entropy_coef=0.0)
    inputs = {"prompt_ids": torch.zeros(n, 1, dtype=torch.long), "prompt_mask": torch.ones(n, 1, dtype=torch.long),
              "completion_ids": torch.zeros(n, t, dtype=torch.long), "completion_mask": mask.long(), "advantages": advantages,
              "old_per_token_logps": old, "ref_per_token_logps": reference, "num_items_in_batch": mask.sum(),
              "importance_sampling_ratio": correction}
    return GRPOTrainer._compute_loss(stand, None, inputs), stand._metrics["train"]


def trl_advantages(rewards_PG, scale):
    """As TRL's `_generate_and_score_completions` has them."""
    from trl.trainer.utils import nanstd
    rewards, g = rewards_PG.flatten().float(), rewards_PG.shape[1]
    mean = torch.nanmean(rewards.view(-1, g), dim=1).repeat_interleave(g)
    spread = nanstd(rewards).expand_as(rewards) if scale == "batch" else nanstd(rewards.view(-1, g), dim=1).repeat_interleave(g)
    return rewards - mean if scale == "none" else (rewards - mean) / (spread + 1e-4)


@pytest.mark.parametrize("settings", [
    {"preset": "grpo"}, {"preset": "dapo", "resample": 0}, {"preset": "dr_grpo", "cut": "mask"}, {"preset": "gspo"},
    {"preset": "grpo", "temperature": 0.7, "scale": "batch"}, {"preset": "dapo", "resample": 0, "passes": 2, "beta": 0.1},
    {"preset": "gspo", "passes": 2, "clip_low": 0.01, "clip_high": 0.02}, {"preset": "dr_grpo", "passes": 2, "gap_limit": 0.0}])
@pytest.mark.parametrize("micro", [12, 4])
def test_loss_and_gradients_equal_trls(tmp_path, settings, micro):
    rounds, module, _, _ = rounds_of(tmp_path, **settings)
    spec, start, moved = rounds.spec, model_of(), model_of()
    rounds.batches(0, micro)
    if spec.passes == 2:
        with torch.no_grad():
            torch.manual_seed(3)
            for weight in moved.parameters():
                weight.add_(0.02 * torch.randn_like(weight))
        module.decoder.load_state_dict(moved.state_dict())
    batches = rounds.batches(spec.passes - 1, micro)
    weight = sum(batch.weight for batch in batches)
    got = sum(rounds.loss(module, batch) for batch in batches) / weight
    got.backward()
    told, made = rounds.measures(), rounds.sampled(0)
    answers = made.answers
    assert {a.finish for a in answers} == {"stop", "length"} and len({len(a.ids) for a in answers}) > 2
    mask = rollouts.mask_of(answers)
    if spec.cut == "mask":
        mask = mask * torch.tensor([[a.ended] for a in answers])
    rewards = torch.tensor([Even().of(a.text) for a in answers]).view(4, 3)
    advantages = trl_advantages(rewards, spec.scale)
    with torch.no_grad():
        old = plain_logprobs(start, answers, spec.temperature) if spec.passes == 2 else None
        reference = plain_logprobs(model_of(2), answers, spec.temperature)
        sampled = rollouts.sampled_of(answers)
        correction = (old - sampled).exp().clamp(max=spec.gap_cap) if spec.gap_limit == 0 else None
    wanted, metrics = trl_loss(plain_logprobs(moved, answers, spec.temperature), old, reference, advantages, mask, spec, correction)
    wanted.backward()
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    assert max(p.grad.abs().max() for p in moved.parameters()) > 1e-3
    for (name, mine), theirs in zip(module.decoder.named_parameters(), moved.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5, msg=lambda said, n=name: f"{n}: {said}")
    if spec.beta:
        assert told["kl"] == pytest.approx(metrics["kl"][0], rel=1e-3)
    if spec.passes == 2 and spec.ratio == "token" and spec.beta:  # without a reference, tokens nothing is learned from are not counted
        assert told["clip_share_low"] == pytest.approx(metrics["clip_ratio/low_mean"][0], abs=1e-5)
        assert told["clip_share_high"] == pytest.approx(metrics["clip_ratio/high_mean"][0], abs=1e-5) and told["clip_share"] > 0
    assert told["reward"] == pytest.approx(rewards.mean().item(), abs=1e-6)
    assert told["reward_std"] == pytest.approx(rewards.std(correction=0).item(), abs=1e-5)
    assert told["length"] == sum(len(a.ids) for a in answers) / 12 and told["sampler_gap"] < 1e-4


@pytest.mark.parametrize("passes", [1, 2])
def test_tokens_are_weighted_where_the_sampler_is_far_from_the_trainer(tmp_path, monkeypatch, passes):
    """As TRL does it for a sampler of its own (vLLM): truncated importance sampling, old log-probabilities the trainer's."""
    ask, draw = rollouts.ask, torch.Generator().manual_seed(6)

    def far(*given, **more):
        return [replace(a, sampled=tuple((torch.tensor(a.sampled) + 0.5 * torch.randn(len(a.ids), generator=draw)).tolist()))
                for a in ask(*given, **more)]
    monkeypatch.setattr(rollouts, "ask", far)
    rounds, module, told, _ = rounds_of(tmp_path, preset="dapo", resample=0, passes=passes, cut="keep")
    batches = rounds.batches(0, 4)
    answers = rounds.sampled(0).answers
    got = sum(rounds.loss(module, batch) for batch in batches) / sum(batch.weight for batch in batches)
    got.backward()
    model, mask = model_of(), rollouts.mask_of(answers)
    new = plain_logprobs(model, answers, 1.0)
    weights = (new.detach() - rollouts.sampled_of(answers)).exp().clamp(max=2.0)
    assert (weights * mask == 2.0).any() and ((weights - 1).abs() * mask).mean() > 0.1
    rewards = torch.tensor([Even().of(a.text) for a in answers]).view(4, 3)
    wanted, _ = trl_loss(new, new.detach(), None, trl_advantages(rewards, "group"), mask, rounds.spec, weights)
    wanted.backward()
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(module.decoder.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5)
    assert 0.3 < rounds.measures()["sampler_gap"] < 0.5 and [event.code for event in told] == ["sampler_gap"]


def test_a_verifier_that_does_not_know_takes_an_answer_out_of_its_group(tmp_path):
    def of(text):
        return failed("raised", "ZeroDivisionError", line=3) if text.split()[0] in unknown else float(len(text.split()))
    unknown = ()
    every = rounds_of(tmp_path, Even(of))[0].sampled(0)
    unknown = {every.answers[1].text.split()[0]}
    rounds, _, told, pause = rounds_of(tmp_path, Even(of), preset="dr_grpo")
    made = rounds.sampled(0)
    lost = [n for n, verdict in enumerate(made.verdicts) if verdict.score is None]
    assert 1 in lost and 1 not in made.groups[0] and all(made.advantages_N[n] == 0 for n in lost)
    for p, group in enumerate(made.groups):
        kept = [n for n in range(3 * p, 3 * p + 3) if n not in lost]
        assert group == kept
        lengths = torch.tensor([len(made.answers[n].text.split()) for n in kept], dtype=torch.float32)
        torch.testing.assert_close(made.advantages_N[kept], lengths - lengths.mean())
    assert made.told["verifier_errors"] == made.told["verifier_raised"] == len(lost)
    assert not rounds.enough() and pause().word == "pause" and pause() is None
    assert rounds.batches(0, 12)[0].weight == 12 - len(lost)
    assert told[-1].level == "problem" and "line 3: ZeroDivisionError" in told[-1].text
    rows = list(rollout_files.rows(tmp_path, 0))
    assert [n for n, row in enumerate(rows) if row.facts.get("left_out") == "error"] == lost
    assert {row.facts["line"] for row in rows if "error" in row.facts} == {3}


def test_a_run_with_few_errors_goes_on_and_says_so_once(tmp_path):
    count = iter(range(10**6))
    rounds, _, told, pause = rounds_of(tmp_path, Even(lambda text: failed("timeout") if next(count) % 8 == 3 else 1.0), preset="grpo",
                                       beta=0.0)
    for step in range(3):
        assert not rounds.enough() and pause() is None
        rounds.batches(step, 12)
        assert rounds.sampled(step).told["verifier_errors"] == 0 and rounds.sampled(step).told["verifier_timeout"] >= 1
    assert [event.code for event in told] == ["verifier_timeouts"]


def test_groups_without_a_signal_are_asked_anew_and_not_read(tmp_path):
    def of(text):
        return float(int(text.split()[0]) % 7 == 0)
    rounds, _, _, _ = rounds_of(tmp_path, Even(of), preset="dapo", resample=3, cut="keep")
    made = rounds.sampled(0)
    assert 4 < made.told["groups"] <= 16 and 0 < made.told["frac_reward_zero_std"] < 1 and len(made.groups) <= 4
    for group in made.groups:
        assert {of(made.answers[n].text) for n in group} == {0.0, 1.0}
    batches = rounds.batches(0, 64)
    assert sorted(n for batch in batches for n in batch.answers.numbers) == sorted(n for group in made.groups for n in group)
    assert rounds.kept["asked"] == made.told["groups"]
    again, _, _, _ = rounds_of(tmp_path, Even(of), preset="dapo", resample=3, cut="keep")
    assert [a.ids for a in again.sampled(0).answers] == [a.ids for a in made.answers]
    rows = list(rollout_files.rows(tmp_path, 0))
    assert len(rows) == 3 * made.told["groups"]
    assert {row.facts["group"] for row in rows if "left_out" not in row.facts} == {group[0] // 3 for group in made.groups}
    plain, _, _, _ = rounds_of(tmp_path, Even(of), preset="dr_grpo")
    batches = plain.batches(0, 64)
    assert sum(batch.weight for batch in batches) == 12 and sum(len(batch.answers.numbers) for batch in batches) < 12


def test_without_any_signal_nothing_is_learned(tmp_path):
    for more in ({"preset": "dapo", "resample": 1}, {"preset": "dr_grpo"}, {"preset": "grpo", "resample": 1}):
        rounds, module, _, _ = rounds_of(tmp_path, Even(lambda text: 1.0), **more)
        batches = rounds.batches(0, 8)
        loss = sum(rounds.loss(module, batch) for batch in batches)
        loss.backward()
        assert len(batches) == 1 and loss == 0 and all(not p.grad.any() for p in module.parameters() if p.grad is not None)
        assert rounds.measures()["frac_reward_zero_std"] == 1


def test_cut_answers_can_be_left_out_or_marked_down(tmp_path):
    rounds, _, _, _ = rounds_of(tmp_path, preset="dr_grpo", cut="mask")
    made = rounds.sampled(0)
    cut = {n for n, a in enumerate(made.answers) if not a.ended}
    assert cut and not cut & {n for batch in rounds.batches(0, 8) for n in batch.answers.numbers}
    assert made.told["completions_clipped"] == len(cut) / 12
    rounds, _, _, _ = rounds_of(tmp_path, preset="dr_grpo", cut="penalise", missing_end=-2.0)
    rounds.sampled(0)
    for row in rollout_files.rows(tmp_path, 0):
        assert row.reward == pytest.approx(row.parts["even"] - 2 * (row.facts["finish"] == "length")), row
        assert ("no_end" in row.parts) == (row.facts["finish"] == "length")


def test_answers_are_judged_while_others_are_written(tmp_path, monkeypatch):
    """The verifier is asked from another thread, before the last answer is whole; what was told twice is judged as it came out."""
    monkeypatch.setattr("engine.rl.verified.AT_ONCE", 2)
    verifier = Even()
    rounds, _, _, _ = rounds_of(tmp_path, verifier)
    order = []
    ask = rollouts.ask

    def watched(*given, **more):
        made = ask(*given, **more)
        order.append(len(verifier.seen))
        return made
    monkeypatch.setattr(rollouts, "ask", watched)
    made = rounds.sampled(0)
    assert len(verifier.seen) > 2 and {name.split("_")[0] for name, _ in verifier.seen} == {"verifier"}
    assert [v.score for v in made.verdicts] == [verifier.of(a.text) for a in made.answers]
    with Checks(verifier, rounds.questions[:1], 3) as checks:
        for n, text in enumerate(("8", "9", "9")):
            checks(n, text)
        said = [SimpleNamespace(text=text) for text in ("8", "9", "8")]
        assert [v.score for v in checks.verdicts(said)] == [1.0, 0.0, 1.0]

    class Broken(Even):
        def score(self, attempts, check=None):
            raise OSError("no sandbox")
    with pytest.raises(OSError, match="no sandbox"):
        rounds_of(tmp_path, Broken())[0].sampled(0)


def test_what_problems_come_next_is_decided_by_draw_seed_and_how_they_went():
    asked = [Question((), (n,), n, "", {"difficulty": 40 - n}) for n in range(40)]

    def spec(curriculum):
        return GrpoSpec(curriculum=curriculum)
    off = Choosing(asked, spec("off"))
    assert sorted(off.numbers(0, 20, 0, {}) + off.numbers(20, 20, 0, {})) == list(range(40))
    given = Choosing(asked, spec("given"))
    assert min(given.numbers(0, 8, 0.0, {})) >= 32 and min(given.numbers(1, 8, 0.25, {})) >= 16
    assert min(min(given.numbers(n, 8, 0.9, {})) for n in range(8)) < 10 and given.numbers(3, 8, 0.3, {}) == given.numbers(3, 8, 0.3, {})
    went = {str(n): 1.0 if n < 20 else 0.5 for n in range(40)}
    chosen = [n for draw in range(30) for n in Choosing(asked, spec("measured")).numbers(draw, 8, 0, went)]
    assert sum(n >= 20 for n in chosen) > 0.75 * len(chosen)
    few = Choosing(asked[:3], spec("measured")).numbers(0, 8, 0, {})
    assert len(few) == 8 and set(few) <= {0, 1, 2}


def test_shared_prompts_are_read_as_each_alone(tmp_path):
    rounds, module, _, _ = rounds_of(tmp_path)
    answers = rounds.sampled(0).answers
    batch = rollouts.lay(answers, [4, 0, 1, 3, 2], True)
    assert batch.documents.forks is not None and batch.numbers == (4, 3, 0, 1, 2)
    assert batch.tokens == sum(len(answers[n].ids) - 1 for n in batch.numbers) + len(answers[0].question.ids) + len(answers[3].question.ids)
    with torch.no_grad():
        wanted = plain_logprobs(module.decoder, answers, 1.0)
        got = torch.nn.utils.rnn.pad_sequence(module(batch).logprobs_A.split(batch.lengths), batch_first=True)
    wanted = F.pad(wanted, (0, 0))[list(batch.numbers), :got.shape[1]]
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-4)
    assert math.isfinite(got.sum())
