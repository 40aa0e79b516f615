"""The event file: every step in it, torn lines healed, readable from any byte."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from engine.contract import events as ev
from engine.project.event_log import EventReader, EventWriter, read_events


def test_every_step_is_in_the_file_in_few_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path, 1)
    for step in range(1, 1001):
        writer.write(ev.Metrics(columns={"step": [step], "loss": [1 / step]}))
        if step == 500:
            writer.write(ev.Evaluation(step=500, values={"bpb": float("nan")}))
    writer.close()
    events = list(read_events(path))
    steps = [s for e in events if isinstance(e, ev.Metrics) for s in e.columns["step"]]
    assert steps == list(range(1, 1001))
    where = next(i for i, e in enumerate(events) if isinstance(e, ev.Evaluation))
    assert [s for e in events[:where] if isinstance(e, ev.Metrics) for s in e.columns["step"]][-1] == 500, "order is kept"
    assert events[where].values == {"bpb": None}, "strict JSON: no NaN"  # type: ignore[attr-defined]
    assert len(events) < 50


def test_columns_that_come_and_go_stay_aligned(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path, 1)
    writer.write(ev.Metrics(columns={"step": [1], "loss": [0.5]}))
    writer.write(ev.Metrics(columns={"step": [2], "kl": [0.1]}))
    writer.write(ev.Metrics(columns={"step": [3], "loss": [0.25]}))
    writer.close()
    (event,) = read_events(path)
    assert isinstance(event, ev.Metrics)
    assert event.columns == {"step": [1, 2, 3], "loss": [0.5, None, 0.25], "kl": [None, 0.1, None]}


def test_a_torn_last_line_is_dropped_and_the_next_attempt_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path, 1)
    writer.write(ev.Phase(id="a", title="A"))
    writer.close()
    with open(path, "ab") as file:
        file.write(b'{"e":"phase","t":1,"a":1,"id":"torn')
    reader = EventReader(path)
    assert [e.id for e in reader.read()] == ["a"]  # type: ignore[attr-defined]
    writer = EventWriter(path, 2)
    writer.write(ev.Phase(id="b", title="B"))
    writer.close()
    assert [(e.id, e.attempt) for e in reader.read()] == [("b", 2)]  # type: ignore[attr-defined]
    assert [e.id for e in read_events(path)] == ["a", "b"]  # type: ignore[attr-defined]


@given(st.lists(st.text(max_size=30), max_size=12), st.integers(1, 64))
def test_reading_in_pieces_gives_the_whole(tmp_path_factory, texts: list[str], limit: int) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    writer = EventWriter(path, 1)
    for text in texts:
        writer.write(ev.Sample(text=text))
    writer.close()
    reader, found = EventReader(path), []
    while reader.pending():
        found += [e.text for e in reader.read(limit)]  # type: ignore[attr-defined]
    assert found == texts


def test_later_events_and_fields_are_skipped() -> None:
    assert ev.from_line('{"e":"from_the_future","t":1,"a":1}') is None
    assert ev.from_line("[1]") is None and ev.from_line("") is None and ev.from_line("null") is None
    known = ev.from_line('{"e":"sample","t":1,"a":2,"text":"x","colour":"red"}')
    assert isinstance(known, ev.Sample) and known.text == "x" and known.attempt == 2


def test_every_event_survives_the_line() -> None:
    for kind in ev.EVENTS.values():
        event = kind(time=12.5, attempt=3)
        assert ev.from_line(ev.to_line(event)) == event
