"""The run doctor on made series: each rule on one run that it must find and on a healthy one that it must not; steadiness; cost."""

import time

import numpy as np
import pytest

from engine.contract import events as ev
from engine.pipeline import stage as stage_of
from engine.project.run_doctor import TRAINING, rules
from engine.project.run_state import RunState, apply
from engine.project.run_trend import Trend

RNG = np.random.default_rng(7)
SPECS = {"sft": {"learning_rate": 2e-4, "epochs": 3.0, "grad_clip": 1.0, "keep_best": True, "patience": 0},
         "pretrain": {"learning_rate": None, "grad_clip": 1.0}, "adapt": {},
         "grpo": {"learning_rate": 1e-6, "beta": None, "num_generations": 8, "max_new_tokens": 64, "missing_end": -0.5, "curriculum": "off",
                  "full_score": 1.0, "grad_clip": 1.0, "cut": None, "resample": None, "keep_best": True},
         "dpo": {"learning_rate": 1e-5, "beta": None, "sft_weight": 0.0, "epochs": 2.0, "keep_best": True},
         "reward": {"learning_rate": 1e-5, "epochs": 2.0, "centre": 0.01},
         "ppo": {"learning_rate": 1e-5, "kl_coef": 0.05, "kl_target": 0.0, "ppo_epochs": 2, "value": "shared", "max_new_tokens": 64,
                 "missing_end": -1.0, "entropy_weight": 0.0, "value_weight": 0.1}}
N = 400


def noisy(values, share=0.02):
    values = np.asarray(values, float)
    return values + share * np.abs(values).mean() * RNG.standard_normal(values.size)


def ramp(first, last, n=N):
    return np.linspace(first, last, n)


def falls(first=9.0, last=3.0, n=N):
    return last + (first - last) * np.exp(-np.linspace(0, 6, n))


def made(stage, evaluations=(), facts=None, dtype="float32", **columns):
    n = max(len(c) for c in columns.values())
    state = RunState(stage=stage)
    for event in (ev.Started(stage=stage, dtype=dtype), ev.Facts(facts={"steps": n, "plan": {"learning_rate": 4e-3}} | (facts or {})),
                  ev.Metrics(columns={"step": list(range(1, n + 1)), **{k: [float(x) for x in v] for k, v in columns.items()}})):
        apply(state, event)
    for step, values in evaluations:
        apply(state, ev.Evaluation(step=step, values=values))
    return state


def found(state, before=()):
    return {one.code: one for one in rules(state, state.stage, SPECS[state.stage], before)}


