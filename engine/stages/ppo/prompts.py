"""What PPO asks: the prompts of the run's examples and pairs. What becomes of them is engine/rl/prompts.py's matter."""

from collections.abc import Iterator
from typing import Self

from engine.contract.context import RunContext
from engine.project import snapshots
from engine.rl import prompts
from engine.rl.prompts import Asked
from engine.stages.ppo.spec import PpoSpec
from engine.training.tuning import Start


class Prompts(prompts.Prompts):
    @classmethod
    def load(cls, spec: PpoSpec, start: Start, context: RunContext) -> Self:
        """From the run's own copy of the library's rows. Raises Mismatch (no chat template), InputError (nothing to ask)."""
        return cls.of(start, _asked(context), template=spec.template, system=spec.system, validation_percent=spec.validation_percent,
                      validation_prompts=spec.validation_prompts)

    def samples(self, spec: PpoSpec) -> list[tuple[str, list[int]]]:
        """(what is asked, its ids): the spec's questions, else some that are held out."""
        return self.heard(spec.sample_prompts, spec.system)


def _asked(context: RunContext) -> Iterator[Asked]:
    """The turns before the last answer of each example, and the prompt of each pair; those that end with a person's turn."""
    for example in snapshots.rows(context.run_dir, "examples"):
        last = max((n for n, m in enumerate(example.messages) if m.role == "assistant"), default=len(example.messages))
        if last and example.messages[last - 1].role != "system":
            yield Asked(example.messages[:last])
    for pair in snapshots.pairs(context.run_dir):
        if pair.prompt and pair.prompt[-1].role != "system":
            yield Asked(pair.prompt)
