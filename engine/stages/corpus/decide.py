"""What becomes of each document: removed by which step, or kept for training or validation, and how often it is seen.

Arrays over all documents, about 60 bytes each; the texts are not held. Decisions by hand come last and overrule every step.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.contract.words import tr
from engine.text.dedup.contamination import Overlaps
from engine.text.dedup.find import STEPS, Duplicates
from engine.text.lots import keys
from engine.text.mixing import Mix, MixOptions, mix
from engine.text.parts import Parts, read_part
from engine.text.removal import CODES
from engine.text.splitting import FEW, cut_at_tail, sides, tail

STEP_OF = {"exact": "exact_duplicates", "near": "near_duplicates", "contained": "near_duplicates"}


@dataclass
class Fates:
    """Arrays of N documents. `code` is one of removal.CODES or 0; `cuts` says for a small corpus where each kept document's text is cut
    (characters) so that its tail is the validation text, and is None when whole documents are for validation."""

    code: Any
    validation: Any
    copies: Any
    bytes: Any
    root: Any
    file: Any
    document: Any
    whole: Any
    mix: Mix
    cuts: dict[int, int] | None = None
    overlap: dict[int, str] = field(default_factory=dict)
    shared: int = 0

    @property
    def kept(self) -> Any:
        return self.code == 0

    def compare(self, found: Overlaps | None, remove: bool) -> None:
        """Take in which training documents share long passages with validation documents (`shared` counts them)."""
        if found is None:
            return
        numbers = found.documents
        self.shared = len(numbers)
        for number in numbers.tolist():
            self.overlap.setdefault(number, tr("the validation part"))
        if remove:
            self.code[numbers] = CODES["contamination"]
            self.copies[numbers] = 0


def removals(parts: Parts, found: Duplicates, overlap: Overlaps | None, *, remove_overlap: bool, decisions: dict[str, bool]) -> Any:
    """uint8 [documents]: the step that removes each document, 0 for none. `decisions` {document id: kept} overrule every step."""
    code = np.zeros(parts.documents, np.uint8)
    asked, wanted = pa.array(list(decisions), pa.string()), np.array(list(decisions.values()), bool)
    hand = np.zeros(parts.documents, np.int8)
    for first, table in parts.tables(["id", "step"]):
        here = slice(first, first + table.num_rows)
        for step, number in CODES.items():
            code[here][pc.fill_null(pc.equal(table["step"], step), False).to_numpy()] = number
        if decisions:
            at = pc.fill_null(pc.index_in(table["id"], asked), -1).to_numpy()
            hand[here] = np.where(at < 0, 0, np.where(wanted[at], 1, -1))
    for number, name in enumerate(STEPS):
        if name:
            code[(code == 0) & (found.step == number)] = CODES[STEP_OF[name]]
    if remove_overlap and overlap:
        flagged = overlap.documents
        code[flagged[code[flagged] == 0]] = CODES["contamination"]
    code[(hand < 0) & (code == 0)] = CODES["hand"]
    code[hand > 0] = 0
    return code


def decide(parts: Parts, code: Any, found: Duplicates, overlap: Overlaps | None, options: list[MixOptions], share: float) -> Fates:
    """Of what `code` (removals) leaves: which documents are for validation, a `share` of the text, and how often each of the others is
    seen. `options` are the mix, one for each source."""
    total = parts.documents
    code = code.copy()
    bytes_, ids = np.zeros(total, np.int64), np.zeros(total, np.uint64)
    root, file, document = (np.zeros(total, np.int32) for _ in range(3))
    for first, table in parts.tables(["id", "root", "file", "document", "step", "text"]):
        here = slice(first, first + table.num_rows)
        bytes_[here] = pc.binary_length(table["text"]).to_numpy()
        root[here], file[here], document[here] = (table[c].to_numpy() for c in ("root", "file", "document"))
        ids[here] = keys(table["id"])
        emptied = pc.fill_null(pc.equal(table["step"], "repeated_passages"), False).to_numpy()
        code[here][emptied & (code[here] == 0)] = CODES["repeated_passages"]
    begins = np.r_[True, (file[1:] != file[:-1]) | (document[1:] != document[:-1])][:total]
    whole = np.cumsum(begins) - 1
    kept = np.flatnonzero(code == 0)
    validation, cuts = np.zeros(total, bool), None
    if len(np.unique(whole[kept])) < FEW:
        cuts = _cuts(parts, kept, whole, found.cluster, share)
    else:
        validation[kept] = sides(ids[kept], found.cluster[kept], bytes_[kept], share, whole[kept])
    train = kept[~validation[kept]]
    mixed = mix(ids[train], root[train], bytes_[train], options)
    copies = np.zeros(total, np.int32)
    copies[train] = mixed.copies_D
    code[train[mixed.copies_D == 0]] = CODES["mix"]
    items = {number: overlap.names_R[row] for number, row in overlap.best().items()} if overlap else {}
    return Fates(code, validation, copies, bytes_, root, file, document, whole, mixed, cuts, items)


def _cuts(parts: Parts, kept: Any, whole: Any, cluster: Any, share: float) -> dict[int, int]:
    """{document: characters before its tail}: the tail of each kept text, over all the parts of a long one. The members of a group of near
    duplicates that stayed together are not cut: what would be validation in one is training in another."""
    texts = {int(n): _text(parts, int(n)) for n in kept}
    alone = cut_at_tail(cluster[kept])
    lengths: dict[int, int] = {}
    for n, text in texts.items():
        lengths[int(whole[n])] = lengths.get(int(whole[n]), 0) + len(text)
    before: dict[int, int] = {}
    cuts = {}
    for (n, text), cut in zip(texts.items(), alone, strict=True):
        w = int(whole[n])
        at = tail(text, before.get(w, 0), lengths[w], share) if cut else len(text)
        # White space alone is no text to train or measure on: it stays with the other half.
        cuts[n] = len(text) if not text[at:].strip() else 0 if not text[:at].strip() else at
        before[w] = before.get(w, 0) + len(text)
    return cuts


def _text(parts: Parts, number: int) -> str:
    part, row = parts.place(number)
    return str(read_part(parts.paths[part], ["text"])["text"][row].as_py())
