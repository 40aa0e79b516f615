"""Sizes for a person's own text follow its length, the machine and the time."""

import math

import pytest

from engine.contract.errors import InputError
from engine.contract.machine import DeviceFacts
from engine.demo import settings
from engine.stages.pretrain import dial

SLOW = DeviceFacts(id="cpu", kind="cpu", title="slow", memory_free=8 * 10**9, threads=2, peak_flops={"float32": 1e11})
FAST = DeviceFacts(id="cuda:0", kind="cuda", title="fast", memory_free=40 * 10**9, dtypes=("bfloat16", "float32"),
                   peak_flops={"bfloat16": 4e14, "float32": 5e13})


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("size", [20_000, 1_100_000, 30_000_000, 3_000_000_000])
def test_the_vocabulary_grows_with_the_text_within_bounds(size):
    vocabulary = settings.vocabulary_for(size)
    assert 512 <= vocabulary <= 8192 and math.log2(vocabulary).is_integer()
    assert settings.vocabulary_for(size * 4) >= vocabulary


@pytest.mark.parametrize("seconds", [75, 220])
@pytest.mark.parametrize("device", [SLOW, FAST])
def test_the_plan_keeps_the_time(seconds, device):
    spec, vocabulary = settings.own_text_spec(5_000_000, seconds, device)
    tokens = round(5_000_000 / settings.bytes_per_token(vocabulary))
    plan = dial.resolve(spec, vocabulary, tokens, device=device)
    assert plan.estimate.seconds < 1.3 * seconds
    assert plan.epochs <= settings.MOST_EPOCHS * 1.01
    assert plan.estimate.fits


def test_a_faster_machine_gets_a_larger_model():
    (slow, _), (fast, _) = (settings.own_text_spec(50_000_000, 220, device) for device in (SLOW, FAST))
    assert fast.depth > slow.depth


def test_a_text_too_short_to_learn_from_is_refused():
    with pytest.raises(InputError) as wrong:
        settings.own_text_spec(1_000, 220, SLOW)
    assert wrong.value.code == "too_little_text"


def test_the_worlds_models_are_of_the_size_the_figures_are_for():
    full, quick = settings.world_spec(False), settings.world_spec(True)
    assert 1_300_000 < dial.model_config(full, settings.FULL.vocab_size).parameters < 1_600_000
    assert 850_000 < dial.model_config(quick, settings.QUICK.vocab_size).parameters < 1_050_000
    assert full.max_seq_len == quick.max_seq_len == 128 and full.compile == quick.compile == "off"


def test_fine_tuning_replays_text_and_keeps_the_table_of_tokens():
    for quick in (False, True):
        spec = settings.sft_spec(quick)
        assert spec.replay_documents >= 8 and spec.freeze_embeddings and spec.method == "full" and spec.compile == "off"
    assert settings.sft_spec(True).epochs > settings.sft_spec(False).epochs  # fewer questions, more often
