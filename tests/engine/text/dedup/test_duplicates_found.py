"""Which documents are found to be duplicates: planted ones, books and edited chapters of them, templates, chains, other scripts; and that
memory, order of work and kills make no difference."""

import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.text.dedup import derive as derived
from engine.text.dedup import near
from engine.text.dedup.find import CONTAINED, EXACT, NEAR, DedupSettings, Duplicates, find
from engine.text.dedup.signatures import minhash, sign_jobs, sign_part
from tests.benchmarks.planted_duplicates import documents, true_jaccard, write_parts

DATA = Path(__file__).parents[4] / ".." / "shared" / "data"


def found(folder: Path, texts, settings: DedupSettings | None = None, per_part: int = 3_000, **how) -> Duplicates:
    settings = settings or DedupSettings()
    write_parts(folder / "clean", texts, per_part)
    return again(folder, settings, **how)


def again(folder: Path, settings: DedupSettings, **how) -> Duplicates:
    for job in sign_jobs(folder / "clean", folder / "dup", settings):
        sign_part(job)
    return find(folder / "dup", settings, **how)


def same(a: Duplicates, b: Duplicates) -> bool:
    arrays = ("step", "duplicate_of", "similarity", "cluster")
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in arrays) and a.facts == b.facts


def prose(seed: int, words: int = 200, vocabulary: int = 3_000) -> list[str]:
    draw = random.Random(seed)
    return [f"w{draw.randrange(vocabulary)}" for _ in range(words)]


# ---- planted


def check_planted(folder: Path, count: int) -> None:
    planted = list(documents(count, exact=0.02, excerpts=0.03))
    result = found(folder, (p.text for p in planted))
    kinds = np.array([p.kind for p in planted])
    removed = result.step > 0
    for kind in ("near", "exact", "excerpt"):
        assert removed[kinds == kind].mean() >= 0.97, kind
    assert (result.step[kinds == "exact"] == EXACT).all()
    wrong = np.flatnonzero(removed & (kinds == "own"))
    assert len(wrong) <= 0.01 * removed.sum()
    # What a document is said to be a copy of is that, or a copy of that.
    root = np.array([i if p.original < 0 else p.original for i, p in enumerate(planted)])
    told = np.flatnonzero(removed)
    assert (root[told] == root[result.duplicate_of[told]]).mean() >= 0.99
    assert (result.step[result.duplicate_of[told]] == 0).all()
    assert (result.cluster[told] == result.cluster[result.duplicate_of[told]]).all()
    assert result.facts["exact"] + result.facts["near"] + result.facts["contained"] == removed.sum()


def test_planted_duplicates_are_found_and_nothing_else(tmp_path):
    check_planted(tmp_path, 6_000)


@pytest.mark.slow
def test_planted_duplicates_among_a_hundred_thousand(tmp_path):
    check_planted(tmp_path, 100_000)


UNSPACED = {"Chinese": (0x4E00, 0x5000), "Japanese": (0x3042, 0x3093), "Thai": (0xE01, 0xE2E), "Lao": (0xE94, 0xEA3),
            "Khmer": (0x1780, 0x17A2), "Burmese": (0x1000, 0x1021)}


@pytest.mark.parametrize("script", UNSPACED)
def test_texts_without_spaces_are_compared_by_characters(tmp_path, script):
    low, high = UNSPACED[script]
    draw = random.Random(3)
    texts = ["".join(chr(draw.randrange(low, high)) for _ in range(500)) for _ in range(60)]
    edited = []
    for text in texts[:20]:
        place = draw.randrange(20, 480)
        edited.append(text[:place] + chr(low + (ord(text[place]) - low + 1) % (high - low)) + text[place + 1:])
    spaced = [re.sub("(.{7})", r"\1 。", t) for t in texts[20:30]]
    result = found(tmp_path, texts + edited + spaced)
    assert (result.step[:60] == 0).all()
    assert result.step[60:80].tolist() == [NEAR] * 20 and result.duplicate_of[60:80].tolist() == list(range(20))
    assert result.step[80:].tolist() == [EXACT] * 10


