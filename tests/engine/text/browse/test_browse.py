"""The browser's questions: what searches and filters find, how documents and groups are shown, and that preparing leaves all or none."""

import json
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract.errors import Corrupt, FledgeError, InputError, NotFound
from engine.project import layout
from engine.project.library import Library
from engine.text import probe
from engine.text.browse import build, building, opened, place, query, ready
from engine.text.browse import table as columns
from engine.text.browse.index import SEGMENT_DOCUMENTS, Index, write_index
from engine.text.browse.search import marker, parse, snippet
from engine.text.browse.words import arrow_pattern_of, fold, pattern_of, terms
from engine.text.corpus import Corpus
from engine.text.corpus_writer import CorpusWriter
from tests.engine.text.browse.made import Made, make

DOCUMENTS = [
    Made("The ferry of the island leaves at noon.", cluster=5, quality=0.9, harm=0.1),
    Made("Café crème brûlée\nof the house", source="b/menu.txt", original="CafÃ© crème brûlée  \nof the house", root=1,
         touched=("mojibake", "whitespace"), language="fr", split="validation", quality=0.4),
    Made("北京大学的研究人员今天宣布了一项重要的发现。", source="b/zh/zh.txt", language="zh", root=1, copies=3),
    Made("The ferry of the islands leaves at noon!", step="near_duplicates", rule="near", detail="0.91", cluster=5, duplicate_of=0,
         similarity=0.91),
    Made("buy buy buy", source="c.txt", step="quality", rule="gopher_word_count", detail="3 words", language="", harm=0.8,
         harm_kind="adult", borderline="harmful"),
    Made("The ferry of the island leaves at noon or so.", source="c.txt", step="near_duplicates", rule="contained", detail="0.80",
         cluster=5, duplicate_of=0, similarity=0.8, quality=0.2),
    Made("What is 2 + 2? It is 4.", source="c.txt", overlap="sums.jsonl:3", borderline="quality"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make(tmp_path_factory.mktemp("browse") / "corpus-1", DOCUMENTS, batch=3))


def found(corpus: str, search: str = "", **given: Any) -> list[int]:
    answer = query.browse(corpus, search, **given)
    assert answer["total"] == len(answer["documents"]) and answer["exact"]
    return [row["number"] for row in answer["documents"]]


# --- search ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("search", "numbers"), [
    ("ferry", [0, 3, 5]), ("FERRY noon", [0, 3, 5]), ('"of the"', [0, 1, 3, 5]), ('"the of"', []), ('"of the house"', [1]),
    ("cafe", [1]), ("CRÈME", [1]), ("brul*", [1]), ("isl*", [0, 3, 5]), ("island", [0, 5]), ("island*", [0, 3, 5]),
    ("北京", [2]), ("大学", [2]), ("京北", []), ("研究 发现", [2]), ('"重要的发现"', [2]), ("-ferry", [1, 2, 4, 6]),
    ("the -islands", [0, 1, 5]),
    ('the -"of the house"', [0, 3, 5]), ("noon -is*", []), ('"leaves at no*', []), ('"leaves at no"*', [0, 3, 5]), ("2", [6]),
    ('"noon or"', [5]), ('"noon o"*', [5]), ("CafÃ©", []), ("nothing", []), ("", [0, 1, 2, 3, 4, 5, 6]),
])
def test_words_phrases_beginnings_and_what_must_be_missing(corpus: str, search: str, numbers: list[int]) -> None:
    # An open quote runs to the end of what was typed; a star inside quotes is a sign like any other.
    assert found(corpus, search) == numbers


@pytest.mark.parametrize("search", ['"', '""', "*", "-", "--", '-"', "AND OR NOT", "NEAR(a b)", "text:ferry", "(((", "'; drop table", "\\",
                                    "^a", "{a b}", "\x00", "\ud800", "a" * 10_000, "* -* \"*", "+", "?!", "\u0301", "½", "ﬁ ß"])
