"""Our micro batches against TRL's own trainers on the same pairs and weights: loss and gradients of every weight of a real model, through
shared prompts, for each loss, with the SFT term; KTO with the divergence of mismatched pairs."""

import dataclasses

import numpy as np
import pytest
import torch

from engine.model import hf
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.rl.preferences import Pairs, dpo_loss
from engine.stages.dpo.objective import Objective, divergence
from engine.stages.dpo.rows import DpoRows, Reference, mismatched_part, mismatches, part_of
from engine.stages.dpo.spec import DpoSpec
from engine.training.answer_logprobs import answer_logprobs, lay
from engine.training.pair_rows import EncodedPairs
from engine.training.ranks import Ranks
from tests.attempts import one_thread  # noqa: F401

VOCAB, CONTEXT, COUNT = 61, 64, 6
CONFIG = ModelConfig(vocab_size=VOCAB, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48,
                     max_seq_len=CONTEXT)
RANKS = Ranks(0, 1, torch.device("cpu"))


def encoded(bad=()):
    draw, ids = np.random.default_rng(4), []
    for _ in range(COUNT):
        ids += [draw.integers(3, VOCAB, draw.integers(lo, hi)) for lo, hi in ((3, 25), (1, 12), (1, 12))]
    none = np.zeros(COUNT, np.int64)
    return EncodedPairs(np.concatenate(ids).astype(np.uint32), np.concatenate([[0], np.cumsum([len(x) for x in ids])]),
                        np.zeros((COUNT, 2), np.int64), none.astype(np.int8), none.astype(bool), np.isin(np.arange(COUNT), bad),
                        np.arange(COUNT), np.arange(COUNT).astype(np.uint64))


def models():
    """(policy, reference): the policy has moved."""
    reference, policy = Decoder(CONFIG, seed=1), Decoder(CONFIG, seed=1)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in policy.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=draw)
    return policy, reference


def theirs(model):
    import transformers
    made = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{k: v for k, v in hf.config_to_hf(CONFIG).items() if k not in (
        "architectures", "torch_dtype")}, attn_implementation="eager"))
    weights = dict(model.named_parameters())
    made.load_state_dict(dict(hf.to_hf(CONFIG, lambda name: weights[name].detach())), strict=False)
    return made


def words():
    import tokenizers
    import transformers
    vocabulary = {f"t{i}": i for i in range(VOCAB)}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, "t3")),
                                                pad_token="t0", bos_token="t1", eos_token="t2")


def sums(model, parts):
    with torch.no_grad():
        return answer_logprobs(model, lay(parts))[0].view(-1, 2).numpy()


def ours(spec, pairs, policy, reference, micro=COUNT):
    """(loss, gradients by their names, measures) of one step of all pairs, in micro batches."""
    known = Reference(train=sums(reference, [part_of(pairs, n) for n in range(COUNT)]))
    if spec.loss == "kto":
        others = mismatches(pairs)
        known.train_mismatched = sums(reference, [mismatched_part(pairs, n, int(others[n]), CONTEXT) for n in range(COUNT)])
    if spec.loss == "simpo":
        known = Reference()
    rows = DpoRows(pairs, known, batch_size=COUNT, seed=0, longest=CONTEXT, mismatched=spec.loss == "kto")
    objective, total = Objective(spec, RANKS), 0.0
    policy.zero_grad()
    for batch in rows.batches(0, micro):
        loss = objective(policy, batch) / COUNT
        loss.backward()
        total += loss.item()
    grads = {name: weight.grad for name, weight in policy.named_parameters()}
    return total, dict(hf.to_hf(CONFIG, lambda name: grads[name])), objective.measures()


def compare(spec, pairs, trainer, inputs, policy, reference):
    """Their loss and gradients against ours, whole and in micro batches of several sizes."""
    wanted = trainer._compute_loss(trainer.model, inputs, False)
    wanted.backward()
    expected = {name: weight.grad for name, weight in trainer.model.named_parameters()}
    for micro in (COUNT, 4, 1):
        loss, grads, measures = ours(spec, pairs, policy, reference, micro)
        assert loss == pytest.approx(wanted.item(), rel=1e-5), micro
        for name, grad in grads.items():
            if name in expected:
                assert (grad - expected[name]).norm() <= 1e-5 * expected[name].norm() + 1e-8, (name, micro)
    assert len(expected) == sum(1 for _ in trainer.model.parameters()) > 15
    told = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    return measures, told


