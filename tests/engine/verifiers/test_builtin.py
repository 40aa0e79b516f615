"""The verifiers that come with the program, on right answers, wrong ones and ones that try to be right by accident; and all of GSM8K."""

import json
import re
import time
from fractions import Fraction
from pathlib import Path

import pytest

from engine.contract.errors import FormatError, SettingError
from engine.verifiers.api import Attempt, Verdict, Verifier
from engine.verifiers.builtin import (
    ChoiceVerifier,
    LengthVerifier,
    MathVerifier,
    NumberVerifier,
    PatternVerifier,
    SchemaVerifier,
    TagsVerifier,
    TextVerifier,
    Weighted,
    unusable,
)
from engine.verifiers.finding import boxed, fenced, final_answer, last_number, number_of, tagged
from engine.verifiers.pool import Pool
from engine.verifiers.python_verifier import PythonVerifier

GSM8K = Path(__file__).parents[3] / ".." / "shared" / "data" / "gsm8k-train.jsonl"


def score(verifier: Verifier, completion: str, answer: object = "") -> float | None:
    [verdict] = verifier.score([Attempt(({"role": "user", "content": "?"},), completion, answer)])
    return verdict.score


# --- finding answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "found"), [
    ("so <answer> 4 </answer>", "4"), ("<answer>3</answer> no: <answer>4</answer>", "4"),
    (r"thus $\boxed{\frac{1}{2}}$ is it", r"\frac{1}{2}"),
    (r"<answer>\boxed{7}</answer>", "7"), ("12 + 5 = 17\n#### 17", "17"), ("#### 1\n#### 2\nmore", "2"), ("The answer is 12.", "12"),
    ("Final answer: B\nbecause", "B"), ("no mark at all, 12", None), (r"\boxed{open", None), ("<answer>open", None), ("", None),
])
def test_the_answer_is_found(text: str, found: str | None) -> None:
    assert final_answer(text) == found


@pytest.mark.parametrize(("text", "value"), [
    ("42", 42), ("-3", -3), ("\u22127", -7), ("1,234", 1234), ("1,234,567.5", Fraction("1234567.5")), ("$18", 18), ("18 %", 18),
    ("3/4", Fraction(3, 4)),
    ("2e3", 2000), (".5", Fraction(1, 2)), ("5.", 5), ("**42**", 42), ("0.1", Fraction(1, 10)), ("1e-3", Fraction(1, 1000)), ("-$5", -5),
    ("1e9999999", None), ("1/0", None), ("", None), ("-", None), ("12,34", None), ("four", None), ("1 2", None), ("9" * 5000, None),
    ("nan", None),
    ("0x10", None), ("1_000", None), ("\u0663", 3),
])
def test_a_number_is_read_exactly(text: str, value: Fraction | None) -> None:
    assert number_of(text) == value


@pytest.mark.parametrize(("text", "value"), [
    ("7-3 is 4", 4), ("it is 7-3", 3), ("it falls by -3", -3), ("from 1,200 to 1,500 dollars", 1500), ("3 apples, 4 pears.", 4),
    ("half: 1/2.", Fraction(1, 2)),
    ("pi is 3.14.", Fraction("3.14")), ("none", None), ("(2)-5", 5),
])
def test_the_last_number_is_found(text: str, value: Fraction | None) -> None:
    assert last_number(text) == value


def test_blocks_tags_and_boxes() -> None:
    text = "a\n```python\nx = 1\n```\nb\n```json\n{}\n```\n```\ny\n"
    assert fenced(text, ("", "python")) == ["x = 1", "y"] and fenced(text, ("json",)) == ["{}"]
    assert tagged("<a>1</a><a>2</a>", "a") == "2" and tagged("<a>1", "a") is None
    assert boxed(r"\boxed{a{b}c} \boxed{{x}}") == "{x}"


@pytest.mark.parametrize("text", [
    "1" * 10**6, "1," * 500_000, "1,234" * 200_000, "-" * 10**6, "1e" * 500_000, "1/" * 500_000, "\\boxed{" * 150_000, "{" * 10**6,
    "<answer>" * 120_000, "```" * 300_000, "```" + " " * 10**6, "the answer is " * 70_000, "####" * 250_000, "$" * 10**6, "A " * 500_000,
    " " * 10**6, "\0" * 10**6, "\u0130" * 300_000, "<think>" * 140_000, "1 " * 500_000, ".5" * 500_000, "é" * 10**6,
])
def test_a_megabyte_of_anything_takes_no_time(text: str) -> None:
    """On the machine itself, where nothing stops what runs for ever."""
    began = time.process_time()
    for verifier in (TextVerifier("normalised", "answer"), NumberVerifier(), ChoiceVerifier(), TagsVerifier(), LengthVerifier()):
        assert isinstance(score(verifier, text, "4"), float)
    fenced(text, ("",))
    assert time.process_time() - began < 3


