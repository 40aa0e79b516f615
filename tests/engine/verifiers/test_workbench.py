"""Checks of verifiers: what each probe finds in good ones and bad ones, on real sources in the real sandbox."""

from dataclasses import replace

import pytest

from engine.contract.rows import Message, Problem, problem_id
from engine.verifiers import mending
from engine.verifiers.api import Verdict
from engine.verifiers.builtin import ChoiceVerifier, LengthVerifier, MathVerifier, NumberVerifier, TagsVerifier, Weighted
from engine.verifiers.desk import FreshPool
from engine.verifiers.programs import ProgramVerifier
from engine.verifiers.python_verifier import PythonVerifier
from engine.verifiers.workbench import MEGABYTE, PROBES, Report, every_number, golds, run_checks

LENGTHS = '''import re

TAGS = "<answer>(.*?)</answer>"


def verify(prompt, completion, answer) -> float:
    """Full marks; half if the unit is missing."""
    found = re.search(TAGS, completion)
    text = found[1] if found else completion
    number = re.search(r"-?\\d[\\d,]*\\.?\\d*", text)
    if number is None:
        return 0.0
    value = float(number[0].replace(",", ""))
    gold, unit = answer.split()
    if abs(value - float(gold)) > 1e-6 * float(gold):
        return 0.0
    return 1.0 if unit in text.split() else 0.5
'''


def problem(asked, answer, **facts):
    prompt = (Message(role="user", content=asked),)
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer, facts=facts)


METRES = [problem("12 m less 35 cm", "11.65 m"), problem("3 km and 250 m", "3250 m"), problem("Half of 7 km", "3500 m")]
SUMS = [problem(f"{n} + {n + 1}", str(2 * n + 1)) for n in range(40, 90)]


def levels(report: Report):
    assert [row.id for row in report.rows] == list(PROBES)
    return {row.id: row.level for row in report.rows}


def test_the_verifier_of_the_picture_is_warned_of_prose_alone(pool):
    report = run_checks(PythonVerifier(LENGTHS, pool), METRES)
    assert levels(report) == {**dict.fromkeys(PROBES, "ok"), "gold_in_prose": "warning"}
    rows = {row.id: row for row in report.rows}
    assert rows["gold"].wanted == rows["gold"].got == 1.0 and rows["gold_in_prose"].got == 1.0 and rows["gold_in_prose"].wanted == 0.0
    assert {row.got for row in report.rows if row.id not in ("gold", "gold_in_prose")} == {0.0}
    assert report.failing == 1 and report.sentence == "1 check is worth a look." and 0 < report.ms < 100 and report.stable


def test_gold_is_handed_in_in_the_form_that_a_verifier_wants(pool):
    strict = LENGTHS.replace("found[1] if found else completion", 'found[1] if found else ""')
    rows = {row.id: row for row in run_checks(PythonVerifier(strict, pool), METRES).rows}
    assert rows["gold"].level == "ok" and rows["gold"].form == "answer_tags" and rows["gold_in_prose"].level == "ok"
    boxed = "def verify(prompt, completion, answer):\n    return float('boxed{' + answer + '}' in completion)\n"
    assert run_checks(PythonVerifier(boxed, pool), METRES).rows[0].form == "boxed"
    think = Weighted([("right", 1.0, NumberVerifier()), ("form", 0.2, TagsVerifier())])
    row = run_checks(think, SUMS, full=1.2).rows[0]
    assert row.level == "ok" and row.form == "think_answer_tags" and row.got == pytest.approx(1.2)


def test_gold_that_scores_too_little_fails_and_names_the_problems():
    class Harsh(NumberVerifier):
        def judge(self, attempt):
            verdict = super().judge(attempt)
            return Verdict(0.9 * verdict.score) if attempt.answer == "81" else verdict

    report = run_checks(Harsh(), SUMS)
    gold = report.rows[0]
    assert gold.level == "failure" and (gold.missed, gold.tried) == (1, 50) and gold.got == 0.9
    assert gold.misses[0].asked == "40 + 41" and report.sentence == "1 of 50 gold answers does not get the full reward."


def test_a_verifier_that_raises_on_nonsense_fails_there_with_its_line(pool):
    report = run_checks(PythonVerifier(LENGTHS.replace("    if number is None:\n        return 0.0\n", ""), pool), METRES)
    row = next(row for row in report.rows if row.id == "empty")
    assert (row.level, row.got, row.line, row.missed) == ("failure", None, 11, 3) and "TypeError" in row.message
    assert levels(report)["gold"] == "ok" and "fail" in report.sentence


