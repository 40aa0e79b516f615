"""Cleaning of whole parts: same rows in the same order, the original kept, counts that add up, and the same whatever the process."""

import json
import pickle
import time
from pathlib import Path

import pyarrow as pa
import pytest

from engine.text.cleaning import clean
from engine.text.cleaning.clean import CleanCounts, CleanJob, CleanPlan, clean_part, clean_table, sample, time_steps
from engine.text.cleaning.draft import Draft, Verdict
from engine.text.cleaning.lines import LineJob, count_lines, merge_lines
from engine.text.parts import CLEAN, READ, part_name, read_part, write_part
from engine.text.pool import each
from tests.engine.text.cleaning.planted_languages import PARAGRAPHS

BOOK = Path(__file__).parents[4] / ".." / "shared" / "data" / "war-and-peace.txt"
TEXTS = [
    PARAGRAPHS["en"], PARAGRAPHS["es"] + "  \n",
    "Un CafÃ© por favor, y un té también para la señora de la casa.\u200b   \n\n\n\n\n\nGracias a todos.",
    PARAGRAPHS["fa"], "tiny", PARAGRAPHS["zh"], "\u200b\u00ad", "👨‍👩‍👧‍👦 " + PARAGRAPHS["fr"], PARAGRAPHS["ru"] + "\r\n", "",
]


def table(texts: list[str], source: str = "a.txt") -> pa.Table:
    n = len(texts)
    return pa.table({"id": [f"id{i}" for i in range(n)], "root": [0] * n, "file": [1] * n, "document": list(range(n)),
                     "source": [source] * n, "text": texts}, schema=READ)


def without_time(counts: CleanCounts) -> dict:
    return {name: value for name, value in counts.plain().items() if name != "seconds"}


def test_rows_stay_in_order_with_what_happened_to_them() -> None:
    made, counts = clean_table(table(TEXTS), CleanPlan(minimum_length=10), first=100)
    assert made.schema == CLEAN and made["id"].to_pylist() == [f"id{i}" for i in range(len(TEXTS))]
    rows = made.to_pylist()
    untouched = [0, 3, 4, 5, 7, 9]
    for number in untouched:
        assert rows[number]["text"] == TEXTS[number] and rows[number]["original"] is None and rows[number]["touched"] == []
    for number in set(range(len(TEXTS))) - set(untouched):
        assert rows[number]["original"] == TEXTS[number] != rows[number]["text"]
    assert rows[2]["text"] == "Un Café por favor, y un té también para la señora de la casa.\n\n\nGracias a todos."
    assert rows[2]["touched"] == ["mojibake", "unicode", "whitespace"]
    assert rows[8]["text"] == PARAGRAPHS["ru"] + "\n"
    assert [(n, r["step"], r["rule"], r["detail"]) for n, r in enumerate(rows) if r["step"]] == [
        (4, "minimum_length", "too_short", "4 characters"), (6, "minimum_length", "empty", "nothing is left"),
        (9, "minimum_length", "empty", "nothing is left")]
    assert [r["language"] for r in rows] == ["en", "es", "es", "fa", "", "zh", "", "fr", "ru", ""]
    assert all(0.5 < r["language_score"] <= 1 for r in rows if r["language"]) and all(0 <= r["quality"] <= 1 for r in rows)
    assert counts.documents == 10 and counts.kept == 7
    assert {id: (s["documents"], s["edits"]) for id, s in counts.steps.items()} == {
        "mojibake": (1, 1), "unicode": (2, 3), "whitespace": (3, 4)}
    assert counts.steps["unicode"]["examples"][1] == {
        "number": 106, "source": "a.txt", "before": "⟨U+200B⟩⟨U+00AD⟩", "after": "", "rule": ""}
    assert counts.removed == {"minimum_length": {"empty": 2, "too_short": 1}}
    sizes = [len(r["text"].encode()) for r in rows]
    assert counts.languages == {"en": [1, sizes[0]], "es": [2, sizes[1] + sizes[2]], "fa": [1, sizes[3]], "fr": [1, sizes[7]],
                                "ru": [1, sizes[8]], "zh": [1, sizes[5]]}
    assert counts.languages_read[""] == [3, 4]


def test_with_everything_off_nothing_changes() -> None:
    plan = CleanPlan(unicode=False, mojibake=False, whitespace=False, identify_languages=False)
    made, counts = clean_table(table(TEXTS[:-1]), plan)
    assert made["text"].to_pylist() == TEXTS[:-1] and made["original"].null_count == len(TEXTS) - 1
    assert counts.kept == counts.documents == 9 and not counts.steps and not counts.removed and counts.languages[""][0] == 9


