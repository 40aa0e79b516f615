"""Recipes that make prompts and have them answered: from seed examples, topics, by rewriting; conversations; answers alone."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from engine.contract.rows import Example, Message
from engine.generators.asks import Role
from engine.generators.recipe_kind import Examples, Kind, Prompt
from engine.generators.recipe_rows import RecipeInputs, Row, cycled, make, number_of, picks, shuffled
from engine.generators.recipe_talk import Candidate, Talk
from engine.text.dedup import grams

if TYPE_CHECKING:
    from engine.generators.recipe import Recipe

SAME = 0.8
"""Share of word sequences from which on a new prompt is the old one."""
TURNS = 1000
"""How often a plan goes through its seeds or topics at most."""


def prompt_of(example: Example) -> list[dict[str, str]]:
    """The conversation of an example up to the last thing the user says, as plain values; empty where the user says nothing."""
    last = max((place for place, m in enumerate(example.messages) if m.role == "user"), default=-1)
    return [m.model_dump() for m in example.messages[:last + 1]]


def similarity(one: str, other: str) -> float:
    """Shared over all sequences of three words of two texts, 0 to 1."""
    a, b = (set(grams.gram_hashes(grams.word_hashes([text])[0], 3).tolist()) for text in (one, other))
    return len(a & b) / len(a | b) if a or b else 1.0


def _usable(seeds: Sequence[Example]) -> list[tuple[str, list[dict[str, str]]]]:
    """(id, prompt) of seeds that have one."""
    return [(seed.id, prompt) for seed in seeds if (prompt := prompt_of(seed))]


def _answered(talk: Talk, conversation: Sequence[Message]) -> Any:
    """Writes free answers to a conversation, under the recipe's system prompt for answers unless it has one of its own."""
    asked = list(conversation)
    if "answer_system" in talk.recipe.prompts and not any(m.role == "system" for m in asked):
        if system := talk.prompt("answer_system")[-1].content:
            asked.insert(0, Message(role="system", content=system))

    def write(role: Role) -> Candidate:
        return talk.free(asked, role)

    return write


# ---- answers


def _plan_answers(recipe: "Recipe", inputs: RecipeInputs) -> Iterator[Row]:
    number = 0
    for turn, (seed, prompt) in cycled(_usable(inputs.seeds), inputs.seed):
        if number == inputs.count or turn == recipe.options["turns"]:
            return
        yield make(inputs, number, {"seed": seed, "messages": prompt})
        number += 1


def _steps_answers(talk: Talk) -> Examples:
    conversation = [Message(**m) for m in talk.row.given["messages"]]
    shown = "\n\n".join(f"{m.role}: {m.content}" for m in conversation) if len(conversation) > 1 else conversation[-1].content
    yield talk.example(conversation, _answered(talk, conversation), question=shown, facts={"seed": talk.row.given["seed"]})


ANSWERS = Kind("answers", ("seeds",), {"answer_system": Prompt(optional=True)}, {}, _plan_answers, _steps_answers, {"turns": 1})


# ---- seeds


def _plan_seeds(recipe: "Recipe", inputs: RecipeInputs) -> Iterator[Row]:
    seeds = _usable(inputs.seeds)
    for number in range(inputs.count if seeds else 0):
        shown = picks(seeds, number, recipe.options["shown"], inputs.seed)
        way = recipe.ways[number % len(recipe.ways)]
        yield make(inputs, number, {"seeds": [seed for seed, _ in shown], "shown": [prompt[-1]["content"] for _, prompt in shown],
                                    "way": way.id, "wanted": way.text})


def _steps_seeds(talk: Talk) -> Examples:
    given = talk.row.given
    listed = "\n\n".join(f"{number}. {text}" for number, text in enumerate(given["shown"], 1))
    facts = {"kind": given["way"], "seeds": given["seeds"]}

    def new(found: dict[str, Any]) -> str:
        return "copied" if any(similarity(found["instruction"], text) >= SAME for text in given["shown"]) else ""

    asked = talk.read("ask", {"examples": listed, "wanted": given["wanted"]}, accept=new)
    if not asked.found:
        yield talk.failed(asked, facts)
        return
    conversation = [Message(role="user", content=asked.found["instruction"])]
    yield talk.example(conversation, _answered(talk, conversation), facts=facts, flags=[asked.flag] if asked.flag else [])


