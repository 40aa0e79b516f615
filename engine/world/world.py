"""A coherent world from a seed: people with nine facts each, stories, common knowledge and sums, as text for a small model to learn.

What the text never holds, so that later stages can be measured on it: any question at all, and the sums of the "development" and
"held_out" splits. Every fact of every person is stated; what is held out about people is being asked (`questions`).

Everything derives from the seed through `random.Random.random()` alone, the one method whose sequence Python guarantees, so the same seed
makes the same world everywhere. Words and sentences stand in resources/world. Nothing and nobody in it is real.

Every document and line begins with a space: a name then has one spelling in tokens wherever it stands.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from engine.contract.errors import SettingError
from engine.contract.words import tr

FOLDER = Path(__file__).resolve().parents[2] / "resources" / "world"
FACTS = ("age", "town", "job", "pet", "pet_name", "colour", "food", "hobby", "friend")
WORDINGS = 4
HELD_OUT_PEOPLE, DEVELOPMENT_PEOPLE = 0.11, 0.03
HELD_OUT_PAIRS, DEVELOPMENT_PAIRS = 0.12, 0.04
HELD_OUT_SUMS, DEVELOPMENT_SUMS = 0.20, 0.04
SUM_DOCUMENTS = 0.4
FILLINGS = 12
LARGEST_WORLD = 80
T = TypeVar("T")

QuestionSplit = Literal["train", "development", "held_out_people", "held_out_pairs"]
SumSplit = Literal["train", "development", "held_out"]


@dataclass(frozen=True)
class Person:
    """One inhabitant; `facts` maps each of FACTS to its value ("34", "Bretol", "baker", ...). Friendship is mutual."""

    name: str
    woman: bool
    facts: dict[str, str]

    @property
    def words(self) -> dict[str, str]:
        """Pronouns: he, him, his, and those that begin a sentence."""
        return ({"he": "she", "him": "her", "his": "her", "He": "She", "His": "Her"} if self.woman
                else {"he": "he", "him": "him", "his": "his", "He": "He", "His": "His"})


@dataclass(frozen=True)
class Question:
    """What somebody could ask: `text` "Where does Mara live?", `answer` "Mara lives in Bretol.", `value` "Bretol"."""

    person: str
    fact: str
    wording: int
    text: str
    answer: str
    value: str


@dataclass(frozen=True)
class Completion:
    """The beginning of a sentence that the text states, and how it goes on: " Mara lives in" + " Bretol"."""

    person: str
    fact: str
    wording: int
    prompt: str
    value: str


@dataclass(frozen=True, order=True)
class Sum:
    """A two-digit number and a one-digit number whose sum stays under 100."""

    left: int
    right: int

    @property
    def total(self) -> int:
        return self.left + self.right

    @property
    def question(self) -> str:
        return f"{self.left}+{self.right}="

    @property
    def direct(self) -> str:
        """47+8=55"""
        return f"{self.left}+{self.right}={self.total}"

    @property
    def worked(self) -> str:
        """Ones first, then the carry to the tens: 7+8=15. 4+1=5. So 47+8=55."""
        tens, ones = divmod(self.left, 10)
        carry = (ones + self.right) // 10
        return f"{ones}+{self.right}={ones + self.right}. {tens}+{carry}={tens + carry}. So {self.direct}."


class World:
    """The world of a seed with a number of people (even, 8 to 80)."""

    def __init__(self, seed: int = 42, people: int = 64) -> None:
        if people % 2 or not 8 <= people <= LARGEST_WORLD:
            raise SettingError(tr("The world cannot have {people} people.", people=people),
                               tr("Choose an even number from 8 to {most}: everybody has a best friend.", most=LARGEST_WORLD),
                               field="people")
        self.seed, self.size = seed, people
        self._words, self._sentences = _resource("words.json"), _resource("sentences.json")
        self.people = self._make_people()
        self._by_name = {person.name: person for person in self.people}
        self._pair_split = self._split_pairs()
        self._sum_split = self._split_sums()

    # ---------------------------------------------------------------------------------------------------------- what is true

    @property
    def facts(self) -> dict[tuple[str, str], str]:
        """{(name, fact): value}: everything that is true of people here."""
        return {(person.name, fact): value for person in self.people for fact, value in person.facts.items()}

    def person(self, name: str) -> Person:
        return self._by_name[name]

    def value_phrase(self, fact: str, value: str) -> str:
        """The value as it stands in a sentence: jobs and pets with their article."""
        return _with_article(value) if fact in ("job", "pet") else value

    def statement(self, person: Person, fact: str, wording: int, named: bool = True) -> str:
        """A sentence that states the fact, about the name or, where it is known who is meant, the pronoun."""
        return self._fill(self._sentences["facts"][fact]["statements"][wording], person, fact, named)

    def completions(self) -> list[Completion]:
        """Every fact in every wording, cut before its value: what a model of the text should be able to finish."""
        made = []
        for person in self.people:
            for fact in FACTS:
                phrase = self.value_phrase(fact, person.facts[fact])
                for wording in range(WORDINGS):
                    before = self.statement(person, fact, wording).rpartition(f" {phrase}")[0]
                    made.append(Completion(person.name, fact, wording, f" {before}", f" {phrase}"))
        return made

    # ---------------------------------------------------------------------------------------------------------- what is asked

    def questions(self, split: QuestionSplit) -> list[Question]:
        """All wordings of the questions of a split. People of "held_out_people" are asked about in no other split; a person/fact pair of
        "held_out_pairs" in none other either. "development" is for choosing settings, so that the held-out ones stay unseen."""
        return [self.question(person, fact, wording) for person in self.people for fact in FACTS
                if self._pair_split[person.name, fact] == split for wording in range(WORDINGS)]

    def question(self, person: Person, fact: str, wording: int) -> Question:
        text = self._fill(self._sentences["facts"][fact]["questions"][wording], person, fact, True)
        return Question(person.name, fact, wording, text, self.statement(person, fact, 0), person.facts[fact])

    def sums(self, split: SumSplit) -> list[Sum]:
        """The sums of a split, in order. Only those of "train" are in the text."""
        return [each for each, where in self._sum_split.items() if where == split]

    # ---------------------------------------------------------------------------------------------------------- the text

    def documents(self, size: int) -> Iterator[str]:
        """Documents until `size` bytes are reached. A larger size begins with the same documents."""
        text, rng = _Text(self), _random(self.seed, "documents")
        made = 0
        while made < size:
            document = text.document(rng)
            made += len(document)
            yield document

    # ---------------------------------------------------------------------------------------------------------- making

    def _make_people(self) -> tuple[Person, ...]:
        rng, words = _random(self.seed, "people"), self._words
        women = _shuffled(words["she"], rng)[: self.size // 2]
        men = _shuffled(words["he"], rng)[: self.size // 2]
        names = _shuffled([(name, True) for name in women] + [(name, False) for name in men], rng)
        columns = {fact: _dealt(words[fact], self.size, rng) for fact in FACTS if fact not in ("age", "friend")}
        columns["age"] = [str(age) for age in _dealt(list(range(18, 90)), self.size, rng)]
        couples = _shuffled(names, rng)
        columns["friend"] = [""] * self.size
        place = {name: index for index, (name, _) in enumerate(names)}
        for (one, _), (other, _) in zip(couples[::2], couples[1::2], strict=True):
            columns["friend"][place[one]], columns["friend"][place[other]] = other, one
        return tuple(Person(name, woman, {fact: columns[fact][index] for fact in FACTS}) for index, (name, woman) in enumerate(names))

    def _split_pairs(self) -> dict[tuple[str, str], str]:
        rng = _random(self.seed, "questions")
        order = _shuffled([person.name for person in self.people], rng)
        held = max(2, round(len(order) * HELD_OUT_PEOPLE))
        watched = max(1, round(len(order) * DEVELOPMENT_PEOPLE))
        asked = _shuffled([(name, fact) for name in order[held + watched:] for fact in FACTS], rng)
        held_pairs, watched_pairs = round(len(asked) * HELD_OUT_PAIRS), round(len(asked) * DEVELOPMENT_PAIRS)
        split = {(name, fact): "held_out_people" for name in order[:held] for fact in FACTS}
        split |= {(name, fact): "development" for name in order[held:held + watched] for fact in FACTS}
        for index, pair in enumerate(asked):
            split[pair] = "held_out_pairs" if index < held_pairs else "development" if index < held_pairs + watched_pairs else "train"
        return split

    def _split_sums(self) -> dict[Sum, str]:
        every = [Sum(left, right) for left in range(10, 99) for right in range(1, 10) if left + right < 100]
        order = _shuffled(every, _random(self.seed, "sums"))
        held, watched = round(len(order) * HELD_OUT_SUMS), round(len(order) * DEVELOPMENT_SUMS)
        where = {each: "held_out" if i < held else "development" if i < held + watched else "train" for i, each in enumerate(order)}
        return {each: where[each] for each in every}

    def _fill(self, template: str, person: Person, fact: str, named: bool) -> str:
        value, words = person.facts[fact], person.words
        if named:
            who = {"Who": person.name, "who": person.name, "Whose": f"{person.name}'s", "whose": f"{person.name}'s"}
        else:
            who = {"Who": words["He"], "who": words["he"], "Whose": words["His"], "whose": words["his"]}
        return template.format(v=value, a=_with_article(value), **who, **words)


class _Text:
    """Every sentence of the world, written out once, so that a document is a few picks and one join (some 20 MB a second)."""

    def __init__(self, world: World) -> None:
        rng = _random(world.seed, "text")
        self.people = len(world.people)
        self.named = [[[" " + world.statement(p, f, w) for w in range(WORDINGS)] for f in FACTS] for p in world.people]
        self.short = [[[" " + world.statement(p, f, w, named=False) for w in range(WORDINGS)] for f in FACTS] for p in world.people]
        self.orders = [_shuffled(range(len(FACTS)), rng) for _ in range(997)]
        self.openings, self.middles, self.closings = ([_stories(world, person, part, rng) for person in world.people]
                                                      for part in ("openings", "middles", "closings"))
        self.knowledge = _knowledge(world, rng)
        sums = world.sums("train")
        small = [f" {a}+{b}={a + b}" for a in range(10) for b in range(10)]
        self.sums = [form for each in sums for form in (f" {each.direct}", f" {each.worked}")] + small

    def document(self, rng: random.Random) -> str:
        kind = rng.random()
        if kind < SUM_DOCUMENTS:
            return self._sums(rng)
        if kind < 0.78:
            return self._biography(rng)
        if kind < 0.89:
            return self._roll(rng)
        return self._story(rng) if kind < 0.97 else self._knowledge(rng)

    def _sums(self, rng: random.Random) -> str:
        """Four to eight sums, a line each, plain or worked."""
        draw, sums = rng.random, self.sums
        count = len(sums)
        return "\n".join([sums[int(draw() * count)] for _ in range(4 + int(draw() * 5))])

    def _biography(self, rng: random.Random) -> str:
        """Five to nine facts of one person in any order: the name first, then mostly pronouns."""
        draw = rng.random
        person = int(draw() * self.people)
        named, short = self.named[person], self.short[person]
        order = self.orders[int(draw() * 997)]
        first = order[0]
        parts = [named[first][int(draw() * WORDINGS)]]
        for fact in order[1:5 + int(draw() * 5)]:
            pick = draw() * WORDINGS * 4  # one sentence in four repeats the name
            parts.append(named[fact][int(pick)] if pick < WORDINGS else short[fact][int(pick) % WORDINGS])
        return "".join(parts)

    def _roll(self, rng: random.Random) -> str:
        """One fact each of several people, by name."""
        draw = rng.random
        return "".join([self.named[int(draw() * self.people)][int(draw() * len(FACTS))][int(draw() * WORDINGS)]
                        for _ in range(4 + int(draw() * 5))])

    def _story(self, rng: random.Random) -> str:
        draw = rng.random
        person = int(draw() * self.people)
        middles = self.middles[person]
        kinds = len(middles) // FILLINGS
        parts = [self.openings[person][int(draw() * len(self.openings[person]))]]
        kind = int(draw() * kinds)
        for _ in range(2 + int(draw() * 2)):  # each time another sentence: a third of the way round at most, three times at most
            parts.append(middles[kind * FILLINGS + int(draw() * FILLINGS)])
            kind = (kind + 1 + int(draw() * (kinds // 3))) % kinds
        parts.append(self.closings[person][int(draw() * len(self.closings[person]))])
        return "".join(parts)

    def _knowledge(self, rng: random.Random) -> str:
        draw, known = rng.random, self.knowledge
        return "".join([known[int(draw() * len(known))] for _ in range(3 + int(draw() * 4))])


def _stories(world: World, person: Person, part: str, rng: random.Random) -> list[str]:
    """FILLINGS of each story sentence for a person, side by side, true to the person's facts."""
    words, templates = world._words, world._sentences["stories"][part]
    made = []
    for template in templates:
        for _ in range(FILLINGS):
            chance = {key: _pick(words[key], rng) for key in ("weather", "day", "hour", "place", "thing", "wild")}
            made.append(" " + template.format(name=person.name, **{**person.facts, **chance}, **person.words))
    return made