def test_no_text_is_an_error(corpus: str, search: str) -> None:
    query.browse(corpus, search)
    query.facets(corpus, search)
    snippet("The ferry.", marker(search))


TOKENS = ["the", "The", "of", "ferry", "CAFÉ", "cafe\u0301", "island's", "北京", "京", "大北", "straße", "x-y", "42", "ﬁn", "ทาง", "हिन्दी",
          "कि", "السَّلام", ",", "。", "…", "_", "½"]
TEXTS = st.lists(st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join), min_size=1, max_size=30)
ATOMS = st.tuples(st.booleans(), st.booleans(), st.booleans(),
                  st.lists(st.sampled_from([*TOKENS, "cafe", "strasse", "is", "f"]), min_size=1, max_size=3))


def holds(text: str, phrase: tuple[str, ...], prefix: bool) -> bool:
    """The plain meaning of a phrase, over all terms of a text."""
    have = terms(text)
    return any(tuple(have[i:i + len(phrase) - 1]) == phrase[:-1] and
               (have[i + len(phrase) - 1].startswith(phrase[-1]) if prefix else have[i + len(phrase) - 1] == phrase[-1])
               for i in range(len(have) - len(phrase) + 1))


@given(TEXTS, st.lists(ATOMS, min_size=1, max_size=3))
def test_a_search_finds_what_reading_every_text_finds(tmp_path_factory: pytest.TempPathFactory, texts: list[str], asked: list) -> None:
    search = " ".join(("-" if minus else "") + (f'"{" ".join(words)}"' if quoted else words[0]) + ("*" if star else "")
                      for minus, quoted, star, words in asked)
    path = tmp_path_factory.mktemp("index") / "index"
    list(write_index(path, [pa.array(texts[:7]), pa.array(texts[7:], pa.large_string())]))
    index = Index(path)
    for atom in parse(search):
        have = index.phrase(atom.phrase, atom.prefix).tolist()
        want = [holds(text, atom.phrase, atom.prefix) for text in texts]
        if len(atom.phrase) == 1:
            assert have == want, atom
        assert all(h for h, w in zip(have, want, strict=True) if w), f"the index lost a phrase: {atom}"


@pytest.mark.parametrize("patterns", ["python", "arrow"])
@pytest.mark.parametrize(("text", "search", "hit"), [
    ("a café.", "cafe", True), ("a cafe\u0301.", "café", True), ("decaf é", "cafe", False), ("cafeteria", "cafe", False),
    ("cafeteria", "cafe*", True), ("of, the", '"of the"', True), ("off the", '"of the"', False), ("of the_house", '"of the house"', True),
    ("Straße", "strasse", True), ("strasse", "straße", True), ("ﬁn eﬃcace", '"fin efficace"', True), ("在北京。", "北京", True),
    ("在北 京", "北京", True), ("A北京B", "北京", True), ("北方京城", "北京", False), ("ＣＡＦＥ", "cafe", True),
    ("السَّلام", "السلام", True),
    ("हिन्दी में", "हिन्दी", True), ("x" * 60, "x" * 60, True), ("don't", "don't", True),
    ("don t", "don't", True), ("dont", "don't", False), ("a+b (c)", '"b c"', True),
])
def test_patterns_find_what_the_index_finds(patterns: str, text: str, search: str, hit: bool) -> None:
    (atom,) = parse(search)
    assert holds(text, atom.phrase, atom.prefix) == hit
    if patterns == "python":
        assert bool(re.search(pattern_of(atom.phrase, atom.prefix), text)) == hit
    else:
        import pyarrow.compute as pc
        assert pc.match_substring_regex(pa.array([text]), arrow_pattern_of(atom.phrase, atom.prefix))[0].as_py() == hit


def test_folding_takes_case_accents_and_forms_away() -> None:
    assert [fold(w) for w in ("ÉCOLE", "ﬁn", "Ｆｕｌｌ", "Ёж", "한글", "ガ", "カ\u3099", "مُحَمَّد")] == \
        ["ecole", "fin", "full", "еж", "한글", "ガ", "ガ", "محمد"]