def test_a_verifier_that_takes_anything_fails_everywhere(pool):
    found = levels(run_checks(PythonVerifier("def verify(prompt, completion, answer):\n    return 1.0\n", pool), SUMS[:3]))
    assert {name for name, level in found.items() if level == "failure"} == {"empty", "prompt_again", "every_number", "megabyte", "nul"}


def test_one_that_asks_only_whether_the_answer_is_there_fails_on_every_number(pool):
    report = run_checks(PythonVerifier("def verify(prompt, completion, answer):\n    return float(answer in completion)\n", pool), SUMS)
    assert levels(report) | {"every_number": "failure", "gold_in_prose": "warning"} == levels(report)


def test_a_question_that_holds_its_answer_is_a_warning_only():
    rows = {row.id: row for row in run_checks(NumberVerifier(), [problem("Which is larger, 3 or 5?", "5")]).rows}
    assert rows["prompt_again"].level == "warning" and rows["prompt_again"].got == 1.0 and "hold" in rows["prompt_again"].sentence


def test_what_never_ends_on_a_megabyte_is_warned_of(pool):
    slow = ("import re\n\n\ndef verify(prompt, completion, answer):\n"
            "    return float(bool(re.search('(a+)+$', 'a' * min(40, len(completion) // 1000) + 'b')))\n")
    row = next(row for row in run_checks(PythonVerifier(slow, pool, seconds=0.2), SUMS[:1], long=1).rows if row.id == "megabyte")
    assert row.level == "warning" and row.error == "timeout" and row.got == 0.0


def test_verifiers_of_form_alone_are_not_asked_for_gold():
    for verifier in (LengthVerifier(most=20), TagsVerifier()):
        report = run_checks(verifier, SUMS[:5], reads_answer=False)
        assert levels(report)["gold"] == levels(report)["every_number"] == "skipped" and report.failing == 0
        assert report.rows[0].wanted is None


def test_programs_are_asked_for_a_solution_of_their_problem(pool):
    area = {"entry": "area", "tests": [{"arguments": [2, 3], "expected": 6}]}
    without = run_checks(ProgramVerifier(pool), [problem("Write area(a, b).", area)])
    assert without.rows[0].level == "skipped" and "solution" in without.rows[0].sentence
    known = run_checks(ProgramVerifier(pool), [problem("Write area(a, b).", area, solution="def area(a, b):\n    return a * b\n")])
    assert known.rows[0].level == "ok" and known.rows[0].got == 1.0 and known.failing == 0


def test_gold_answers_that_cannot_be_compared_with_are_listed():
    report = run_checks(NumberVerifier(), [*SUMS[:3], problem("Who?", "nobody")])
    assert [(asked, bool(why)) for _, asked, why in report.unusable] == [("Who?", True)] and report.problems == 3
    assert report.rows[0].level == "ok" and "cannot be compared" in report.sentence


def test_where_no_gold_answer_can_be_compared_with_the_check_fails(pool):
    for verifier in (ChoiceVerifier(), ProgramVerifier(pool)):
        report = run_checks(verifier, SUMS[:3])
        assert report.rows[0].level == "failure" and report.problems == 0 and len(report.unusable) == 3
        assert report.sentence.startswith("No gold answer can be compared with.")


def test_choices_and_mathematics_pass(pool):
    assert run_checks(ChoiceVerifier(), [problem(f"Which? {n}", letter) for n, letter in enumerate("ABCDJ")]).rows[0].level == "ok"
    found = levels(run_checks(MathVerifier(pool), [problem("Half?", "\\frac{1}{2}"), problem("2x?", "2x + 1")], long=1))
    assert found["gold"] == "ok" and found["empty"] == found["nul"] == "ok"


def test_saying_something_else_the_second_time_is_found():
    class Fickle(NumberVerifier):
        calls = 0

        def judge(self, attempt):
            Fickle.calls += 1
            return Verdict(float(Fickle.calls % 7 == 0))

    report = run_checks(Fickle(), SUMS[:2])
    assert not report.stable and "asked again" in report.unstable and report.failing >= 1


def test_what_an_interpreter_keeps_from_call_to_call_is_found(pool):
    fine = PythonVerifier(LENGTHS, pool)
    assert run_checks(fine, METRES, fresh=PythonVerifier(LENGTHS, FreshPool(pool))).stable

    class Other(NumberVerifier):
        def judge(self, attempt):
            return replace(super().judge(attempt), parts={"other": 1.0})

    report = run_checks(NumberVerifier(), SUMS[:2], fresh=Other())
    assert not report.stable and "new interpreter" in report.unstable