def test_mixed_scripts_are_one_text(tmp_path):
    draw = random.Random(5)

    def mixed() -> list[str]:
        return [f"word{draw.randrange(2000)}" if draw.random() < 0.5 else "".join(chr(draw.randrange(0x4E00, 0x5000)) for _ in range(6))
                for _ in range(150)]

    first, other = mixed(), mixed()
    copy = first[:70] + ["changed"] + first[71:]
    result = found(tmp_path, [" ".join(first), " ".join(other), " ".join(copy)])
    assert result.step.tolist() == [0, 0, NEAR]


# ---- what counts as equal


def test_short_and_wordless_documents(tmp_path):
    texts = ["Yes.", "yes!", "No.", "!!!", "???", "!!!", "", "", "😀", "😡", "Thank you.", "Thank you very much."]
    result = found(tmp_path, texts)
    assert result.step.tolist() == [0, EXACT, 0, 0, 0, EXACT, 0, EXACT, 0, 0, 0, 0]
    assert result.duplicate_of.tolist() == [-1, 0, -1, -1, -1, 3, -1, 6, -1, -1, -1, -1]
    assert result.cluster.tolist() == [0, 0, -1, 1, -1, 1, 2, 2, -1, -1, -1, -1]


def test_documents_that_are_gone_already_take_no_part(tmp_path):
    text = " ".join(prose(1))
    result = found(tmp_path, [{"text": text, "step": "quality", "rule": "x"}, text, text + " more"])
    assert result.step.tolist() == [0, 0, NEAR] and result.duplicate_of.tolist() == [-1, -1, 1]
    assert result.cluster.tolist() == [-1, 0, 0]


# ---- which one stays


@pytest.mark.parametrize("rule, stays", [("first", 0), ("longest", 2), ("quality", 1)])
def test_the_rule_says_which_one_stays(tmp_path, rule, stays):
    base = prose(1)
    texts = [" ".join(base), " ".join([*base[:100], "x", *base[101:]]), " ".join([*base, "and", "a", "little", "more"]), " ".join(prose(2))]
    rows = [{"text": t, "quality": q} for t, q in zip(texts, (0.2, 0.9, 0.1, 0.5), strict=True)]
    result = found(tmp_path, rows, DedupSettings(keep_rule=rule))
    assert result.step.tolist() == [0 if i in (stays, 3) else NEAR for i in range(4)]
    assert {int(n) for n in result.duplicate_of} == {-1, stays}


def test_equal_texts_name_the_one_that_really_stays(tmp_path):
    base = prose(1)
    first, edited = " ".join(base), " ".join([*base[:100], "x", *base[101:]])
    result = found(tmp_path, [first, edited, edited.upper()])
    assert result.step.tolist() == [0, NEAR, EXACT] and result.duplicate_of.tolist() == [-1, 0, 0]
    assert result.similarity[2] == result.similarity[1] == pytest.approx(true_jaccard(base, edited.split()), abs=0.08)


def test_a_chain_of_ever_less_similar_documents_does_not_go_as_one(tmp_path):
    versions = [prose(1, 300)]
    for step in range(1, 30):
        following = list(versions[-1])
        for place in (7 * step % 300, (7 * step + 150) % 300):
            following[place] = f"new{step}x{place}"
        versions.append(following)
    result = found(tmp_path, [" ".join(v) for v in versions])
    kept = np.flatnonzero(result.step == 0)
    assert 3 <= len(kept) <= 12
    for number in np.flatnonzero(result.step):
        assert true_jaccard(versions[number], versions[result.duplicate_of[number]]) >= 0.7
    for a in kept:
        for b in kept:
            assert a >= b or true_jaccard(versions[a], versions[b]) < 0.75
    assert set(result.cluster.tolist()) == {0}      # yet they stay on one side of the split


def test_similarity_near_the_threshold_is_measured_on_the_texts(tmp_path):
    """Pairs a little above and a little below 0.7, whose estimates are often on the wrong side."""
    pairs, truths = [], []
    for seed in range(60):
        base = prose(seed, 200, 100_000)
        copy = list(base)
        for place in range(10, 10 + 10 * (6 + seed % 3), 10):
            copy[place] = f"other{seed}x{place}"
        pairs += [" ".join(base), " ".join(copy)]
        truths.append(true_jaccard(base, copy))
    result = found(tmp_path, pairs)
    truth = np.array(truths)
    assert (truth < 0.7).sum() >= 10 and (truth >= 0.7).sum() >= 10
    assert ((result.step[1::2] == NEAR) == (truth >= 0.7)).mean() >= 0.98
    assert np.allclose(result.similarity[1::2][truth >= 0.7], truth[truth >= 0.7], atol=0.11)


