"""What a model of the generated world knows, told by completion: facts that the text states, and sums that it never held. Greedy, exact.

Nothing is asked: a base model continues, it does not answer. The prompts are beginnings of sentences and lines as the text writes them.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.text.tokenizer import Tokenizer
from engine.world import Sum, World
from engine.world.world import WORDINGS

FACTS_MEASURED = 384


def measure(folder: Path, world: World, device: str) -> dict[str, Any]:
    """Shares, 0 to 1: `facts_completed` (an even pick of facts and wordings), and of held-out sums `sums_direct` (" 47+8=" goes on "55")
    and `sums_worked` (ones, carry and result all right in " 7+8=15. 4+1=5. So 47+8=55")."""
    from engine.model.checkpoint import load_model

    began = time.perf_counter()
    model, tokenizer = load_model(folder, device), Tokenizer.load(folder)
    every = world.completions()
    # one wording of each fact, another for the next, spread over all people
    facts = [every[i + (i // WORDINGS) % WORDINGS] for i in range(0, len(every), WORDINGS)]
    facts = facts[:: -(-len(facts) // FACTS_MEASURED)]
    sums = world.sums("held_out")
    said = _complete(model, tokenizer, [c.prompt for c in facts], 8)
    facts_right = [_begins(text, c.value) for text, c in zip(said, facts, strict=True)]
    direct = _sums_direct(model, tokenizer, sums)
    worked = _sums_worked(model, tokenizer, sums)
    return {"facts_completed": _share(facts_right), "facts": len(facts), "sums_direct": _share(direct), "sums_worked": _share(worked),
            "sums": len(sums), "seconds": round(time.perf_counter() - began, 2)}


def _sums_direct(model: Any, tokenizer: Tokenizer, sums: Sequence[Sum]) -> list[bool]:
    said = _complete(model, tokenizer, [f" {each.question}" for each in sums], 4)
    return [_begins(text, str(each.total)) for text, each in zip(said, sums, strict=True)]


def _sums_worked(model: Any, tokenizer: Tokenizer, sums: Sequence[Sum]) -> list[bool]:
    """The text's worked form names the tens only after the ones: the ones are prompted first, then the tens with the right ones before."""
    parts = [each.worked.split(". ") for each in sums]
    ones = _complete(model, tokenizer, [" " + part[0].partition("=")[0] + "=" for part in parts], 4)
    rest = _complete(model, tokenizer, [f" {part[0]}. {part[1][0]}+" for part in parts], 24)
    right = []
    for part, first, then in zip(parts, ones, rest, strict=True):
        right.append(_begins(first, part[0].partition("=")[2]) and _begins(then, f"{part[1][2:]}. {part[2].rstrip('.')}"))
    return right


def _complete(model: Any, tokenizer: Tokenizer, prompts: Sequence[str], length: int) -> list[str]:
    """Greedy continuations, each prompt at the beginning of a document."""
    from engine.sampling.generate import generate
    from engine.sampling.sampling import Sampling

    begin = [tokenizer.bos_id] if tokenizer.bos_id is not None else []
    stop = tuple(id for id in (tokenizer.eos_id,) if id is not None)
    greedy = Sampling(temperature=0, max_new_tokens=length, stop_ids=stop)
    made = generate(model, [begin + tokenizer.encode(prompt) for prompt in prompts], greedy, max_rows=128, logprobs=False)
    return [tokenizer.decode(one.ids, skip_special=True) for one in made]


def _begins(text: str, value: str) -> bool:
    """Whether `text` begins with the value and the value ends there ("5" is not right where "55" is said)."""
    return text.startswith(value) and not text[len(value):len(value) + 1].isalnum()


def _share(right: Sequence[bool]) -> float:
    return round(sum(right) / max(1, len(right)), 4)