HEALTHY = {
    "pretrain": lambda: made("pretrain", loss=noisy(falls()), grad_norm=noisy(falls(3, 0.5), 0.3),
                             evaluations=[(s, {"val_loss": 3 + 5 * np.exp(-s / 70)}) for s in range(0, 401, 40)]),
    "sft": lambda: made("sft", loss=noisy(falls(2.0, 0.8), 0.1), grad_norm=noisy(np.full(N, 1.0), 0.3),
                        evaluations=[(s, {"val_loss": 1 + np.exp(-s / 70)}) for s in range(0, 401, 40)]),
    "adapt": lambda: made("adapt", loss=noisy(ramp(3.0, 2.9), 0.05), grad_norm=noisy(np.full(N, 1.0), 0.3)),
    "dpo": lambda: made("dpo", loss=noisy(ramp(0.69, 0.2), 0.3), grad_norm=noisy(np.full(N, 5.0), 0.4),
                        accuracy=noisy(ramp(0.5, 0.95), 0.1), margin=noisy(ramp(0, 3)), chosen_reward=noisy(ramp(0, 0.3)),
                        chosen_logprob=noisy(ramp(-1.5, -1.45), 0.01),
                        kl=noisy(ramp(0, 4)),
                        evaluations=[(s, {"val_loss": 0.69 - s / 1000, "val_accuracy": 0.5 + s / 1000}) for s in range(0, 401, 40)]),
    "reward": lambda: made("reward", loss=noisy(ramp(0.69, 0.2), 0.3), accuracy=noisy(ramp(0.5, 0.9), 0.1), margin=noisy(ramp(0, 3)),
                           grad_norm=noisy(np.full(N, 2.0), 0.4)),
    "ppo": lambda: made("ppo", loss=noisy(ramp(0.1, 0.02), 2), reward=noisy(ramp(-1, 1.5), 0.3), reward_std=np.full(N, 1.0),
                        kl=noisy(ramp(0, 6)), length=noisy(ramp(40, 44), 0.2), entropy=noisy(ramp(2, 0.9)),
                        clip_share=noisy(ramp(0.05, 0.15)),
                        explained_variance=noisy(ramp(-0.2, 0.6)), value_loss=noisy(ramp(1, 0.3), 0.3), ended=noisy(ramp(0.9, 0.97), 0.03),
                        grad_norm=noisy(np.full(N, 3.0), 0.4),
                        evaluations=[(s, {"val_reward": -1 + s / 200, "val_loss": 1 - s / 200}) for s in range(0, 401, 40)]),
    "grpo": lambda: made("grpo", loss=noisy(np.full(N, 0.01), 3), reward=noisy(ramp(0.1, 0.6)),
                         frac_reward_zero_std=noisy(np.full(N, 0.4), 0.3), entropy=noisy(ramp(0.4, 0.2)), kl=noisy(ramp(0, 0.5)),
                         length=noisy(np.full(N, 80), 0.1), groups=np.full(N, 16.0), verifier_errors=np.zeros(N),
                         reward_std=np.full(N, 0.4), grad_norm=noisy(np.full(N, 2.0), 0.4), facts={"held_out": 100},
                         completions_clipped=noisy(np.full(N, 0.1), 0.2),
                         evaluations=[(s, {"pass_at_1": 0.1 + s / 800, "val_reward": 0.1 + s / 800}) for s in range(0, 401, 40)]),
}


@pytest.mark.parametrize("stage", HEALTHY)
def test_of_a_healthy_run_nothing_is_said_at_any_moment(stage):
    whole = HEALTHY[stage]()
    series = whole.metrics
    columns = {key: series.column(key).tolist() for key in series.keys}
    for end in (1, 5, 12, 20, 40, 75, 130, 200, 310, 400):
        state = made(stage, [(e.step, e.values) for e in whole.evaluations if e.step <= end], {"steps": N},
                     **{k: v[:end] for k, v in columns.items() if k != "step"})
        assert found(state) == {}, end


def with_nan(values, *places):
    values = np.array(values, float)
    values[list(places)] = np.nan
    return values


def spiky(values, height, *places):
    values = np.array(values, float)
    values[list(places)] += height
    return values


