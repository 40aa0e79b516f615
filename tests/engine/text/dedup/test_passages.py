"""Repeated paragraphs and passages: cut out of the later documents, all of them, and nothing that does not stand elsewhere."""

import random
from pathlib import Path

import numpy as np
import pytest

from engine.text.dedup.grams import words
from engine.text.dedup.passages import Passages, PassageSettings, cut, joined, without
from engine.text.parts import CLEAN, read_part
from tests.benchmarks.planted_duplicates import write_parts

BOTH = PassageSettings(paragraphs=True, words=50)
ONLY_PASSAGES = PassageSettings(words=50)
ONLY_PARAGRAPHS = PassageSettings(paragraphs=True)


def prose(seed: int, count: int = 200, vocabulary: int = 5_000) -> list[str]:
    draw = random.Random(seed)
    return [f"w{draw.randrange(vocabulary)}" for _ in range(count)]


def run(folder: Path, texts, settings=BOTH, per_part: int = 4, kept=None, **how) -> tuple[Passages, list[str]]:
    write_parts(folder / "clean", texts, per_part)
    kept = np.ones(len(texts), bool) if kept is None else np.array(kept)
    made = cut(folder / "clean", folder / "passages", kept, settings, processes=1, **how)
    return made, [t for _, table in made.parts.tables(["text"]) for t in table["text"].to_pylist()]


def test_a_paragraph_stays_in_the_first_document_only(tmp_path):
    shared = " ".join(prose(1, 30)).capitalize() + "."
    texts = [f"{' '.join(prose(2, 40))}.\n\n{shared}\n\n{' '.join(prose(3, 40))}.",
             f"{' '.join(prose(4, 40))}.\n\n{shared.upper()}\n\n{' '.join(prose(5, 40))}.",
             f"{shared}\n\n{' '.join(prose(6, 40))}.", f"{' '.join(prose(7, 40))}.\n\n{shared}"]
    made, left = run(tmp_path, texts, ONLY_PARAGRAPHS, per_part=2)
    assert left == [texts[0], f"{' '.join(prose(4, 40))}.\n\n{' '.join(prose(5, 40))}.", f"{' '.join(prose(6, 40))}.",
                    f"{' '.join(prose(7, 40))}."]
    step = made.steps["repeated_paragraphs"]
    assert (step["documents"], step["edits"], step["words"]) == (3, 3, 90) and len(made.emptied) == 0
    assert [(e["number"], e["source"], e["first"]) for e in step["examples"]] == [(1, "1.txt", 0), (2, "2.txt", 0), (3, "3.txt", 0)]
    assert step["examples"][0]["before"].startswith(shared.upper()[:70])


def test_lines_are_paragraphs_where_there_are_no_blank_ones_and_short_ones_stay(tmp_path):
    long, short = " ".join(prose(1, 20)), "See you next week, and thank you for listening."
    texts = [f"{long}\n{short}\n{' '.join(prose(2, 20))}", f"{' '.join(prose(3, 20))}\n{short}\n{long}"]
    _, left = run(tmp_path, texts, ONLY_PARAGRAPHS)
    assert left == [texts[0], f"{' '.join(prose(3, 20))}\n{short}"]


def test_a_refrain_within_one_text_stays(tmp_path):
    refrain = " ".join(prose(1, 60))
    song = "\n\n".join([refrain, " ".join(prose(2, 60)), refrain, " ".join(prose(3, 60)), refrain])
    pieces = [{"text": song, "file": 0}, {"text": refrain + "\n\n" + " ".join(prose(4, 60)), "file": 0}]
    made, left = run(tmp_path, pieces, per_part=1)
    assert left == [p["text"] for p in pieces] and all(s["edits"] == 0 for s in made.steps.values())


