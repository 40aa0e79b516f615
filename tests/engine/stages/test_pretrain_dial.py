"""The dial fills in every number, keeps what is set, warns, and its estimates grow with what they estimate."""

import subprocess
import sys
from dataclasses import replace

import pytest

from engine.contract.errors import SettingError
from engine.contract.machine import DeviceFacts
from engine.stages.pretrain import dial
from engine.stages.pretrain.spec import PretrainSpec

CPU = DeviceFacts(id="cpu", kind="cpu", title="An EPYC", memory_total=24 * 10**9, memory_free=20 * 10**9, dtypes=("bfloat16", "float32"),
                  peak_flops={"float32": 2.2e11, "bfloat16": 9.2e11}, threads=2)
GPU = DeviceFacts(id="cuda:0", kind="cuda", title="A GPU", memory_total=24 * 10**9, memory_free=23 * 10**9, dtypes=("bfloat16", "float32"),
                  peak_flops={"float32": 2e13, "bfloat16": 1.6e14})


@pytest.mark.parametrize("depth", range(1, 33))
@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_every_depth_gives_a_model_that_can_be_built(depth, shape):
    plan = dial.resolve(PretrainSpec(depth=depth, shape=shape), 8192, 10_000_000, 0, CPU)
    config = plan.config
    assert config.num_layers == depth and config.head_dim % 2 == 0 and config.num_heads * config.head_dim == config.hidden_size
    assert config.hidden_size == 64 * depth or depth < 4
    assert plan.tokens_per_step == plan.rows_per_step * 512 and plan.rows_per_step % plan.micro_batch_size == 0
    assert plan.steps >= 1 and plan.tokens == plan.steps * plan.tokens_per_step and plan.warmup_steps < max(2, plan.steps)


def test_tokens_follow_the_matrices_and_the_head():
    plan = dial.resolve(PretrainSpec(depth=6, tokens_per_parameter=10), 8192, 10**9, 0, CPU)
    wanted = 10 * (plan.config.matrix_parameters + 8192 * plan.config.hidden_size)
    assert plan.tokens == pytest.approx(wanted, rel=0.01) and plan.steps >= 500


def test_what_the_person_sets_is_kept():
    spec = PretrainSpec(depth=4, width=160, num_heads=4, num_kv_heads=2, intermediate_size=448, max_seq_len=128, steps=600,
                        tokens_per_step=4096, learning_rate=1e-3, matrix_learning_rate=0.01, weight_decay=0.0, warmup_steps=0,
                        tie_embeddings=False, eval_every=7, sample_every=0, checkpoint_every_steps=0, micro_batch_size=8)
    plan = dial.resolve(spec, 1200, 2_600_000, 0, CPU)
    c = plan.config
    assert (c.hidden_size, c.num_heads, c.num_kv_heads, c.intermediate_size, c.head_dim, c.tie_embeddings) == (160, 4, 2, 448, 40, False)
    assert (plan.steps, plan.tokens_per_step, plan.rows_per_step, plan.micro_batch_size, plan.grad_accum_steps) == (600, 4096, 32, 8, 4)
    assert (plan.learning_rate, plan.matrix_learning_rate, plan.weight_decay, plan.warmup_steps) == (1e-3, 0.01, 0.0, 0)
    assert (plan.eval_every, plan.sample_every, plan.checkpoint_every_steps) == (7, 0, 0)


def test_adamw_alone_has_no_rate_for_matrices():
    assert dial.resolve(PretrainSpec(optimizer="adamw"), 8192, 10**7, 0, CPU).matrix_learning_rate is None


def test_small_models_tie_their_embeddings_and_large_ones_do_not():
    assert dial.model_config(PretrainSpec(depth=4), 8192).tie_embeddings
    assert not dial.model_config(PretrainSpec(depth=20), 8192).tie_embeddings


