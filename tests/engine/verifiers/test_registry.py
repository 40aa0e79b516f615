"""Kinds of parts and compositions of them: each scores as it says, says what it needs, and refuses what it cannot take."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.contract.composition import parse
from engine.contract.errors import FormatError, Missing, NotFound, SettingError
from engine.contract.spec import Settings
from engine.verifiers.api import Attempt
from engine.verifiers.image import checked_image
from engine.verifiers.registry import KINDS, Resources, compose, needs, problems, reads_answer, reward_models

ROOT = Path(__file__).resolve().parents[3]
SOURCE = "def verify(prompt, completion, answer):\n    print('looked')\n    return {'right': float(answer in completion), 'short': 0.5}\n"


@pytest.fixture(scope="module")
def resources() -> Iterator[Resources]:
    with Resources() as made:
        yield made


@pytest.fixture
def sandbox() -> None:
    try:
        checked_image()
    except Missing as wrong:
        pytest.skip(str(wrong))


def attempt(completion: str, answer: object = "", prompt: str = "?") -> Attempt:
    return Attempt([{"role": "user", "content": prompt}], completion, answer)


def score(resources: Resources, parts: object, completion: str, answer: object = "") -> float | None:
    return compose(parse(json.dumps(parts)), resources).score([attempt(completion, answer)])[0].score


def test_looking_at_kinds_loads_neither_torch_nor_the_sandbox() -> None:
    done = subprocess.run([sys.executable, "-c", "import sys; from engine.verifiers import registry; "
                           "from engine.contract.composition import parse; "
                           "assert not registry.problems(parse('[{\"name\": \"number\"}]')); "
                           "print([m for m in ('torch', 'wasmtime', 'transformers') if m in sys.modules])"],
                          cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_setting_can_be_shown_in_a_form(kind) -> None:
    assert issubclass(kind.settings, Settings) and kind.title and kind.help.endswith((".", ":"))
    for name, field in kind.settings.model_fields.items():
        shown = kind.settings.option_of(name)
        assert shown.label and shown.help and not field.is_required()
    made = kind.settings()
    assert kind.settings.check(json.loads(made.model_dump_json())) == made


@pytest.mark.parametrize(("part", "right", "wrong", "answer"), [
    ({"name": "number", "settings": {"tolerance": 0.5}}, "so 12.3", "so 13", "12"),
    ({"name": "number", "settings": {"tolerance": 0.1, "relative": True}}, "110", "111", "100"),
    ({"name": "text", "settings": {"form": "normalised", "part": "answer"}}, "<answer>PARIS.</answer>", "<answer>Rome</answer>", "Paris"),
    ({"name": "choice", "settings": {"count": 3}}, "The answer is B.", "The answer is C.", "B"),
    ({"name": "tags"}, "<think>a</think><answer>b</answer>", "<answer>b</answer>", ""),
    ({"name": "length", "settings": {"most": 2}}, "one two", "one two three", ""),
    ({"name": "schema", "settings": {"json_schema": '{"type": "object", "required": ["a"]}'}}, '{"a": 1}', '{"b": 1}', ""),
    ({"name": "language", "settings": {"language": "de"}}, "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter.",
     "This is a plain English sentence about the weather today.", ""),
])
def test_kinds_without_a_sandbox(resources: Resources, part: dict, right: str, wrong: str, answer: str) -> None:
    assert score(resources, [part], right, answer) == 1.0 and score(resources, [part], wrong, answer) == 0.0
    assert not needs(parse([part]))


@pytest.mark.parametrize(("part", "right", "wrong", "answer"), [
    ({"name": "python", "settings": {"source": SOURCE, "seconds": 1.0}}, "so 12", "so 13", "12"),
    ({"name": "pattern", "settings": {"pattern": r"={answer}$"}}, "x=4", "x=4.", "4"),
    ({"name": "math"}, r"\boxed{\frac{1}{2}}", r"\boxed{\frac{1}{3}}", "0.5"),
    ({"name": "programs"}, "def f(a):\n    return a + 1", "def f(a):\n    return a",
     {"entry": "f", "tests": [{"arguments": [1], "expected": 2}]}),
])
@pytest.mark.usefixtures("sandbox")
def test_kinds_in_the_sandbox(resources: Resources, part: dict, right: str, wrong: str, answer: object) -> None:
    full = 1.5 if part["name"] == "python" else 1.0
    assert score(resources, [part], right, answer) == full and score(resources, [part], wrong, answer) == full - 1
    assert needs(parse([part])) == {"sandbox"}


@pytest.mark.usefixtures("sandbox")
def test_one_part_alone_tells_its_own_parts_and_several_are_named(resources: Resources) -> None:
    python = {"name": "python", "settings": {"source": SOURCE}}
    [alone] = compose(parse([python]), resources).score([attempt("12", "12")])
    assert (alone.score, alone.parts, alone.printed) == (1.5, {"right": 1.0, "short": 0.5}, "looked\n")
    [weighted] = compose(parse([{**python, "weight": 2, "title": "mine"}]), resources).score([attempt("12", "12")])
    assert (weighted.score, weighted.parts) == (3.0, {"mine": 1.5})
    [three] = compose(parse([python, {"name": "number", "weight": 0.5}, {"name": "number", "weight": 0.25}]), resources).score(
        [attempt("12", "12")])
    assert (three.score, three.parts, three.printed) == (2.25, {"python": 1.5, "number": 1.0, "number #2": 1.0}, "looked\n")


def test_products_and_groups_within_groups(resources: Resources) -> None:
    form = {"name": "group", "title": "form", "weight": 2, "settings": {"together": "sum", "parts": [
        {"name": "tags", "weight": 0.25}, {"name": "length", "weight": 0.25, "settings": {"most": 3}}]}}
    both = {"together": "product", "parts": [{"name": "number"}, form]}
    right = "<think>so</think> <answer>12</answer>"
    made = compose(parse(both), resources)
    [full, loose, wrong] = made.score([attempt(right, "12"), attempt("12", "12"), attempt(right, "13")])
    assert (full.score, full.parts) == (0.25, {"number": 1.0, "form": 0.5}) and loose.score == 0.0625 and wrong.score == 0.0
    assert made.check_answers(["twelve", "12"])[0] != "" and made.check_answers(["12"]) == [""]
    assert reads_answer(parse(both)) and not reads_answer(parse([form]))


@pytest.mark.parametrize(("parts", "said"), [
    ([{"name": "nobody"}], "nobody"),
    ([{"name": "number", "settings": {"size": 3}}], "size"),
    ([{"name": "number", "settings": {"tolerance": -1}}], "Tolerance"),
    ([{"name": "text", "settings": {"form": "loose"}}], "Compare"),
    ([{"name": "tags", "title": "form", "settings": {"tags": ["a", "a"]}}], "form: These are no names"),
    ([{"name": "length", "settings": {"least": 5, "most": 4}}], "No length"),
    ([{"name": "language", "settings": {"language": "xx"}}], "xx"),
    ([{"name": "reward_model"}], "no reward model"),
    ([{"name": "judge"}], "no judge"),
    ([{"name": "judge", "settings": {"model": "gpt"}}], "gpt"),
    ([{"name": "judge", "settings": {"model": "http://example.org/v1 m"}}], "example.org"),
    ([{"name": "group", "settings": {"parts": [{"name": "number"}, {"name": "wrong"}]}}], "wrong"),
])
def test_what_cannot_run_is_named_before_anything_is_loaded(resources: Resources, parts: list, said: str) -> None:
    found = problems(parse(parts))
    assert len(found) == 1 and said in found[0].sentence and found[0].field == "verifier"
    with pytest.raises(SettingError):
        compose(parse(parts), resources)


def test_a_host_outside_is_asked_only_where_it_was_confirmed() -> None:
    assert not problems(parse([{"name": "judge", "settings": {"model": "http://example.org/v1 m", "allowed_host": "example.org"}}]))


@pytest.mark.usefixtures("sandbox")
def test_a_source_that_is_no_verifier_is_refused_with_its_line(resources: Resources) -> None:
    with pytest.raises(FormatError, match="Line 1"):
        compose(parse([{"name": "python", "settings": {"source": "def verify(prompt:"}}]), resources)
    with pytest.raises(SettingError, match="schema"):
        compose(parse([{"name": "schema", "settings": {"json_schema": "{"}}]), resources)


def test_without_a_sandbox_code_is_refused_with_the_reason_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.verifiers import image

    monkeypatch.setattr(image, "shipped", lambda: tmp_path)
    with Resources() as other:
        assert score(other, [{"name": "number"}], "12", "12") == 1.0
        for part in ({"name": "python", "settings": {"source": SOURCE}}, {"name": "pattern"}):
            with pytest.raises(Missing, match="image has not been built"):
                compose(parse([part]), other)
        for part, answer in (({"name": "math"}, "x+1"), ({"name": "programs"}, {"tests": [{"stdin": "", "expected": ""}]})):
            with pytest.raises(Missing, match="image has not been built"):
                score(other, [part], "print(x)", answer)


def test_a_reward_model_needs_a_project(resources: Resources) -> None:
    part = {"name": "reward_model", "settings": {"model": "reward_model-1"}}
    assert reward_models(parse([part, part, {"name": "number"}])) == ["reward_model-1"] and needs(parse([part])) == {"reward_model"}
    with pytest.raises(SettingError, match="project"):
        compose(parse([part]), resources)


def test_an_unknown_reward_model_is_said(tmp_path: Path) -> None:
    from engine.project.project import Project

    with Resources(Project.create(tmp_path / "p").dir) as mine, pytest.raises(NotFound):
        compose(parse([{"name": "reward_model", "settings": {"model": "reward_model-1"}}]), mine)