# --- one by one ------------------------------------------------------------------------------------------------------------------


def test_text() -> None:
    assert score(TextVerifier(), " Paris\n", "Paris") == 1.0 and score(TextVerifier(), "paris", "Paris") == 0.0
    loose = TextVerifier("normalised")
    assert score(loose, "  “PARIS”. ", "paris") == 1.0 and score(loose, "Ｐａｒｉｓ", "Paris") == 1.0 and score(loose, "Paris, I think",
    "Paris") == 0.0
    assert score(TextVerifier("normalised", "answer"), "I think so. The answer is Paris.", "paris") == 1.0
    assert [row for row, _ in unusable(TextVerifier(), ["a", " ", 3, True, None])] == [1, 3, 4] and score(TextVerifier(), "3", 3) == 1.0
    assert [row for row, _ in unusable(loose, ["a", "”", "."])] == [1, 2], "as an empty completion is"


@pytest.mark.parametrize(("completion", "gold", "expected"), [
    ("48 / 2 = 24\n48 + 24 = 72\n#### 72", "72", 1.0), ("It is 72", "72", 1.0), ("It is 72.0", "72", 1.0),
    ("It is 71 or 72 or 73", "72", 0.0),
    ("#### 72\nor 73", "72", 1.0), ("<answer>72</answer>", 72, 1.0), ("72", 72.0, 1.0), ("The answer is 72 apples.", "72", 1.0),
    ("", "72", 0.0),
    ("1,080", "1080", 1.0), ("no", "72", 0.0), ("0", "0", 1.0), ("<answer>0</answer> 5", "0", 1.0), (r"\boxed{-3/4}", "-0.75", 1.0),
    ("72", "lots", 0.0),
])
def test_number(completion: str, gold: object, expected: float) -> None:
    assert score(NumberVerifier(), completion, gold) == expected


def test_number_with_tolerance() -> None:
    assert score(NumberVerifier(0.01), "3.14", "3.145") == 1.0 and score(NumberVerifier(0.001), "3.14", "3.145") == 0.0
    assert score(NumberVerifier(0.1, relative=True), "95", "100") == 1.0 and score(NumberVerifier(0.01, relative=True), "95", "100") == 0.0
    assert score(NumberVerifier(0.3), "1.3", "1") == 1.0 and score(NumberVerifier(0.3), "1.31", "1") == 0.0
    assert [row for row, _ in unusable(NumberVerifier(), ["1", "lots", "#### 5", True, float("nan"), "1,000"])] == [1, 3, 4]


@pytest.mark.parametrize(("completion", "expected"), [
    ("B", 1.0), ("The answer: (b)", 1.0), ("The answer is (B).", 1.0), ("**B**", 1.0), (r"\boxed{B}", 1.0), (r"\boxed{\text{B}}", 1.0),
    ("<answer>B) Paris</answer>", 1.0),
    ("A is wrong, so B", 1.0), ("A B C D", 0.0), ("Because A", 0.0), ("", 0.0), ("The answer is C", 0.0), ("the answer is b", 1.0),
    ("K", 0.0),
    ("A man said: B. Then I'd leave", 1.0),
])
def test_choice(completion: str, expected: float) -> None:
    assert score(ChoiceVerifier(4), completion, "B") == expected


@pytest.mark.parametrize(("completion", "expected"), [
    ("The right choice is B, because I computed it.", 1.0), ("The answer: I think B", 1.0), ("I", 0.0), ("B or I", 0.0),
])
def test_who_says_i_chooses_nothing_by_it(completion: str, expected: float) -> None:
    assert score(ChoiceVerifier(), completion, "B") == expected and score(ChoiceVerifier(), "The answer is I.", "I") == 1.0


def test_tags() -> None:
    good = "<think>2+2</think>\n<answer>4</answer>"
    verifier = TagsVerifier()
    assert score(verifier, good) == 1.0
    for bad in ("x" + good, good + "x", "<answer>4</answer><think>a</think>", "<think></think><answer>4</answer>", good + good,
    "<think>a</think>", "",
                "<think>a<answer>4</answer></think>", "<think>a</think>x<answer>4</answer>"):
        assert score(verifier, bad) == 0.0, bad
    assert score(TagsVerifier(partial=True), "<think>a</think>") == 0.25


def test_length() -> None:
    verifier = LengthVerifier(2, 4, slope=4)
    assert [score(verifier, "x " * n) for n in (0, 1, 2, 4, 5, 6, 8, 20)] == [0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.0, 0.0]
    assert score(LengthVerifier(0, 3, unit="characters"), "abcd") == 0.0


