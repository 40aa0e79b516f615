"""Keys and values of the tokens so far, preallocated and growing by buckets, with rows of different lengths. And attention for decoding.

Rows 0 .. rows-1 are in use; each has its own length, and its keys stand at columns 0 .. length-1 whatever its neighbours do. Prompts of
different lengths are written right-padded and trimmed (`set_lengths`): what stands past a row's length is never attended to and is
overwritten later. A finished row is removed by moving the last row into its place (one row is copied, not the whole cache). A prompt that
several completions share is computed once and copied (`copy_row`).

Shapes: R rows allocated, B rows in a call, T tokens in a call, S columns, H query heads, K key/value heads, G = H / K, D head dimension.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model.attention import causal_attention
from engine.model.config import ModelConfig

BUCKET = 64


class KVCache:
    """`columns` is a first guess; the cache grows by itself, up to the model's context."""

    def __init__(self, config: ModelConfig, rows: int, columns: int = 0, *, dtype: torch.dtype = torch.float32,
                 device: torch.device | str = "cpu") -> None:
        self.config, self.dtype, self.device = config, dtype, torch.device(device)
        self.rows = 0
        self.lengths: list[int] = []
        self.columns = self._bucket(columns)
        self._allocated = max(1, rows)
        self.keys = [self._empty() for _ in range(config.num_layers)]
        self.values = [self._empty() for _ in range(config.num_layers)]

    def _bucket(self, columns: int) -> int:
        return min(self.config.max_seq_len, max(BUCKET, -(-columns // BUCKET) * BUCKET))

    def _empty(self) -> Tensor:
        """Zeros, not garbage: a masked NaN would still spoil the weighted sum of the values."""
        shape = (self._allocated, self.config.num_kv_heads, self.columns, self.config.head_dim)
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in self.keys) + sum(x.nbytes for x in self.values)

    def add_rows(self, count: int) -> range:
        """`count` more empty rows at the end; their indices."""
        start = self.rows
        self.rows += count
        self.lengths += [0] * count
        if self.rows > self._allocated:
            self._allocated = max(self.rows, self._allocated * 3 // 2)
            self._grow()
        return range(start, self.rows)

    def reserve(self, columns: int) -> None:
        """Room for `columns` tokens a row; when it has to grow, by half at least, so that copies stay rare."""
        assert columns <= self.config.max_seq_len, f"{columns} tokens, the model's context is {self.config.max_seq_len}"
        if columns > self.columns:
            if self._allocated > 4 * max(1, self.rows):  # rows of a busier time would grow too
                self._allocated = max(1, self.rows * 3 // 2)
            self.columns = self._bucket(max(columns, self.columns * 3 // 2))
            self._grow()

    def _grow(self) -> None:
        longest = max(self.lengths, default=0)
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                tensors[layer] = self._empty()
                rows = min(old.shape[0], self.rows)
                tensors[layer][:rows, :, :longest] = old[:rows, :, :longest]

    def trim(self, rows: int) -> None:
        """Give back what an empty cache holds, but for `rows` short rows."""
        assert self.rows == 0
        if self._allocated > rows or self.columns > BUCKET:
            self._allocated, self.columns = rows, self._bucket(0)
            self.keys = [self._empty() for _ in self.keys]
            self.values = [self._empty() for _ in self.values]

    def set_lengths(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """After a right-padded prefill: how many of the written tokens are real."""
        for row, length in zip(rows, lengths, strict=True):
            assert 0 <= length <= self.columns
            self.lengths[row] = length

    def copy_row(self, source: int, targets: Sequence[int]) -> None:
        """Give `targets` the tokens of `source`."""
        length = self.lengths[source]
        for tensor in (*self.keys, *self.values):
            if isinstance(targets, range) and targets.step == 1:
                tensor[targets.start : targets.stop, :, :length] = tensor[source, :, :length]
            else:
                for row in targets:
                    tensor[row, :, :length] = tensor[source, :, :length]
        for row in targets:
            self.lengths[row] = length

    def adopt(self, other: "KVCache", source: int, target: int) -> None:
        """Give row `target` the tokens of a row of another cache of the same model."""
        length = other.lengths[source]
        self.reserve(length)
        for mine, theirs in zip((*self.keys, *self.values), (*other.keys, *other.values), strict=True):
            mine[target, :, :length] = theirs[source, :, :length]
        self.lengths[target] = length

    def remove_row(self, row: int) -> int:
        """Free a row; the last row takes its place. Returns the index of the row that moved (the one freed, if it was the last)."""
        last = self.rows - 1
        if row != last:
            length = self.lengths[last]
            for tensor in (*self.keys, *self.values):
                tensor[row, :, :length] = tensor[last, :, :length]
            self.lengths[row] = length
        self.lengths.pop()
        self.rows = last
        return last

    def plan(self, tokens: int, start: int = 0, stop: int | None = None) -> "Plan":
        """How the next `tokens` tokens of rows start .. stop-1 are written and attended to: give it to Decoder.forward as `cache`."""
        return Plan(self, start, self.rows if stop is None else stop, tokens)


class Plan:
    """One forward pass over some rows of a cache: positions, mask and span, worked out once for all layers."""

    def __init__(self, cache: KVCache, start: int, stop: int, tokens: int) -> None:
        self.cache, self.start, self.stop, self.tokens = cache, start, stop, tokens
        lengths = cache.lengths[start:stop]
        assert lengths, "no rows"
        longest = max(lengths)
        self.span = longest + tokens
        cache.reserve(self.span)
        self.same = min(lengths) == longest
        self.length = longest
        self.mask: Tensor | None = None
        self.scale = cache.config.head_dim**-0.5
        device = cache.device
        if self.same:
            self.positions_BT: Tensor | None = None if longest == 0 else torch.arange(longest, self.span, device=device)[None]
        else:
            begins = torch.tensor(lengths, device=device)
            self.positions_BT = begins[:, None] + torch.arange(tokens, device=device)
            self.rows_B1 = torch.arange(start, stop, device=device)[:, None]
        if longest and not (self.same and tokens == 1):
            positions = self.positions_BT
            assert positions is not None
            seen_BTS = torch.arange(self.span, device=device) <= positions[..., None]
            self.mask = torch.zeros(seen_BTS.shape, dtype=cache.dtype, device=device).masked_fill_(~seen_BTS, float("-inf"))[:, None]

    def attend(self, layer: int, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor) -> Tensor:
        """Write the new keys and values, attend to all of the row's. Returns out_BTHD."""
        cache = self.cache
        keys_RKSD, values_RKSD = cache.keys[layer], cache.values[layer]
        if self.same:
            keys_RKSD[self.start : self.stop, :, self.length : self.span] = k_BTKD.transpose(1, 2)
            values_RKSD[self.start : self.stop, :, self.length : self.span] = v_BTKD.transpose(1, 2)
        else:
            keys_RKSD[self.rows_B1, :, self.positions_BT] = k_BTKD.to(cache.dtype)
            values_RKSD[self.rows_B1, :, self.positions_BT] = v_BTKD.to(cache.dtype)
        if self.length == 0:
            return causal_attention(q_BTHD, k_BTKD, v_BTKD)
        keys_BKSD = keys_RKSD[self.start : self.stop, :, : self.span]
        values_BKSD = values_RKSD[self.start : self.stop, :, : self.span]
        out_BHTD = F.scaled_dot_product_attention(q_BTHD.contiguous().transpose(1, 2), keys_BKSD, values_BKSD, attn_mask=self.mask,
                                                  enable_gqa=q_BTHD.shape[2] != keys_BKSD.shape[1])
        return out_BHTD.transpose(1, 2)

    def done(self) -> None:
        """The tokens are part of the rows now."""
        lengths = self.cache.lengths
        for row in range(self.start, self.stop):
            lengths[row] += self.tokens
