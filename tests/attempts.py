"""Runs of training stages in a test's own process: one attempt with its events and commands; torch on one thread, as tiny models like."""

import pytest
import torch

from engine import pipeline
from engine.contract.context import Command, RunContext
from engine.contract.events import ArtifactMade, Facts, Metrics
from engine.project import layout


class Attempt:
    """One attempt at a run, its events and its commands ({step: word}). `stage`: the stage's own `run`, unless another is given."""

    def __init__(self, project, run_id, spec, number=1, commands=None, stage=None):
        self.events, self.commands, self.spec = [], dict(commands or {}), spec
        self.stage = stage or pipeline.stage(spec.stage).run()
        self.context = RunContext(run_dir=layout.run(project.dir, run_id), project_dir=project.dir, run_id=run_id, seed=spec.seed,
                                  attempt=number, emitter=self.events.append, reader=self.read)

    def read(self):
        word = self.commands.pop(self.last_step(), None)
        return Command(word) if word else None

    def last_step(self):
        return max([int(s) for e in self.of(Metrics) for s in e.columns["step"]], default=0)

    def run(self):
        self.stage(self.spec, self.context)
        return self

    def of(self, kind):
        return [e for e in self.events if isinstance(e, kind)]

    def facts(self):
        return {k: v for e in self.of(Facts) for k, v in e.facts.items()}

    def losses(self):
        return {int(s): v for e in self.of(Metrics) for s, v in zip(e.columns["step"], e.columns["loss"], strict=True)}


def made_by(project, attempt):
    """The artifact of an attempt."""
    return project.artifacts.get(attempt.of(ArtifactMade)[-1].id)


@pytest.fixture(autouse=True)
def one_thread():
    """Import it into a test file, and its tests have it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