# ---- settings


def test_without_removal_clusters_are_found_for_the_split(tmp_path):
    base = prose(1)
    texts = [" ".join(base), " ".join([*base[:100], "x", *base[101:]]), " ".join(base), " ".join(prose(2))]
    write_parts(tmp_path / "clean", texts)
    only = again(tmp_path, DedupSettings(exact=False, near=False, contained=False))
    assert only.step.tolist() == [0, 0, 0, 0] and only.cluster.tolist() == [0, 0, 0, -1]
    (tmp_path / "dup").rename(tmp_path / "before")
    nothing = again(tmp_path, DedupSettings(exact=True, near=False, contained=False, cluster_only=False))
    assert nothing.step.tolist() == [0, 0, EXACT, 0] and nothing.cluster.tolist() == [0, -1, 0, -1]
    (tmp_path / "dup").rename(tmp_path / "before2")
    near_ones = again(tmp_path, DedupSettings(exact=False))
    assert near_ones.step.tolist() == [0, NEAR, NEAR, 0]


def test_settings_come_from_the_values_of_a_corpus_spec():
    given = {"exact_duplicates": False, "near_duplicates": True, "near_threshold": 0.8, "contained": False, "keep_rule": "longest",
             "shingle_words": 7, "sources": ("x",)}
    assert DedupSettings.of(given) == DedupSettings(exact=False, near=True, contained=False, threshold=0.8, keep_rule="longest", shingle=7)
    assert DedupSettings.of({"near_duplicates": False}) == DedupSettings(near=False, contained=False)


