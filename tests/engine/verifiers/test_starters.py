"""The verifiers that come with Fledge: right answers in all their forms score, and no nonsense does."""

import random

import pytest

from engine.contract.composition import digest
from engine.contract.errors import NotFound
from engine.contract.rows import Message, Problem, problem_id
from engine.project import trust
from engine.project.project import Project
from engine.verifiers.api import Attempt
from engine.verifiers.pool import Pool
from engine.verifiers.python_verifier import PythonVerifier
from engine.verifiers.starters import starter, starters, title_of
from engine.verifiers.workbench import run_checks

NAMES = ("answer_tags", "json_object", "last_number", "multiple_choice", "sorted_list", "think_then_answer", "unit_length")


def problem(text: str, answer: object) -> Problem:
    prompt = (Message(role="user", content=text),)
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer)


def problems(name: str) -> list[Problem]:
    draw = random.Random(5)
    made = []
    for n in range(40):
        a, b = draw.randint(-99, 999), draw.randint(1, 99)
        if name == "unit_length":
            made.append(problem(f"{b} m less {n} cm?", f"{b - n / 100:.2f} m" if n % 3 else f"{b} km"))
        elif name == "multiple_choice":
            letter = "ABCD"[n % 4]
            made.append(problem(f"Which is larger than {b}?\nA) {b - 1}\nB) {b}\nC) {b + 1}\nD) 0", letter if n % 2 else f"{letter}) {b}"))
        elif name == "sorted_list":
            row = [draw.randint(-9, 99) / (10 if n % 2 else 1) for _ in range(5)]
            given, wanted = (", ".join(f"{x:g}" for x in some) for some in (row, sorted(row)))
            made.append(problem(f"Put these in order: {given}. Answer with the list alone.", wanted))
        elif name == "json_object":
            made.append(problem(f"A person called P{n} aged {b}, as JSON.", f'{{"name": "P{n}", "age": {b}, "tags": ["x", {a}]}}'))
        elif name == "answer_tags" and n % 2:
            made.append(problem(f"Which town is number {n}?", f"Town {n}, the Old"))
        else:
            made.append(problem(f"What is {a} + {b}?" if n % 4 else f"How much is left of {a + b} after {b} and {a}?", f"{a + b:,}"))
    return made


@pytest.mark.parametrize("name", NAMES)
def test_gold_scores_full_and_nonsense_nothing(name: str, pool: Pool) -> None:
    verifier = PythonVerifier(starter(name).source, pool)
    assert verifier.reuse, f"{verifier.reason}: each call would need an interpreter of its own"
    report = run_checks(verifier, problems(name))
    wrong = [(row.id, row.got, row.sentence, row.misses[:2]) for row in report.rows if not row.ok]
    assert not report.failing and not report.unusable, wrong
    assert all(row.tried for row in report.rows), "every probe was tried"


