"""The wizard's logic without a window: steps, inputs, the dial, what is in the way, what a measurement belongs to."""

from pathlib import Path

import pytest

from desktop.models.pretrain_plan import STEPS, Measurement, PretrainPlan
from engine.contract.machine import DeviceFacts
from engine.project.artifacts import Artifact

GPU = DeviceFacts(id="cuda:0", kind="cuda", title="RTX 4090", memory_total=24_000_000_000, memory_free=23_000_000_000,
                  dtypes=("bfloat16", "float32"), peak_flops={"bfloat16": 152e12})


def artifact(id: str, parents: tuple[str, ...] = (), **facts) -> Artifact:
    return Artifact(id=id, kind=id.rpartition("-")[0], title=id, created=1.0, parents=parents, run="", path=Path("/nowhere"), facts=facts)


CORPUS = artifact("corpus-1", bytes=2e9, splits={"train": {"bytes": 1_800_000_000}, "validation": {"bytes": 200_000_000}})
OTHER = artifact("corpus-2", bytes=1e6, splits={"train": {"bytes": 900_000}, "validation": {"bytes": 100_000}})
TOKENIZER = artifact("tokenizer-1", ("corpus-1",), vocab_size=16_384, bytes_per_token=4.5, backend="tiktoken")
TOKENS = artifact("tokens-1", ("corpus-1", "tokenizer-1"), train_tokens=401_000_000)


@pytest.fixture
def plan() -> PretrainPlan:
    made = PretrainPlan(GPU)
    made.set_inputs([OTHER, CORPUS], [TOKENIZER], [])
    return made


def test_inputs_that_go_together_are_chosen(plan: PretrainPlan) -> None:
    assert (plan.values["corpus"], plan.values["tokenizer"]) == ("corpus-1", "tokenizer-1")
    assert plan.train_tokens == 400_000_000
    plan.set_inputs([OTHER, CORPUS], [TOKENIZER], [TOKENS])
    assert plan.train_tokens == 401_000_000
    assert "about" not in plan.goes_in()[1]


def test_without_inputs_the_data_step_is_as_far_as_one_gets() -> None:
    plan = PretrainPlan(GPU)
    assert plan.next() and plan.step == "data"
    assert not plan.next() and plan.step == "data"
    assert {p.field for p in plan.problems("data")} == {"corpus", "tokenizer"}
    assert plan.problems("size") == []


def test_steps_go_forward_in_order_and_back(plan: PretrainPlan) -> None:
    seen = [plan.step]
    while plan.next():
        seen.append(plan.step)
    assert tuple(seen) == STEPS and plan.following == ""
    assert plan.back() and plan.step == "fit"
    assert plan.go("size") and not plan.back()


def test_a_wrong_value_holds_its_own_step_and_the_later_ones(plan: PretrainPlan) -> None:
    plan.set_values({"learning_rate": -1.0})
    assert plan.plan is None
    assert plan.go("schedule")
    assert not plan.next()
    assert [p.field for p in plan.problems("schedule")] == ["learning_rate"]
    assert plan.problems("size") == []
    plan.set_values({"learning_rate": None})
    assert plan.next()


def test_a_shape_that_cannot_be_built_is_said_at_its_field(plan: PretrainPlan) -> None:
    plan.set_values({"width": 250, "num_heads": 4})
    assert plan.plan is None and plan.wrong is not None
    assert [p.field for p in plan.problems("size")] == ["num_heads"]
    assert plan.stops, "the dial keeps its words"


def test_the_dial_sets_the_depth_and_drops_what_was_for_another_size(plan: PretrainPlan) -> None:
    plan.set_values({"width": 512, "num_heads": 8})
    depth = plan.stops[4].depth
    plan.choose_stop(4)
    assert plan.values["depth"] == depth != 4 and plan.values["width"] is None
    assert plan.plan is not None and plan.plan.config.num_layers == depth
    assert plan.stops[plan.stop].depth == depth