@pytest.mark.parametrize("threshold", [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
def test_bands_meet_what_is_just_above_the_threshold(threshold):
    bands = derived.derive(threshold)
    assert bands.permutations <= 128 and bands.recall(threshold + 0.02) >= 0.98
    more = bands.rows + 1
    assert derived.meeting(threshold + 0.02, 128 // more, more) < 0.98
    shares = [p for _, p in bands.curve]
    assert len(bands.curve) == 51 and shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1


def test_bands_are_derived_without_numpy():
    """The window shows them."""
    code = "import sys, engine.text.dedup.derive as d; d.derive(0.7); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[4]).returncode == 0


def test_signatures_estimate_as_independent_permutations_would():
    rng = np.random.default_rng(0)
    for size, share in ((30, 0.7), (200, 0.5), (2_000, 0.8)):
        errors, truth = [], 0.0
        for _ in range(200):
            shared = int(size * 2 * share / (1 + share))
            every = rng.integers(0, 1 << 64, 2 * size - shared, dtype=np.uint64)
            truth = shared / (2 * size - shared)
            both = minhash(np.concatenate([every[:size], every[size - shared:]]), np.array([0, size, 2 * size]), 128)
            errors.append((both[0] == both[1]).mean() - truth)
        spread = (truth * (1 - truth) / 128) ** 0.5
        assert abs(np.mean(errors)) < 5 * spread / len(errors) ** 0.5 and np.std(errors) < 1.25 * spread


# ---- excerpts


def test_excerpts_give_way_to_the_longer_text(tmp_path):
    long, medium = prose(1, 900), prose(2, 300)
    texts = [" ".join(long[100:300]), " ".join(long), " ".join(medium), " ".join(medium[50:250] + prose(3, 200)), " ".join(long[400:420]),
             " ".join(long[600:700] + ["inserted"] + long[700:800])]
    result = found(tmp_path, texts)
    # A fifth of another text in common, or twenty words, is no excerpt; an excerpt with an edit is.
    assert result.step.tolist() == [CONTAINED, 0, 0, 0, 0, CONTAINED]
    assert result.duplicate_of[[0, 5]].tolist() == [1, 1] and result.similarity[0] == 1 and 0.95 < result.similarity[5] < 1
    assert result.cluster[0] == result.cluster[1] == result.cluster[5]


def test_an_excerpt_that_straddles_the_cut_of_a_long_text_is_found(tmp_path):
    book = prose(1, 9_000)
    pieces = [{"text": " ".join(book[i:i + 3_000]), "file": 0, "document": 0} for i in range(0, 9_000, 3_000)]
    other = [{"text": " ".join(x), "file": 1 + i} for i, x in enumerate([book[2_800:3_200], prose(2), book[5_500:5_900]])]
    result = found(tmp_path, pieces + other, per_part=2)
    assert result.step.tolist() == [0, 0, 0, CONTAINED, 0, CONTAINED]
    assert result.duplicate_of[[3, 5]].tolist() == [0, 1]


def test_parts_of_one_long_text_are_no_excerpts_of_it_and_editions_do_not_remove_each_other(tmp_path):
    book = prose(1, 12_000)
    second = book[:5_000] + prose(2, 40) + book[5_000:]
    one = [{"text": " ".join(book[i:i + 3_000]), "file": 0} for i in range(0, 12_000, 3_000)]
    two = [{"text": " ".join(second[i:i + 2_300]), "file": 1} for i in range(0, len(second), 2_300)]
    result = found(tmp_path, one + two)
    # One edition stays whole, and nothing of the other: no part of the book is there twice, none is lost.
    kept = np.flatnonzero(result.step == 0).tolist()
    assert kept in ([0, 1, 2, 3], list(range(4, 4 + len(two))))
    assert set(result.step.tolist()) <= {0, NEAR, CONTAINED}


def test_a_container_that_lost_a_part_contains_only_what_is_left_of_it(tmp_path):
    whole, second, own = prose(1, 4_000), prose(2, 1_000), prose(3, 800)
    texts = [{"text": " ".join(whole), "file": 0},
             {"text": " ".join(whole[1_000:2_000]), "file": 1}, {"text": " ".join(second), "file": 1},
             {"text": " ".join(whole[1_200:1_400]), "file": 2}, {"text": " ".join(second[300:600]), "file": 3},
             {"text": " ".join(whole[1_900:2_000] + second[:100]), "file": 4}, {"text": " ".join(own), "file": 5}]
    result = found(tmp_path, texts)
    # The fifth straddled the lost part and the next: half of it stands nowhere in one text any more.
    assert result.step.tolist() == [0, CONTAINED, 0, CONTAINED, CONTAINED, 0, 0]
    assert result.duplicate_of.tolist() == [-1, 0, -1, 0, 2, -1, -1]


def test_refrains_and_short_templates_stay_and_cost_little(tmp_path):
    refrain = "and so we sing and so we dance until the morning comes again to take us home by the river"
    songs = [" ".join([*prose(i, 60, 500_000), refrain, *prose(i + 10_000, 60, 500_000), refrain]) for i in range(400)]
    forms = [f"Dear customer {i}, your order number {i * 7919} has been sent on day {i % 31}. Thank you for shopping." for i in range(400)]
    result = found(tmp_path, songs + forms)
    assert (result.step[:400] == 0).all()
    assert (result.step[400:] != CONTAINED).all()


def test_ten_thousand_equal_templates_cost_ten_thousand_comparisons(tmp_path, monkeypatch):
    pairs = 0
    plain = near.NearSearch.estimate

    def counting(self, a, b):
        nonlocal pairs
        pairs += len(a)
        return plain(self, a, b)

    monkeypatch.setattr(near.NearSearch, "estimate", counting)
    form = prose(1, 120)
    texts = [" ".join([*form[:60], f"name{i}", *form[60:]]) for i in range(10_000)]
    result = found(tmp_path, texts, per_part=10_000)
    assert (result.step[1:] == NEAR).all() and result.facts["largest"] == [{"cluster": 0, "documents": 10_000}]
    assert pairs <= 30_000


# ---- memory, order, kills


def test_little_memory_and_other_parts_give_the_same_answer(tmp_path, monkeypatch):
    planted = [p.text for p in documents(1_500, exact=0.02, excerpts=0.05)]
    whole = found(tmp_path / "a", planted)
    monkeypatch.setattr(near, "BATCH", 37)
    little = found(tmp_path / "b", planted, per_part=170, memory_bytes=60_000)
    assert same(whole, little) and whole.facts["contained"] > 20


def test_a_search_that_is_stopped_anywhere_ends_the_same(tmp_path):
    planted = [p.text for p in documents(800, exact=0.02, excerpts=0.05)]
    whole = found(tmp_path / "a", planted, per_part=300)

    class Stop(Exception):
        pass

    write_parts(tmp_path / "b" / "clean", planted, 300)
    for at in (1, 3, 7, 12, 20, 27, 33, 36):
        calls = 0

        def check(at=at):
            nonlocal calls
            calls += 1
            if calls > at:
                raise Stop

        try:
            again(tmp_path / "b", DedupSettings(), check=check)
        except Stop:
            assert not (tmp_path / "b" / "dup" / "facts.json").exists()
    assert same(whole, again(tmp_path / "b", DedupSettings()))
    assert same(whole, again(tmp_path / "b", DedupSettings()))     # now it is read back
    assert not list((tmp_path / "b" / "dup").glob("near-*")) and not list((tmp_path / "b" / "dup").glob("contained-*"))


def test_no_document_at_all(tmp_path):
    result = found(tmp_path, [])
    assert len(result.step) == 0 and result.facts["clusters"] == 0


# ---- books


def edited(text: str, seed: int) -> str:
    """As a person would: a sentence goes, words change, some lines are wrapped otherwise."""
    draw = random.Random(seed)
    words = text.split(" ")
    for _ in range(max(1, len(words) // 150)):
        words[draw.randrange(len(words))] = draw.choice(["indeed", "sudden", "gently", "the", "never"])
    sentences = re.split(r"(?<=[.!?]) ", " ".join(words))
    if len(sentences) > 30:
        del sentences[draw.randrange(5, len(sentences) - 5)]
    return re.sub(r"\n(?=\S)", lambda m: draw.choice([" ", "\n"]), " ".join(sentences))


@pytest.fixture(scope="module")
def books() -> tuple[list[str], list[str]]:
    """Chapters of one, scenes (thirty speeches) of the other."""
    tolstoy, shakespeare = DATA / "war-and-peace.txt", DATA / "tinyshakespeare.txt"
    if not tolstoy.exists() or not shakespeare.exists():
        pytest.skip("war-and-peace.txt and tinyshakespeare.txt do not lie in ../shared/data")
    chapters = [c for c in re.split(r"(?m)^(?=CHAPTER [IVXL]+\s*$)", tolstoy.read_text("utf-8")) if c.strip()]
    speeches = shakespeare.read_text("utf-8").split("\n\n")
    scenes = ["\n\n".join(speeches[i:i + 30]) for i in range(0, len(speeches), 30)]
    return chapters, scenes


@pytest.mark.parametrize("whole", [True, False], ids=["books in megabyte parts", "chapters as documents"])
@pytest.mark.parametrize("copies_first", [False, True])
def test_edited_copies_of_chapters_are_found_and_only_they(tmp_path, books, whole, copies_first):
    chapters, scenes = books
    draw = random.Random(1)
    copies = [edited(c, i) for i, c in enumerate(draw.sample(chapters, 20) + draw.sample(scenes, 10))]
    rows = []
    for file, units in enumerate((chapters, scenes)):
        if whole:
            text = "".join(units) if file == 0 else "\n\n".join(units)
            rows += [{"text": text[i:i + 1_000_000], "file": 100 + file, "document": 0} for i in range(0, len(text), 1_000_000)]
        else:
            rows += [{"text": u, "file": 100 + file, "document": i} for i, u in enumerate(units)]
    planted = [{"text": c, "file": i, "document": 0} for i, c in enumerate(copies)]
    every = planted + rows if copies_first else rows + planted
    result = found(tmp_path, every, DedupSettings(keep_rule="first"))
    removed = set(np.flatnonzero(result.step).tolist())
    expected = set(range(30)) if copies_first else set(range(len(rows), len(every)))
    if whole or not copies_first:
        assert removed == expected
    else:       # the first stays: the copies, and their originals go
        assert len(removed) == 30 and {int(result.duplicate_of[n]) for n in removed} == expected