ILL = [
    ("not_a_number", "sft", lambda: made("sft", loss=with_nan(falls(2, 1), 100, 200, 300)), {"learning_rate": 1e-4}),
    ("not_a_number", "dpo", lambda: made("dpo", dtype="bfloat16", loss=with_nan(np.full(N, .6), *range(0, N, 5))), {"dtype": "float32"}),
    ("loss_spikes", "pretrain", lambda: made("pretrain", loss=spiky(noisy(falls()), 3, 340, 355, 370, 399)), {"learning_rate": 2e-3}),
    ("loss_rises", "pretrain", lambda: made("pretrain", loss=noisy(np.concatenate([falls(n=250), ramp(3, 6, 150)]))),
     {"learning_rate": 2e-3}),
    ("loss_flat", "pretrain", lambda: made("pretrain", loss=noisy(np.full(N, 9.2), 0.01)), {"learning_rate": 0.012}),
    ("loss_flat", "sft", lambda: made("sft", loss=noisy(np.full(N, 2.2), 0.05), evaluations=[
        (0, {"val_loss": 2.2}), (400, {"val_loss": 2.2})]), {"learning_rate": 6e-4}),
    ("gradient_spikes", "sft", lambda: made("sft", loss=falls(2, 1), grad_norm=spiky(noisy(np.ones(N), 0.2), 150, *range(320, 400, 9))),
     {"learning_rate": 1e-4}),
    ("overfit", "sft", lambda: made("sft", loss=noisy(falls(2, 0.1)), evaluations=[(s, {"val_loss": 1 + abs(s - 120) / 500})
                                                                                   for s in range(0, 401, 40)]), {"epochs": 0.9}),
    ("overfit", "reward", lambda: made("reward", loss=noisy(falls(.69, .01)), accuracy=ramp(.5, 1), evaluations=[
        (s, {"val_loss": 0.6 + abs(s - 200) / 500, "val_accuracy": 0.7}) for s in range(0, 401, 40)]), {"epochs": 1.0}),
    ("chance", "reward", lambda: made("reward", loss=noisy(np.full(N, .69)), accuracy=noisy(np.full(N, .5), .3)), {"learning_rate": 3e-5}),
    ("chance", "dpo", lambda: made("dpo", loss=noisy(np.full(N, .69)), accuracy=noisy(np.full(N, .51), .3)), {"learning_rate": 3e-5}),
    ("chosen_falls", "dpo", lambda: made("dpo", loss=ramp(.69, .1), margin=ramp(0, 6), chosen_logprob=noisy(ramp(-1.5, -2.4)),
                                         accuracy=ramp(.5, 1)), {"sft_weight": 1.0}),
    ("chosen_falls", "dpo", lambda: made("dpo", loss=ramp(.69, .1), margin=ramp(0, 6), chosen_reward=noisy(ramp(0, -6)),
                                         accuracy=ramp(.5, 1)), {"sft_weight": 1.0}),
    ("worse_than_before", "dpo", lambda: made("dpo", loss=noisy(ramp(1.5, 1.2)), accuracy=ramp(.5, .7), evaluations=[
        (0, {"val_loss": .69}), (200, {"val_loss": 2.0}), (400, {"val_loss": 1.1})]), {"learning_rate": 5e-6}),
    ("worse_than_before", "reward", lambda: made("reward", loss=noisy(ramp(3, 2)), accuracy=ramp(.5, .6), evaluations=[
        (0, {"val_loss": .69}), (200, {"val_loss": 3.0}), (400, {"val_loss": 2.0})]), {"learning_rate": 5e-6}),
    ("kl", "dpo", lambda: made("dpo", loss=ramp(.69, .1), kl=noisy(ramp(0, 90)), accuracy=ramp(.5, 1)), {"beta": 0.2}),
    ("margin_explodes", "reward", lambda: made("reward", loss=ramp(.69, .001), margin=noisy(ramp(0, 20)), accuracy=ramp(.5, 1)),
     {"label_smoothing": 0.1, "centre": 0.01}),
    ("kl", "ppo", lambda: made("ppo", loss=np.zeros(40), kl=noisy(ramp(0, 60, 40)), length=np.full(40, 40.0)), {"kl_coef": 0.15}),
    ("reward_by_length", "ppo", lambda: made("ppo", loss=np.zeros(N), reward=noisy(ramp(0, 2), .2), reward_std=np.ones(N),
                                             length=noisy(ramp(40, 100), .05)), {"kl_coef": 0.1}),
    ("reward_not_held_out", "ppo", lambda: made("ppo", loss=np.zeros(N), reward=noisy(ramp(0, 2), .2), reward_std=np.ones(N), evaluations=[
        (s, {"val_reward": 0.02 * (s % 3)}) for s in range(0, 401, 50)]), {"kl_coef": 0.1}),
    ("value_loss", "ppo", lambda: made("ppo", loss=np.zeros(N), value_loss=noisy(np.concatenate([ramp(1, .3, 300), ramp(.3, 40, 100)]))),
     {"learning_rate": 5e-6}),
    ("explained_variance", "ppo", lambda: made("ppo", loss=np.zeros(N), explained_variance=noisy(np.full(N, -.2), .5)),
     {"value": "separate"}),
    ("clip_share", "ppo", lambda: made("ppo", loss=np.zeros(40), clip_share=noisy(np.full(40, .45), .1)), {"ppo_epochs": 1}),
    ("entropy", "ppo", lambda: made("ppo", loss=np.zeros(N), entropy=noisy(falls(1.5, 0.01))), {"entropy_weight": 0.01}),
    ("ended", "ppo", lambda: made("ppo", loss=np.zeros(N), ended=noisy(np.full(N, .4), .1)), {"max_new_tokens": 128}),
    ("ended", "ppo", lambda: made("ppo", loss=np.zeros(N), ended=noisy(ramp(.95, .3), .02)), {"missing_end": -2.0}),
    ("no_spread", "grpo", lambda: made("grpo", loss=np.zeros(N), frac_reward_zero_std=noisy(np.full(N, .92), .02), reward=np.zeros(N)),
     {"num_generations": 16}),
    ("no_spread", "grpo", lambda: made("grpo", loss=np.zeros(N), frac_reward_zero_std=noisy(np.full(N, .92), .02), reward=np.full(N, .9)),
     {"curriculum": "measured"}),
    ("no_spread", "grpo", lambda: made("grpo", loss=np.zeros(N), frac_reward_zero_std=noisy(np.full(N, .92), .02), reward=np.full(N, .9),
                                       evaluations=[(400, {"pass_at_1": 0.99})]), None),
    ("kl", "grpo", lambda: made("grpo", loss=np.zeros(N), kl=noisy(ramp(0, 4)), facts={"filled": {"beta": 0.04}}), {"beta": 0.08}),
    ("entropy", "grpo", lambda: made("grpo", loss=np.zeros(N), entropy=noisy(ramp(.4, .01))), {"beta": 0.02}),
    ("gradient_high", "grpo", lambda: made("grpo", loss=np.zeros(N), grad_norm=noisy(np.full(N, 180), .1)), {"learning_rate": 5e-7}),
    ("gradient_high", "ppo", lambda: made("ppo", loss=np.zeros(N), grad_norm=noisy(np.full(N, 180), .1)), {"learning_rate": 5e-6}),
    ("verifier_errors", "grpo", lambda: made("grpo", loss=np.zeros(N), groups=np.full(N, 16.0), verifier_errors=np.full(N, 3.0)), None),
    ("verifier_timeouts", "grpo", lambda: made("grpo", loss=np.zeros(N), groups=np.full(N, 16.0), verifier_timeout=np.full(N, 2.0)), None),
    ("reward_hacked", "grpo", lambda: made("grpo", loss=np.zeros(N), reward=noisy(ramp(.3, .9)), reward_std=np.full(N, .4),
                                           facts={"held_out": 100}, evaluations=[
        (s, {"pass_at_1": p, "val_reward": s / 500}) for s, p in ((0, .4), (100, .6), (200, .55), (300, .4), (400, .3))]), {"beta": 0.02}),
    ("reward_not_held_out", "grpo", lambda: made("grpo", loss=np.zeros(N), reward=noisy(ramp(0, 2), .2), reward_std=np.ones(N),
                                                 evaluations=[(s, {"val_reward": 0.02 * (s % 3)}) for s in range(0, 401, 50)]),
     {"beta": 0.02}),
    ("clip_share", "grpo", lambda: made("grpo", loss=np.zeros(40), clip_share=noisy(np.full(40, .45), .1)), {"learning_rate": 5e-7}),
    ("too_varied", "grpo", lambda: made("grpo", loss=np.zeros(N), entropy=noisy(ramp(.3, 1.5))), {"learning_rate": 5e-7}),
    ("ended", "grpo", lambda: made("grpo", loss=np.zeros(N), completions_clipped=noisy(np.full(N, .5), .1)), {"max_new_tokens": 128}),
    ("ended", "grpo", lambda: made("grpo", loss=np.zeros(N), completions_clipped=noisy(ramp(.05, .7), .02)),
     {"missing_end": -0.5, "cut": "penalise"}),
]