SEEDS = Kind("seeds", ("seeds",), {"system": Prompt(optional=True), "ask": Prompt(("examples",), ("wanted",)),
                                   "answer_system": Prompt(optional=True)},
             {"ask": ("instruction",)}, _plan_seeds, _steps_seeds, {"shown": 3}, True)


# ---- topics


def topics_of(recipe: "Recipe", inputs: RecipeInputs) -> list[str]:
    """The person's topics, else the recipe's, each once."""
    given = [topic.strip() for topic in inputs.topics if topic.strip()]
    return list(dict.fromkeys(given or recipe.topics))


def crossed(recipe: "Recipe", topics: Sequence[str], seed: int) -> Iterator[tuple[str, Any, int]]:
    """(topic, way, turn): every topic in every way before any comes again; neighbours differ in both."""
    for turn in range(TURNS * len(recipe.ways)):
        shift = number_of("ways", seed) + turn
        for topic in shuffled(len(topics), "topics", seed, turn).tolist():
            yield topics[topic], recipe.ways[(shift + topic) % len(recipe.ways)], turn


def _plan_topics(recipe: "Recipe", inputs: RecipeInputs) -> Iterator[Row]:
    topics = topics_of(recipe, inputs)
    number = made = 0
    for topic, way, turn in crossed(recipe, topics, inputs.seed):
        if made >= inputs.count:
            return
        wanted = min(recipe.options["batch"], inputs.count - made)
        yield make(inputs, number, {"topic": topic, "way": way.id, "wanted": way.text, "turn": turn}, wanted)
        number, made = number + 1, made + wanted