def test_the_place_found_is_shown_and_marked() -> None:
    text = "Nothing here. " * 100 + "\nAt last the Ferry\tof Élise arrives. " + "And so on. " * 100
    shown, marks = snippet(text, marker('ferry "of elise"'))
    assert [shown[a:b] for a, b in marks] == ["Ferry", "of Élise"] and len(shown) == 240 and "\n" not in shown
    assert snippet("\n\n  First line\nsecond", None) == ("First line second", [])
    assert snippet("", marker("x")) == ("", [])


# --- filters, orders, counts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("filters", "numbers"), [
    ({"split": "removed"}, [3, 4, 5]), ({"split": "kept"}, [0, 1, 2, 6]), ({"split": ["train", "removed"]}, [0, 2, 3, 4, 5, 6]),
    ({"split": "validation"}, [1]), ({"root": 1}, [1, 2]), ({"source": "b"}, [1, 2]), ({"source": "b/"}, [1, 2]), ({"source": "b/zh"}, [2]),
    ({"source": "c.txt"}, [4, 5, 6]), ({"source": "*.t?t"}, [0, 1, 2, 3, 4, 5, 6]), ({"source": "*z*"}, [2]), ({"source": "menu.txt"}, []),
    ({"language": "zh"}, [2]), ({"language": ""}, [4]), ({"language": ["fr", "zh"]}, [1, 2]), ({"step": ""}, [0, 1, 2, 6]),
    ({"step": "near_duplicates"}, [3, 5]), ({"rule": "contained"}, [5]), ({"step": "near_duplicates", "rule": "near"}, [3]),
    ({"touched": "whitespace"}, [1]), ({"touched": True}, [1]), ({"touched": "no step"}, []), ({"borderline": True}, [4, 6]),
    ({"borderline": "harmful"}, [4]), ({"cluster": 5}, [0, 3, 5]), ({"cluster": True}, [0, 3, 5]), ({"cluster": 9}, []),
    ({"harm_kind": "adult"}, [4]), ({"overlap": True}, [6]), ({"overlap": "sums.jsonl:3"}, [6]), ({"overlap": "other"}, []),
    ({"language": None, "step": []}, [0, 1, 2, 3, 4, 5, 6]), ({"language": "xx"}, []),
])
def test_filters(corpus: str, filters: dict[str, Any], numbers: list[int]) -> None:
    assert found(corpus, filters=filters) == numbers


def test_search_and_filters_hold_together_and_pages_follow(corpus: str) -> None:
    assert found(corpus, "ferry", filters={"split": "removed"}) == [3, 5]
    first, second = (query.browse(corpus, "ferry", start=s, count=2) for s in (0, 2))
    assert [r["number"] for r in first["documents"] + second["documents"]] == [0, 3, 5] and first["total"] == second["total"] == 3
    assert query.browse(corpus, "ferry", start=99)["documents"] == []


@pytest.mark.parametrize(("order", "numbers"), [
    ("number", [0, 1, 2, 3, 4, 5, 6]), ("-number", [6, 5, 4, 3, 2, 1, 0]), ("quality", [0, 1, 5, 2, 3, 4, 6]),
    ("longest", [2, 5, 3, 0, 1, 6, 4]), ("shortest", [4, 6, 1, 0, 3, 5, 2]), ("similarity", [3, 5, 0, 1, 2, 4, 6]),
    ("harm", [4, 0, 1, 2, 3, 5, 6]), ("source", [0, 3, 1, 2, 4, 5, 6]),
])
def test_orders(corpus: str, order: str, numbers: list[int]) -> None:
    assert found(corpus, order=order) == numbers


def test_unknown_filters_and_orders_are_named(corpus: str) -> None:
    with pytest.raises(InputError, match="wings"):
        query.browse(corpus, filters={"wings": 2})
    with pytest.raises(InputError, match="beauty"):
        query.browse(corpus, order="beauty")


