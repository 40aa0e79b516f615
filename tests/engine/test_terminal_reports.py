"""What a terminal says at the end of runs that tune, generate and measure."""

import pytest

from engine import terminal
from engine.contract import events as ev
from engine.project.run_state import RunState, apply
from engine.project.runs import Run
from engine.terminal import SAMPLE, RunProgress, _beside, _evaluation, _generated, _paired, _sample, _tuned


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