def _steps_topics(talk: Talk) -> Examples:
    given, wanted = talk.row.given, talk.row.wanted
    facts = {"topic": given["topic"], "kind": given["way"]}
    found = talk.read("subtopics", {"topic": given["topic"], "wanted": given["wanted"]})
    if not found.found:
        yield talk.failed(found, facts)
        return
    subtopics = list(dict.fromkeys(s.strip() for s in found.found["subtopics"] if s.strip())) or [given["topic"]]
    subtopics = [subtopics[i] for i in shuffled(len(subtopics), talk.row.seed).tolist()]
    place = 0
    seen: list[str] = []
    for subtopic in subtopics:
        if place >= wanted:
            return
        about = {**facts, "subtopic": subtopic}
        left = len(subtopics) - subtopics.index(subtopic)
        each = -(-(wanted - place) // left)
        asked = talk.read("questions", {"topic": given["topic"], "subtopic": subtopic, "wanted": given["wanted"], "count": str(each)})
        if not asked.found:
            yield talk.failed(asked, about, place)
            place += 1
            continue
        for question in asked.found["questions"][:each]:
            if place >= wanted or not question.strip() or any(similarity(question, old) >= SAME for old in seen):
                continue
            seen.append(question)
            conversation = [Message(role="user", content=question.strip())]
            yield talk.example(conversation, _answered(talk, conversation), facts=about, place=place)
            place += 1


TOPICS = Kind("topics", ("topics",), {"system": Prompt(optional=True), "subtopics": Prompt(("topic",), ("wanted",)),
                                      "questions": Prompt(("subtopic",), ("topic", "wanted", "count")),
                                      "answer_system": Prompt(optional=True)},
              {"subtopics": ("subtopics",), "questions": ("questions",)}, _plan_topics, _steps_topics, {"batch": 4}, True)


# ---- evolve


def _plan_evolve(recipe: "Recipe", inputs: RecipeInputs) -> Iterator[Row]:
    seeds = _usable(inputs.seeds)
    place = {seed: number for number, (seed, _) in enumerate(seeds)}
    number = 0
    for turn, (seed, prompt) in cycled(seeds, inputs.seed):
        if number == inputs.count or turn == TURNS:
            return
        way = recipe.ways[(turn + place[seed] + number_of("ways", inputs.seed)) % len(recipe.ways)]
        yield make(inputs, number, {"seed": seed, "messages": prompt, "way": way.id, "wanted": way.text})
        number += 1


_TALKS_OF_PROMPT = ("given prompt", "rewritten prompt", "original prompt", "new prompt", "#prompt", "# prompt")


def _steps_evolve(talk: Talk) -> Examples:
    given = talk.row.given
    conversation = [Message(**m) for m in given["messages"]]
    before = conversation[-1].content
    facts = {"kind": given["way"], "seed": given["seed"]}

    def changed(found: dict[str, Any]) -> str:
        made = found["prompt"]
        if any(words in made.lower() and words not in before.lower() for words in _TALKS_OF_PROMPT):
            return "refers_to_prompt"
        same = grams.words(made) == grams.words(before) or similarity(made, before) >= 0.9
        return "not_evolved" if same else ""

    asked = talk.read("ask", {"prompt": before, "wanted": given["wanted"]}, accept=changed)
    if not asked.found:
        yield talk.failed(asked, facts)
        return
    conversation[-1] = Message(role="user", content=asked.found["prompt"])
    yield talk.example(conversation, _answered(talk, conversation), facts=facts, flags=[asked.flag] if asked.flag else [])


EVOLVE = Kind("evolve", ("seeds",), {"system": Prompt(optional=True), "ask": Prompt(("prompt",), ("wanted",)),
                                     "answer_system": Prompt(optional=True)},
              {"ask": ("prompt",)}, _plan_evolve, _steps_evolve, {}, True)


# ---- conversations of several turns


def _plan_multi_turn(recipe: "Recipe", inputs: RecipeInputs) -> Iterator[Row]:
    seeds = [(seed, prompt) for seed, prompt in _usable(inputs.seeds)]
    starts: Iterator[tuple[dict[str, Any], Any]]
    if seeds:
        starts = (({"seed": seed, "messages": prompt}, recipe.ways[(turn + number_of(seed)) % len(recipe.ways)])
                  for turn, (seed, prompt) in cycled(seeds, inputs.seed) if turn < TURNS)
    else:
        starts = (({"topic": topic}, way) for topic, way, _ in crossed(recipe, topics_of(recipe, inputs), inputs.seed))
    for number, (start, way) in zip(range(inputs.count), starts, strict=False):
        yield make(inputs, number, {**start, "way": way.id, "wanted": way.text})


def _steps_multi_turn(talk: Talk) -> Examples:
    given, turns = talk.row.given, talk.recipe.options["turns"]
    facts = {"kind": given["way"], **{name: given[name] for name in ("seed", "topic") if name in given}}
    flags: list[str] = []
    if "messages" in given:
        conversation = [Message(**m) for m in given["messages"]]
    else:
        opened = talk.read("open", {"topic": given["topic"], "wanted": given["wanted"]})
        if not opened.found:
            yield talk.failed(opened, facts)
            return
        conversation = [Message(role="user", content=opened.found["message"])]
    for _ in range(turns - 1):
        answer = _answered(talk, conversation)("responder")
        if answer.flags:
            flags += answer.flags
            break
        conversation.append(Message(role="assistant", content=answer.text))
        said = [m.content for m in conversation if m.role == "user"]

        def goes_on(found: dict[str, Any], said: list[str] = said) -> str:
            return "copied" if any(similarity(found["message"], old) >= SAME for old in said) else ""

        spoken = {"user": "User", "assistant": "Assistant"}
        written = "\n\n".join(f"{spoken[m.role]}: {m.content}" for m in conversation if m.role in spoken)
        asked = talk.read("next", {"conversation": written, "wanted": given["wanted"], "topic": given.get("topic", "")}, accept=goes_on)
        if not asked.found or asked.flag:
            # What there is so far is a whole conversation; it is only shorter.
            conversation.pop()
            break
        conversation.append(Message(role="user", content=asked.found["message"]))
    shown = "\n\n".join(f"{m.role}: {m.content}" for m in conversation)
    facts["turns"] = sum(m.role == "user" for m in conversation)
    yield talk.example(conversation, _answered(talk, conversation), question=shown, facts=facts, flags=flags)


MULTI_TURN = Kind("multi_turn", ("topics_or_seeds",), {"system": Prompt(optional=True), "open": Prompt(("topic",), ("wanted",)),
                                                       "next": Prompt(("conversation",), ("wanted", "topic")),
                                                       "answer_system": Prompt(optional=True)},
                  {"open": ("message",), "next": ("message",)}, _plan_multi_turn, _steps_multi_turn, {"turns": 3}, True)