def test_facets_count_what_each_filter_would_leave(corpus: str) -> None:
    made = query.facets(corpus)
    assert (made["documents"], made["overlap"], made["clusters"]) == (7, 1, 3)
    for name, filter in (("languages", "language"), ("steps", "step"), ("rules", "rule"), ("touched", "touched"), ("splits", "split"),
                         ("roots", "root"), ("borderline", "borderline"), ("harm_kinds", "harm_kind"), ("sources", "source")):
        assert made[name], name
        for row in made[name]:
            assert row["documents"] == len(found(corpus, filters={filter: row["value"]})), (name, row)
    assert {r["value"]: r["step"] for r in made["rules"]} == {"near": "near_duplicates", "contained": "near_duplicates",
                                                                "gopher_word_count": "quality"}
    narrowed = query.facets(corpus, "ferry", {"split": "removed"})
    assert narrowed["documents"] == 2
    assert {r["value"]: r["documents"] for r in narrowed["splits"]} == {"kept": 1, "train": 1, "validation": 0, "removed": 2}
    assert {r["value"]: r["documents"] for r in narrowed["rules"]} == {"near": 1, "contained": 1}


def test_everything_found_can_be_decided_at_once(corpus: str) -> None:
    made = query.numbers(corpus, "ferry", {"split": "removed"})
    assert made["numbers"] == [3, 5] and made["ids"] == [DOCUMENTS[3].id, DOCUMENTS[5].id] and made["sources"] == ["a.txt", "c.txt"]
    assert query.numbers(corpus, limit=2)["numbers"] == [0, 1] and query.numbers(corpus, limit=2)["total"] == 7


def test_decisions_of_the_library_show_at_once(corpus: str, tmp_path: Path) -> None:
    library = Library(tmp_path)
    where = str(layout.library_file(tmp_path))
    assert found(corpus, filters={"decided": True}, library=where) == []
    library.decide({DOCUMENTS[3].id: True, DOCUMENTS[0].id: False, "f" * 32: True})
    assert found(corpus, filters={"decided": True}, library=where) == [0, 3]
    assert found(corpus, filters={"decided": "keep"}, library=where) == [3]
    assert found(corpus, filters={"decided": "exclude"}, library=where) == [0]
    assert len(found(corpus, filters={"decided": False}, library=where)) == 5
    assert query.document(corpus, 3, library=where)["row"]["decision"] == "keep"
    assert {r["value"]: r["documents"] for r in query.facets(corpus, library=where)["decided"]} == {"keep": 1, "exclude": 1}
    library.undo_decision()
    assert found(corpus, filters={"decided": True}, library=where) == []
    assert query.document(corpus, 3, library=where)["row"]["decision"] is None
    assert query.browse(corpus, library=str(tmp_path / "none"))["documents"][0]["decision"] is None
    library.close()


# --- documents and groups --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(DOCUMENTS)))
def test_every_document_can_be_had_exactly_as_it_was_read(corpus: str, number: int) -> None:
    made = DOCUMENTS[number]
    assert query.document(corpus, number, original=True)["text"] == made.as_read
    shown = query.document(corpus, number)
    assert "".join(text for kind, text in shown["pieces"] if kind != "added") == made.as_read
    assert "".join(text for kind, text in shown["pieces"] if kind != "removed") == ("" if made.step else made.text)
    row = shown["row"]
    assert (row["id"], row["source"], row["step"], row["rule"], row["detail"], row["touched"], row["language"], row["copies"]) == \
        (made.id, made.source, made.step, made.rule, made.detail, list(made.touched), made.language, made.copies)


def test_a_removed_document_is_one_removed_piece_with_its_reason(corpus: str) -> None:
    made = query.document(corpus, 4, search="buy")
    assert made["pieces"] == [["removed", "buy buy buy"]] and made["marks"] == [[0, 0, 3], [0, 4, 7], [0, 8, 11]]
    assert (made["row"]["step"], made["row"]["rule"], made["row"]["detail"]) == ("quality", "gopher_word_count", "3 words")