@pytest.mark.parametrize("code, stage, state, change", ILL, ids=[f"{stage}-{code}-{i}" for i, (code, stage, *_) in enumerate(ILL)])
def test_what_goes_wrong_is_found_with_its_remedy(code, stage, state, change):
    made_findings = found(state())
    assert set(made_findings) == {code}
    finding = made_findings[code]
    assert finding.change == change and finding.step > 0 and finding.level in ("info", "warning", "problem")
    assert finding.title and finding.sentence.endswith(".") and finding.remedy.endswith(".") and "nan" not in finding.sentence
    if change:  # what is offered can be set
        spec = stage_of(stage).spec
        assert not [p for p in spec.field_problems({**SPECS[stage], **change}) if p.field in change]


def test_every_rule_is_tried_here():
    from engine.project import run_doctor
    assert len({(code, stage) for code, stage, *_ in ILL}) >= len(run_doctor._RULES)
    assert set(HEALTHY) == set(TRAINING)


def test_a_small_model_may_begin_with_more_entropy_than_large_ones_have():
    assert found(made("grpo", loss=np.zeros(N), entropy=noisy(ramp(0.9, 1.0)))) == {}


def test_who_knows_the_answers_may_say_the_same():
    sure = made("grpo", loss=np.zeros(N), entropy=noisy(ramp(.4, .01)), evaluations=[(400, {"pass_at_1": 0.97})])
    assert found(sure) == {}
    for reward, expected in ((0.8, True), (1.0, False)):  # what it tries is solved, though what is held out is not yet
        told = found(made("grpo", loss=np.zeros(N), entropy=noisy(ramp(.4, .01)), reward=noisy(ramp(.5, reward), 0.01)))
        assert ("entropy" in told) is expected
    for silent, expected in ((0.9, True), (0.6, False)):  # sure as it is, groups still differ
        told = found(made("grpo", loss=np.zeros(N), entropy=noisy(ramp(.4, .01)), frac_reward_zero_std=noisy(np.full(N, silent))))
        assert ("entropy" in told) is expected


