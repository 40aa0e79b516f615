"""Reading people's files: kinds, encodings, columns, bad lines, huge lines, preview."""

import codecs
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract.errors import FormatError, NotFound
from engine.text.readers import Reader, ReadOptions, best_cut, cut_long, detect_encoding, list_files, preview


def read(path, **options):
    files, skipped = list_files([path])
    assert len(files) == 1, skipped
    reader = Reader(files[0], ReadOptions(**options))
    return reader, list(reader)


def texts(path, **options):
    return [part.text for part in read(path, **options)[1]]


def test_folders_are_walked_in_order_and_what_is_left_out_has_a_reason(tmp_path):
    for name, raw in {"b.txt": b"b", "a.md": b"a", "sub/c.jsonl": b'{"text": "c"}', ".hidden.txt": b"x", ".git/d.txt": b"x",
                      "e.png": b"\x89PNG", "f.txt": b"", "g.txt": bytes(range(32)) * 20,
                      "h.7z": b"7z\xbc\xaf", "i.parquet": b"nothing"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    files, skipped = list_files([tmp_path])
    assert [f.name.split("/", 1)[1] for f in files] == ["a.md", "b.txt", "sub/c.jsonl"]
    reasons = {s.name.split("/", 1)[1]: s.reason for s in skipped}
    assert reasons == {"e.png": ".png files are not read", "f.txt": "empty", "g.txt": "not text", "h.7z": "packed: unpack it first",
                       "i.parquet": "not a Parquet file"}


def test_a_file_given_by_name_is_read_as_text_whatever_its_ending(tmp_path):
    (tmp_path / "notes.org").write_text("words")
    files, _ = list_files([tmp_path / "notes.org", tmp_path / "notes.org"])
    assert [(f.name, f.kind) for f in files] == [("notes.org", "text")]
    with pytest.raises(NotFound):
        list_files([tmp_path / "nothing"])


@pytest.mark.parametrize(("raw", "encoding"), [
    ("Grüße".encode(), "utf-8"), (codecs.BOM_UTF8 + "Grüße".encode(), "utf-8-sig"), ("Grüße".encode("utf-16"), "utf-16"),
    ("Grüße und Küsse".encode("utf-16-le") * 3, "utf-16-le"), ("Grüße und Küsse".encode("utf-16-be") * 3, "utf-16-be"),
    ("Grüße".encode("utf-32"), "utf-32"), (b"plain", "utf-8"), (("Привет, как дела? Хорошо. " * 20).encode("cp1251"), "windows-1251")])
def test_encodings_are_recognised(raw, encoding):
    assert detect_encoding(raw, whole=True) == encoding


def test_encoding_is_shown_and_can_be_chosen(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("schöne Straße über Äpfel, Größe\n".encode("latin-1") * 30)
    reader, parts = read(path)
    assert parts[0].text.startswith("schöne Straße über Äpfel") and reader.encoding in ("windows-1252", "iso-8859-1", "iso8859-1", "cp1252")
    reader, parts = read(path, encoding="utf-8")
    assert reader.encoding == "utf-8" and reader.replaced > 100 and "sch\ufffdne" in parts[0].text
    assert texts(path, encoding="latin-1")[0].startswith("schöne")


def test_some_damaged_bytes_do_not_change_the_encoding(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(("日本語のテキスト。\ufffd" * 100).encode() + b"\xff" + "日本語".encode() * 10)
    reader, parts = read(path)
    assert reader.encoding == "utf-8" and reader.replaced == 1 and parts[0].text.count("\ufffd") == 101


def test_characters_and_line_ends_survive_the_borders_of_chunks(tmp_path):
    path = tmp_path / "a.txt"
    wide = "字é🙂\r\n" * 250_000
    path.write_bytes(("x" + wide).encode())
    assert "".join(texts(path)) == "x" + wide.replace("\r\n", "\n")


def test_text_files_are_cut_as_asked(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n\n \nthree\n\n\n\nfour")
    assert texts(path) == ["one\ntwo\n\n \nthree\n\n\n\nfour"]
    assert texts(path, split_by="blank_lines") == ["one\ntwo", "three", "four"]
    assert texts(path, split_by="line") == ["one", "two", "three", "four"]


@pytest.mark.parametrize("split_by", ["blank_lines", "line"])
def test_cutting_is_the_same_whatever_the_chunks(tmp_path, monkeypatch, split_by):
    rng = random.Random(1)
    path = tmp_path / "a.txt"
    path.write_text("".join(rng.choice(["a", "bb ", "\n", "\n\n", " \n", "\t"]) for _ in range(3000)))
    whole = texts(path, split_by=split_by)
    for chunk in (1, 7, 64):
        monkeypatch.setattr("engine.text.readers.base.CHUNK", chunk)
        parts = read(path, split_by=split_by)[1]
        joined = {}
        for part in parts:
            joined[part.document] = joined.get(part.document, "") + part.text
        assert [t.strip() for t in joined.values()] == [t.strip() for t in whole]


def test_long_texts_come_in_parts_cut_at_paragraphs(tmp_path):
    path = tmp_path / "a.txt"
    paragraph = "A sentence of some words. " * 20 + "\n\n"
    path.write_text(paragraph * 40)
    reader, parts = read(path, max_document_bytes=5_000)
    assert len(parts) > 4 and all(len(p.text.encode()) <= 5_000 for p in parts)
    assert "".join(p.text for p in parts) == paragraph * 40
    assert all(p.text.endswith("\n\n") for p in parts)
    assert [p.document for p in parts] == [0] * len(parts) and [p.last for p in parts] == [False] * (len(parts) - 1) + [True]


@given(st.text(), st.integers(1, 40))
def test_cut_parts_join_to_the_text_and_keep_to_the_size(text, longest):
    parts = list(cut_long(text, longest))
    assert "".join(parts) == text
    assert all(len(p.encode("utf-8", "surrogatepass")) <= max(longest, 4) for p in parts)


@pytest.mark.parametrize(("text", "expected"), [
    ("aaaa bbbb.\n\ncccc\ndddd. eeee", "aaaa bbbb.\n\n"), ("aaaa bbbb. cccc\ndddd eeee", "aaaa bbbb. cccc\n"),
    ("aaaa bbbb. cccc dddd eeee", "aaaa bbbb. "), ("aaaa bbbb cccc dddd eeee", "aaaa bbbb cccc "), ("a" * 25, "a" * 13)])
def test_the_best_cut_is_paragraph_line_sentence_word(text, expected):
    assert text[:best_cut(text, 5, 20, near=13)] == expected


def test_json_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    deep = '{"a":' * 100_000
    path.write_text('\ufeff{"id": 1, "text": "one\\nline"}\n\n{"id": 2, "text": null}\nbroken\n{"id": NaN, "text": "nan"}\n[1]\n'
                    f'{{"text": "\\ud800x"}}\n{{"text": 5}}\n{deep}\n{{"text": "  "}}\n{{"text": "last"}}')
    reader, parts = read(path)
    assert [p.text for p in parts] == ["one\nline", "nan", "\ufffdx", "last"]
    assert sorted(reader.bad) == [(4, "not JSON"), (6, "no object"), (8, "text is no text"), (9, "not JSON")]
    assert reader.bad_count == 4 and reader.empty == 1 and reader.columns == ("id", "text")


def test_json_strings_alone_are_texts_and_no_objects_is_an_error(tmp_path):
    (tmp_path / "a.jsonl").write_text('"one"\n"two"\n')
    assert texts(tmp_path / "a.jsonl") == ["one", "two"]
    (tmp_path / "b.jsonl").write_text('{\n  "text": 1\n}\n')
    with pytest.raises(FormatError, match="no JSON objects"):
        texts(tmp_path / "b.jsonl")


def test_csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,title,text\r\n1,a,"hello, ""world""\r\nnext"\r\n2,b\r\n3,c,nul\0byte\r\n4,d,x,y\r\n5,e,\r\n6,f,z,,\r\n')
    reader, parts = read(path)
    assert [p.text for p in parts] == ['hello, "world"\nnext', "nul\0byte", "z"]
    assert reader.bad == [(4, "2 cells instead of 3"), (6, "4 cells instead of 3")] and reader.empty == 1


def test_other_separators_headers_and_tsv_quotes(tmp_path):
    (tmp_path / "a.csv").write_text("nr;body\n1;first, with a comma\n2;second\n")
    assert texts(tmp_path / "a.csv") == ["first, with a comma", "second"]
    (tmp_path / "b.tsv").write_text('nr\tprose\n1\t"He said so, and left\n2\tthen nothing more happened\n')
    assert texts(tmp_path / "b.tsv") == ['"He said so, and left', "then nothing more happened"]
    (tmp_path / "c.csv").write_text("A long sentence without any header.\nAnd a second one.\n")
    reader, parts = read(tmp_path / "c.csv")
    assert reader.columns == ("column 1",) and len(parts) == 2


def test_the_text_column_is_found_or_asked_for_by_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("title,summary\nShort one,This is by far the longer of the two columns here\n")
    assert texts(path) == ["This is by far the longer of the two columns here"]
    assert texts(path, text_column="Title") == ["Short one"]
    with pytest.raises(FormatError, match="title, summary") as caught:
        texts(path, text_column="body")
    assert caught.value.field == "text_column"
    path.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(FormatError, match="no column with text.*a, b"):
        texts(path)


def test_of_a_pair_of_answers_the_preferred_one_is_the_text(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"rejected": "This answer is the longer of both, but not wanted.", "chosen": "This one was preferred."}))
    assert texts(path) == ["This one was preferred."]
    assert texts(path, text_column="rejected")[0].startswith("This answer")


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    rows = {"n": list(range(1000)), "content": [f"text {i}" if i % 10 else None for i in range(1000)]}
    pq.write_table(pa.table(rows), path, row_group_size=100)
    reader, parts = read(path)
    assert len(parts) == 900 and reader.column == "content" and reader.empty == 100 and reader.done == path.stat().st_size
    pq.write_table(pa.table({"label": pa.array(["a longer category name", "b"] * 3).dictionary_encode(), "n": [1] * 6}), path)
    assert len(texts(path)) == 6
    path.write_bytes(b"PAR1 and then nothing of the kind")
    with pytest.raises(FormatError, match="damaged"):
        texts(path)


MEMORY = """
import resource, sys
sys.path.insert(0, {root!r})
from engine.text.readers import *
files, _ = list_files([{path!r}])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reader = Reader(files[0])
n = sum(len(part.text) for part in reader)
print(n, reader.bad, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_line_of_200_megabytes_stays_in_bounds(tmp_path, name):
    path = tmp_path / name
    with open(path, "w") as file:
        file.write('{"text": "')
        for _ in range(200):
            file.write("a" * 1_000_000)
        file.write('"}\n{"text": "ok"}\n')
    root = str(Path(__file__).parents[3])
    code = MEMORY.format(root=root, path=str(path))
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    grown = int(made.stdout.split()[-1])
    assert grown < 120, made.stdout
    if name == "a.jsonl":
        assert "longer than 64.0" in made.stdout and made.stdout.startswith("2 ")
    else:
        assert made.stdout.startswith("200000028 ")


def test_preview_is_fast_bounded_and_close(tmp_path):
    rng = random.Random(0)
    with open(tmp_path / "big.jsonl", "w") as file:
        for i in range(60_000):
            file.write(json.dumps({"id": i, "text": "word " * rng.randint(5, 60)}) + "\n")
    (tmp_path / "small.txt").write_text("hello")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "x.bin").write_bytes(b"\0")
    began = time.perf_counter()
    found = preview([tmp_path], texts=3)
    assert time.perf_counter() - began < 0.5
    rows = {row.name.split("/")[1]: row for row in found.files}
    assert abs(rows["big.jsonl"].documents - 60_000) < 6_000 and not rows["big.jsonl"].exact and rows["big.jsonl"].bad == 0
    assert rows["small.txt"].documents == 1 and rows["small.txt"].exact
    assert "column" in rows["bad.csv"].problem and "a, b" in rows["bad.csv"].remedy
    assert len(found.texts) == 3 and found.skipped[0].name.endswith("x.bin")
    assert found.tokens == pytest.approx(os.path.getsize(tmp_path / "big.jsonl") / 4, rel=0.01)


def test_preview_of_the_first_files_estimates_the_others(tmp_path):
    for i in range(30):
        (tmp_path / f"{i:02}.txt").write_text("some text\n" * 100)
    found = preview([tmp_path], files=10)
    assert len(found.files) == 10 and found.unread == 20 and found.documents == 30 and found.by_root == ((30, 30_000),)


@pytest.mark.skipif(not hasattr(resource, "getrusage") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_listed(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.txt").chmod(0)
    assert list_files([tmp_path])[1][0].reason.startswith("cannot be opened")


def test_links_that_lead_to_themselves_are_left_out(tmp_path):
    (tmp_path / "a.txt").write_text("The river rose.", "utf-8")
    (tmp_path / "here").symlink_to(tmp_path / "there")
    (tmp_path / "there").symlink_to(tmp_path / "here")
    files, skipped = list_files([tmp_path])
    assert [f.path.name for f in files] == ["a.txt"] and len(skipped) == 2