def test_passages_are_cut_to_the_word_wherever_they_begin(tmp_path):
    shared = prose(1, 80)
    before, after = prose(2, 33), prose(3, 47)
    texts = [" ".join(prose(4, 61) + shared + prose(5, 20)), " ".join(before) + ", " + " ".join(shared) + "! " + " ".join(after),
             " ".join(shared[:49]) + " " + " ".join(prose(6, 30)), " ".join(prose(7, 30)) + " " + " ".join(shared[-50:])]
    made, left = run(tmp_path, texts, ONLY_PASSAGES, per_part=1)
    assert left == [texts[0], " ".join(before) + ", " + " ".join(after), texts[2], " ".join(prose(7, 30))]
    assert made.steps["repeated_passages"]["words"] == 130


def test_a_document_of_which_nothing_is_left_is_removed_and_keeps_its_text(tmp_path):
    text = " ".join(prose(1, 120))
    texts = [" ".join(prose(2, 50)) + " " + text, text.upper() + "!"]
    made, left = run(tmp_path, texts, ONLY_PASSAGES)
    assert left == texts and made.emptied.tolist() == [1]
    table = read_part(made.parts.paths[0])
    assert table["step"].to_pylist() == [None, "repeated_passages"] and table["rule"].to_pylist() == [None, "repeated_passages"]
    assert table.schema.equals(CLEAN)


def test_removed_documents_neither_keep_nor_lose_anything(tmp_path):
    text = " ".join(prose(1, 120))
    texts = [text, " ".join(prose(2, 50)) + " " + text, " ".join(prose(3, 50)) + " " + text]
    _, left = run(tmp_path, texts, ONLY_PASSAGES, kept=[False, True, True])
    assert left == [*texts[:2], " ".join(prose(3, 50))]


def test_the_text_as_read_is_kept(tmp_path):
    text = " ".join(prose(1, 120))
    rows = [{"text": text}, {"text": "own words here. " + text, "original": "as read", "touched": ["unicode"]}, {"text": "mine. " + text}]
    made, left = run(tmp_path, rows, ONLY_PASSAGES)
    table = read_part(made.parts.paths[0])
    assert left[1:] == ["own words here.", "mine."]
    assert table["original"].to_pylist() == [None, "as read", "mine. " + text]
    assert table["touched"].to_pylist() == [[], ["unicode", "repeated_passages"], ["repeated_passages"]]


def test_passages_of_scripts_without_spaces(tmp_path):
    draw = random.Random(1)
    shared = "".join(chr(draw.randrange(0x4E00, 0x5000)) for _ in range(130))
    own = ["".join(chr(draw.randrange(0x5000, 0x5200)) for _ in range(80)) for _ in range(3)]
    texts = [own[0] + "。" + shared, own[1] + "。「" + shared + "」" + own[2], own[2] + "。" + shared[:115]]
    _, left = run(tmp_path, texts, ONLY_PASSAGES)
    assert left == [texts[0], own[1] + "。" + own[2], texts[2]]       # 120 characters weigh as much as 50 words


def test_a_passage_whose_halves_stand_in_earlier_texts_is_compared_with_later_ones_too(tmp_path):
    texts, expected = [], []
    for seed in range(0, 3_000, 10):
        one, other = prose(seed, 48, 100_000), prose(seed + 1, 48, 100_000)
        own = [" ".join(prose(seed + n, 40, 100_000)) for n in range(2, 6)]
        texts += [f"{own[0]} {' '.join(one)}", f"{own[1]} {' '.join(other)}", f"{own[2]} {' '.join(one + other)}",
                  f"{own[3]} {' '.join(one + other)}"]
        expected += [*texts[-4:-1], own[3]]
    _, left = run(tmp_path, texts, ONLY_PASSAGES, per_part=500)
    assert left == expected


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_and_nothing_repeated_is_left(tmp_path, seed):
    """Documents patched together from each other: every word that was cut stands with its neighbours in an earlier text that keeps it,
    and no two texts that are left share a passage."""
    draw = random.Random(seed)
    texts: list[list[str]] = []
    for number in range(24):
        made = prose(seed * 1_000 + number, draw.randrange(60, 200), 50_000)
        for _ in range(draw.randrange(3)):
            if texts:
                source = draw.choice(texts)
                start = draw.randrange(len(source))
                place = draw.randrange(len(made))
                made[place:place] = source[start:start + draw.randrange(30, 120)]
        texts.append(made)
    made, left = run(tmp_path, [" ".join(t) for t in texts], ONLY_PASSAGES, per_part=5)
    gone = set(made.emptied.tolist())
    kept = [[] if i in gone else words(t) for i, t in enumerate(left)]

    def sequences(items, n):
        return {tuple(items[i:i + n]) for i in range(len(items) - n + 1)}

    everything: set[tuple[str, ...]] = set()
    for items in kept:
        everything |= sequences(items, 1)
    assert {(w,) for t in texts for w in t} == everything
    later: dict[tuple[str, ...], int] = {}
    for number, items in enumerate(kept):
        # What has become neighbours by a cut was not common before.
        for sequence in sequences(items, 60) & sequences(texts[number], 60):
            assert later.setdefault(sequence, number) == number
    if seed == 0:
        assert made.steps["repeated_passages"]["edits"] > 5


