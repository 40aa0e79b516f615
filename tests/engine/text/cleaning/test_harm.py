"""Harmful content: the lists find what texts plainly say, leave look-alikes alone, and remove nothing without saying why."""

import time
import tomllib
from pathlib import Path

import pytest

from engine.contract.errors import SettingError
from engine.text.cleaning.draft import Draft
from engine.text.cleaning.harm import FOLDER, KINDS, LEARNED, Harm, language_of, marks, score
from engine.text.cleaning.learned import train
from tests.engine.text.cleaning.planted_harm import INDIRECT, KNOWN, PLAIN, HarmText

NOVEL = Path(__file__).resolve().parents[5] / "shared" / "data" / "war-and-peace.txt"


def scored(text: str, language: str = "", **settings: object) -> Draft:
    draft = Draft(text, language=language)
    Harm(**settings)(draft)  # type: ignore[arg-type]
    return draft


def highest(row: HarmText) -> float:
    return max(scored(row.text, row.language).scores.values(), default=0.0)


def test_plain_texts_of_every_language_are_found() -> None:
    """`PLAIN` was not looked at while the lists were made."""
    harmful = [row for row in PLAIN if row.harmful]
    missed = [row for row in harmful if highest(row) <= 0.5]
    assert len({row.language for row in harmful}) == 12
    assert len(missed) <= 0.12 * len(harmful), missed


@pytest.mark.parametrize("rows", [KNOWN, PLAIN, INDIRECT], ids=["known", "plain", "indirect"])
def test_look_alikes_are_left_alone(rows: list[HarmText]) -> None:
    harmless = [row for row in rows if not row.harmful]
    wrong = [row for row in harmless if highest(row) > 0.5]
    assert len(harmless) >= 25 and len(wrong) <= 0.04 * len(harmless), wrong


def test_texts_the_lists_were_made_with_are_found_under_their_kind() -> None:
    for row in (r for r in KNOWN if r.harmful):
        scores = scored(row.text, row.language).scores
        assert max(scores, key=lambda k: scores[k]) == f"harm:{row.kind}" and scores[f"harm:{row.kind}"] > 0.5, row


def test_the_language_is_guessed_where_nobody_said_it() -> None:
    found = [row for row in KNOWN if row.harmful and highest(row._replace(language="")) > 0.5]
    assert len(found) >= 0.9 * sum(row.harmful for row in KNOWN)
    assert language_of(Draft("Der Hund und die Katze sind nicht im Haus.")) == "de"
    assert language_of(Draft("x", language="pt-BR")) == "pt" and language_of(Draft("x", language="zho")) == "zh"
    assert language_of(Draft("the text is in Swedish, said the identifier", language="sv")) == ""


def test_a_harmless_word_of_another_language_counts_only_in_its_own() -> None:
    assert not marks("Une bite", "en") and marks("une bite", "fr")
    assert not marks("The dog will bite and the hen will die.", "en")


def test_marks_are_whole_words_at_their_places() -> None:
    text = "Scunthorpe, Essex, cockpit, assassin bug, grape, skill, therapist, Middlesex"
    assert marks(text, "en") == []
    text = "İ quote: I will\nkill you"
    (mark,) = marks(text, "en")
    assert text[mark.start:mark.end] == "I will\nkill you" and mark.kind == "violence"


@pytest.mark.parametrize("bare,within", [
    ("They want to kill the process", "They want to kill the"), ("Dick Cheney called", None), ("breast cancer", None), ("shoot a film",
        None)])
def test_phrases_cancel_the_marks_they_touch(bare: str, within: str | None) -> None:
    assert marks(bare, "en") == []


def test_words_of_medicine_and_news_lower_a_mark() -> None:
    (alone,) = marks("he was murdered", "en")
    (told,) = marks("police said he was murdered; the suspect was arrested, prosecutors told journalists", "en")
    assert told.weight < 0.5 * alone.weight


def test_the_score_falls_with_length_and_rises_with_marks() -> None:
    one = "I will kill you. "
    filler = "The garden was quiet and the tea was warm on the table. "
    short = score(marks(one, "en"), one)["violence"][0]
    text = one + filler * 100
    long = score(marks(text, "en"), text)["violence"][0]
    text = one * 2 + "You deserve to die. I know where you live. We will shoot them all." + filler * 100
    more = score(marks(text, "en"), text)["violence"][0]
    assert 0 < long < more < short < 1


