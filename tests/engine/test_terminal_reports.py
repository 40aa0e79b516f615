"""What a terminal says at the end of runs that tune, generate and measure."""

import pytest

from engine import terminal
from engine.contract import events as ev
from engine.project.run_measures import best_words, now_words
from engine.project.run_state import RunState, apply
from engine.project.runs import Run
from engine.terminal import SAMPLE, RunProgress, _beside, _evaluation, _generated, _paired, _preferred, _sample, _scores, _tuned


def test_an_answer_is_seen_behind_a_long_question() -> None:
    event = ev.Sample(step=3, prompt="What is asked, at length? " * 20, text="forty-two")
    line = _sample(event, True)
    assert line.endswith("… → forty-two") and len(line) <= SAMPLE
    assert _sample(ev.Sample(step=3, prompt="Once ", text="upon"), False) == "Once upon"


@pytest.mark.parametrize(("held_out", "before", "said"), [(4, 2.5, "Loss on 4 examples kept for validation: 2.500 before, 1.250 after."),
                                                          (0, None, "None was kept for validation")])
def test_a_fine_tuning_run_says_what_it_came_to(held_out: int, before: float | None, said: str) -> None:
    lines = _tuned({"examples": 60, "left_out": 3, "held_out": held_out, "epochs": 3.0, "val_loss_before": before,
                    "val_loss_after": before and before / 2, "weights": "best", "step": 40, "steps": 45}, "sft")
    assert lines[0] == "Trained on 60 examples for 3 epochs. 3 were left out."
    assert lines[1].startswith(said) and "step 40 of 45" in lines[-1]


def test_a_domain_run_tells_both_texts() -> None:
    lines = _tuned({"domain_bpb_before": 3.0, "domain_bpb_after": 2.0, "general_bpb_before": None, "general_bpb_after": None}, "adapt")
    assert len(lines) == 1 and "3.000 bits per byte before, 2.000 after" in lines[0]


def test_examples_set_aside_are_told_with_their_reasons_and_place() -> None:
    lines = _generated({"kept": 5, "set_aside": {"cut": 2, "tie": 3}, "set": "set-9"}, "novel")
    assert lines == ["5 examples passed the checks.", "5 were set aside: Tie (3), Cut off (2).",
                     "They are in set-9 of the library: fledge examples novel export set-9"]


def test_a_win_rate_of_nothing_is_no_share() -> None:
    rate = {"suite": "win_rate", "first": "model-1", "second": "model-2", "judged_by": "project:model-1", "n": 0, "value": 0.0, "low": 0.0,
            "high": 1.0, "judge": {"unreadable": 2}}
    report = {"suites": [{"id": "win_rate", "title": "Win rate", "kind": "win_rate", "questions": 2},
                         {"id": "blind", "title": "Blind", "kind": "blind", "questions": 7}],
              "models": [{"id": "model-1"}, {"id": "model-2"}], "results": [], "win_rates": [rate]}
    assert list(_evaluation(report).columns[3].cells) == ["–"]
    assert _beside(report)[0].startswith("2 verdicts of project:model-1") and _beside(report)[1].startswith("7 pairs of answers")


def test_pairs_are_told_with_what_was_left_out() -> None:
    lines = _paired({"pairs": 190, "left_out": {"same": 8}, "failed": {"slow": 2}, "set": "pairs-2"})
    assert lines[0] == "190 pairs were made. 10 prompts were left out." and "pairs-2" in lines[1]


