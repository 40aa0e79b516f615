"""Generators of problems: answers are right by checks of another kind, higher levels are harder, people's run in the sandbox alone."""

import itertools
import re
from collections.abc import Iterator
from fractions import Fraction

import pytest

from engine.contract.errors import FormatError, Missing, NotFound, SettingError
from engine.contract.rows import Problem
from engine.verifiers import making
from engine.verifiers.pool import Pool
from engine.verifiers.programs import run_programs

EACH = [(one.name, level) for one in making.starters() for level in range(1, one.levels + 1)]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(workers=1) as made:
        try:
            made.start()
        except Missing as refused:
            pytest.skip(refused.sentence)
        yield made


@pytest.fixture(scope="module")
def made(pool: Pool) -> dict[tuple[str, int], list[Problem]]:
    return {(name, level): making.make(name, pool, level=level, count=200, seed=3) for name, level in EACH}


def asked(problem: Problem) -> str:
    return problem.prompt[-1].content


# ---- independent checks: each reads the text as a person does


def arithmetic(text: str, answer: str) -> bool:
    [said] = re.findall(r"What is (.*)\?", text)
    assert re.fullmatch(r"[\d+\-*/() ]+", said)
    return eval(re.sub(r"(\d+)", r"Fraction(\1)", said), {"Fraction": Fraction}) == int(answer)


def sorting(text: str, answer: str) -> bool:
    how, listed = re.match(r"Put these (.*?): (.*)\. Answer", text).groups()
    items = listed.split(", ")
    wanted = answer.split(", ")
    assert sorted(items) == sorted(wanted)
    if "alphabetical" in how:
        return wanted == sorted(items, reverse="reverse" in how)
    numbers = [Fraction(item) for item in wanted]
    if "distance" in how:
        return all(abs(a) < abs(b) for a, b in itertools.pairwise(numbers))
    return all((a > b) if "largest to" in how else (a < b) for a, b in itertools.pairwise(numbers))


METRES = {"millimetres": "1/1000", "centimetres": "1/100", "metres": "1", "kilometres": "1000"}
GRAMS = {"grams": "1", "kilograms": "1000", "tonnes": "1000000"}
LITRES = {"millilitres": "1/1000", "centilitres": "1/100", "litres": "1"}
SECONDS = {"seconds": "1", "minutes": "60", "hours": "3600", "days": "86400"}
UNITS = {name: (n, Fraction(size)) for n, units in enumerate((METRES, GRAMS, LITRES, SECONDS)) for name, size in units.items()}


def unit_conversion(text: str, answer: str) -> bool:
    said = Fraction(answer)
    assert re.fullmatch(r"\d+(\.\d*[1-9])?", answer)
    if found := re.match(r"Something moves at (\d+) metres a second", text):
        return said == Fraction(found[1]) * 3600 / 1000
    if found := re.match(r"Something moves at (\d+) kilometres an hour", text):
        return said == Fraction(found[1]) * 1000 / 3600
    if found := re.match(r"A floor is (\d+) metres wide and (\d+) centimetres", text):
        return said == int(found[1]) * Fraction(found[2]) / 100
    if found := re.match(r"A plate is (\d+) centimetres wide and (\d+) millimetres", text):
        return said == int(found[1]) * 10 * int(found[2])
    into, parts = re.match(r"How many (\w+) are (.*?)(?: together)?\?", text).groups()
    amounts = re.findall(r"(\d+) (\w+)", parts)
    assert amounts and {UNITS[unit][0] for _, unit in amounts} == {UNITS[into][0]}
    return said == sum(int(count) * UNITS[unit][1] for count, unit in amounts) / UNITS[into][1]


def logic_puzzles(text: str, answer: str) -> bool:
    if "knights" not in text:
        pairs = [(a, b) if how == "taller" else (b, a) for a, how, b in re.findall(r"(\w+) is (taller|shorter) than (\w+)", text)]
        people = sorted({name for pair in pairs for name in pair})
        rows = [row for row in itertools.permutations(people) if all(row.index(a) < row.index(b) for a, b in pairs)]
        assert len(rows) == 1
        [which] = re.findall(r"Who is the (.*?)\?", text)
        place = {"tallest": 0, "second tallest": 1, "third tallest": 2, "second shortest": len(people) - 2, "shortest": len(people) - 1}
        return rows[0][place[which]] == answer
    said = re.findall(r"(\w+) says: “(.*?)”", text)
    people = [name for name, _ in said]

    def true(speaker: str, words: str, world: dict[str, bool]) -> bool:
        if found := re.fullmatch(r"(\w+) is a (knight|knave)\.", words):
            return world[found[1]] == (found[2] == "knight")
        if found := re.fullmatch(r"(\w+) and (\w+) are both (knight|knave)s\.", words):
            return all(world[found[n]] == (found[3] == "knight") for n in (1, 2))
        if found := re.fullmatch(r"(\w+) and I are of the same kind\.", words):
            return world[found[1]] == world[speaker]
        count = 1 if "one of us is" in words else int(re.fullmatch(r"Exactly (\d) of us are knaves\.", words)[1])
        return list(world.values()).count(False) == count
    worlds = [dict(zip(people, kinds, strict=True)) for kinds in itertools.product((True, False), repeat=len(people))]
    fitting = [world for world in worlds if all(true(name, words, world) == world[name] for name, words in said)]
    assert len(fitting) == 1
    return answer == (", ".join(sorted(name for name in people if not fitting[0][name])) or "nobody")


