"""Reading through watched processes: the same parts whatever the number of processes, resumes, deaths, limits."""

import hashlib
import json
import random

from engine.text.parts import Parts, read_part
from engine.text.read_process import Limits, plan, read
from engine.text.readers import ReadOptions, list_files

FEW = Limits(memory=600_000_000, idle_seconds=1.5, seconds=20)


def contents(folder):
    """Every part, as plain values."""
    return [read_part(path).to_pylist() for path in Parts(folder).paths]


def pile(folder, count=12, seed=0):
    rng = random.Random(seed)
    for i in range(count):
        (folder / f"{i:03}.txt").write_text(f"document {i} " + " ".join(str(rng.random()) for _ in range(200)))
    with open(folder / "rows.jsonl", "w") as file:
        for i in range(3000):
            file.write(json.dumps({"n": i, "text": f"row {i} " + "x" * rng.randint(1, 800)}) + "\n")


def test_parts_hold_every_document_with_its_place_and_id(tmp_path):
    (tmp_path / "in").mkdir()
    pile(tmp_path / "in")
    (tmp_path / "more.txt").write_text("Другой корень")
    files, _ = list_files([tmp_path / "in", tmp_path / "more.txt"])
    rows = read(files, [ReadOptions(), ReadOptions(encoding="utf-8")], tmp_path / "work", processes=1)
    assert [r.name for r in rows] == [f.name for f in files] and [r.root for r in rows] == [0] * 13 + [1]
    assert rows[12].documents == rows[12].texts == 3000 and rows[12].column == "text" and rows[13].bytes == 25 and rows[13].characters == 13
    documents = [row for part in contents(tmp_path / "work") for row in part]
    assert len(documents) == 3013 == Parts(tmp_path / "work").documents
    assert [d["file"] for d in documents] == [*range(12), *[12] * 3000, 13] and documents[-1]["root"] == 1
    assert [d["document"] for d in documents[12:-1]] == list(range(3000))
    last = documents[-1]
    assert last["source"] == "more.txt" and last["text"] == "Другой корень"
    assert last["id"] == hashlib.blake2b(b"more.txt\0" + last["text"].encode(), digest_size=16).hexdigest()
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["part-000000.arrow", "read.json"]
    assert read(files, [ReadOptions()] * 2, tmp_path / "work") == rows


def test_parts_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.text.read_process.BATCH_BYTES", 20_000)
    (tmp_path / "in").mkdir()
    pile(tmp_path / "in")
    files, _ = list_files([tmp_path / "in"])
    assert len(plan(files)) > 3
    one = read(files, [ReadOptions()], tmp_path / "one", processes=1)
    three = read(files, [ReadOptions()], tmp_path / "three", processes=3)
    assert one == three and contents(tmp_path / "one") == contents(tmp_path / "three") and len(Parts(tmp_path / "one").paths) > 3
