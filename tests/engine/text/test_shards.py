"""Corpus folders and token shards: round trip, random access, resume, parallel equal to single, damage."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import datasets
import numpy as np
import psutil
import pytest

from engine.contract.errors import Corrupt, NotFound, Stopped
from engine.text import bpe, shards
from engine.text.corpus import Corpus
from engine.text.corpus_writer import CorpusWriter
from engine.text.shards import TokenShards, write_shards


def make_texts(count, seed=0):
    rng = random.Random(seed)
    words = "alpha beta gamma délta 字 epsilon zeta 🙂 eta theta".split()
    return [" ".join(rng.choices(words, k=rng.randint(1, 30))) for _ in range(count)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    texts = make_texts(700)
    writer = CorpusWriter(folder / "corpus", file_bytes=20_000)
    for n, text in enumerate(texts):
        writer.add("validation" if n % 7 == 0 else "train", text, f"file{n % 3}.txt")
    writer.finish()
    bpe.train(texts, 400).save(folder / "tokenizer")
    return folder, [t for n, t in enumerate(texts) if n % 7], [t for n, t in enumerate(texts) if n % 7 == 0]


def test_a_corpus_comes_back_document_by_document(inputs, monkeypatch):
    folder, train, validation = inputs
    corpus = Corpus.open(folder / "corpus")
    assert len(list((folder / "corpus" / "train").glob("*.arrow"))) == 1
    assert corpus.count("train") == 600 and corpus.count("validation") == 100
    assert [d.text for d in corpus.documents("train")] == train
    assert [d.text for d in corpus.documents("validation", 90)] == validation[90:]
    assert corpus.document("train", 599).text == train[599] and corpus.document("train", 1).source == "file2.txt"
    assert sum(corpus.texts("train", 100, 113), []) == train[100:113]
    assert corpus.lengths("train").tolist() == [len(t.encode()) for t in train]
    assert corpus.counts("train").bytes == sum(len(t.encode()) for t in train) and corpus.counts("train").characters == sum(map(len, train))
    for wrong in (-1, 600):
        with pytest.raises(IndexError):
            corpus.document("train", wrong)


def test_a_corpus_of_many_files_and_batches_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.text.corpus_writer.BATCH_BYTES", 1000)
    texts = make_texts(300, seed=3)
    writer = CorpusWriter(tmp_path / "corpus", file_bytes=5_000)
    for text in texts:
        writer.add("train", text, "a")
    writer.add("validation", "x", "a")
    writer.finish()
    corpus = Corpus.open(tmp_path / "corpus")
    assert len(list((tmp_path / "corpus" / "train").glob("*.arrow"))) > 3
    assert [corpus.document("train", n).text for n in range(300)] == texts
    assert [t for batch in corpus.texts("train", 37, 251) for t in batch] == texts[37:251]
    theirs = datasets.load_from_disk(str(tmp_path / "corpus" / "train"))
    assert theirs["text"][:] == texts and theirs[7]["id"] == corpus.document("train", 7).id


def test_missing_and_damaged_corpora_say_so(tmp_path, inputs):
    with pytest.raises(NotFound):
        Corpus.open(tmp_path)
    (tmp_path / "corpus.json").write_text("{")
    with pytest.raises(Corrupt):
        Corpus.open(tmp_path)


def check(made, inputs):
    folder, train, validation = inputs
    from engine.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder / "tokenizer")
    for name, texts in (("train", train), ("validation", validation)):
        split = made.split(name)
        assert split.documents == len(texts) and split.bytes == sum(len(t.encode()) for t in texts)
        whole = [[tokenizer.bos_id, *tokenizer.encode(t), tokenizer.eos_id] for t in texts]
        assert split.tokens == sum(map(len, whole))
        assert split.slice(0, split.tokens).tolist() == sum(whole, [])
        for n in (0, 1, len(texts) // 2, len(texts) - 1):
            assert split.document(n).tolist() == whole[n]
            assert split.bytes_of(n, n + 1) == len(texts[n].encode())
            assert split.document_at(int(split.starts[n])) == n == split.document_at(int(split.starts[n + 1]) - 1)
        assert split.lengths().tolist() == [len(w) for w in whole]


def test_shards_hold_every_token_in_order(inputs, tmp_path):
    made = write_shards(inputs[0] / "corpus", inputs[0] / "tokenizer", tmp_path / "tokens", shard_bytes=10_000)
    check(made, inputs)
    assert len(made.index["splits"]["train"]["shards"]) > 3 and made.dtype == np.uint16
    split = made.split("train")
    border = made.index["splits"]["train"]["shards"][0]["tokens"]
    assert split.slice(border - 3, border + 3).tolist() == [*split.slice(border - 3, border), *split.slice(border, border + 3)]
    with pytest.raises(IndexError):
        split.slice(0, split.tokens + 1)
    with pytest.raises(IndexError):
        split.document(split.documents)
    check(TokenShards.open(tmp_path / "tokens"), inputs)


def test_several_processes_write_the_same_files(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SMALL", 0)
    one = write_shards(inputs[0] / "corpus", inputs[0] / "tokenizer", tmp_path / "one", shard_bytes=10_000, workers=1)
    seen = []
    two = write_shards(inputs[0] / "corpus", inputs[0] / "tokenizer", tmp_path / "two", shard_bytes=10_000, workers=2, report=seen.append)
    check(two, inputs)
    assert one.index == two.index
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    assert seen[-1].done == seen[-1].total and seen[0].done == 0
    assert seen[-1].tokens == two.split("train").tokens + two.split("validation").tokens


def test_a_resume_keeps_finished_shards_and_remakes_broken_ones(inputs, tmp_path, monkeypatch):
    target = tmp_path / "tokens"
    calls = []

    def stop():
        calls.append(1)
        return len(calls) > 3

    with pytest.raises(Stopped):
        write_shards(inputs[0] / "corpus", inputs[0] / "tokenizer", target, shard_bytes=10_000, workers=1, stop=stop)
    with pytest.raises(NotFound):
        TokenShards.open(target)
    kept = sorted(target.rglob("tokens-*.bin"))
    assert len(kept) == 3 and not list(target.rglob(".part*"))
    kept[0].write_bytes(kept[0].read_bytes()[:-2])
    damaged = bytearray(kept[1].read_bytes())
    damaged[10] ^= 1
    kept[1].write_bytes(damaged)
    before = kept[2].stat().st_mtime_ns
    (target / "train" / ".part-00003").write_bytes(b"torn")
    made = write_shards(inputs[0] / "corpus", inputs[0] / "tokenizer", target, shard_bytes=10_000, workers=1)
    check(made, inputs)
    assert kept[2].stat().st_mtime_ns == before
    assert not [p for p in target.rglob(".*")]


def test_other_inputs_take_nothing_from_an_earlier_attempt(inputs, tmp_path):
    target = tmp_path / "tokens"
    write_shards(inputs[0] / "corpus", inputs[0] / "tokenizer", target, prefix=[], suffix=[])
    plain = TokenShards.open(target).split("train").tokens
    made = write_shards(inputs[0] / "corpus", inputs[0] / "tokenizer", target)
    assert made.split("train").tokens == plain + 2 * 600
    assert made.document_prefix == (made.vocab_size - 16,) and made.document_suffix == (made.vocab_size - 15,)


def test_stop_in_several_processes_leaves_no_half_shard(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SMALL", 0)
    asked = threading.Event()
    asked.set()
    with pytest.raises(Stopped):
        write_shards(inputs[0] / "corpus", inputs[0] / "tokenizer", tmp_path / "tokens", shard_bytes=1_000, workers=2, stop=asked.is_set)
    assert not list((tmp_path / "tokens").rglob(".part*")) and not (tmp_path / "tokens" / "index.json").exists()
    check(write_shards(inputs[0] / "corpus", inputs[0] / "tokenizer", tmp_path / "tokens", shard_bytes=10_000), inputs)


def test_truncated_shards_are_found_on_opening(inputs, tmp_path):
    made = write_shards(inputs[0] / "corpus", inputs[0] / "tokenizer", tmp_path / "tokens")
    path = tmp_path / "tokens" / "train" / made.index["splits"]["train"]["shards"][0]["file"]
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(Corrupt):
        TokenShards.open(tmp_path / "tokens").split("train")
    (tmp_path / "tokens" / "index.json").write_text(json.dumps({"dtype": "<u2"}))
    with pytest.raises(Corrupt):
        TokenShards.open(tmp_path / "tokens")


def test_large_vocabularies_take_four_bytes(inputs, tmp_path):
    ranks = bpe.single_bytes()
    for n in range(66_000):
        ranks[bytes([n >> 8 & 255, n & 255]) if n < 65_536 else bytes([n >> 8 & 255, n & 255, 97])] = len(ranks)
    bpe.build(ranks).save(tmp_path / "tokenizer")
    made = write_shards(inputs[0] / "corpus", tmp_path / "tokenizer", tmp_path / "tokens")
    assert made.dtype == np.uint32 and int(made.split("train").document(0).max()) > 65_535


KILLED = """
import sys
from pathlib import Path
from engine.text import shards
shards.SMALL = 0
if __name__ == "__main__":
    shards.write_shards(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), shard_bytes=400_000, workers=2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_kill_leaves_no_process_and_the_next_attempt_keeps_what_was_done(inputs, tmp_path):
    writer = CorpusWriter(tmp_path / "corpus")
    for n, text in enumerate(make_texts(40_000, seed=5)):
        writer.add("validation" if n % 10 == 0 else "train", text, "a.txt")
    writer.finish()
    (tmp_path / "write.py").write_text(KILLED)
    root = str(Path(__file__).parents[3])
    parent = subprocess.Popen([sys.executable, str(tmp_path / "write.py"), str(tmp_path / "corpus"), str(inputs[0] / "tokenizer"),
                               str(tmp_path / "tokens")], stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": root})
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("tokens/train/.done-*")) and time.monotonic() < deadline:
        time.sleep(0.002)
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    assert len(children) >= 2
    _, left = psutil.wait_procs(children, timeout=10)
    assert left == []
    done = [p.with_name(f"tokens-{p.stem[-5:]}.bin") for p in tmp_path.glob("tokens/train/.done-*.json")]
    kept = {p: p.stat().st_mtime_ns for p in done}
    assert kept
    made = write_shards(tmp_path / "corpus", inputs[0] / "tokenizer", tmp_path / "tokens", shard_bytes=400_000)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert made.split("train").documents == 36_000
    whole = write_shards(tmp_path / "corpus", inputs[0] / "tokenizer", tmp_path / "again", shard_bytes=400_000)
    assert whole.index == made.index
