"""Graders: what counts as right, and what must not."""

import json

import pytest

from engine.contract.errors import SettingError
from engine.evaluation import graders
from engine.evaluation.schema_check import check_schema, follows


@pytest.mark.parametrize("said", ["Bretol", " bretol.", "BRETOL", '"Bretol"', "“Bretol.”", "Bretol\n", "**Bretol"[2:]])
def test_exact_looks_past_case_space_quotes_and_the_full_stop(said):
    assert graders.exact(said, ["Bretol"]) == 1.0


@pytest.mark.parametrize("said", ["Bretolia", "in Bretol", "Bret ol", "", ".", "Bretol or Norwell"])
def test_exact_takes_nothing_else(said):
    assert graders.exact(said, ["Bretol"]) == 0.0


def test_exact_takes_any_of_several_answers_and_compatible_characters():
    assert graders.exact("Mara lives in  Bretol", ["Bretol", "Mara lives in Bretol."]) == 1.0
    assert graders.exact("ﬁve", ["five"]) == 1.0


def test_contains_means_whole_words():
    assert graders.contains("I think that Mara lives in Bretol, or so.", ["Bretol"]) == 1.0
    assert graders.contains("She lives in Bretolia.", ["Bretol"]) == 0.0
    assert graders.contains("It is 55.", ["5"]) == 0.0
    assert graders.contains("a red\n  fox", ["red fox"]) == 1.0
    assert graders.contains("anything", [""]) == 0.0
    assert graders.contains("(c++ it is)", ["c++"]) == 1.0


@pytest.mark.parametrize(("said", "value"), [
    ("So 47+8=55.", 55), ("The answer is $1,234.50", 1234.5), ("−3 degrees", -3), ("between 1,2,3", 3), ("x = 2e3", 2000), ("2.5.", 2.5),
    ("work #### 42\n", 42), ("#### 1,000 (of 7)", 1000), ("none", None), ("a1b2", None), (".5", 0.5), ("7 8", 8), ("3-2", 2)])
def test_the_last_number_is_read_as_people_write_it(said, value):
    assert graders.last_number(said) == value


def test_numbers_are_compared_within_the_tolerance():
    gold = ["Natalia sold 48/2 = <<48/2=24>>24 clips.\n#### 72"]
    assert graders.number("... which makes 72.", gold) == 1.0
    assert graders.number("72.0", gold) == 1.0
    assert graders.number("72, no: 71", gold) == 0.0
    assert graders.number("3.14", ["3.1416"]) == 0.0
    assert graders.number("3.14", ["3.1416"], tolerance=1e-3) == 1.0
    assert graders.number("1e999", ["1e999"]) == 0.0
    assert graders.number("no idea", gold) == 0.0


def test_a_choice_is_named_by_letter_or_words_and_only_one_counts():
    choices = ["in trees", "in water", "in sand"]
    for said in ("B", "(B)", "b", "B. in water", "Answer: B", "The answer is B.", "in water", "In water.", "They live in water of course"):
        assert graders.choice(said, choices, 1) == 1.0, said
    for said in ("A", "in trees or in water", "", "Bananas", "both", "C)"):
        assert graders.choice(said, choices, 1) == 0.0, said


def test_json_must_be_all_of_the_answer_and_follow_the_schema():
    schema = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    assert graders.json_answer('{"name": "Ada", "age": 36}', schema) == 1.0
    assert graders.json_answer('```json\n{"name": "Ada"}\n```', schema) == 1.0
    for said in ('{"name": 3}', '{"age": 3}', 'Sure: {"name": "Ada"}', "", "{", '{"name": "A", "age": 1.5}', "[" * 100_000):
        assert graders.json_answer(said, schema) == 0.0, said[:30]
    assert graders.json_answer("NaN") == 0.0 and graders.json_answer("3") == 1.0


@pytest.mark.parametrize(("schema", "good", "bad"), [
    ({"type": "integer"}, [1, 2.0], [1.5, True, "1", None]),
    ({"type": ["string", "null"]}, ["x", None], [1, []]),
    ({"enum": [1, "a"]}, [1, "a"], [True, "b"]),
    ({"const": {"a": 1}}, [{"a": 1}], [{"a": 2}]),
    ({"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 2, "uniqueItems": True}, [[1], [1, 2]], [[], [1, 1], ["1"]]),
    ({"type": "object", "additionalProperties": False, "properties": {"a": {}}}, [{}, {"a": 1}], [{"b": 1}]),
    ({"type": "string", "minLength": 2, "maxLength": 3, "pattern": "^a"}, ["ab", "abc"], ["a", "abcd", "bb"]),
    ({"minimum": 1, "exclusiveMaximum": 3}, [1, 2.9, "any"], [0, 3]),
    ({"anyOf": [{"type": "null"}, {"type": "string"}]}, [None, ""], [1]),
    (False, [], [1, None])])
def test_schemas_let_in_what_they_say(schema, good, bad):
    check_schema(schema)
    assert [value for value in good if not follows(value, schema)] == []
    assert [value for value in bad if follows(value, schema)] == []


@pytest.mark.parametrize("schema", [{"$ref": "#/x"}, {"type": "text"}, {"properties": {"a": {"format": "date"}}}, {"pattern": "("}, 3])
def test_a_schema_with_what_is_not_known_is_refused_instead_of_passing_everything(schema):
    with pytest.raises(SettingError) as wrong:
        check_schema(schema)
    assert wrong.value.code == "bad_schema"


def test_regex_matches_somewhere_unless_anchored():
    assert graders.regex("so it is 12:30 now", r"\d\d:\d\d") == 1.0
    assert graders.regex("so it is 12:30 now", r"^\d\d:\d\d$") == 0.0


def test_what_the_schema_check_lets_in_is_what_jsons_text_says():
    value = {"title": "Ärger", "pages": 12, "tags": ["a", "b"]}
    assert follows(json.loads(json.dumps(value)), {"type": "object", "required": ["tags"]})
