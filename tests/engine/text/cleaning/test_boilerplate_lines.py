"""Boilerplate: counted over all documents in bounded memory, cut out where it stands, and nothing else."""

import hashlib
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine.text.cleaning.draft import Draft
from engine.text.cleaning.lines import LONGEST, LineJob, RepeatedLines, count, count_lines, lines_of, merge, merge_lines, save
from engine.text.parts import READ, part_name, write_part


def array(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def plain_lines(text: str) -> set[str]:
    """What counts as the same line, said slowly."""
    made = set()
    for line in text.split("\n"):
        bare = re.sub("[0-9]+", lambda m: m.group()[0], line.strip(" \t"))
        if bare and len(line.strip(" \t").encode()) <= LONGEST and any(c.isalpha() for c in bare):
            made.add(bare)
    return made


def digits_folded(text: str) -> str:
    return re.sub("[0-9]+", "0", text)


def boilerplate_of(texts: list[str], threshold: int, sources: list[str] | None = None) -> np.ndarray:
    counted = count(array(texts), sources or ["a.txt"] * len(texts))
    return np.ascontiguousarray(counted["line"][counted["documents"] >= threshold])


def cleaned(texts: list[str], threshold: int, sources: list[str] | None = None) -> list[str]:
    step = RepeatedLines(boilerplate_of(texts, threshold, sources))
    drafts = [Draft(text, source=source) for text, source in zip(texts, sources or ["a.txt"] * len(texts), strict=True)]
    suspects = step.suspects(array(texts)).tolist()
    for draft, suspect in zip(drafts, suspects, strict=True):
        before = draft.text
        step(draft)
        assert suspect or draft.text == before
    return [d.text for d in drafts]


def test_counts_are_those_of_a_slow_count() -> None:
    rng = random.Random(5)
    words = ["Home", "Größe", "Inicio", "Contact us", "版权所有", "Page 7", "Page 8", "Page 1234", "12", "#### 72", "ещё", "a", "}", "***",
             "———", "• • •", "😀", "{ }", "x" * (LONGEST + 1), "y" * LONGEST, "  indented", "indented  ", "", "", "ﷺ", "９", "«»", "。。"]
    texts = ["\n".join(rng.choice(words) for _ in range(rng.randrange(0, 12))) + rng.choice(["", "\n", "\n\n"]) for _ in range(400)]
    expected = Counter(digits_folded(line) for text in texts for line in {digits_folded(x) for x in plain_lines(text)})
    found = count(array(texts), ["a.txt"] * len(texts))
    assert sorted(found["documents"].tolist()) == sorted(expected.values())
    assert (np.diff(found["line"].astype(object)) > 0).all()


def test_a_line_is_one_whatever_stands_around_it() -> None:
    texts = ["Page 12", "1a\nPage 9\n2a", "9a", "  Page 345\t\nx", "ends with 5", "Page 6", "7Page 8"]
    found = lines_of(array(texts))
    by_text = {(int(row), int(start)): int(h) for h, row, start, _ in zip(*found, strict=True)}
    assert by_text[0, 0] == by_text[1, 3] == by_text[3, 0] == by_text[5, 0]
    assert by_text[1, 0] == by_text[1, 10] == by_text[2, 0]
    assert by_text[6, 0] != by_text[0, 0]
    sliced = lines_of(array(texts)[3:6])
    assert sliced.hashes.tolist() == [h for h, row in zip(found.hashes.tolist(), found.rows.tolist(), strict=True) if 3 <= row < 6]


def test_hashes_do_not_collide_on_similar_lines_and_span_blocks() -> None:
    lines = sorted({f"line {a}{b} {c}" for a in "abcdefghij" for b in "abcdefghij" for c in ("ab", "ba", "aa", "bb", "abc", "acb")}
                   | {hashlib.blake2b(str(i).encode()).hexdigest()[:40].translate(str.maketrans("0123456789", "ghijklmnop"))
                      for i in range(20_000)})
    found = lines_of(array(["\n".join(lines), "z" * 600_000 + "\nlast line", "last line"]))
    assert len(set(found.hashes.tolist())) == len(lines) + 1
    assert found.hashes[-1] == found.hashes[-2]


def test_boilerplate_is_cut_and_everything_else_stays_byte_for_byte() -> None:
    texts = [f"Home | About | Contact\n\nStory number {'abcde'[i]} – é中\n\tindented\n}}\n\nPage {i + 8}\n© 2024 The Gazette"
             for i in range(5)]
    made = cleaned([*texts, "untouched\n\n\n\n\nleft alone  \n"], 5)
    assert made[:5] == [f"Story number {'abcde'[i]} – é中\n}}\n" for i in range(5)]
    assert made[5] == "untouched\n\n\n\n\nleft alone  \n"


def test_lines_in_fewer_documents_and_braces_and_code_stay() -> None:
    texts = ["menu\nfirst\n}\n", "menu\nsecond\n}\n", "third\n}\nmenu", "menu menu"]
    assert cleaned(texts, 4) == texts
    assert cleaned(["#### 7\na\n1.", "#### 8\nb\n2.", "#### 9\nc\n3."], 2) == ["#### 7\na\n1.", "#### 8\nb\n2.", "#### 9\nc\n3."]
    assert cleaned(texts, 3) == ["first\n}\n", "second\n}\n", "third\n}\n", "menu menu"]
    assert cleaned(["menu\nmenu\nmenu", "x"], 3) == ["menu\nmenu\nmenu", "x"], "three times in one document is one document"
    code = ["import os\nx = 1", "import os\ny = 2", "import os\nprose"]
    assert cleaned(code, 3, ["a.py", "b.py", "c.txt"]) == code, "source code is not counted"
    assert cleaned(["import os\na", "import os\nb", "import os\nc"], 2, ["a.py", "b.txt", "c.txt"]) == ["import os\na", "b", "c"]


def test_a_touch_tells_what_was_cut() -> None:
    step = RepeatedLines(boilerplate_of(["Home\nx", "Home\ny"], 2))
    step(draft := Draft("Home\nz\n Home "))
    assert draft.text == "z\n"
    assert [(t.step, t.count, t.before, t.after) for t in draft.touches] == [("repeated_lines", 2, "Home", "")]


@pytest.mark.parametrize("memory", [64_000_000, 2_000])
def test_parts_are_merged_the_same_with_little_memory(tmp_path: Path, memory: int) -> None:
    rng = random.Random(1)
    texts = [["\n".join(f"line {rng.choice('abcdefghijklmnopqrstuvwxyz')}{rng.choice('abcdefghi')}" for _ in range(8)) for _ in range(60)]
             for _ in range(4)]
    paths = []
    for number, part in enumerate(texts):
        save(tmp_path / f"{number}.lines", count(array(part), ["a"] * 60))
        paths.append(tmp_path / f"{number}.lines")
    merged = merge(paths, tmp_path / "all.npy", 9, memory)
    result = np.load(tmp_path / "all.npy")
    slow = count(array([t for part in texts for t in part]), ["a"] * 240)
    slow = slow[slow["documents"] >= 9]
    assert 0 < merged == len(result) == len(slow) < 234
    assert (result["line"] == slow["line"]).all() and (result["documents"] == slow["documents"]).all()


def test_count_and_merge_through_files_and_resume(tmp_path: Path) -> None:
    read, folder = tmp_path / "read", tmp_path / "lines"
    read.mkdir(), folder.mkdir()
    footer = "Cafe\u0301 Gazette, page {} – all rights reserved"     # NFC makes it another line
    for number in range(3):
        texts = [f"Story {'abcdefghijkl'[number * 4 + i]}  \n{footer.format(i)}\nonce {'xyzw'[i]}{'pqr'[number]}" for i in range(4)]
        rows = {"id": list("abcd"), "root": [0] * 4, "file": [0] * 4, "document": [0] * 4, "source": ["a.txt"] * 4, "text": texts}
        write_part(read / part_name(number), rows, READ)
        count_lines(LineJob(read / part_name(number), folder / part_name(number)))
    target, shown = merge_lines(folder, 10)
    assert shown == [{"line": "Café Gazette, page 0 – all rights reserved", "documents": 12}]
    step = RepeatedLines.load(target)
    step(draft := Draft("New\nCafé Gazette, page 77 – all rights reserved\nend"))
    assert draft.text == "New\nend"
    times = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    count_lines(LineJob(read / part_name(0), folder / part_name(0)))
    assert merge_lines(folder, 10) == (target, shown)
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == times
    assert merge_lines(folder, 1)[0] != target


def test_a_folder_without_lines_has_no_boilerplate(tmp_path: Path) -> None:
    target, shown = merge_lines(tmp_path, 2)
    assert shown == []
    RepeatedLines.load(target)(draft := Draft("any line"))
    assert draft.text == "any line" and not draft.touches
