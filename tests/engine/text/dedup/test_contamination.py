"""Held-out items in documents: what is found of planted leaks, what is left alone; a resume and several processes change nothing."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.contract.errors import FormatError, InputError, NotFound
from engine.text.dedup import contamination
from engine.text.dedup.contamination import HeldOut, OverlapJob, find, overlap_part, scan, validation_overlap
from engine.text.dedup.held_out_rows import read_items
from engine.text.parts import CLEAN, part_name, write_part
from tests.benchmarks.leaked_items import KINDS, leaked, lookalike, planted, problems

DATA = Path(__file__).parents[4] / ".." / "shared" / "data"


def clean_parts(folder, documents, each=50, removed=()):
    """Clean parts of texts; those in `removed` were removed by a step."""
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, len(documents), each)):
        texts = documents[start:start + each]
        columns = {name: [None] * len(texts) for name in CLEAN.names}
        columns |= {"id": [f"{start + i:032x}" for i in range(len(texts))], "text": texts,
                    "step": ["quality" if start + i in removed else None for i in range(len(texts))]}
        write_part(folder / part_name(number), columns, CLEAN)
    return folder


def held_out(tmp_path, rows, name="set.jsonl", n=13):
    (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows))
    return HeldOut.load([tmp_path / name], n)


def named(hits, held):
    return [(hit.row, held.name(hit.item)) for hit in hits]


QUESTION = ("Marta sells nine boxes of pears at the market on Friday and twice as many on Saturday, how many boxes of pears does she "
            "sell on both days together?")
ANSWER = "On Saturday she sells 9 * 2 = <<9*2=18>>18 boxes, so on both days she sells 9 + 18 = <<9+18=27>>27 boxes.\n#### 27"


def test_a_leak_is_found_however_it_is_written(tmp_path):
    held = held_out(tmp_path, [{"question": "short"}, {"question": QUESTION, "answer": ANSWER}])
    texts = [f"Something before. {QUESTION} Something after.", QUESTION.upper(), QUESTION.replace(",", " —\n\n").replace(" ", "  "),
             "… " + " ".join(QUESTION.split()[5:20]),
             "The answer: on saturday she sells 9 * 2 = 18 boxes; so, on both days, she sells 9 + 18 = 27",
             " ".join(QUESTION.split()[5:16]), " ".join(reversed(QUESTION.split())), "Nothing of the sort."]
    hits = scan(texts, held)
    assert named(hits, held) == [(n, "set.jsonl:2") for n in range(5)]
    assert hits[0].words == QUESTION.rstrip("?") and hits[3].words == " ".join(QUESTION.split()[5:20])
    assert len(hits[3].sequences) == 3 and held.short == 1


def test_the_share_says_how_much_of_an_item_is_there(tmp_path):
    held = held_out(tmp_path, [{"question": QUESTION}])
    words = QUESTION.split()
    parts = clean_parts(tmp_path / "clean", ["x " * 20, QUESTION, " ".join(words[:13]), " ".join(words[:20])])
    found = find(parts, held, tmp_path / "work", processes=1)
    total = len(words) - 12
    assert found.number_R.tolist() == [1, 2, 3]
    assert found.share_R.tolist() == pytest.approx([1, 1 / total, 8 / total])
    assert found.names_R == ("set.jsonl:1",) * 3 and found.sets == ({"set": "set.jsonl", "items": 1, "found": 1},)
    assert found.best() == {1: 0, 2: 1, 3: 2}


def test_short_items_are_found_only_whole(tmp_path):
    held = held_out(tmp_path, [{"q": "What colour is the old harbour house in Nysted town"}, {"q": "Who wrote it?"}])
    texts = ["Ask: what colour is the old harbour house in Nysted town, and why?", "What colour is the old harbour house in Nysted?",
             "Who wrote it?"]
    assert named(scan(texts, held), held) == [(0, "set.jsonl:1")] and held.short == 1


def test_scripts_without_spaces_go_by_characters(tmp_path):
    item = "小明在市场上卖了九箱梨星期六卖的箱数是星期五的两倍请问他这两天一共卖了多少箱梨"
    held = held_out(tmp_path, [{"question": item}])
    texts = ["今天的题目:" + item[:20] + ",\n" + item[20:] + "。", item[:34], item[5:25], "完全不同的一句话" * 6]
    assert [hit.row for hit in scan(texts, held)] == [0, 1]


def test_files_of_all_kinds_name_their_lines(tmp_path):
    rows = [{"question": QUESTION + f" ({n})", "choices": ["one", "two"], "answer": {"text": ANSWER}} for n in range(3)]
    (tmp_path / "a.jsonl").write_text("\n\n".join(json.dumps(r) for r in rows))
    (tmp_path / "b.json").write_text(json.dumps({"version": "1", "data": rows}))
    (tmp_path / "c.csv").write_text('id,question,answer\n1,"' + QUESTION + '\nin two lines",27\n2,"' + ANSWER + '",x\n')
    (tmp_path / "d.tsv").write_text(f"{QUESTION}\t27\n{ANSWER}\t27\n")
    (tmp_path / "e.txt").write_text(f"\n{QUESTION}\n{QUESTION}\n\n\n{ANSWER}\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "f.parquet")
    (tmp_path / "README.md").write_text(QUESTION)
    names = [item.name for item in read_items([tmp_path])]
    assert names == ["a.jsonl:1", "a.jsonl:3", "a.jsonl:5", "b.json:1", "b.json:2", "b.json:3", "c.csv:1", "c.csv:2", "c.csv:4", "d.tsv:1",
                     "d.tsv:2", "e.txt:2", "e.txt:6", "f.parquet:1", "f.parquet:2", "f.parquet:3"]
    first = next(read_items([tmp_path / "a.jsonl"]))
    bare = ANSWER.replace("<<9*2=18>>", "").replace("<<9+18=27>>", "")
    assert first.fields == (f"{QUESTION} (0)", "one", "two", ANSWER, bare)
    for item in read_items([tmp_path]):
        assert item.name == "c.csv:1" or scan([QUESTION + " " + ANSWER], HeldOut.of_items([item])), item.name


def test_what_cannot_be_a_held_out_set_is_said(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"q": "x"}\nbroken')
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.pdf").write_text("%PDF")
    (tmp_path / "d.parquet").write_text("PAR1")
    (tmp_path / "e.txt").write_text("Too short.")
    (tmp_path / "empty").mkdir()
    for name, kind, says in (("a.jsonl", FormatError, "line 2"), ("b.json", FormatError, "not JSON"),
                             ("c.pdf", FormatError, "held-out set"), ("d.parquet", FormatError, "damaged"),
                             ("e.txt", InputError, "8 words"), ("empty", InputError, "no held-out"),
                             ("none", NotFound, "does not exist")):
        with pytest.raises(kind, match=says) as wrong:
            HeldOut.load([tmp_path / name])
        assert wrong.value.field == "held_out"


def test_common_phrases_of_items_and_documents_are_no_evidence(tmp_path):
    phrase = "Read the following passage with care and then answer the question that stands below it"
    rng = random.Random(1)
    rows = [{"question": f"{phrase} {question}"} for question, _ in problems(rng, 15)]
    held = held_out(tmp_path, rows)
    assert held.common == 3 and not scan([phrase + " now"], held)
    # A proverb in one item and twelve documents is none; the same item copied whole into twelve documents is a leak.
    proverb = "whoever digs a pit for other people will sooner or later fall into it with both feet"
    item = QUESTION + " " + proverb
    held = held_out(tmp_path, [{"question": item}])
    proverbs, leaks = [f"Story {n}: {proverb}!" for n in range(12)], [f"Page {n}. {item}" for n in range(12)]
    found = find(clean_parts(tmp_path / "clean", proverbs + leaks), held, tmp_path / "work", processes=1)
    assert found.documents.tolist() == list(range(12, 24)) and found.common == 5
    assert (found.share_R == 1).all()
    few = find(clean_parts(tmp_path / "few", proverbs[:10]), held, tmp_path / "few-work", processes=1)
    assert len(few.documents) == 10


def test_documents_that_are_out_are_not_looked_at(tmp_path):
    held = held_out(tmp_path, [{"question": QUESTION}])
    parts = clean_parts(tmp_path / "clean", [QUESTION] * 6, each=2, removed={1})
    gone = np.array([0, 1, 0, 1, 0, 0], bool)
    assert find(parts, held, tmp_path / "a", processes=1).documents.tolist() == [0, 2, 3, 4, 5]
    assert find(parts, held, tmp_path / "b", gone=gone, processes=1).documents.tolist() == [0, 2, 4, 5]


def test_several_processes_and_a_resume_give_the_same(tmp_path):
    rng = random.Random(2)
    rows = problems(rng, 40)
    held = held_out(tmp_path, [{"question": q, "answer": a} for q, a in rows])
    documents = [d.text for d in planted(rng, rows, 300)]
    parts = clean_parts(tmp_path / "clean", documents, each=40)
    once = find(parts, held, tmp_path / "once", processes=1)
    seen = []
    spread = find(parts, held, tmp_path / "spread", processes=2, report=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 8) and seen[-1] == (8, 8)
    (tmp_path / "spread" / part_name(3)).unlink()
    before = (tmp_path / "spread" / part_name(1)).stat().st_mtime_ns
    again = find(parts, HeldOut.open(tmp_path / "spread" / "held-out.npz"), tmp_path / "spread", processes=1)
    for other in (spread, again):
        assert np.array_equal(other.number_R, once.number_R) and other.names_R == once.names_R and other.words_R == once.words_R
        assert np.array_equal(other.share_R, once.share_R) and other.report() == once.report()
    assert (tmp_path / "spread" / part_name(1)).stat().st_mtime_ns == before and len(once.documents) > 20


def test_a_part_of_nothing_gives_nothing(tmp_path):
    held = held_out(tmp_path, [{"question": QUESTION}])
    held.save(tmp_path / "held.npz")
    parts = clean_parts(tmp_path / "clean", ["a b c", ""], removed={0, 1})
    assert overlap_part(OverlapJob(parts / part_name(0), tmp_path / "found.arrow", tmp_path / "held.npz")) == 0
    assert find(tmp_path / "none", held, tmp_path / "work").documents.tolist() == []


def plainly(text, n=13):
    """All sequences of n words, the slow way."""
    words = re.findall(r"[^\W_]+|\+", text.casefold())
    return {tuple(words[i:i + n]) for i in range(len(words) - n + 1)}


def test_planted_leaks_by_kind(tmp_path, capsys):
    rng = random.Random(3)
    rows = problems(rng, 300)
    held = held_out(tmp_path, [{"question": q, "answer": a} for q, a in rows])
    documents = planted(rng, rows, 3000)
    found = _measured(tmp_path, held, documents, rows, capsys, "planted problems")
    # By brute force: the same documents and items, and no others.
    owners: dict[tuple[str, ...], set[str]] = {}
    for item in read_items([tmp_path / "set.jsonl"]):
        for text in item.fields:
            for sequence in plainly(text):
                owners.setdefault(sequence, set()).add(item.name)
    expected = {(n, name) for n, d in enumerate(documents) for sequence in plainly(d.text) for name in owners.get(sequence, ())}
    assert set(zip(found.number_R.tolist(), found.names_R, strict=True)) == expected


def test_real_problems_are_found_in_real_text(tmp_path, capsys):
    test, train, book = DATA / "gsm8k-test.jsonl", DATA / "gsm8k-train.jsonl", DATA / "war-and-peace.txt"
    if not (test.exists() and train.exists() and book.exists()):
        pytest.skip("GSM8K and War and Peace are not beside the checkout")
    rng = random.Random(4)
    rows = [(row["question"], row["answer"]) for row in map(json.loads, test.read_text("utf-8").splitlines())]
    text = book.read_text("utf-8")
    pages = [text[at:at + 2000] for at in range(100_000, 2_100_000, 2000)]
    documents = []
    for n, page in enumerate(pages):
        if n % 2:
            documents.append(leaked(rng, rows, n // 2, page))
        else:
            documents.append(lookalike(page))
    held = HeldOut.load([test])
    found = _measured(tmp_path, held, documents, rows, capsys, "GSM8K test in War and Peace")
    # The training problems of the same makers: the nearest look-alikes there are. Some really share a sentence with a test problem.
    training = [" ".join(json.loads(line).values()) for line in train.read_text("utf-8").splitlines()[:3000]]
    shared = {hit.row for hit in scan(training, held)}
    with capsys.disabled():
        print(f"\nGSM8K train: {len(shared)} of {len(training)} problems share 13 words with a test problem")
    assert len(shared) < 0.02 * len(training) and found.common == 0


def _measured(tmp_path, held, documents, rows, capsys, title):
    """Precision and recall by kind of leak, printed and held to be at least 0.98."""
    found = find(clean_parts(tmp_path / "clean", [d.text for d in documents], each=500), held, tmp_path / "work", processes=1)
    flagged = {int(n): set() for n in found.documents}
    for number, name in zip(found.number_R.tolist(), found.names_R, strict=True):
        flagged[number].add(int(name.rsplit(":", 1)[1]) - 1)
    lines = []
    for kind in KINDS:
        mine = [n for n, d in enumerate(documents) if d.kind == kind]
        right = sum(documents[n].item in flagged.get(n, ()) for n in mine)
        lines.append(f"{kind:<14}{len(mine):>6} documents   recall {right / len(mine):.4f}")
        assert right / len(mine) >= 0.98, kind
    true = sum(documents[n].item is not None for n in flagged)
    lines.append(f"{'all':<14}{len(flagged):>6} flagged     precision {true / len(flagged):.4f}")
    with capsys.disabled():
        print("\n" + title + "\n" + "\n".join(lines))
    assert true / len(flagged) >= 0.98
    return found


def test_validation_text_in_training_is_told(tmp_path):
    rng = random.Random(5)
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("al", "en", "ir", "os", "un", "ay")]
    texts = [" ".join(rng.choices(words, k=200)) for _ in range(60)]
    validation = np.arange(60) >= 50
    passage = " ".join(texts[55].split()[40:110])
    texts[7] += " " + passage.upper()
    texts[8] += " " + " ".join(texts[56].split()[:49])
    texts[52] += " " + passage
    gone = np.zeros(60, bool)
    parts = clean_parts(tmp_path / "clean", texts, each=25)
    found = validation_overlap(parts, validation, gone, tmp_path / "a", processes=1)
    assert found.documents.tolist() == [7] and sorted(found.item_R.tolist()) == [52, 55]
    assert found.best() == {7: 0} and found.words_R[0].startswith(passage.upper()[:100])
    assert found.share_R[0] == pytest.approx(21 / 151)
    gone[55] = True
    assert validation_overlap(parts, validation, gone, tmp_path / "b", processes=1).item_R.tolist() == [52]
    gone[7] = True
    assert not len(validation_overlap(parts, validation, gone, tmp_path / "c", processes=2).documents)


def test_a_sample_of_a_large_validation_split_still_shows_long_passages(tmp_path, monkeypatch):
    rng = random.Random(6)
    texts = [" ".join(f"w{rng.randrange(50_000)}" for _ in range(300)) for _ in range(100)]
    for n in range(10):
        texts[n] = texts[n] + " " + texts[90 + n]
    validation = np.arange(100) >= 80
    monkeypatch.setattr(contamination, "KEPT_SEQUENCES", 1500)
    found = validation_overlap(clean_parts(tmp_path / "clean", texts), validation, np.zeros(100, bool), tmp_path / "a", processes=1)
    held = HeldOut.open(tmp_path / "a" / "held-out.npz")
    assert held.modulus > 2 and len(held.value_G) < 20 * 251 / 2
    assert found.documents.tolist() == list(range(10)) and found.item_R.tolist() == list(range(90, 100))
