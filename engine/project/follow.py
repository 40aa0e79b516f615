"""Watch a run from start to end without a window: the command line and the guided demo. Blocks; the window has its own, on Qt's loop."""

import time
from collections.abc import Callable

from engine.contract.events import Event, Finished
from engine.project import launch, layout
from engine.project.event_log import EventReader
from engine.project.run_state import RunState, apply
from engine.project.runs import Run

POLL_SECONDS = 0.05


def follow(run: Run, pid: int, on_event: Callable[[RunState, Event], None] = lambda state, event: None) -> RunState:
    """Apply events as they come until the worker is gone; those of attempts before this one are not handed on. A worker that dies without
    a last word leaves status "crashed"."""
    state, reader, ended = RunState(stage=run.stage), EventReader(layout.events_file(run.dir)), False
    before = reader.pending()
    while reader.offset < before and (events := reader.read(before - reader.offset)):
        for event in events:
            apply(state, event)
    while True:
        alive = launch.running(pid) or run.alive()  # torchrun may die without its workers
        events = reader.read()
        for event in events:
            apply(state, event)
            ended |= isinstance(event, Finished)
            on_event(state, event)
        if not events:
            if not alive:
                break
            time.sleep(POLL_SECONDS)
    if not ended:
        state.status = "crashed"
    return state