def test_schema() -> None:
    verifier = SchemaVerifier({"type": "object", "properties": {"n": {"type": "integer"}, "s": {"pattern": "^(a+)+$"}}, "required": ["n"]})
    assert score(verifier, '{"n": 3}') == 1.0 and score(verifier, 'so:\n```json\n{"n": 3}\n```') == 1.0
    for bad in ('{"n": "3"}', "{}", "n", '{"n": NaN}', '{"n": 1e999}', "[" * 10**5, '{"n": 3} and more', 
                '{"n": 3, "s": "' + "a" * 60 + '!"}', "Infinity"):
        assert score(verifier, bad) == 0.0, bad[:40]


@pytest.mark.parametrize("schema", [{"type": 5}, {"$ref": "http://127.0.0.1:9/x.json"}, {"$ref": "file:///etc/passwd"}, {"pattern": "("}])
def test_a_schema_that_is_none_or_leads_elsewhere_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(SettingError) as wrong:
        SchemaVerifier(schema)
    assert wrong.value.remedy


def test_pattern(pool: Pool) -> None:
    verifier = PatternVerifier(pool, r"answer:\s*{answer}\b", ignore_case=True)
    assert score(verifier, "ANSWER:  a.b", "a.b") == 1.0 and score(verifier, "answer: aXb", "a.b") == 0.0
    assert score(PatternVerifier(pool, r"\d+", whole=True), "12") == 1.0 and score(PatternVerifier(pool, r"\d+", whole=True), "12a") == 0.0
    assert [row for row, _ in unusable(verifier, ["5", "", " "])] == [1, 2] and unusable(PatternVerifier(pool, "5"), [""]) == []
    with pytest.raises(FormatError):
        PatternVerifier(pool, "(")
    [verdict] = PatternVerifier(pool, "(a+)+b").score([Attempt((), "a" * 100)])
    assert (verdict.score, verdict.error) == (0.0, "timeout")


@pytest.mark.parametrize(("completion", "gold", "expected"), [
    (r"so $\boxed{\frac{1}{2}}$", "0.5", 1.0), ("<answer>1/2</answer>", r"\frac{1}{2}", 1.0),
    (r"\boxed{\frac{\sqrt{8}}{2}}", r"\sqrt{2}", 1.0),
    (r"\boxed{(x+1)^2}", "x^2+2x+1", 1.0), (r"\boxed{x^2+2x}", "x^2+2x+1", 0.0), (r"\boxed{0.785398}", r"\frac{\pi}{4}", 1.0),
    (r"\boxed{0.7854}", r"\frac{\pi}{4}", 0.0), (r"\boxed{\{3,1,2\}}", r"\{1,2,3\}", 1.0), (r"\boxed{(1,2)}", "(2,1)", 0.0),
    ("It is 72.", "72", 1.0),
    ("#### 1,080", "1080", 1.0), ("#### 71", "72", 0.0), ("", "72", 0.0),
    (r"\boxed{\begin{pmatrix}1\\2\end{pmatrix}}", r"\begin{pmatrix}1\\2\end{pmatrix}", 1.0),
    (r"\boxed{70, 71, 72}", "72", 0.0), (r"\boxed{71 or 72}", "72", 0.0), (r"\boxed{x=71, x=72}", "72", 0.0),
    (r"\boxed{nonsense 72 \foo{}}", "72", 0.0),
    (r"\boxed{\int_0^1 x dx}", r"\frac{1}{2}", 1.0), (r"The final answer is $\frac{3}{6}$.", r"\frac{1}{2}", 1.0),
])
def test_mathematics(completion: str, gold: str, expected: float, pool: Pool) -> None:
    [verdict] = MathVerifier(pool).score([Attempt((), completion, gold)])
    assert (verdict.score, verdict.error) == (expected, None), verdict


@pytest.mark.parametrize("completion", [
    r"\boxed{9^{9^{9^{9}}}}", r"\boxed{100000000!}", r"\boxed{__import__('os').system('x')}", r"\boxed{" + "x+" * 1900 + "1}",
    r"\boxed{\frac" * 800,
    r"\boxed{().__class__.__base__.__subclasses__()}", "$" * 4000, "(" * 4000, r"\boxed{\int_0^1 \int_0^1 \sin(\sin(\sin(x^y)))^{x} dx dy}",
])
def test_hostile_mathematics_is_worth_nothing_and_ends(completion: str, pool: Pool) -> None:
    [verdict] = MathVerifier(pool, seconds=0.5).score([Attempt((), completion, r"\sqrt{2}")])
    assert verdict.score in (0.0, None) and verdict.error in (None, "timeout", "crash", "memory", "raised")


