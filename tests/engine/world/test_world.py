"""The generated world is coherent and repeatable, and its text keeps out what later stages are measured on."""

import re
import time
from collections import Counter

import pytest

from engine.contract.errors import SettingError
from engine.world import World
from engine.world.world import FACTS, Sum

SPLITS = ("train", "development", "held_out_people", "held_out_pairs")


@pytest.fixture(scope="module")
def world():
    return World(seed=7, people=64)


@pytest.fixture(scope="module")
def text(world):
    return "\n".join(world.documents(2_000_000))


def test_the_same_seed_makes_the_same_world_and_another_does_not(world, text):
    again = World(seed=7, people=64)
    assert again.facts == world.facts
    assert "\n".join(again.documents(2_000_000)) == text
    assert World(seed=8, people=64).facts != world.facts


def test_this_seed_makes_this_world_in_every_python():
    """Fails when words, sentences or the order of draws change: then the demo's figures must be measured again."""
    small = World(seed=42, people=8)
    assert [person.name for person in small.people] == ["Lars", "Yara", "Jonas", "Kate", "Wanda", "Leo", "Nora", "Kurt"]
    assert next(small.documents(1)) == (
        " Kate's age is 18. She has a house in Elmsby. Kate calls her pet Olive. She enjoys dancing after wor"
        'k. Kate earns money as a smith. She would eat rice every day. She likes the colour orange best.')


def test_more_text_begins_with_the_same_documents(world):
    short, long = list(world.documents(20_000)), list(world.documents(40_000))
    assert long[: len(short)] == short
    assert 20_000 <= sum(map(len, short)) < 21_000


def test_documents_and_lines_begin_with_one_space_and_are_ascii(world):
    for document in world.documents(200_000):
        assert document.isascii()
        assert all(line.startswith(" ") and not line.startswith("  ") and line == line.rstrip() for line in document.split("\n"))


def test_no_question_is_in_the_text(world, text):
    assert "?" not in text
    for split in SPLITS:
        for question in world.questions(split):
            assert question.text.rstrip("?") not in text


def test_no_sum_kept_out_is_in_the_text_in_any_form(world, text):
    written = {(int(a), int(b)) for a, b in re.findall(r"(?<!\d)(\d\d)\+(\d)=", text)}
    trained = {(each.left, each.right) for each in world.sums("train")}
    for split in ("held_out", "development"):
        for each in world.sums(split):
            assert (each.left, each.right) not in written
            assert f"{each.right}+{each.left}=" not in text
    assert written == trained, "two megabytes hold every sum of the training split, and no other"


def test_every_sum_in_the_text_is_right(text):
    sums = re.findall(r"(?<!\d)(\d+)\+(\d+)=(\d+)", text)
    assert len(sums) > 1000
    assert all(int(a) + int(b) == int(c) for a, b, c in sums)


def test_sums_are_in_four_documents_of_ten(world):
    documents = list(world.documents(1_000_000))
    assert 0.38 < sum("+" in document for document in documents) / len(documents) < 0.42


@pytest.mark.parametrize("each, expected", [
    (Sum(47, 8), "7+8=15. 4+1=5. So 47+8=55."),
    (Sum(42, 5), "2+5=7. 4+0=4. So 42+5=47."),
    (Sum(91, 9), "1+9=10. 9+1=10. So 91+9=100."),
])
def test_the_worked_form_adds_ones_then_carries(each, expected):
    assert each.worked == expected
    assert each.direct == f"{each.left}+{each.right}={each.left + each.right}" and each.question + str(each.total) == each.direct


def test_the_splits_of_sums_cover_all_of_them_once(world):
    splits = {name: world.sums(name) for name in ("train", "development", "held_out")}
    every = [each for sums in splits.values() for each in sums]
    assert len(every) == len(set(every)) == 765
    assert len(splits["held_out"]) == 153
    assert all(10 <= each.left <= 98 and 1 <= each.right <= 9 and each.total < 100 for each in every)