def test_every_depth_has_its_place_and_stops_stay_few(plan: PretrainPlan) -> None:
    for depth in range(1, 33):
        plan.set_values({"depth": depth})
        assert plan.stops[plan.stop].depth == depth
        assert 2 <= len(plan.stops) <= 10
        depths = [s.depth for s in plan.stops]
        assert depths == sorted(depths)


def test_fewer_stops_keep_the_ends_and_the_chosen_one(plan: PretrainPlan) -> None:
    first, last = plan.stops[0], plan.stops[-1]
    for depth in (1, 5, 9, 17):
        plan.set_values({"depth": depth})
        for most in (4, 5, 7):
            plan.set_most_stops(most)
            depths = [s.depth for s in plan.stops]
            assert len(depths) <= most and depth in depths
            assert depths[0] == first.depth and depths[-1] >= min(last.depth, depth)


def test_what_does_not_fit_says_so(plan: PretrainPlan) -> None:
    small = DeviceFacts(id="cuda:0", kind="cuda", title="small", memory_total=2_000_000_000, memory_free=2_000_000_000,
                        peak_flops={"float32": 1e13})
    plan.set_device(small)
    assert plan.limit < len(plan.stops)
    assert plan.stops[-1].time == "does not fit"


def test_by_time_the_stops_are_times_that_grow(plan: PretrainPlan) -> None:
    plan.set_by_time(True)
    assert all(s.size.startswith("in ") for s in plan.stops)
    depths = [s.depth for s in plan.stops]
    assert depths == sorted(set(depths))
    plan.choose_stop(2)
    assert plan.values["depth"] == depths[2]


def test_a_measurement_belongs_to_its_settings(plan: PretrainPlan) -> None:
    key = plan.key()
    plan.take_measurement(key, Measurement(memory=5_000_000_000, limit=24_000_000_000, tokens_per_second=1e5, seconds=812.0))
    assert plan.measured is not None and "measured" in plan.will_happen()[1]
    plan.set_values({"max_seq_len": 1024})
    assert plan.measured is None and "by formula" in plan.will_happen()[1]
    plan.set_values({"max_seq_len": 512, "title": "another name", "seed": 7})
    assert plan.measured is not None
    plan.take_measurement(plan.key(), Measurement(memory=30_000_000_000, limit=24_000_000_000, tokens_per_second=1e5, seconds=812.0))
    assert any("does not fit" in p.sentence for p in plan.warnings())


def test_automatic_values_are_the_dials(plan: PretrainPlan) -> None:
    automatic = plan.automatic()
    assert plan.plan is not None
    assert automatic["tokens_per_step"] == plan.plan.tokens_per_step
    assert automatic["width"] == plan.plan.config.hidden_size
    assert set(automatic) <= set(plan.values)


def test_the_schedule_rises_stays_and_falls(plan: PretrainPlan) -> None:
    points = plan.learning_rates()
    assert points[0] == (0.0, 0.0)
    assert points[-1][0] == pytest.approx(plan.plan.steps) and points[-1][1] == pytest.approx(0.0)
    assert max(rate for _, rate in points) == pytest.approx(plan.plan.learning_rate)
    plan.set_values({"decay": "cosine", "final_lr_share": 0.1})
    assert plan.learning_rates()[-1][1] == pytest.approx(0.1 * plan.plan.learning_rate)
    plan.set_values({"decay": "constant"})
    assert plan.learning_rates()[-1][1] == pytest.approx(plan.plan.learning_rate)


def test_where_it_loads_follows_the_shape(plan: PretrainPlan) -> None:
    assert all(v.loads for v in plan.verdicts())
    plan.set_values({"shape": "gpt2"})
    assert {v.architecture for v in plan.verdicts()} >= {"GPT2LMHeadModel"}


def test_a_name_is_offered(plan: PretrainPlan) -> None:
    assert plan.default_title().startswith("corpus-1-")
    assert plan.spec().corpus == "corpus-1"