def settings(folder, kind, **more):
    return kind(output_dir=str(folder), use_cpu=True, report_to=[], bf16=False, per_device_train_batch_size=COUNT, max_length=CONTEXT,
                beta=0.3, gradient_checkpointing=False, disable_dropout=True, save_strategy="no", **more)


LOSSES = {"sigmoid": ["sigmoid"], "ipo": ["ipo"], "hinge": ["hinge"], "rpo": ["sigmoid", "sft"]}


@pytest.mark.parametrize("name", LOSSES)
def test_dpo_equals_trls_trainer_with_gradients(name, tmp_path):
    import datasets
    from trl import DPOConfig, DPOTrainer

    class Given(DPOTrainer):
        def _prepare_dataset(self, dataset, *rest, **more):
            return dataset

    pairs, (policy, reference) = encoded(), models()
    rows = [{"prompt_ids": pairs.prompt(n).tolist(), **{key: pairs.conversation(n, side)[0][len(pairs.prompt(n)):].tolist()
             for side, key in enumerate(("chosen_ids", "rejected_ids"))}} for n in range(COUNT)]
    weights = {"loss_weights": [1.0, 0.4]} if name == "rpo" else {}
    trainer = Given(model=theirs(policy), ref_model=theirs(reference), train_dataset=datasets.Dataset.from_list(rows),
                    args=settings(tmp_path, DPOConfig, loss_type=LOSSES[name], **weights), processing_class=words())
    trainer.model.train()
    spec = DpoSpec(model="m", pairs=("p",), loss="sigmoid" if name == "rpo" else name, beta=0.3, sft_weight=0.4 if name == "rpo" else 0.0)
    measures, told = compare(spec, pairs, trainer, trainer.data_collator(rows), policy, reference)
    for ours_name, their_name in (("accuracy", "accuracies"), ("margin", "margins"), ("chosen_reward", "chosen"),
                                  ("rejected_reward", "rejected")):
        assert measures[ours_name] == pytest.approx(told[f"rewards/{their_name}"], rel=1e-4)
    tokens = pairs.answer_tokens().sum(0) / COUNT
    assert measures["chosen_logprob"] * tokens[0] == pytest.approx(told["logps/chosen"], rel=1e-4)
    assert measures["rejected_logprob"] * tokens[1] == pytest.approx(told["logps/rejected"], rel=1e-4)


@pytest.mark.parametrize("bad", [(), (1, 4)])
def test_kto_equals_trls_trainer_with_gradients(bad, tmp_path):
    import datasets
    from trl import KTOConfig, KTOTrainer

    class Given(KTOTrainer):
        def _prepare_dataset(self, dataset, *rest, **more):
            return dataset

    pairs, (reference, policy) = encoded(bad), models()  # this way round their divergence is above 0
    others = mismatches(pairs)
    rows = []
    for n in range(COUNT):
        prompt, other = pairs.prompt(n).tolist(), mismatched_part(pairs, n, int(others[n]), CONTEXT)
        for side in (0, 1):
            rows.append({"prompt_ids": prompt, "completion_ids": pairs.conversation(n, side)[0][len(prompt):].tolist(),
                         "KL_completion_ids": other.endings[side].tolist(), "label": side == 0 and n not in bad})
    trainer = Given(model=theirs(policy), ref_model=theirs(reference), train_dataset=datasets.Dataset.from_list(rows),
                    args=settings(tmp_path, KTOConfig, desirable_weight=1.2, undesirable_weight=0.7), processing_class=words())
    trainer.model.train()
    spec = DpoSpec(model="m", pairs=("p",), loss="kto", beta=0.3, good_weight=1.2, bad_weight=0.7)
    measures, told = compare(spec, pairs, trainer, trainer.data_collator(rows), policy, reference)
    assert told["kl"] > 0 and measures["kl"] == pytest.approx(told["kl"], rel=1e-4)
    if not bad:
        assert measures["margin"] == pytest.approx(told["rewards/margins"], rel=1e-4)