def test_validation_takes_a_small_part_of_the_run():
    for spec in (PretrainSpec(depth=4, width=160, max_seq_len=128, steps=600, tokens_per_step=4096), PretrainSpec(depth=2)):
        plan = dial.resolve(spec, 1200, 2_600_000, 0, CPU)
        evaluated = (plan.steps // plan.eval_every + 1) * plan.eval_tokens
        assert evaluated < 0.25 * plan.tokens


def test_many_passes_over_a_small_corpus_and_a_context_longer_than_it_are_warned_about():
    assert dial.resolve(PretrainSpec(depth=4), 8192, 300_000, 0, CPU).epochs == pytest.approx(dial.MOST_EPOCHS, rel=0.05)
    plan = dial.resolve(PretrainSpec(depth=4, tokens=30_000_000), 8192, 300_000, 0, CPU)
    assert plan.epochs > dial.MOST_EPOCHS and any("by heart" in p.sentence and p.remedy for p in plan.problems)
    assert not dial.resolve(PretrainSpec(depth=2), 8192, 10**7, 0, CPU).problems
    assert [p.field for p in dial.resolve(PretrainSpec(depth=1, steps=1), 500, 100, 0, CPU).problems] == ["max_seq_len"]


def test_bytes_stand_in_for_tokens_before_tokenizing():
    assert dial.resolve(PretrainSpec(depth=2), 8192, 0, 40_000_000, CPU).epochs == dial.resolve(PretrainSpec(depth=2), 8192, 10**7, 0,
        CPU).epochs


def test_a_width_that_cannot_be_shared_by_the_heads_is_named():
    with pytest.raises(SettingError) as wrong:
        dial.model_config(PretrainSpec(width=100, num_heads=3), 8192)
    assert wrong.value.field == "num_heads" and wrong.value.remedy


def test_stops_grow_in_parameters_time_and_memory_and_tell_what_does_not_fit():
    small = replace(CPU, memory_total=4 * 10**9)
    found = dial.stops(PretrainSpec(), 8192, 10**8, 0, small)
    for a, b in zip(found, found[1:], strict=False):
        assert a.parameters < b.parameters and a.tokens <= b.tokens and a.seconds < b.seconds
    assert found[0].fits and not found[-1].fits


def test_minutes_choose_the_largest_size_that_ends_in_time():
    for minutes in (3, 30, 600, 60_000):
        depth = dial.depth_for_minutes(minutes, PretrainSpec(), 8192, 10**8, 0, CPU)
        times = {s.depth: s for s in dial.stops(PretrainSpec(), 8192, 10**8, 0, CPU, range(1, 33))}
        assert depth == 1 or times[depth].seconds <= 60 * minutes
        assert depth == 32 or times[depth + 1].seconds > 60 * minutes or not times[depth + 1].fits


def test_memory_that_is_short_makes_the_micro_batch_smaller_and_then_asks_for_checkpointing():
    wide = dial.resolve(PretrainSpec(depth=12, max_seq_len=2048), 8192, 10**9, 0, GPU)
    tight = dial.resolve(PretrainSpec(depth=12, max_seq_len=2048), 8192, 10**9, 0, replace(GPU, memory_free=5 * 10**9))
    assert tight.micro_batch_size < wide.micro_batch_size and tight.tokens_per_step == wide.tokens_per_step
    assert tight.activation_checkpointing or tight.estimate.fits


def test_a_speed_measured_here_corrects_the_estimate(monkeypatch):
    spec = PretrainSpec(depth=4)
    plain = dial.resolve(spec, 8192, 10**8, 0, CPU)
    flops = plain.config.flops_per_token(512)
    monkeypatch.setattr(dial, "known_speeds", lambda: [{"device": "An EPYC", "dtype": "bfloat16", "flops": flops, "estimate": 100.0,
                                                         "tokens_per_second": 200.0}])
    corrected = dial.resolve(spec, 8192, 10**8, 0, CPU)
    assert corrected.estimate.tokens_per_second == pytest.approx(2 * plain.estimate.tokens_per_second)
    other = dial.resolve(spec, 8192, 10**8, 0, replace(CPU, title="Another"))
    assert other.estimate == plain.estimate


def test_the_dial_loads_no_torch():
    code = "import sys, engine.stages.pretrain.dial; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'datasets')))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