def test_a_long_document_is_cut_and_says_so(corpus: str) -> None:
    made = query.document(corpus, 0, characters=9)
    assert made["pieces"] == [["same", "The ferry"]] and made["cut"] and made["characters"] == len(DOCUMENTS[0].text)


def test_a_document_that_is_not_there_is_said_so(corpus: str) -> None:
    for number in (-1, 7):
        with pytest.raises(NotFound, match=str(number)):
            query.document(corpus, number)


def test_groups_list_the_one_that_stayed_first_and_mark_the_difference(corpus: str) -> None:
    listed = query.clusters(corpus)
    assert listed["total"] == 1
    (group,) = listed["clusters"]
    assert (group["cluster"], group["documents"], group["kept"], group["least"], group["most"]) == (5, 3, 0, 0.8, 0.91)
    assert group["steps"] == {"near_duplicates": 2} and group["snippet"] == DOCUMENTS[0].text
    opened_group = query.cluster(corpus, 5)
    assert [m["number"] for m in opened_group["members"]] == [0, 3, 5] and opened_group["total"] == 3
    near = opened_group["members"][1]
    assert [p for p in near["pieces"] if p[0] != "same"] == [["added", "s"], ["removed", "."], ["added", "!"]]
    assert near["places"] == [[1, 23], [3, 39]]
    assert all(near["text"][at:].startswith(near["pieces"][piece][1]) for piece, at in near["places"][:1])
    assert [m["number"] for m in query.cluster(corpus, 5, start=1, count=1)["members"]] == [3]
    with pytest.raises(NotFound, match="77"):
        query.cluster(corpus, 77)


def test_groups_are_ordered_by_size_and_similarity(tmp_path: Path) -> None:
    stayed = [0, 0, 0, 3, 3, 3, 6, 6, 8, 8]
    documents = [Made(f"Text {n}", cluster=[0, 3, 6, 8].index(kept), step=None if n == kept else "near_duplicates",
                      duplicate_of=-1 if n == kept else kept, similarity=0.7 + n / 100) for n, kept in enumerate(stayed)]
    corpus = str(make(tmp_path / "corpus-1", documents))
    groups = query.clusters(corpus)["clusters"]
    assert [(g["cluster"], g["documents"], g["kept"]) for g in groups] == [(0, 3, 0), (1, 3, 3), (2, 2, 6), (3, 2, 8)]
    assert [g["cluster"] for g in query.clusters(corpus, order="similarity")["clusters"]] == [3, 2, 1, 0]
    assert [g["cluster"] for g in query.clusters(corpus, order="-similarity", count=2, start=1)["clusters"]] == [1, 2]


def test_a_document_in_both_splits_is_put_together(tmp_path: Path) -> None:
    documents = [Made("First the beginning.\nThen the end.", tail=13), Made("Whole in training."), Made("Gone.", step="hand", rule="hand"),
                 Made("Other beginning.\nOther end.", original="Other  beginning.\nOther end.", touched=["whitespace"], tail=10)]
    corpus = str(make(tmp_path / "corpus-1", documents))
    rows = query.browse(corpus)["documents"]
    assert [r["split"] for r in rows] == ["both", "train", "removed", "both"]
    assert [query.document(corpus, n, original=True)["text"] for n in range(4)] == [d.as_read for d in documents]
    assert found(corpus, "beginning end") == [0, 3] and found(corpus, filters={"split": "validation"}) == [0, 3]


