"""Languages: identified, mixed texts seen, nothing claimed of what says too little."""

import time

import pytest

from engine.text.cleaning.draft import Draft
from engine.text.cleaning.language import CODE, Languages, _Model, _model, identify, is_code, name
from tests.engine.text.cleaning.planted_languages import PARAGRAPHS

PYTHON = "import os\n\n\ndef walk(path: str) -> list[str]:\n    return [os.path.join(path, n) for n in os.listdir(path)]\n"


@pytest.mark.parametrize("code", PARAGRAPHS)
def test_each_language_is_known_by_a_paragraph_and_by_a_page(code: str) -> None:
    text = PARAGRAPHS[code]
    paragraph, page, half = identify([text, "\n\n".join([text] * 20), text[:len(text) // 2]])
    assert (paragraph.code, page.code, half.code) == (code, code, code)
    assert not paragraph.mixed and not page.mixed
    assert page.score >= 0.5 and 0 <= paragraph.score <= 1


def test_what_stands_beside_a_text_changes_nothing() -> None:
    texts = list(PARAGRAPHS.values())
    alone = [identify([text])[0] for text in texts]
    assert identify(texts) == alone
    assert identify(texts[::-1]) == alone[::-1]
    assert identify([]) == []


@pytest.mark.parametrize("text", ["", "\n", "ok", "12345 67890 --- 2024-01-01 +++", "🙂🙂🙂", "x" * 5])
def test_too_little_is_unknown(text: str) -> None:
    assert identify([text])[0].code == ""


def test_a_mixed_document_goes_under_its_main_language_with_a_lower_score() -> None:
    english, russian, german = (PARAGRAPHS[c] for c in ("en", "ru", "de"))
    pure, two_scripts, one_script = identify(["\n".join([english] * 9), "\n".join([english] * 5 + [russian] * 3),
                                              "\n".join([english] * 5 + [german] * 3)])
    assert not pure.mixed
    assert two_scripts.mixed and two_scripts.code == "en" and two_scripts.score < pure.score
    assert one_script.mixed and one_script.code == "en" and one_script.score < pure.score


def test_the_batch_agrees_with_the_library_one_by_one() -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    reference = LanguageIdentifier.from_model_file(MODEL_FILE)
    codes = _model().codes["latin"]
    reference.set_languages(codes)
    texts = [PARAGRAPHS[c][:n] for c in ("en", "es", "pt", "ro", "de", "gl") for n in (30, 90, 200)]
    ours: _Model = _model()
    for text, scores in zip(texts, ours.scores("latin", [t.encode() for t in texts]), strict=True):
        language, score = reference.classify(text)
        assert codes[int(scores.argmax())] == language
        assert float(scores.max()) == pytest.approx(score, rel=1e-4)


def test_only_other_languages_are_removed_not_unknown_ones_and_no_code() -> None:
    drafts = [Draft(PARAGRAPHS["en"], source="a.txt"), Draft(PARAGRAPHS["fr"], source="b.txt"), Draft("??? 123", source="c.txt"),
              Draft(PYTHON, source="src/walk.py")]
    Languages(["EN"]).batch(drafts)
    assert [d.language for d in drafts] == ["en", "fr", "", CODE]
    assert [d.verdict and d.verdict.rule for d in drafts] == [None, "language_fr", None, None]
    assert drafts[1].verdict.detail.startswith("French, certain to ")
    assert name("ro") == "Romanian" and name("tlh") == "tlh"


@pytest.mark.parametrize("source,code", [("src/a.py", True), ("x.zip/lib/b.RS", True), ("notes.txt", False), ("Makefile.md", False),
                                         ("Dockerfile", True), ("data.jsonl", False), ("page.html", False), ("py", True)])
def test_code_is_known_by_its_ending(source: str, code: bool) -> None:
    assert is_code(source) is code


@pytest.mark.alone
def test_a_thousand_pages_a_tenth_of_a_second() -> None:
    pages = [(text * 4)[i:i + 1_000] for text in (PARAGRAPHS["en"], PARAGRAPHS["es"], PARAGRAPHS["de"]) for i in range(0, 333)]
    identify(pages[:2])
    started = time.process_time()
    found = identify(pages)
    took = time.process_time() - started
    assert sum(map(len, pages)) / 1e6 / took > 4, "10 MB/s on an idle machine"
    assert {f.code for f in found} == {"en", "es", "de"}
