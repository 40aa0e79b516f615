"""Loss of a model on text and on conversations it has not seen. Measured as in training (engine/training/evaluate.py, examples.py).

Of text, the same documents are taken for every model, whatever its tokenizer: bits per byte can be compared, nats per token cannot.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from engine.contract.errors import InputError
from engine.contract.rows import Example
from engine.contract.words import tr
from engine.evaluation.answering import Examinee
from engine.sampling.reading import Reader
from engine.text.corpus import Corpus
from engine.text.tokenizer import Tokenizer
from engine.training.evaluate import TextEvaluation, TextLoss
from engine.training.examples import encode_examples
from engine.training.ranks import Ranks
from engine.training.tokens import border_id, token_bytes

TEXT_BYTES = 1_000_000
"""Of held-out text at most, unless a run says otherwise."""
LONGEST_WINDOW = 4096
WINDOW_TOKENS = 8192


class Encoded:
    """Documents in a model's tokens, in memory (training/batches.py: Split), each between the tokens that stand around one in shards."""

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer) -> None:
        before = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
        behind = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        parts = [np.concatenate([before, ids, behind]).astype(np.int64) for ids in tokenizer.encode_batch(list(texts))]
        self._ids = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        self._starts = np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)])

    @property
    def tokens(self) -> int:
        return len(self._ids)

    @property
    def starts(self) -> np.ndarray:
        return self._starts

    def slice(self, start: int, stop: int) -> np.ndarray:
        return self._ids[start:stop]


def held_out_texts(corpus: Corpus, most_bytes: int = TEXT_BYTES) -> list[str]:
    """Documents of the validation part, evenly spread over it, of about `most_bytes` together; at least one, cut where it is longer."""
    lengths = np.asarray(corpus.lengths("validation"))
    if not len(lengths) or not lengths.sum():
        raise InputError(tr("This corpus has no validation part."), tr("Import it again and keep some of it for validation."),
                         field="corpus")
    total = int(lengths.sum())
    count = len(lengths) if total <= most_bytes else max(1, int(len(lengths) * most_bytes / total))
    chosen = [i * len(lengths) // count for i in range(count)]
    texts, size = [], 0
    for number in chosen:
        text = corpus.document("validation", number).text
        raw = text.encode("utf-8", "surrogatepass")
        if size + len(raw) > most_bytes and total > most_bytes:
            if not texts:
                texts.append(raw[:most_bytes].decode("utf-8", "ignore"))
            break
        texts.append(text)
        size += len(raw)
    return texts


def text_loss(examinee: Examinee, texts: Sequence[str]) -> TextLoss:
    """All of the texts; documents do not see each other."""
    tokenizer, model = examinee.tokenizer, examinee.model
    size = min(model.config.max_seq_len, LONGEST_WINDOW)
    split = Encoded(texts, tokenizer)
    evaluation = TextEvaluation(split, _of_rows(token_bytes(tokenizer), model.config.vocab_size), seq_len=size,
                                batch_size=max(1, WINDOW_TOKENS // size), first_input=border_id(tokenizer), pad=border_id(tokenizer),
                                borders=True)
    return evaluation.measure(model, split.tokens + size, Ranks(0, 1, model.device))  # the last window, too, which is not full


def _of_rows(sizes: np.ndarray, rows: int) -> np.ndarray:
    """Some models have more rows than tokens."""
    return np.concatenate([sizes, np.zeros(max(0, rows - len(sizes)), sizes.dtype)])


def example_losses(examinee: Examinee, examples: Sequence[Example], only_percent: float = 0.0,
                   told: Callable[[int, int], bool] = lambda done, total: False) -> Iterator[dict[str, Any]]:
    """A row for each conversation: nats over the tokens that are learned (the assistant's), and how many. `only_percent`: only the part
    that fine-tuning with this percentage for validation does not train on. `told` gets (done, of), and ends everything with True.

    Raises InputError where nothing can be measured: no template, or no conversation fits the context."""
    encoded = encode_examples(examinee.tokenizer, examples, max_seq_len=examinee.model.config.max_seq_len)
    if only_percent:
        encoded = encoded.split(only_percent)[1]
    if not len(encoded):
        raise InputError(tr("No conversation can be measured with {model}.", model=examinee.ref.id),
                         tr("Look whether they fit its chat template and its context."), field="examples", code="nothing_to_measure")
    reader = Reader(examinee.model)
    order = np.argsort(encoded.lengths(), kind="stable").tolist()
    for number in order:
        reader.add(number, encoded.example(number)[0].tolist())
    done = 0
    while reader.busy:
        for read in reader.step():
            number = int(read.request)  # type: ignore[call-overload]
            trained = encoded.example(number)[1][1:]
            nats = -float(np.asarray(read.logprobs, np.float64)[trained].sum())
            place = int(encoded.numbers[number])
            row = examples[place]
            done += 1
            yield {"id": row.id, "nats": nats, "tokens": int(trained.sum()), "prompt": _asked(row),
                   "answers": [row.messages[-1].content],
                   "place": place}
        if told(done, len(encoded)):
            return


def _asked(example: Example) -> str:
    return next((m.content for m in reversed(example.messages) if m.role == "user"), "")