def test_the_splits_of_questions_cover_every_pair_once(world):
    pairs = {split: {(q.person, q.fact) for q in world.questions(split)} for split in SPLITS}
    assert sum(map(len, pairs.values())) == 64 * 9 == len(set().union(*pairs.values()))
    people = {split: {name for name, _ in pairs[split]} for split in SPLITS}
    assert len(people["held_out_people"]) == 7
    assert not people["held_out_people"] & (people["train"] | people["development"] | people["held_out_pairs"])
    assert 0.11 < len(pairs["held_out_pairs"]) / (len(pairs["train"]) + len(pairs["held_out_pairs"])) < 0.14


def test_no_wording_of_a_question_is_in_two_splits(world):
    texts = Counter(text for split in SPLITS for text in {q.text for q in world.questions(split)})
    assert max(texts.values()) == 1
    assert len(texts) == 64 * 9 * 4


def test_an_answer_states_the_fact(world):
    for split in SPLITS:
        for question in world.questions(split):
            assert question.value == world.facts[question.person, question.fact]
            assert question.value in question.answer and question.person in question.answer


def test_a_person_has_the_same_facts_wherever_the_text_states_them(world, text):
    ages = re.findall(r" (\w+)(?:'s age is| is| turned| has lived for) (\d+)", text)
    named = [(name, age) for name, age in ages if name not in ("He", "She", "His", "Her", "age")]
    assert len(named) > 500 and {name for name, _ in named} == {person.name for person in world.people}
    assert all(world.facts[name, "age"] == age for name, age in named)
    for name, town in re.findall(r" (\w+) (?:lives|has a house) in (\w+)\.", text):
        assert name in ("He", "She") or world.facts[name, "town"] == town


def test_a_biography_with_pronouns_speaks_of_one_person(world):
    seen = 0
    for document in world.documents(300_000):
        if "+" in document or not re.search(r" (He|She|His|Her) ", document):
            continue
        ages = re.findall(r"(?:(\w+)'s age is|(?:He|She) is|(?:His|Her) age is|(?:He|She) turned) (\d+)", document)
        names = [person for person in world.people if re.match(rf"(?: For a pet| The \w+(?: of)?)? {person.name}\b", document)]
        for _, age in ages:
            if len(names) == 1:
                seen += 1
                assert names[0].facts["age"] == age
    assert seen > 50


def test_friendship_is_mutual_and_never_with_oneself(world):
    for person in world.people:
        friend = world.person(person.facts["friend"])
        assert friend is not person and friend.facts["friend"] == person.name


def test_every_fact_is_in_the_text_in_every_wording(world, text):
    completions = world.completions()
    assert len(completions) == 64 * len(FACTS) * 4
    missing = [c for c in completions if c.prompt + c.value not in text]
    assert len(missing) < len(completions) * 0.01


def test_a_completion_has_one_right_end(world, text):
    """No other sentence begins the same and goes on otherwise, so a wrong completion is the model's mistake."""
    for each in world.completions()[:: 17]:
        for ending in re.findall(re.escape(each.prompt) + r"((?: [\w]+){1,2})", text):
            assert ending == each.value or ending.startswith(each.value + " ") or each.value.startswith(ending), each


def test_no_pronoun_stands_where_its_form_is_wrong(text):
    for wrong in (" of she", " of he ", "with he ", " he's", " she's", "{", "}", " a apple", " a ed"):
        assert wrong not in text


def test_the_language_is_a_few_hundred_words(text):
    words = set(re.findall(r"[A-Za-z]+", text.replace("'s", "")))
    assert 250 < len(words) < 700


def test_generation_is_fast(world):
    start = time.process_time()
    made = sum(len(document) for document in world.documents(5_000_000))
    assert made / (time.process_time() - start) > 8e6


def test_a_world_without_friends_for_all_is_refused():
    with pytest.raises(SettingError) as wrong:
        World(people=9)
    assert wrong.value.field == "people"
    assert len(World(people=80).people) == 80


def test_a_story_never_says_the_same_kind_of_sentence_twice(world):
    stories = [d for d in world.documents(400_000) if re.match(r" (One|It was a|On|Last) ", d)]
    assert len(stories) > 100
    for story in stories:
        shapes = [re.sub(r"\b(the|a) \w+", r"\1 _", sentence) for sentence in story.split(". ")[1:-1]]
        assert len(shapes) == len(set(shapes)), story
