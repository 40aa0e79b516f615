"""The verifier of a run: what it was made with, composed, with what it needs. Nothing of the library is read."""

import atexit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.contract.context import RunContext
from engine.project.models import parents_of, resolve_reward
from engine.project.project import Project
from engine.project.verifiers import taken
from engine.verifiers.api import Verifier
from engine.verifiers.registry import Resources, compose, reward_models


@dataclass(frozen=True)
class Opened:
    """`facts`: which verifier it is. `device_bytes`: what its reward models hold on the device, beside the policy. `parents`: the artifacts
    that they are, or come from."""

    verifier: Verifier
    facts: dict[str, Any] = field(default_factory=dict)
    device_bytes: int = 0
    parents: tuple[str, ...] = ()


@contextmanager
def opened(context: RunContext) -> Iterator[Opened]:
    """Its processes and models end with it. Raises Corrupt, SettingError (nobody trusts it here), FormatError (a source), Missing (no
    sandbox), and what loading a reward model raises."""
    made = taken(context.run_dir)
    with Resources(context.project_dir, device=context.device) as resources:
        verifier = compose(made.composition, resources)
        project = Project.open(context.project_dir)
        parents = [parent for id in reward_models(made.composition) for parent in parents_of(project, resolve_reward(project, id))]
        yield Opened(verifier, made.facts(), resources.device_bytes, tuple(parents))


def until_the_end(context: RunContext) -> Opened:
    """The same, for a process that does nothing else: its verifier's processes end with it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(opened(context))
