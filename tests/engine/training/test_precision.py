"""Number format and torch.compile are decided by rule, the same way every time, with a reason for people."""

import sys

import pytest
import torch

from engine.contract.machine import DeviceFacts
from engine.training import precision
from engine.training.allocator import keep_memory

FAST = DeviceFacts(id="cpu", kind="cpu", title="EPYC", dtypes=("bfloat16", "float32"), peak_flops={"float32": 1e11, "bfloat16": 4e11},
                   threads=2)
OLD = DeviceFacts(id="cpu", kind="cpu", title="Old", dtypes=("float32",), peak_flops={"float32": 1e11}, threads=2)
EVEN = DeviceFacts(id="cpu", kind="cpu", title="Even", dtypes=("bfloat16", "float32"), peak_flops={"float32": 1e11, "bfloat16": 1.1e11})
METAL = DeviceFacts(id="mps", kind="mps", title="M3", dtypes=("bfloat16", "float32"))


@pytest.mark.parametrize(("asked", "facts", "width", "dtype"), [
    ("auto", FAST, 256, torch.bfloat16), ("auto", FAST, 16, torch.float32), ("auto", OLD, 256, torch.float32),
    ("auto", EVEN, 256, torch.float32), ("float32", FAST, 256, torch.float32), ("bfloat16", OLD, 256, torch.bfloat16),
    ("auto", METAL, 64, torch.bfloat16)])
def test_bfloat16_where_it_pays(asked, facts, width, dtype):
    chosen, reason = precision.choose_dtype(asked, facts, width)
    assert chosen == dtype and reason


@pytest.mark.parametrize(("asked", "facts", "seconds", "lacks", "on", "word"), [
    ("auto", FAST, 36_000, (), True, "save"), ("auto", FAST, 60, (), False, "save"),
    ("auto", FAST, 36_000, ("compiler",), False, "compiler"),
    ("on", FAST, 1, (), True, "as set"), ("on", FAST, 1, ("compiler",), False, "compiler"), ("off", FAST, 36_000, (), False, "as set"),
    ("auto", METAL, 36_000, (), False, "dependable")])
def test_compile_where_it_pays_and_can(monkeypatch, asked, facts, seconds, lacks, on, word):
    monkeypatch.setattr(precision, "compile_lacks", lambda facts: lacks)
    chosen, reason = precision.choose_compile(asked, facts, seconds)
    assert chosen is on and word in reason


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_memory_is_kept_where_the_library_can():
    import platform
    assert keep_memory() is (platform.libc_ver()[0] == "glibc")
