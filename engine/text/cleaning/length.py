"""Documents that are too short to teach anything, and those of which cleaning left nothing. Counts characters of the cleaned text, white
space at its ends left out."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.contract.words import tr, trn
from engine.text.cleaning.draft import Draft, Verdict


class MinimumLength:
    id = "minimum_length"

    def __init__(self, characters: int) -> None:
        self.characters = characters

    def suspects(self, texts: pa.Array) -> np.ndarray:
        """bool [documents]: which are too short, or could be but for the white space at their ends."""
        return np.asarray(pc.less(pc.utf8_length(pc.utf8_trim_whitespace(texts)), self.characters))

    def __call__(self, draft: Draft) -> None:
        length = len(draft.text.strip())
        if length == 0:
            draft.verdict = Verdict(self.id, "empty", tr("nothing is left"))
        elif length < self.characters:
            draft.verdict = Verdict(self.id, "too_short", trn("{count} character", "{count} characters", length))