def sequences(text: str, answer: str) -> bool:
    row = [int(n) for n in re.match(r"Which number comes next: (.*), …\?", text)[1].split(", ")] + [int(answer)]
    steps = [b - a for a, b in itertools.pairwise(row)]
    more = [b - a for a, b in itertools.pairwise(steps)]
    # The known ones decide on the rule, the answer must follow it: any of these families explains the row as a whole.
    straight, bent = len(set(steps)) == 1, len(set(more)) == 1
    halves = len({b - a for a, b in itertools.pairwise(row[::2])}) == 1 == len({b - a for a, b in itertools.pairwise(row[1::2])})
    added = all(c == a + b for a, b, c in zip(row, row[1:], row[2:], strict=False))
    (a, b, c) = row[:3]
    factor = Fraction(c - b, b - a) if b != a else None
    linear = factor is not None and all(y == factor * x + b - factor * a for x, y in itertools.pairwise(row))
    return straight or bent or halves and len(row) > 6 or added or linear


def equations(text: str, answer: str) -> bool:
    x = int(answer)
    said = re.sub(r"^(Solve for x: |What is the larger solution for x: )|\?$", "", text)

    def value(side: str, y: int = 0) -> int:
        side = re.sub(r"(\d)([xy])", r"\1*\2", side.replace("x²", "x*x"))
        assert re.fullmatch(r"[\dxy+\-* ]+", side)
        return eval(side, {"x": x, "y": y})
    if "²" in text:
        left, right = said.split(" = ")
        assert value(left) == int(right) == 0
        return not any(eval(re.sub(r"(\d)x", r"\1*x", left.replace("x²", "x*x")), {"x": n}) == 0 for n in range(x + 1, x + 60))
    halves = [one.split(" = ") for one in said.split(" and ")]
    if len(halves) == 2:
        fits = [y for y in range(-40, 60) if all(value(left, y) == value(right, y) for left, right in halves)]
        return len(fits) == 1
    return value(halves[0][0]) == value(halves[0][1])


CHECKS = {check.__name__: check for check in (arithmetic, sorting, unit_conversion, logic_puzzles, sequences, equations)}


@pytest.mark.parametrize(("name", "level"), EACH)
def test_answers_are_right_by_a_check_of_another_kind(name: str, level: int, made: dict[tuple[str, int], list[Problem]]) -> None:
    found = made[name, level]
    assert len(found) == 200 == len({p.prompt for p in found}) == len({p.id for p in found})
    for problem in found:
        assert CHECKS[name](asked(problem), problem.answer), (asked(problem), problem.answer)
        assert problem.difficulty == level and problem.origin == f"generator:{name}@{level}" and not problem.held_out
    assert len({p.answer for p in found}) > (8 if name == "logic_puzzles" else 20), "answers that could be guessed"


def load(problem: Problem) -> float:
    """How much there is to do: the numbers of a text with their digits, and its words."""
    text = asked(problem)
    return len(text.split()) + 2 * sum(map(len, re.findall(r"\d+", text))) + len(str(problem.answer))


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_higher_levels_are_harder(name: str, made: dict[tuple[str, int], list[Problem]]) -> None:
    loads = [sum(map(load, made[name, level])) / 200 for level in range(1, making.starter(name).levels + 1)]
    if name == "sorting":
        del loads[3]  # words have no digits
    if name == "equations":
        del loads[4]  # a square is another matter
        assert all("x²" in asked(p) for p in made[name, 5])
    if name == "sequences":
        # The rows grow little; what grows is the share that a straight line does not explain.
        bent = []
        for level in range(1, 6):
            rows = [[int(n) for n in re.findall(r"-?\d+", asked(p))] for p in made[name, level]]
            bent.append(sum(len({b - a for a, b in itertools.pairwise(row)}) > 1 for row in rows))
        assert bent[0] == 0 < bent[1] < bent[2] and bent[3] >= 190 and bent[4] >= 190
        return
    assert loads == sorted(loads) and loads[-1] > 1.3 * loads[0], loads


def test_the_same_seed_makes_the_same_problems_whatever_the_number(pool: Pool, made: dict[tuple[str, int], list[Problem]]) -> None:
    again = making.make("logic_puzzles", pool, level=4, count=50, seed=3)
    assert [p.id for p in again] == [p.id for p in made["logic_puzzles", 4]][:50]
    assert {p.id for p in making.make("logic_puzzles", pool, level=4, count=50, seed=4)} != {p.id for p in again}
    own = "import random as chance\n\ndef generate(random, level):\n    n = chance.randint(1, 10**9)\n" \
          "    return {'prompt': f'{n}?', 'answer': n}\n"
    assert making.make(own, pool, count=450) == making.make(own, pool, count=450)


