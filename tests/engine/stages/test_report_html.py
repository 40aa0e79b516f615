"""The report as a page: it says what the report says, escapes whatever comes from texts and files, and needs nothing from elsewhere."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from engine.stages.corpus.report_page import LISTED, report_html
from engine.stages.corpus.spec import CorpusSpec

REPORT: dict[str, Any] = {
    "documents": 900, "originals": 900, "read": 1_000, "bytes": 4_000_000, "tokens_estimate": 1_000_000,
    "removed": {"near_duplicates": 100},
    "funnel": [{"step": "read", "title": "Read", "left": 1_000, "removed": 0, "note": ""},
               {"step": "near_duplicates", "title": "Near duplicates", "left": 900, "removed": 100, "note": "similarity from 0.70"},
               {"step": "kept", "title": "Kept", "left": 900, "removed": 0, "note": ""}],
    "languages": [{"code": "pt", "documents": 600, "bytes": 3_000_000}, {"code": "zh", "documents": 300, "bytes": 1_000_000}],
    "lengths": {"edges_bytes": [0, 256, 512], "counts": [10, 800, 90]},
    "touched": {"whitespace": {"documents": 7, "edits": 12, "examples": [
        {"number": 1, "source": "<img src=x onerror=alert(1)>.txt", "before": "a  \t\u0007", "after": "a & <b>"}]}},
    "duplicates": {"exact": 3, "near": 100, "contained": 2, "clusters": 55, "largest": [{"cluster": 1, "documents": 12}], "threshold": 0.7,
                   "shingle": 5, "bands": 20, "rows": 7, "recall_at_threshold": 0.9871},
    "boilerplate": [{"line": "Home | </td> | About", "documents": 77}],
    "contamination": {"documents": 3, "items": 2, "sets": [{"set": "sums.jsonl", "items": 40, "found": 2}]},
    "harm": {"adult": 4}, "borderline": 5, "personal": {"email": 6},
    "mix": [{"root": 0, "name": "/a/books", "documents": 500, "bytes": 3_000_000, "epochs": 1.0, "share": 0.6},
            {"root": 1, "name": "/a/web", "documents": 400, "bytes": 1_000_000, "epochs": 2.0, "share": 0.4}],
    "sources": [{"name": f"books/{n}.txt", "kind": "text", "encoding": "utf-8", "size": 9_000, "documents": 3, "bytes": 8_000}
                for n in range(LISTED + 7)],
    "skipped": [{"name": "photo.png", "reason": "Pictures hold no text."}],
    "splits": {"train": {"documents": 800, "bytes": 3_600_000}, "validation": {"documents": 100, "bytes": 400_000}},
    "seconds": {"read": 1.0, "clean": 2.5}}
VOID = {"meta", "line", "rect", "br", "img", "link"}


class Page(HTMLParser):
    """Checks that every element is closed where it should be, and keeps the words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words)).replace("\u00a0", " ")


def page(report: dict[str, Any] = REPORT, **given: Any) -> Page:
    return Page(report_html(report, "Tides <&> ferries", "21 November 2026", **given))


def test_the_page_says_what_the_report_says() -> None:
    shown = page(settings=CorpusSpec(sources=("a",), keep_rule="longest", minimum_length=1_500).plain(),
                 training=[("2 M parameters, one pass", "3 min")]).text
    for words in ("Of 1,000 documents, 900 were kept. Made 21 November 2026.", "≈ 1 M", "4.0 MB", "10.0 %", "Near duplicates", "−100",
                  "Portuguese", "75.0 %", "< 256 B", "≥ 512 B", "7 documents 12 places", "98.7 %", "20 × 7", "Home | </td> | About", "77",
                  "3 documents hold text of 2 held-out items.", "sums.jsonl", "Adult 4 documents", "E-mail addresses 6 places replaced",
                  "books 500 3.0 MB 1.00 60.0 %", "and 7 more", "photo.png", "Pictures hold no text.", "Llama 4 30 T 30 M times this",
                  "This corpus 1 M", "120 TB (109 TiB)", "2 M parameters, one pass 3 min", "In all 3.5 s",
                  "Of duplicates, keep the longest", "1,500 characters"):
        assert words in shown, words


def test_true_tokens_replace_the_estimate() -> None:
    assert "1.2 M tokens" in re.sub(r" +", " ", page(tokens=1_200_000).text)


def test_what_comes_from_texts_and_files_is_escaped_and_made_visible() -> None:
    html = report_html(REPORT, "Tides <&> ferries", "today")
    assert "<img" not in html and "<b>\n" not in html and "a &amp; &lt;b&gt;" in html and "<title>Tides &lt;&amp;&gt; ferries" in html
    assert "a  ⇥‹0007›" in html


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    shown = page()
    html = report_html(REPORT, "x", "today", "de")
    assert not [tag for tag, _ in shown.tags if tag in ("script", "link", "img", "iframe", "object")]
    assert not [name for _, given in shown.tags for name in given if name in ("src", "href") or name.startswith("on")]
    assert not re.findall(r"url\(|@import|https?://", html)
    assert html.startswith("<!doctype html>") and '<html lang="de">' in html
    for needed in ("prefers-color-scheme: dark", "@media print", "default-src 'none'"):
        assert needed in html


@pytest.mark.parametrize("report", [
    {}, {"documents": 2, "bytes": 10, "splits": {}}, {"documents": 1, "skipped": 4, "files": 3, "seconds": 4.0},
    {"documents": 0, "read": 0, "funnel": [], "lengths": {"edges_bytes": [0], "counts": [0]}}])
def test_reports_of_older_and_empty_corpora_are_shorter_pages(report: dict[str, Any]) -> None:
    shown = page(report)
    assert "Corpus report" in shown.text and "None" not in shown.text and "nan" not in shown.text
