"""What sources have in common that show everything once an epoch, in an order of each epoch's own. What a step holds is the source's."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

KEPT = 2


class Epochs:
    """A base of batch sources. A subclass says `steps_per_epoch` and draws the order of an epoch by its number, with `_kept`."""

    def __init__(self) -> None:
        self._epochs: OrderedDict[int, Any] = OrderedDict()

    @property
    def steps_per_epoch(self) -> float:
        raise NotImplementedError

    def steps(self, epochs: float) -> int:
        """Steps after which everything was seen `epochs` times."""
        return max(1, math.ceil(epochs * self.steps_per_epoch - 1e-9))

    def epoch_of(self, step: int) -> float:
        """Epochs seen after `step` steps."""
        return step / self.steps_per_epoch

    def _kept(self, epoch: int, make: Callable[[], Any]) -> Any:
        """The order of an epoch, made once while steps go through it."""
        if epoch not in self._epochs:
            self._epochs[epoch] = make()
            while len(self._epochs) > KEPT:
                self._epochs.popitem(last=False)
        return self._epochs[epoch]