def _knowledge(world: World, rng: random.Random) -> list[str]:
    known = world._sentences["knowledge"]
    made = [f" {sentence}" for sentence in known["times"]]
    for job, (does, where) in known["jobs"].items():
        made += _filled(known["job_statements"], job, does=does, where=where)
    for animal, (legs, eats, does) in known["animals"].items():
        made += _filled(known["animal_statements"], animal, legs=legs, eats=eats, does=does)
    for town in world._words["town"]:
        made += _filled(known["town_statements"], town, where=_pick(known["towns"], rng), sight=_pick(known["sights"], rng))
    return made


def _filled(templates: Sequence[str], word: str, **values: str) -> list[str]:
    a = _with_article(word)
    return [" " + template.format(v=word, a=a, A=a[0].upper() + a[1:], **values) for template in templates]


def _with_article(word: str) -> str:
    return f"{'an' if word[:1] in 'aeiou' else 'a'} {word}"


@lru_cache(maxsize=4)
def _resource(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name).read_text("utf-8"))


def _random(seed: int, purpose: str) -> random.Random:
    return random.Random(f"fledge world {seed} {purpose}")


def _pick(values: Sequence[T], rng: random.Random) -> T:
    return values[int(rng.random() * len(values))]


def _shuffled(values: Sequence[T], rng: random.Random) -> list[T]:
    """Fisher and Yates, written out: random.shuffle may draw otherwise in another Python."""
    made = list(values)
    for last in range(len(made) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        made[last], made[other] = made[other], made[last]
    return made


def _dealt(values: Sequence[T], count: int, rng: random.Random) -> list[T]:
    """`count` values, each used about equally often, in random order."""
    dealt: list[T] = []
    while len(dealt) < count:
        dealt += _shuffled(values, rng)
    return _shuffled(dealt[:count], rng)