def test_probes_are_what_they_say():
    for asked in (*METRES, *SUMS[:5], problem("Which?", "E"), problem("How many?", "100"), problem("How many?", "0")):
        said = every_number(asked)
        assert asked.answer.split()[0] in said.replace(",", "").split() and said.partition(", ")[0] != asked.answer \
            and said.rpartition(", ")[2] != asked.answer
    forms = {form.name: text for form, text in golds(problem("?", "7", solution="3 + 4 = 7"))}
    assert forms["plain"] == "7" and forms["boxed"] == "\\boxed{7}" and forms["answer_tags"] == "<answer>7</answer>"
    assert forms["solution"] == "3 + 4 = 7"


def test_a_verifier_whose_calls_take_long_is_asked_little():
    calls = []

    class Long(NumberVerifier):
        def judge(self, attempt):
            calls.append(attempt)
            return super().judge(attempt)

    report = run_checks(Long(), SUMS, few=True)
    assert report.problems == 24 and report.rows[0].level == "ok" and len(calls) < 100


def test_progress_ends_and_a_stop_stops():
    told = []
    run_checks(NumberVerifier(), SUMS, told=lambda done, of: told.append((done, of)))
    assert told == sorted(told) and told[-1][0] == told[-1][1]

    class Stop(Exception):
        pass

    def stop():
        raise Stop

    with pytest.raises(Stop):
        run_checks(NumberVerifier(), SUMS, check=stop)


# --- what to do about it


def notes_of(pool, source, problems=METRES):
    report = run_checks(PythonVerifier(source, pool), problems)
    return mending.suggest(source, report.to_json()["rows"], problems, pool), report


def test_the_note_of_the_picture_names_the_line_and_mends_it(pool):
    [note], _ = notes_of(pool, LENGTHS)
    assert (note.line, note.check) == (9, "gold_in_prose") and note.sentence.startswith("Line 9:") and "Return 0.0" in note.sentence
    assert "    if found is None:\n        return 0.0\n    text = found[1]\n" in note.source
    assert len(note.source.splitlines()) == len(LENGTHS.splitlines()) + 2
    assert run_checks(PythonVerifier(note.source, pool), METRES).failing == 0


@pytest.mark.parametrize("before", ["text = completion if found is None else found[1]", "text = completion if not found else found[1]",
                                    "text = found[1] if found is not None else completion.strip()"])
def test_the_same_said_in_other_words_is_mended_as_well(pool, before):
    [note], _ = notes_of(pool, LENGTHS.replace("text = found[1] if found else completion", before))
    assert note.source and run_checks(PythonVerifier(note.source, pool), METRES).failing == 0


def test_what_may_be_none_is_looked_after(pool):
    notes, _ = notes_of(pool, LENGTHS.replace("    if number is None:\n        return 0.0\n", ""))
    assert notes[0].line == 11 and notes[0].source == LENGTHS and "number" in notes[0].sentence


def test_an_error_is_caught_where_it_is_raised(pool):
    source = ("def verify(prompt, completion, answer):\n"
              "    said = float(completion)  # the number\n    return float(said == float(answer))\n")
    [note, *_], _ = notes_of(pool, source, SUMS[:5])
    assert note.line == 2 and "except ValueError:" in note.source and "ValueError" in note.sentence
    assert run_checks(PythonVerifier(note.source, pool), SUMS[:5]).failing == 0


def test_what_no_small_change_helps_has_a_sentence_alone(pool):
    source = "def verify(prompt, completion, answer):\n    return float(answer in completion)\n"
    [note, *_], _ = notes_of(pool, source, SUMS[:5])
    assert note.line == 2 and note.source == "" and note.sentence


def test_a_change_that_would_cost_gold_its_reward_is_not_offered(pool):
    source = LENGTHS.replace('"<answer>(.*?)</answer>"', '"<result>(.*?)</result>"')     # no gold answer comes in this form
    [note], _ = notes_of(pool, source)
    assert note.line == 9 and note.source == ""


def test_nothing_missed_is_no_note(pool):
    assert notes_of(pool, LENGTHS.replace("found[1] if found else completion", 'found[1] if found else ""'))[0] == []


def test_a_source_cannot_speak_through_the_notes(pool):
    """What reads the source only parses it: nothing of it is run there, and texts in it stay texts."""
    source = 'X = """\nraise SystemExit\n"""\n' + LENGTHS
    [note], _ = notes_of(pool, source)
    assert note.source.startswith('X = """\nraise SystemExit\n"""\n') and note.line == 12


def test_a_megabyte_is_a_megabyte():
    from engine.verifiers.workbench import PLAIN, completion_of
    [text] = completion_of("megabyte", SUMS[0], PLAIN)
    assert MEGABYTE <= len(text) < 1.1 * MEGABYTE