def test_one_failure_in_a_thousand_answers_is_no_finding_and_many_are_a_problem():
    def state(count):
        made_ = made("grpo", loss=np.zeros(20), groups=np.full(20, 16.0), verifier_errors=np.full(20, float(count)))
        apply(made_, ev.Notice(level="warning", code="verifier_errors", text="It failed: line 7: KeyError", step=3))
        return found(made_)
    assert state(1) == {} and state(3)["verifier_errors"].level == "warning" and state(13)["verifier_errors"].level == "problem"
    assert "line 7" in state(3)["verifier_errors"].sentence


def test_a_fall_that_chance_explains_is_no_hint_of_a_wrong_reward():
    def state(held_out):
        return found(made("grpo", loss=np.zeros(N), reward=noisy(ramp(.3, .9)), reward_std=np.full(N, .4), facts={"held_out": held_out},
                          evaluations=[(s, {"pass_at_1": p}) for s, p in ((0, .5), (200, .6), (300, .5), (400, .5))]))
    assert state(20) == {} and "reward_hacked" in state(2000)


def test_pausing_and_the_doctor_mean_the_same_shares():
    from engine.project import run_doctor
    from engine.verifiers import pausing
    assert (run_doctor.FAILS, run_doctor.PAUSES) == (pausing.WARN_SHARE, pausing.PAUSE_SHARE)
    assert run_doctor.OUT_OF_TIME == pausing.WARN_SHARE


