"""Rows of two corpora in one stream: mostly the first, a fixed share of the second, evenly spread. Which row is whose follows from its
number alone, so a resume needs no more than the step, and ranks share a step as they share plain rows.
"""

from typing import Any

from engine.training.batches import Batch, TokenRows, joined

PARTS = 100_000
"""The share is kept as so many of these: whole numbers make the same rows on every machine."""


class MixedRows:
    """The batch source of domain training. `share` (0 to under 1) of all rows are of `general`; both give rows of one length, and are
    made for one rank. Of every stretch of rows the share is exact to one row."""

    def __init__(self, domain: TokenRows, general: TokenRows | None, share: float, *, rows_per_step: int, rank: int = 0,
                 world_size: int = 1) -> None:
        assert rows_per_step >= world_size and 0 <= share < 1 and (general is None or general.seq_len == domain.seq_len)
        self.domain, self.general, self.rows_per_step, self.rank, self.world_size = domain, general, rows_per_step, rank, world_size
        self.share = round(share * PARTS) if general is not None else 0
        self.borders = domain.borders or (general is not None and general.borders)

    @property
    def state(self) -> dict[str, Any]:
        """What must be equal for a step number to mean the same rows; kept in checkpoints."""
        return {**self.domain.state, "rows_per_step": self.rows_per_step, "borders": self.borders, "share": self.share,
                "general": self.general.state if self.general is not None and self.share else {}}

    @property
    def percent(self) -> float:
        """Share of general text in percent, as it is trained on."""
        return 100 * self.share / PARTS

    def general_before(self, row: int) -> int:
        """How many of the rows before this one are general text."""
        return row * self.share // PARTS

    def epoch_of(self, step: int) -> float:
        """Epochs of the domain's text seen after `step` steps."""
        rows = step * self.rows_per_step
        return (rows - self.general_before(rows)) / self.domain.rows_per_epoch

    def steps(self, epochs: float) -> int:
        """The fewest steps after which the domain's text was seen `epochs` times."""
        rows = max(1, -(-int(epochs * self.domain.rows_per_epoch * PARTS + 0.5) // (PARTS - self.share)))
        return max(1, -(-rows // self.rows_per_step))

    def batches(self, step: int, micro_batch_size: int) -> list[Batch]:
        first = step * self.rows_per_step
        low = first + self.rows_per_step * self.rank // self.world_size
        high = first + self.rows_per_step * (self.rank + 1) // self.world_size
        return [self._batch(at, min(at + micro_batch_size, high)) for at in range(low, high, micro_batch_size)]

    def _batch(self, first: int, behind: int) -> Batch:
        general = range(self.general_before(first), self.general_before(behind))
        domain = range(first - general.start, behind - general.stop)
        parts = [source.read(numbers) for source, numbers in ((self.domain, domain), (self.general, general))
                 if source is not None and len(numbers)]
        return joined(parts, self.domain.seq_len, self.borders)