def test_tables_of_zeros_end_soon(tmp_path):
    table = "0 " * 30_000 + "end"
    texts = [table, "a b c " + table, "x " * 500 + table + " 0 1 0 1" * 10_000, "0 1 " * 40_000]
    made, left = run(tmp_path, texts, ONLY_PASSAGES, per_part=1)
    assert left[1] == "a b c" and made.steps["repeated_passages"]["edits"] >= 2


def test_memory_and_stops_make_no_difference(tmp_path):
    draw = random.Random(2)
    stock = [" ".join(prose(i, 70)) for i in range(15)]
    texts = ["\n\n".join([*draw.sample(stock, 3), " ".join(prose(1_000 + i, 60))]) for i in range(40)]
    whole, left = run(tmp_path / "a", texts, BOTH, per_part=9)

    class Stop(Exception):
        pass

    for at in range(0, 24, 3):
        calls = 0

        def check(at=at):
            nonlocal calls
            calls += 1
            if calls > at:
                raise Stop

        try:
            run(tmp_path / "b", texts, BOTH, per_part=9, memory_bytes=20_000, check=check)
        except Stop:
            pass
    again, other = run(tmp_path / "b", texts, BOTH, per_part=9, memory_bytes=20_000)
    assert left == other and whole.steps == again.steps and whole.emptied.tolist() == again.emptied.tolist()
    assert whole.steps["repeated_paragraphs"]["edits"] > 30


def test_several_processes_cut_the_same(tmp_path):
    stock = [" ".join(prose(i, 70)) for i in range(5)]
    texts = [stock[i % 5] + " " + " ".join(prose(100 + i, 30)) for i in range(12)]
    one, left = run(tmp_path / "a", texts)
    write_parts(tmp_path / "b" / "clean", texts, 4)
    two = cut(tmp_path / "b" / "clean", tmp_path / "b" / "passages", np.ones(12, bool), BOTH, processes=2)
    assert [t for _, table in two.parts.tables(["text"]) for t in table["text"].to_pylist()] == left and one.steps == two.steps


@pytest.mark.parametrize("text, piece, left", [
    ("Before. “A passage.” After.", "A passage", "Before. After."),
    ("Before.\n\n- A passage\n- other", "A passage", "Before.\n\n- other"),
    ("A passage, and more", "A passage", "and more"),
    ("Before it (A passage).", "A passage", "Before it"),
    ("Before.\nA passage\n\nAfter.", "A passage", "Before.\n\nAfter."),
    ("A passage", "A passage", ""),
])
def test_what_is_left_reads_on(text, piece, left):
    at = text.index(piece)
    assert without(text, [(at, at + len(piece))]) == left


def test_pieces_that_touch_are_one():
    assert joined([(10, 20, 1), (0, 5, 2), (15, 40, 3), (40, 41, 4)]) == [(0, 5, 2), (10, 41, 3)]
