"""The reducer: what pages show follows from the events alone."""

from engine.contract import events as ev
from engine.project.run_state import RunState, apply


def play(*events: ev.Event) -> RunState:
    state = RunState()
    for event in events:
        apply(state, event)
    return state


def steps(first: int, last: int, loss: float = 1.0) -> ev.Metrics:
    span = range(first, last + 1)
    return ev.Metrics(columns={"step": list(span), "loss": [loss] * len(span)})


def test_a_run_from_start_to_end() -> None:
    state = play(ev.Started(time=10, stage="pretrain", device="cpu"), ev.Phases(phases=[["load", "Load"], ["train", "Train"]]),
                 ev.Phase(time=11, id="load"), ev.Phase(time=15, id="train"), ev.Facts(facts={"steps": 4}), steps(1, 4),
                 ev.Evaluation(step=4, values={"bpb": 1.5}, best=True), ev.CheckpointSaved(step=4, why="final"),
                 ev.ArtifactMade(id="model-1"), ev.Finished(time=20, status="done"))
    assert state.status == "done" and state.step == 4 and state.share == 1.0
    assert [(p.id, p.seconds) for p in state.phases] == [("load", 4), ("train", 5)]
    assert state.best is not None and state.best.values == {"bpb": 1.5} and state.artifacts == ["model-1"]


def test_a_resume_forgets_what_came_after_its_checkpoint() -> None:
    state = play(ev.Started(attempt=1), steps(1, 10), ev.Sample(step=4), ev.Sample(step=8), ev.Evaluation(step=9, best=True),
                 ev.Notice(level="problem", code="x", step=3), ev.Started(attempt=2), ev.Resumed(attempt=2, step=5), steps(6, 12, 2.0))
    assert state.metrics.column("step").tolist() == list(range(1, 13))
    assert state.metrics.column("loss").tolist() == [1.0] * 5 + [2.0] * 7
    assert [s.step for s in state.samples] == [4] and state.evaluations == [] and state.notices == []


def test_a_resume_from_the_beginning_keeps_nothing() -> None:
    state = play(ev.Started(attempt=1), steps(1, 10), ev.Started(attempt=2), ev.Resumed(attempt=2, step=-1), steps(1, 3))
    assert state.metrics.column("step").tolist() == [1, 2, 3]


def test_columns_that_appear_late_are_missing_before() -> None:
    state = play(steps(1, 2), ev.Metrics(columns={"step": [3], "loss": [None], "kl": [0.5]}))
    assert state.metrics.last("kl") == 0.5 and state.metrics.last("loss") == 1.0
    assert str(state.metrics.column("kl").tolist()) == "[nan, nan, 0.5]"


def test_a_notice_replaces_the_one_with_its_code_and_can_be_cleared() -> None:
    state = play(ev.Notice(code="a", text="1"), ev.Notice(code="b", text="2"), ev.Notice(code="a", text="3"))
    assert [(n.code, n.text) for n in state.notices] == [("b", "2"), ("a", "3")]
    assert [n.code for n in apply(state, ev.Notice(code="a", cleared=True)).notices] == ["b"]


def test_waiting_and_going_on() -> None:
    state = play(ev.Started(), ev.Waiting(reason="disk_full", text="full"))
    assert state.status == "waiting" and state.waiting is not None
    assert apply(state, ev.Waiting(reason="disk_full", over=True)).status == "running"


def test_many_batches_make_one_series() -> None:
    state = play(*(steps(i, i) for i in range(1, 3001)))
    assert state.metrics.column("step").tolist() == list(range(1, 3001))
