"""When a run stops over its verifier: worked by hand."""

import pytest

from engine.verifiers.api import Attempt, Verdict, failed
from engine.verifiers.pausing import judge, unscored
from engine.verifiers.pool import Pool
from engine.verifiers.python_verifier import PythonVerifier

GOOD = Verdict(1.0)
BAD = failed("raised", "ZeroDivisionError: division by zero", line=7)
SLOW = failed("timeout")


@pytest.mark.parametrize(("good", "bad", "before", "pause"), [
    (100, 0, 0, False), (95, 5, 1000, False), (94, 6, 1000, True), (19, 1, 0, False), (18, 1, 0, True), (0, 1, 0, True), (0, 8, 64, True),
    (90, 10, 0, True), (0, 0, 0, False),
])
def test_over_five_percent_of_a_batch_pauses(good: int, bad: int, before: int, pause: bool) -> None:
    judgement = judge([GOOD] * good + [BAD] * bad, calls_before=before)
    assert judgement.pause is pause
    if bad:
        assert judgement.line == 7 and "line 7" in judgement.sentence and "ZeroDivisionError" in judgement.sentence
        assert judgement.counts == {"raised": bad} and unscored(judgement.counts) == bad
    else:
        assert judgement.sentence == "" and judgement.line is None


def test_the_commonest_place_is_named() -> None:
    other = failed("not_a_number", "It returned no number: NoneType", line=3)
    judgement = judge([GOOD] * 10 + [other] * 3 + [BAD] * 2)
    assert judgement.line == 3 and "NoneType" in judgement.sentence and judgement.counts == {"not_a_number": 3, "raised": 2}


def test_timeouts_count_as_nothing_and_warn_over_one_percent() -> None:
    judgement = judge([GOOD] * 98 + [SLOW] * 2)
    assert not judgement.pause and "2.0" in judgement.sentence and unscored(judgement.counts) == 0
    assert judge([GOOD] * 99 + [SLOW]).sentence == ""
    assert judge([GOOD] * 99 + [SLOW], timeouts_before=30, calls_before=900).sentence
    assert not judge([SLOW] * 10).pause


def test_failures_of_the_models_programs_never_pause() -> None:
    assert judge([failed("program_raised"), failed("program_timeout")] * 10).sentence == ""


def test_a_verifier_that_raises_on_a_tenth_of_the_rows_pauses_at_its_line(pool: Pool) -> None:
    source = ("def verify(prompt, completion, answer):\n    number = int(completion)\n"
              "    return 10 / number and float(number == int(answer))\n")
    verdicts = PythonVerifier(source, pool).score([Attempt((), str(n % 10), "4") for n in range(200)])
    judgement = judge(verdicts, calls_before=1000)
    assert judgement.pause and judgement.line == 3 and "ZeroDivisionError" in judgement.sentence and judgement.counts == {"raised": 20}
    assert [one.score for one in verdicts[:11]] == [None, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, None]