def test_gold_answers_that_cannot_be_read_are_listed(pool: Pool) -> None:
    assert [row for row, _ in unusable(MathVerifier(pool), ["72", r"\frac{1}{2}", "", r"\frac{", "1,000"])] == [2, 3]


# --- several together -------------------------------------------------------------------------------------------------------------


def test_weighted_sums_and_products(pool: Pool) -> None:
    completion = "<think>17+25</think><answer>42</answer>"
    parts: list[tuple[str, float, Verifier]] = [("right", 1.0, NumberVerifier()), ("form", 0.5, TagsVerifier())]
    [verdict] = Weighted(parts).score([Attempt((), completion, "42")])
    assert verdict.score == 1.5 and verdict.parts == {"right": 1.0, "form": 1.0}
    assert score(Weighted(parts), "42", "42") == 1.0 and score(Weighted(parts, product=True), "42", "42") == 0.0
    assert score(Weighted(parts, product=True), completion, "42") == 1.0
    assert score(Weighted([("a", 2.0, LengthVerifier(4, 4, slope=4))], product=True), "x x") == 0.25
    assert [row for row, _ in unusable(Weighted(parts), ["1", "lots"])] == [1]
    broken = PythonVerifier("def verify(prompt, completion, answer):\n    return 1 / len(completion)", pool)
    verdicts = Weighted([*parts, ("own", 1.0, broken)]).score([Attempt((), "", "42"), Attempt((), "42", "42")])
    assert (verdicts[0].score, verdicts[0].error, verdicts[0].line) == (None, "raised", 2) and verdicts[1].score == 1.5


def test_parts_that_make_a_whole_are_a_whole() -> None:
    shape = LengthVerifier()
    parts: list[tuple[str, float, Verifier]] = [("right", 0.7, NumberVerifier()), ("short", 0.2, shape), ("small", 0.1, shape)]
    assert score(Weighted(parts), "42", "42") == 1.0


def test_a_product_beyond_all_is_out_of_range(pool: Pool) -> None:
    large = PythonVerifier("def verify(prompt, completion, answer):\n    return 999999", pool)
    [verdict] = Weighted([("own", 1000.0, large)], product=True).score([Attempt((), "", "")])
    assert (verdict.score, verdict.error) == (None, "out_of_range")


# --- GSM8K -------------------------------------------------------------------------------------------------------------------------


def rows() -> list[tuple[str, str, str]]:
    """(solution, gold, solution with another last number) of every problem."""
    if not GSM8K.exists():
        pytest.skip("GSM8K's file is not beside the checkout")
    found = []
    for line in GSM8K.read_text(encoding="utf-8").splitlines():
        solution = json.loads(line)["answer"]
        gold = solution.rpartition("####")[2].strip()
        other = str(int(gold.replace(",", "")) + 1) if re.fullmatch(r"-?[\d,]+", gold) else gold + "1"
        found.append((solution, gold, solution.rpartition("####")[0] + f"#### {other}"))
    assert len(found) == 7473
    return found


def means(verdicts: list[Verdict]) -> set[float | None]:
    return {verdict.score for verdict in verdicts}


def test_gsm8k_by_numbers() -> None:
    found, verifier = rows(), NumberVerifier()
    assert unusable(verifier, [gold for _, gold, _ in found]) == []
    assert means(verifier.score([Attempt((), solution, gold) for solution, gold, _ in found])) == {1.0}
    assert means(verifier.score([Attempt((), other, gold) for _, gold, other in found])) == {0.0}


def test_gsm8k_by_mathematics(pool: Pool) -> None:
    found, verifier = rows(), MathVerifier(pool)
    assert unusable(verifier, [gold for _, gold, _ in found]) == []
    assert means(verifier.score([Attempt((), solution, gold) for solution, gold, _ in found])) == {1.0}
    assert means(verifier.score([Attempt((), other, gold) for _, gold, other in found])) == {0.0}


def test_gsm8k_by_math_verify_itself(pool: Pool) -> None:
    """A part of it with the numbers in boxes of LaTeX, so that nothing is decided outside the sandbox."""
    found, verifier = [(gold, gold.replace(",", "")) for _, gold, _ in rows()[::400]], MathVerifier(pool)
    assert means(verifier.score([Attempt((), rf"$\boxed{{\frac{{2 \cdot {bare}}}{{2}}}}$", gold) for gold, bare in found])) == {1.0}
    assert means(verifier.score([Attempt((), rf"$\boxed{{\frac{{2 \cdot {gold}}}{{2}}+1}}$", gold) for gold, _ in found])) == {0.0}