def test_findings_of_a_run_under_way_are_said_once(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(terminal, "DOCTOR_SECONDS", 0.0)
    run = Run("1-ppo", "ppo", tmp_path, 0.0, {"ppo_epochs": 4}, {})
    state, progress = RunState(stage="ppo"), RunProgress(run, 0)
    for first in (1, 41):
        event = ev.Metrics(columns={"step": [float(s) for s in range(first, first + 40)], "loss": [0.0] * 40, "clip_share": [0.5] * 40})
        progress(apply(state, event), event)
    said = capsys.readouterr().err
    assert said.count("Updates are too large: ") == 1 and "fewer passes over each round: 2." in said


def test_a_reward_model_says_how_often_it_is_right_and_that_nobody_knows() -> None:
    report = {"pairs": 274, "left_out": 2, "accuracy": 0.984, "accuracy_low": 0.9154, "accuracy_high": 0.9972, "accuracy_pairs": 63}
    lines = _scores(report)
    assert lines[0] == "Trained on 274 labelled pairs. 2 were left out."
    assert "63 held-out pairs" in lines[1] and "98.4" in lines[1] and "92" in lines[1] and "100" in lines[1]
    assert "not known" in _scores({**report, "accuracy": None})[1]


def test_preference_tuning_says_what_it_learned_from_and_how_far_it_moved() -> None:
    kept = {"weights": "best", "step": 24, "steps": 40, "held_out": 26, "kl": 3.31}
    lines = _preferred({**kept, "rounds": 20, "answers": 128, "val_reward_before": -0.577, "val_reward_after": 1.636}, "ppo")
    assert lines[0] == "20 rounds of 128 answers each." and "−0.577 before, 1.64 after" in lines[1]
    assert "3.31 nats" in lines[2] and "step 24 of 40" in lines[3]
    lines = _preferred({**kept, "pairs": 174, "left_out": 186, "accuracy_after": 1.0, "weights": "last", "kl": None}, "dpo")
    assert lines[0] == "Trained on 174 labelled pairs. 186 were left out." and "26 held-out pairs" in lines[1] and len(lines) == 2
    lines = _preferred({**kept, "rounds": 80, "answers": 128, "left_out": 2, "pass_at_1_before": 0.5, "pass_at_1_after": 0.83}, "grpo")
    assert "80 rounds" in lines[0] and "2 problems were left out" in lines[0] and "83.0" in lines[1] and "50.0" in lines[1]
    assert "sampled" in lines[1] and "not known" in _preferred({**kept, "rounds": 1, "answers": 8, "left_out": 0}, "grpo")[1]
    assert len(_preferred({**kept, "rounds": 1, "answers": 8, "kl": None, "weights": "last"}, "ppo")) == 1


@pytest.mark.parametrize(("stage", "column", "value", "said"), [
    ("ppo", "reward", 1.25, "reward 1.250"), ("reward", "accuracy", 0.75, "75"), ("dpo", "accuracy", 1.0, "100"),
    ("sft", "loss", 0.5, "loss 0.500"), ("ppo", "loss", 0.5, "")])
def test_each_stage_shows_the_number_that_says_something(stage: str, column: str, value: float, said: str) -> None:
    state = apply(RunState(stage=stage), ev.Metrics(columns={"step": [1.0], column: [value]}))
    assert now_words(state).startswith(said) and bool(now_words(state)) == bool(said)


def test_the_best_of_a_run_is_told_by_what_its_stage_measures() -> None:
    values = {"val_loss": 0.38, "val_accuracy": 0.984, "val_margin": 2.3}
    assert best_words("reward", values).endswith("right") and best_words("sft", values) == "loss 0.3800"
    assert best_words("grpo", {"val_loss": -0.4, "pass_at_1": 0.4, "val_reward": 0.7}) == "40.0\u00a0% solved"
    assert best_words("ppo", {"val_loss": -1.6, "val_reward": 1.636}) == "reward 1.64"
    assert best_words("pretrain", {"val_loss": 0.6, "bpb": 0.398}) == "0.398 bits per byte"
    assert best_words("grpo", {"val_loss": -0.4, "pass_at_1": 0.4, "val_reward": 0.7}) == "40.0\u00a0% solved"
    assert best_words("ppo", {}) == ""


@pytest.mark.parametrize("broken", [True, False])
def test_a_run_whose_verifier_fails_goes_on_with_a_mended_one_and_is_not_resumed(tmp_path, capsys, broken: bool) -> None:
    """Its own copy of the verifier would fail again."""
    run = Run("4-grpo", "grpo", tmp_path / "novel" / "runs" / "4-grpo", 0.0, {}, {})
    state, progress = RunState(stage="grpo"), RunProgress(run, 0)
    apply(state, ev.CheckpointSaved(step=20, path="checkpoints/step-00000020"))
    if broken:
        apply(state, ev.Notice(level="problem", code="verifier_errors", title="The verifier fails", text="line 3", step=21))
    progress.conclude({"run": run.id, "status": "paused"}, state)
    said = " ".join(capsys.readouterr().out.split())
    assert ("grpo --input 4-grpo@20 --input VERIFIER@VERSION" in said) is broken and ("fledge resume" in said) is not broken