def test_an_empty_part() -> None:
    made, counts = clean_table(table([]), CleanPlan())
    assert made.num_rows == 0 and counts.documents == 0


def test_counts_of_parts_add_up_to_those_of_the_whole_in_any_order() -> None:
    texts, plan = TEXTS * 9, CleanPlan(minimum_length=10)
    whole = clean_table(table(texts), plan)[1]
    pieces = [clean_table(table(texts[at:at + 17]), plan, first=at)[1] for at in range(0, len(texts), 17)]
    forwards, backwards = CleanCounts(), CleanCounts()
    for piece in pieces:
        forwards = forwards + CleanCounts(**json.loads(json.dumps(piece.plain())))
        backwards = piece + backwards
    assert without_time(forwards) == without_time(backwards) == without_time(whole)
    assert json.dumps(without_time(forwards)) == json.dumps(without_time(whole))
    assert len(whole.steps["whitespace"]["examples"]) == 20


def test_a_finished_part_is_left_and_its_counts_read_back(tmp_path: Path) -> None:
    write_part(tmp_path / "read.arrow", table(TEXTS))
    job = CleanJob(tmp_path / "read.arrow", tmp_path / part_name(0), CleanPlan())
    counts = clean_part(job)
    before = job.target.stat().st_mtime_ns
    assert clean_part(job) == counts and job.target.stat().st_mtime_ns == before
    written = job.target.read_bytes()
    job.target.unlink()     # killed between counts and part
    assert without_time(clean_part(job)) == without_time(counts) and job.target.read_bytes() == written
    assert read_part(job.target).schema == CLEAN
    assert sorted(p.name for p in tmp_path.iterdir()) == ["part-000000.arrow", "part-000000.json", "read.arrow"]


def test_other_processes_make_the_same_parts(tmp_path: Path) -> None:
    plan = CleanPlan(minimum_length=10, quality_gopher=True)
    for number in range(2):
        write_part(tmp_path / f"read-{number}.arrow", table(TEXTS[number:] * 3))
    jobs = {folder: [CleanJob(tmp_path / f"read-{n}.arrow", tmp_path / folder / part_name(n), plan, None, n * 30) for n in range(2)]
            for folder in ("here", "there")}
    for folder in jobs:
        (tmp_path / folder).mkdir()
    here = dict(each(clean_part, jobs["here"], 1))
    there = dict(each(clean_part, jobs["there"], 2))
    for number in range(2):
        assert without_time(here[number]) == without_time(there[number])
        assert jobs["here"][number].target.read_bytes() == jobs["there"][number].target.read_bytes()


def test_a_plan_takes_its_settings_out_of_the_specs_plain_values() -> None:
    from engine.stages.corpus.spec import CorpusSpec

    spec = CorpusSpec(sources=("a.txt",), languages=("en", "pt"), minimum_length=7, quality_c4=True, harm_kinds=("hate",), unicode=False)
    plan = CleanPlan.of(json.loads(json.dumps(spec.plain())), {"weights": [1.0]})
    assert plan == CleanPlan(unicode=False, minimum_length=7, languages=("en", "pt"), quality_c4=True, harm_kinds=("hate",),
                             learned={"weights": [1.0]})
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert CleanPlan.of(CorpusSpec(sources=("a",)).plain()) == CleanPlan()


def test_languages_quality_personal_data_and_harm_are_counted() -> None:
    texts = [PARAGRAPHS["en"] + " Write to anna@example.com or bob@example.org.", PARAGRAPHS["fr"],
             "Too few words here, but plain English for sure."]
    made, counts = clean_table(table(texts), CleanPlan(personal_data=True, languages=("en",), quality_gopher=True, harmful="list"))
    assert made["text"][0].as_py().endswith("Write to <EMAIL> or <EMAIL>.") and made["original"][0].as_py() == texts[0]
    assert counts.personal == {"email": 2}
    assert counts.removed == {"language": {"language_fr": 1}, "quality": {"gopher_word_count": 1}}
    assert list(counts.removed) == ["language", "quality"]
    assert "anna@example.com" not in json.dumps(counts.plain())


class Scored:
    """A step that scores harm by a word, and asks for a look at others."""

    id = "harmful"

    def __call__(self, draft: Draft) -> None:
        draft.scores |= {"harm:adult": 0.2, "harm:hate": 0.75 if "bad" in draft.text else 0.5 if "so" in draft.text else 0.0}
        draft.borderline = self.id if "so" in draft.text else ""
        if "worst" in draft.text:
            draft.verdict = Verdict(self.id, "hate", "0.75")