def test_simpo_and_smoothing_equal_trls_lines():
    from types import SimpleNamespace

    from trl.experimental.cpo.cpo_trainer import CPOTrainer
    draw = torch.Generator().manual_seed(3)
    for smoothing in (0.0, 0.2):
        sums_2N = (-20 * torch.rand(2, 9, generator=draw)).requires_grad_()
        tokens_2N = torch.randint(1, 12, (2, 9), generator=draw).float()
        stand = SimpleNamespace(alpha=0.0, beta=2.0, loss_type="simpo", simpo_gamma=0.7, label_smoothing=smoothing,
                                accelerator=SimpleNamespace(device="cpu"))
        wanted = CPOTrainer.cpo_loss(stand, *(sums_2N / tokens_2N))[0].mean()
        got = dpo_loss(Pairs(*sums_2N, None, None, *tokens_2N), beta=2.0, kind="simpo", margin=0.7, label_smoothing=smoothing)
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(torch.autograd.grad(got, sums_2N)[0], torch.autograd.grad(wanted, sums_2N)[0], rtol=1e-5, atol=1e-7)
        stand.loss_type = "sigmoid"  # of log-ratios instead of log-probabilities: DPO's, smoothed
        reference_2N = -20 * torch.rand(2, 9, generator=draw)
        wanted = CPOTrainer.cpo_loss(stand, *(sums_2N - reference_2N))[0].mean()
        got = dpo_loss(Pairs(*sums_2N, *reference_2N, *tokens_2N), beta=2.0, label_smoothing=smoothing)
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(torch.autograd.grad(got, sums_2N)[0], torch.autograd.grad(wanted, sums_2N)[0], rtol=1e-5, atol=1e-7)


def test_simpo_of_real_batches_needs_no_reference():
    pairs, (policy, reference) = encoded(), models()
    spec = DpoSpec(model="m", pairs=("p",), loss="simpo", simpo_margin=0.5)
    loss, _, measures = ours(spec, pairs, policy, reference, micro=2)
    got = torch.from_numpy(sums(policy, [part_of(pairs, n) for n in range(COUNT)]))
    per_token = got / torch.from_numpy(pairs.answer_tokens()).float()
    wanted = -torch.nn.functional.logsigmoid(2 * (per_token[:, 0] - per_token[:, 1]) - 0.5).mean()
    assert loss == pytest.approx(wanted.item(), rel=1e-5)
    assert measures["margin"] == pytest.approx(2 * (per_token[:, 0] - per_token[:, 1]).mean().item(), rel=1e-4)


def test_mismatched_pairs_have_other_prompts_and_each_is_used_once():
    pairs = encoded()
    for keys in ([5, 5, 5, 1, 2, 3], [7, 7, 1, 1, 2, 2], [1, 2, 3, 4, 5, 6]):
        given = dataclasses.replace(pairs, keys=np.array(keys, np.uint64))
        others = mismatches(given)
        assert sorted(others.tolist()) == list(range(COUNT))
        assert all(keys[n] != keys[m] for n, m in enumerate(others))
    crowd = mismatches(dataclasses.replace(pairs, keys=np.array([1, 1, 1, 1, 1, 2], np.uint64)))
    assert sorted(crowd.tolist()) == list(range(COUNT))
    part = mismatched_part(pairs, 0, 1, len(pairs.prompt(0)) + 1)
    assert [len(ending) for ending in part.endings] == [1, 1] and np.array_equal(part.shared, pairs.prompt(0))


def test_the_divergence_is_never_negative_and_leaves_the_model_as_it_was():
    pairs, (policy, reference) = encoded(), models()
    parts = [part_of(pairs, n) for n in range(COUNT)]

    def between(one, other):
        return divergence(one, [(lay(parts), torch.from_numpy(sums(other, parts)))], RANKS)

    assert min(between(policy.train(), reference), between(reference, policy)) == 0.0
    assert max(between(policy, reference), between(reference, policy)) > 0.0 and policy.training