def test_what_a_generator_gives_is_kept(pool: Pool) -> None:
    source = '''"""Areas.

Of rectangles."""
LEVELS = 2

def generate(random, level):
    a, b = random.randint(1, 9), random.randint(1, 9)
    return {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Area of {a} by {b}?"}],
            "answer": {"entry": "area", "tests": [{"arguments": (a, b), "expected": a * b}]}, "solution": "a * b", "difficulty": a * b,
            "inputs": [a, b], "held_out": a == b}
'''
    found = making.look(source, "mine")
    assert (found.name, found.title, found.help, found.levels) == ("mine", "Areas", "Of rectangles.", 2)
    rows = list(making.stream(found, pool, levels=(1, 2), count=500, seed=1))
    assert len(rows) == 81, "fewer where there are no more"
    for row in rows:
        a, b = row.facts["inputs"]
        assert row.answer == {"entry": "area", "tests": [{"arguments": [a, b], "expected": a * b}]} and row.difficulty == a * b
        assert row.facts["solution"] == "a * b" and row.held_out == (a == b) and row.origin == "generator:mine@1"
        assert [m.role for m in row.prompt] == ["system", "user"]


@pytest.mark.parametrize(("source", "words"), [
    ("def generate(random, level):\n    return (1,\n", "Line 2: '(' was never closed"),
    ("def make(random, level):\n    pass\n", "no function `generate`"),
    ("def generate(random):\n    pass\n", "Line 1: `generate` must take"),
    ("def generate(level, seed, count):\n    pass\n", "Line 1: `generate` must take"),
    ("def generate(random, level, *, count):\n    pass\n", "Line 1: `generate` must take"),
    ("from math import pi as generate\n", "no function `generate`"),
    ("def generate(random, level):\n    return 1 / 0\n", "Line 2: ZeroDivisionError"),
    ("x = 1\nraise ValueError('top')\ndef generate(random, level):\n    pass\n", "Line 2: ValueError: top"),
    ("def generate(random, level):\n    while True: pass\n", "does not come to an end"),
    ("def generate(random, level):\n    return bytearray(1 << 30)\n", "too much memory"),
    ("import os\ndef generate(random, level):\n    return os.listdir('/')\n", "Line 3:"),
    ("def generate(random, level):\n    return 'text'\n", "no dict with a prompt and an answer"),
    ("def generate(random, level):\n    return {'prompt': '', 'answer': 1}\n", "does not end with a question"),
    ("def generate(random, level):\n    return {'prompt': 'a', 'answer': ''}\n", "has no answer"),
    ("def generate(random, level):\n    return {'prompt': 'a', 'answer': float('nan')}\n", "JSON cannot hold"),
    ("def generate(random, level):\n    return {'prompt': 'a' * 200000, 'answer': 1}\n", "prompt is too long"),
    ("def generate(random, level):\n    return {'prompt': chr(0xd800), 'answer': 1}\n", ""),
    ("def generate(random, level):\n    return {'prompt': 'a', 'answer': 1, 'difficulty': 'b'}\n", "difficulty is no number"),
    ("def generate(random, level):\n    return {'prompt': 'a', 'answer': object()}\n", "TypeError"),
])
def test_a_generator_that_is_none_is_refused_with_the_reason(source: str, words: str, pool: Pool) -> None:
    with pytest.raises(FormatError) as refused:
        making.make(source, pool, count=3)
    assert words in refused.value.sentence and refused.value.code in ("generator_source", "generator")


def test_a_source_is_never_run_outside_of_the_sandbox(pool: Pool, tmp_path) -> None:
    place = tmp_path / "written"
    source = f"try:\n    open({str(place)!r}, 'w').write('x')\nexcept Exception:\n    pass\nOUT = 1\n\n" \
             "def generate(random, level):\n    import sys\n    return {'prompt': 'Which?', 'answer': sys.platform}\n"
    making.look(source)
    [row] = making.make(source, pool, count=1)
    assert row.answer == "wasi" and not place.exists()


def test_a_batch_that_takes_too_long_is_drawn_in_smaller_ones(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = "def generate(random, level):\n    n = random.random()\n    for _ in range(100_000): pass\n" \
           "    return {'prompt': f'{n}?', 'answer': n}"
    sizes: list[int] = []

    def impatient(pool: Pool, programs: list, **more: object) -> list:
        sizes.append(programs[0][1][0].arguments[-1])
        return run_programs(pool, programs, seconds=0.15, **more)
    whole = making.make(slow, pool, count=30)
    monkeypatch.setattr(making, "run_programs", impatient)
    assert making.make(slow, pool, count=30) == whole
    assert sizes[0] == 60 and sizes[1] == 10


def test_unknown_names_and_levels_are_refused(pool: Pool, tmp_path) -> None:
    with pytest.raises(NotFound, match="arithmetic"):
        making.make("poetry", pool)
    for level in (0, 6):
        with pytest.raises(SettingError):
            making.make("arithmetic", pool, level=level)
    own = tmp_path / "mine.py"
    own.write_text("def generate(random, level):\n    return {'prompt': 'Which?', 'answer': 'this'}\n")
    [row] = making.make(str(own), pool, count=5)
    assert row.origin == "generator:mine@1"