def test_listing_only_scores_and_removing_says_why_without_the_words() -> None:
    text = "I will kill you and then I will come for your family."
    listed = scored(text, "en", action="list")
    assert listed.verdict is None and listed.scores["harm:violence"] > 0.5
    removed = scored(text, "en", action="remove")
    assert removed.verdict is not None and removed.verdict[:2] == ("harmful", "violence")
    assert "mark" in removed.verdict.detail and "0.9" in removed.verdict.detail and "kill" not in removed.verdict.detail
    assert removed.text == text


def test_only_the_chosen_kinds_are_looked_for() -> None:
    assert scored("I will kill you.", "en", kinds=("adult",)).scores == {}
    with pytest.raises(SettingError):
        Harm(("spam",))


def test_what_lies_near_the_threshold_is_marked_for_a_person() -> None:
    draft = scored("He was murdered in the garden.", "en")
    assert draft.verdict is None and draft.borderline == "harmful" and abs(max(draft.scores.values()) - 0.5) <= 0.15
    assert scored("I will kill you.", "en").borderline == ""
    assert scored("Tea is ready.", "en").borderline == ""


def test_decisions_of_the_person_join_the_lists() -> None:
    rows = [(f"the purple lizard number {i} sings at dawn in the valley", True) for i in range(40)]
    rows += [(f"the committee met on day {i} about roads and bridges", False) for i in range(40)]
    learned = train(rows)
    assert learned is not None
    draft = scored("a purple lizard sings in the valley at dawn", "en", action="remove", learned=learned.plain())
    assert draft.verdict is not None and draft.verdict.rule == LEARNED and draft.scores["harm:learned"] > 0.5
    text = "He was murdered in the garden."
    rows = [(f"{text} said chapter {i} of the crime story", False) for i in range(40)] + [(f"spam offer {i} buy now cheap",
        True) for i in range(40)]
    milder = train(rows)
    assert milder is not None
    assert scored(text, "en", learned=milder.plain()).scores["harm:violence"] < scored(text, "en").scores["harm:violence"]


def test_the_lists_are_whole() -> None:
    files = sorted(FOLDER.glob("*.toml"))
    assert {f.stem for f in files} >= set("en es pt fr de it ro nl pl ru ar zh".split())
    for path in files:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        assert set(given) <= {"script", "common", "only_here", "names", "harmless", "contexts", "near", *KINDS}, path
        for kind in KINDS:
            assert set(given[kind]) == {"weak", "clear", "strong"}, (path, kind)
            grades = [{w.strip() for w in words.split(",")} for words in given[kind].values()]
            assert all(len(g) >= 3 and "" not in g for g in grades), (path, kind)
            assert not (grades[0] & grades[1] or grades[1] & grades[2] or grades[0] & grades[2]), (path, kind)


@pytest.mark.skipif(not NOVEL.exists(), reason="the novel is not beside this checkout")
def test_a_novel_about_a_war_is_not_harmful() -> None:
    text = NOVEL.read_text(encoding="utf-8")
    pieces = [text[i:i + 4000] for i in range(0, len(text), 8000)]
    over = [p for p in pieces if max(scored(p, "en").scores.values(), default=0.0) > 0.5]
    assert len(over) <= 0.01 * len(pieces)


@pytest.mark.parametrize("unit", ["kill ", "i will kill you ", "杀了你", "kill", "murder police court ", "a", "kill the process kill "])
def test_time_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    """Eight times the text takes about eight times as long; a square would be sixty-four. Others use the machine, which can make any one
    measure longer but none shorter: the best of several tries counts, and a square fails all of them. Short times are noise and pass."""
    def seconds(length: int) -> float:
        text = (unit * (length // len(unit) + 1))[:length]
        start = time.process_time()
        score(marks(text, "en"), text)
        return time.process_time() - start

    small = large = float("inf")
    for _ in range(6):
        small, large = min(small, seconds(40_000)), min(large, seconds(320_000))
        if large < 0.3 or large < 24 * small:
            return
    raise AssertionError((small, large))