def test_a_moderate_fall_of_chosen_answers_is_only_told():
    mild = made("dpo", loss=ramp(.69, .3), margin=ramp(0, 2), chosen_logprob=noisy(ramp(-1.5, -1.75), .005), accuracy=ramp(.5, 1))
    assert found(mild)["chosen_falls"].level == "info" and "usual" in found(mild)["chosen_falls"].sentence
    anchored = rules(mild, "dpo", {**SPECS["dpo"], "sft_weight": 1.0})
    assert anchored[0].change == {"learning_rate": 5e-6}


def test_a_value_that_hovers_about_a_bound_does_not_flicker():
    before, seen = [], []
    level = 0.30 + 0.02 * np.sin(np.linspace(0, 60, 300))
    for end in range(12, 300, 2):
        state = made("ppo", loss=np.zeros(end), clip_share=level[:end])
        before = rules(state, "ppo", SPECS["ppo"], before)
        seen.append(bool(before))
    assert sum(a != b for a, b in zip(seen, seen[1:], strict=False)) <= 1
    gone = made("ppo", loss=np.zeros(400), clip_share=np.concatenate([level, np.full(100, .1)]))
    assert rules(gone, "ppo", SPECS["ppo"], before) == []


def test_one_odd_batch_is_no_finding():
    assert found(made("pretrain", loss=spiky(noisy(falls()), 4, 390), grad_norm=spiky(np.ones(N), 300, 390))) == {}


def test_steps_that_a_resume_took_back_are_forgotten():
    state = made("sft", loss=with_nan(falls(2, 1), *range(200, 400)))
    assert "not_a_number" in found(state)
    apply(state, ev.Resumed(step=190))
    assert found(state) == {}


def test_stages_that_train_nothing_have_no_findings():
    assert rules(made("corpus", loss=np.full(N, np.nan)), "corpus", {}) == [] == rules(RunState(stage="sft"), "sft", {})


def test_windows_of_the_trend_are_worked_by_hand():
    state = made("sft", loss=np.arange(1, 13))
    trend = Trend(state.metrics)
    assert trend.window == 6 and trend.now("loss") == 9.5 and trend.first("loss") == 3.5 and trend.gain("loss") == 6
    assert trend.spread("loss").tolist() == list(range(1, 13)) and trend.lowest("loss") == pytest.approx(2)
    assert trend.together("loss", "step") == pytest.approx(1) and np.isnan(trend.now("none")) and not trend.has("loss", "none")
    long = Trend(made("sft", loss=np.arange(100_000)).metrics)
    assert long.spread("loss").size == 48 and long.spread("loss")[0] == 31.5 and long.spread("loss")[-1] == 99_999 - 31.5


def test_a_value_head_is_left_alone_where_the_reward_rises_all_the_same():
    """As the demo's own run: answers become alike, and little is left to foresee."""
    rising = made("ppo", loss=np.zeros(N), explained_variance=noisy(np.full(N, -2.0), .5), reward=noisy(ramp(-0.5, 1.7), 0.05),
                  reward_std=np.full(N, 0.9))
    assert "explained_variance" not in {f.code for f in rules(rising, "ppo", SPECS["ppo"])}


def test_a_million_steps_cost_next_to_nothing():
    n = 1_000_000
    columns = {name: RNG.standard_normal(n) + 3 for name in ("loss", "reward", "reward_std", "kl", "length", "entropy", "clip_share",
                                                            "explained_variance", "value_loss", "ended", "grad_norm")}
    state = RunState(stage="ppo")
    state.metrics.append({"step": np.arange(1, n + 1), **columns})
    for step in range(0, n, 100):
        apply(state, ev.Evaluation(step=step, values={"val_reward": 1.0, "val_loss": -1.0}))
    rules(state, "ppo", SPECS["ppo"])
    times = []
    for _ in range(7):
        began = time.perf_counter()
        rules(state, "ppo", SPECS["ppo"])
        times.append(time.perf_counter() - began)
    assert min(times) < 0.005, times