RIGHT, WRONG = {
    "last_number": [("72", "72"), ("So 48 + 24 = 72.", "72"), ("#### 1,234", "1234"), ("It is 3.50 euros.", "3.5"), ("-4", "-4"),
                    ("48/2 = 24\n#### 24", "Half of 48 is 24\n#### 24"), ("\\boxed{72}", "72"), ("<answer>72</answer>", "72")],
    "unit_length": [("<answer>11.65 m</answer>", "11.65 m"), ("so <answer>1165 cm</answer>", "11.65 m"),
                    ("<answer>4100m.</answer>", "4.1 km"), ("<answer>4,100 metres</answer>", "4.1 km"), ("<answer>48</answer>", "48")],
    "answer_tags": [("<think>x</think><answer> Paris. </answer>", "paris"), ("<answer>48.0</answer>", "48")],
    "think_then_answer": [("<think>one and one make</think>\n<answer>2</answer>", "2")],
    "sorted_list": [("1, 2, 3", "1,2,3"), ("First I look.\n[1, 2, 3]", "1, 2, 3"), ("<answer>ant, bee and cat</answer>", "Ant, Bee, Cat"),
                    ("1 < 2.50 < 3", "1, 2.5, 3")],
    "multiple_choice": [("B", "B"), ("(B)", "B"), ("B) Paris", "B. Paris"), ("A is wrong, so the answer is B.", "B"), ("**B**", "B"),
                        ("The answer is (B)", "B"), ("A or B?\n<answer>B</answer>", "B")],
    "json_object": [('{"a": 1, "b": [true]}', '{"b": [true], "a": 1.0}'), ('Here:\n```json\n{"a": 1}\n```', {"a": 1})],
}, {
    "last_number": [("72 is wrong, 71", "72"), ("x72", "72"), ("7.2", "72"), ("72 or 73", "72"),
                    ("72%-ish, I would say, as far as I can tell", "72"), ("5-72", "72"), ("", "0"), ("-72", "72"), ("1 2 3 4", "1234")],
    "unit_length": [("11.65 m", "11.65 m"), ("<answer>11.65 cm</answer>", "11.65 m"), ("<answer>11.65 m or 12 m</answer>", "11.65 m"),
                    ("<answer>11.65 kg</answer>", "11.65 m")],
    "answer_tags": [("Paris", "Paris"), ("<answer>Paris</answer><answer>Rome</answer>", "Paris"),
                    ("<answer>Paris</answer> or Rome", "Paris"), ("<answer></answer>", " ")],
    "think_then_answer": [("<think>one and one make</think><answer>3</answer>", "2"), ("2", "2"), ("<answer>1 2</answer>", "2")],
    "sorted_list": [("1, 2", "1, 2, 3"), ("1, 2, 3, 4", "1, 2, 3"), ("1, 2, 3\nor so", "1, 2, 3"), ("", "1, 2")],
    "multiple_choice": [("A", "B"), ("A, B", "B"), ("A B", "B"), ("b", "B"), ("Better not", "B"), ("the answer is B or C", "B"), ("", "B")],
    "json_object": [('{"a": 1, "x": 2}', '{"a": 1}'), ('{"a": true}', '{"a": 1}'), ('{"a": "1"}', '{"a": 1}'), ("[1]", '{"a": 1}'),
                    ('{"a": NaN}', '{"a": 1}'), ("[" * 50_000, '{"a": 1}'), ('It is {"a": 1}', '{"a": 1}')],
}


@pytest.mark.parametrize("name", NAMES)
def test_what_counts_and_what_does_not(name: str, pool: Pool) -> None:
    verifier = PythonVerifier(starter(name).source, pool)
    for wanted, cases in ((1.0, RIGHT[name]), (0.0, WRONG[name])):
        verdicts = verifier.score([Attempt([{"role": "user", "content": "?"}], completion, answer) for completion, answer in cases])
        assert [(case, v.score, v.message) for case, v in zip(cases, verdicts, strict=True) if v.score != pytest.approx(wanted)] == []


def test_shares_of_a_score(pool: Pool) -> None:
    for name, completion, answer, score in (("unit_length", "<answer>11.65</answer>", "11.65 m", 0.5),
                                            ("sorted_list", "1, 3, 2", "1, 2, 3", 0.5 / 3),
                                            ("json_object", '{"a": 1}', '{"a": 1, "b": 2}', 0.5),
                                            ("think_then_answer", "<answer>2</answer>", "2", 0.8)):
        [verdict] = PythonVerifier(starter(name).source, pool).score([Attempt([], completion, answer)])
        assert verdict.score == pytest.approx(score), name


@pytest.mark.parametrize("name", [n for n in NAMES if n != "answer_tags"])
def test_an_answer_of_another_kind_is_an_error_and_no_zero(name: str, pool: Pool) -> None:
    completion = "<answer>48</answer>" if name in ("unit_length", "think_then_answer") else "48"
    [verdict] = PythonVerifier(starter(name).source, pool).score([Attempt([], completion, "something else")])
    assert (verdict.score, verdict.error) == (None, "raised") and verdict.line and "answer" in verdict.message


def test_starters_are_read_and_trusted_when_they_are_taken(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    assert tuple(one.name for one in starters()) == NAMES and all(one.title and one.help.endswith(".") for one in starters())
    one = starter("last_number.py")
    made = Project.create(tmp_path / "p").library.verifiers.create(one.title, "python", one.source, origin=one.origin)
    assert made.title == "The last number" and trust.trusted(digest(one.source))
    with pytest.raises(NotFound, match="last_number"):
        starter("nothing")
    assert title_of('"""So.\n\nMore"""') == "So" and title_of("def (") == "" == title_of("x = 1")