def test_harm_scores_and_borderline_cases_reach_rows_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean, "_steps", lambda plan, boilerplate: [Scored()])
    made, counts = clean_table(table(["bad", "so so", "good", "the bad worst"]), CleanPlan(harm_threshold=0.6))
    assert made["harm_kind"].to_pylist() == ["hate", "hate", "adult", "hate"]
    assert made["harm"].to_pylist() == pytest.approx([0.75, 0.5, 0.2, 0.75])
    assert made["borderline"].to_pylist() == [None, "harmful", None, None]
    assert (counts.harm, counts.borderline, counts.removed) == ({"hate": 2}, 1, {"harmful": {"hate": 1}})


def test_boilerplate_is_cut_where_a_part_is_cleaned(tmp_path: Path) -> None:
    texts = [f"Home | Log in\n{text}\n" for text in PARAGRAPHS.values()]
    write_part(tmp_path / "read.arrow", table(texts))
    count_lines(LineJob(tmp_path / "read.arrow", tmp_path / part_name(0)))
    boilerplate, shown = merge_lines(tmp_path, 10)
    assert shown == [{"line": "Home | Log in", "documents": len(texts)}]
    job = CleanJob(tmp_path / "read.arrow", tmp_path / "clean.arrow", CleanPlan(repeated_lines=True), boilerplate)
    counts = clean_part(job)
    rows = read_part(job.target)
    assert rows["text"].to_pylist() == [text + "\n" for text in PARAGRAPHS.values()] and rows["original"].to_pylist() == texts
    assert rows["language"].to_pylist() == list(PARAGRAPHS)
    assert counts.steps["repeated_lines"]["edits"] == len(texts)


def test_a_sample_says_what_each_step_would_do() -> None:
    texts = [(f"{n}.txt", text) for n, text in enumerate([*TEXTS, *(f"Home | Log in\n{t}" for t in PARAGRAPHS.values())])]
    made = sample(texts, CleanPlan(minimum_length=10, repeated_lines=True, languages=("en", "es")))
    rows = {row["step"]: row for row in made["steps"]}
    assert list(rows) == ["mojibake", "unicode", "whitespace", "repeated_lines", "minimum_length", "language"]
    assert rows["mojibake"]["touched"] == 1 and rows["whitespace"]["touched"] == 3
    assert rows["repeated_lines"]["touched"] == len(PARAGRAPHS)
    assert rows["minimum_length"]["rules"] == {"too_short": 1, "empty": 2}
    assert rows["minimum_length"]["examples"][0] == {"source": "4.txt", "before": "tiny", "after": "4 characters", "rule": "too_short"}
    assert rows["language"]["removed"] == made["documents"] - made["kept"] - 3 > 10 and len(rows["language"]["examples"]) == 3
    assert made["languages"]["es"] == 3
    json.dumps(made)


@pytest.mark.parametrize("piece", [" ", "a", "abcdefghij", "([{", "\n", " \n", "Ã©", "\u0301\u0316", "\u200d", "x\u200b", "# ", "1\n", "é",
                                   "中"])
def test_a_megabyte_of_anything_is_cleaned_in_seconds(piece: str) -> None:
    plan = CleanPlan(quality_gopher=True, quality_c4=True, quality_fineweb=True)
    started = time.process_time()
    made, counts = clean_table(table(["x" + piece * (1_000_000 // len(piece)) + "x"]), plan)
    assert made.num_rows == 1 and time.process_time() - started < 8


@pytest.mark.alone
def test_clean_text_passes_at_sixty_megabytes_a_second() -> None:
    if not BOOK.exists():
        pytest.skip("War and Peace is not beside the checkout")
    text = BOOK.read_text("utf-8").replace("\r\n", "\n")
    texts = [text[at:at + 1_000].strip() for at in range(0, len(text), 1_000)]
    took = min((time_steps(texts, CleanPlan(mojibake=False, identify_languages=False)) for _ in range(3)), key=lambda s: sum(s.values()))
    megabytes = sum(len(t.encode()) for t in texts) / 1e6
    print({step: f"{megabytes / seconds:.0f} MB/s" for step, seconds in took.items()})
    assert set(took) == {"unicode", "whitespace", "minimum_length", "score"}
    assert megabytes / sum(took.values()) >= 60
