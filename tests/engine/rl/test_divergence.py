"""How far a policy has moved, against the same worked out answer by answer."""

import pytest
import torch

from engine.model.checkpoint import load_model, save_weights
from engine.model.decoder import Decoder
from engine.model.lora import LoraSettings, add_lora, without_lora
from engine.rl.divergence import sampled_divergence
from engine.rl.rollouts import Question, ask, seeds
from engine.sampling.sampling import Sampling
from tests.serving import config, tokenizer


@pytest.mark.parametrize("adapters", [False, True])
def test_it_is_the_mean_log_ratio_of_sampled_answers(tmp_path, adapters):
    torch.set_num_threads(1)
    words = tokenizer()
    start = Decoder(config(words.vocab_size), seed=1)
    save_weights(tmp_path, start)
    words.save(tmp_path)
    policy = load_model(tmp_path)
    torch.manual_seed(0)
    if adapters:
        add_lora(policy, LoraSettings(rank=4, alpha=8.0), 3)
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.requires_grad or not adapters:
                weight.add_(0.03 * torch.randn_like(weight))
    questions = [Question((), (5, 6, 7 + n)) for n in range(12)]
    sampling = Sampling(max_new_tokens=9, stop_ids=(words.end_id,))
    made = sampled_divergence(policy, tmp_path, words, questions, sampling, seed=4)

    def logprob(model, answer):
        ids = torch.tensor([[*answer.question.ids, *answer.ids]])
        with torch.no_grad():
            table = model.logits(model(ids))[0].log_softmax(-1)
        begin = len(answer.question.ids)
        return sum(table[begin + k - 1, id].item() for k, id in enumerate(answer.ids))

    answers = ask(policy, words, questions, sampling, seeds=seeds(4, "divergence", 0, range(12)))
    policy.eval()
    apart = []
    for answer in answers:
        mine = logprob(policy, answer)
        if adapters:
            with without_lora(policy):
                apart.append(mine - logprob(policy, answer))
        else:
            apart.append(mine - logprob(start.eval(), answer))
    apart = torch.tensor(apart)
    assert made.kl == pytest.approx(apart.mean().item(), abs=1e-4) and made.kl > 0.01
    assert made.error == pytest.approx(apart.std().item() / 12 ** 0.5, abs=1e-4)
    assert made.answers == 12 and made.length == pytest.approx(sum(len(a.ids) for a in answers) / 12)
    assert sampled_divergence(policy, tmp_path, words, [], sampling, seed=4) is None