def test_a_corpus_of_the_first_version_is_a_plain_list(tmp_path: Path) -> None:
    writer = CorpusWriter(tmp_path)
    for split, text in (("train", "The ferry leaves."), ("train", "The owl sleeps."), ("validation", "The ferry came.")):
        writer.add(split, text, "old.txt")
    writer.finish()
    assert Corpus.open(tmp_path).count("removed") == 0
    rows = query.browse(str(tmp_path), "ferry")["documents"]
    assert [(r["number"], r["split"], r["source"], r["step"]) for r in rows] == [(0, "train", "old.txt", None),
                                                                                 (2, "validation", "old.txt", None)]
    assert query.document(str(tmp_path), 1)["pieces"] == [["same", "The owl sleeps."]]
    assert query.facets(str(tmp_path))["documents"] == 3 and query.clusters(str(tmp_path))["total"] == 0


# --- preparing -------------------------------------------------------------------------------------------------------------------


def test_many_documents_in_many_segments_keep_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.text.browse.prepare.SEGMENT_BYTES", 2_000)
    monkeypatch.setattr(columns, "ROWS", 100)
    draw = random.Random(3)
    vocabulary = [f"word{n}" for n in range(60)]
    documents = [Made(" ".join(draw.choices(vocabulary, k=draw.randrange(1, 30))), source=f"{n // 10}.txt",
                      split=draw.choice(["train", "validation"]), step=draw.choice([None, None, "quality"])) for n in range(1_000)]
    corpus = str(artifact := make(tmp_path / "corpus-1", documents, batch=77))
    said: list[tuple[int, int]] = []
    assert build(artifact, lambda done, total: said.append((done, total)), threads=3) == layout.browse_cache(artifact) == place(artifact)
    assert said[-1][0] == said[-1][1] == sum(len(d.text) for d in documents)
    assert len(json.loads((place(artifact) / "index.json").read_text())["segments"]) > 20
    for search in ("word7", "word1*", '"word3 word4"', "word5 -word6", '"word9 word9"'):
        atoms = parse(search)
        want = [n for n, d in enumerate(documents) if all(holds(d.text, a.phrase, a.prefix) != a.without for a in atoms)]
        answer = query.browse(corpus, search, count=2_000)
        assert [r["number"] for r in answer["documents"]] == want and want, search
        assert all(r["id"] == documents[r["number"]].id and r["source"] == documents[r["number"]].source for r in answer["documents"][::50])
    removed = query.numbers(corpus, filters={"split": "removed"})
    assert removed["ids"] == [d.id for d in documents if d.step]


def test_a_segment_holds_no_more_documents_than_its_numbers_can_say(tmp_path: Path) -> None:
    texts = [f"n{n}" for n in range(SEGMENT_DOCUMENTS)]
    assert list(write_index(tmp_path / "index", [pa.array(texts), pa.array(["last one"])])) == [SEGMENT_DOCUMENTS, SEGMENT_DOCUMENTS + 1]
    index = Index(tmp_path / "index")
    assert index.word("n65535").nonzero()[0].tolist() == [65_535] and index.phrase(("last", "one")).nonzero()[0].tolist() == [65_536]


def test_an_empty_corpus_can_be_browsed(tmp_path: Path) -> None:
    corpus = str(make(tmp_path / "corpus-1", []))
    assert query.browse(corpus, "x")["total"] == 0 and query.facets(corpus)["documents"] == 0 and query.clusters(corpus)["total"] == 0


def test_a_phrase_beyond_the_limit_is_about_so_many(corpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "VERIFY_BYTES", 60)
    query._opened.cache_clear()
    answer = query.browse(corpus, '"of the"')
    assert not answer["exact"] and [r["number"] for r in answer["documents"]] == [0, 1, 3, 5]
    assert not query.facets(corpus, 'the -"leaves at"')["exact"] and query.browse(corpus, "ferry")["exact"]
    query._opened.cache_clear()


