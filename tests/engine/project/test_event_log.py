"""The event file: every step in it, torn lines healed, readable from any byte."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract import events as ev
from engine.contract.errors import ProjectError
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


def test_a_stretch_of_unknown_lines_does_not_look_like_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"e":"from_the_future","t":1,"a":1}\n' * 200 + '{"e":"phase","t":1,"a":1,"id":"z"}\n')
    assert [e.id for e in EventReader(path).read(64)] == ["z"]  # type: ignore[attr-defined]


def test_a_full_disk_loses_no_event(tmp_path: Path) -> None:
    """A real limit by the operating system (RLIMIT_FSIZE), lifted again as when somebody frees space."""
    if sys.platform == "win32":
        pytest.skip("no file size limits on Windows")
    path = tmp_path / "events.jsonl"
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from pathlib import Path
from engine.contract.errors import DiskFull
from engine.contract.events import Phase
from engine.project.event_log import EventWriter
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (500, most))
for attempt in (1, 2):
    writer = EventWriter(Path({str(path)!r}), attempt)
    for n in range(20):
        writer.write(Phase(id=str(n), title="x" * 40))
    if attempt == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        writer.close()
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, most))
    else:
        try:
            writer.close()
        except DiskFull:
            print("told")
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "told"
    assert [e.id for e in read_events(path)] == [str(n) for n in range(20)]  # type: ignore[attr-defined]


def test_a_link_in_a_project_is_not_written_through(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "events.jsonl"
    victim.write_text("mine")
    path.symlink_to(victim)
    with pytest.raises(ProjectError, match="link"):
        EventWriter(path, 1)
    assert victim.read_text() == "mine"


def test_later_events_and_fields_are_skipped() -> None:
    assert ev.from_line('{"e":"from_the_future","t":1,"a":1}') is None
    assert ev.from_line("[1]") is None and ev.from_line("") is None and ev.from_line("null") is None
    known = ev.from_line('{"e":"sample","t":1,"a":2,"text":"x","colour":"red"}')
    assert isinstance(known, ev.Sample) and known.text == "x" and known.attempt == 2


def test_every_event_survives_the_line() -> None:
    for kind in ev.EVENTS.values():
        event = kind(time=12.5, attempt=3)
        assert ev.from_line(ev.to_line(event)) == event