def test_a_large_corpus_is_prepared_when_asked_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = str(make(tmp_path / "corpus-1", DOCUMENTS))
    monkeypatch.setattr(query, "SMALL_BYTES", 10)
    with pytest.raises(NotFound) as told:
        query.browse(corpus)
    assert told.value.code == "no_index"
    before = query.index(corpus)
    assert (before["state"], before["done"]) == ("missing", 0) and before["total"] == sum(len(d.text.encode()) for d in DOCUMENTS)
    made = query.index(corpus, build=True)
    assert made["state"] == "ready" and made["documents"] == 7 and made["bytes"] > 0 and query.browse(corpus)["total"] == 7


def test_a_build_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    artifact = make(tmp_path / "corpus-1", DOCUMENTS)

    def stop(done: int, total: int) -> None:
        assert building(artifact) == (done, total)
        raise FledgeError("stop")

    with pytest.raises(FledgeError, match="stop"):
        build(artifact, stop)
    assert not ready(artifact) and list(place(artifact).parent.iterdir()) == [] and building(artifact) is None


def test_a_build_that_was_killed_is_swept_and_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = make(tmp_path / "corpus-1", DOCUMENTS)
    left = place(artifact).with_name(".tmp-browse-1-dead")
    left.mkdir(parents=True)
    (left / "progress.json").write_text("[1, 2]")
    assert building(artifact) == (1, 2) and query.index(str(artifact))["state"] == "building"
    monkeypatch.setattr("engine.text.browse.prepare.STALE_SECONDS", -1)
    build(artifact)
    assert ready(artifact) and not left.exists()


def test_files_of_another_version_are_made_again(tmp_path: Path) -> None:
    artifact = make(tmp_path / "corpus-1", DOCUMENTS)
    record = build(artifact) / "table.json"
    told = json.loads(record.read_text())
    record.write_text(json.dumps(told | {"version": 0}))
    assert not ready(artifact) and query.browse(str(artifact), "ferry")["total"] == 3 and ready(artifact)
    shutil.rmtree(place(artifact).parent)
    assert query.browse(str(artifact), "ferry")["total"] == 3, "what is derived can be deleted"


def test_a_list_that_is_out_of_order_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq
    artifact = make(tmp_path / "corpus-1", DOCUMENTS)
    table = pq.read_table(artifact / "documents.parquet")
    pq.write_table(table.take(list(range(6, -1, -1))), artifact / "documents.parquet")
    with pytest.raises(Corrupt):
        build(artifact)
    assert not place(artifact).exists()


def test_the_questions_are_answered_line_by_line(corpus: str) -> None:
    asked = [("index", {}), ("browse", {"search": "ferry", "filters": {"split": "removed"}}), ("facets", {}), ("document", {"number": 1}),
             ("clusters", {}), ("cluster", {"cluster": 5}), ("numbers", {"search": "ferry"}), ("document", {"number": 99})]
    assert {name for name, _ in asked} <= set(probe.QUESTIONS)
    lines = "".join(json.dumps([i, name, {"corpus": corpus, **given}]) + "\n" for i, (name, given) in enumerate(asked))
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "engine.text.probe", "serve"], input=lines, capture_output=True, text=True, timeout=60)
    answers = dict(json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 0 and len(answers) == len(asked) and time.monotonic() - began < 30
    assert answers[0]["state"] == "ready" and answers[1]["total"] == 2 and answers[7]["error"] == "not_found"
    assert answers[5]["members"][0]["number"] == 0


def test_an_excerpt_is_shown_beside_its_place_in_the_long_text(tmp_path: Path) -> None:
    r = random.Random(4)
    words = [f"w{r.randrange(9_000)}" for _ in range(20_000)]
    excerpt = " ".join(words[15_000:15_200])
    corpus = make(tmp_path / "corpus-1", [Made(" ".join(words), cluster=0),
                  Made(excerpt, cluster=0, duplicate_of=0, similarity=1.0, step="near_duplicates", rule="contained")])
    build(corpus)
    long, short = query.cluster(str(corpus), 0, characters=2_000)["members"]
    assert short["pieces"] == [["same", excerpt]] and short["places"] == []
    assert long["text"].startswith(excerpt[:500]) and long["begins"] == short["begins"] > 50_000
