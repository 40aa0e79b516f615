"""Recipes: files, plans, and rows asked of models that answer as small ones do."""

import json
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from engine.contract.errors import FledgeError, FormatError, NotFound, SettingError, TooNew
from engine.contract.rows import Document, Example, Message
from engine.generators.asks import Ask, Reply, Role
from engine.generators.flags import flags as known_flags
from engine.generators.quality import Checks, CheckSettings
from engine.generators.recipe import FOLDER, ListedDocuments, Recipe, RecipeInputs, Row, Writing, listed, load
from engine.generators.recipe_reasoning import check_of, number_in, same, short
from engine.generators.recipe_translate import lost

TEXT = ("The Tarn Bridge was finished in 1874. It has four arches of grey stone.\n\n"
        "The harbour of Nolm freezes each winter, because its water is nearly fresh. Ships wait until March.\n\n"
        "Ada Velk drew the bridge’s plans. Nobody has ever found them.\n\n")
DOCUMENTS = ListedDocuments([Document(id="d1", text=TEXT * 3, source="tarn.txt"), Document(id="d2", text=TEXT * 12, source="nolm.md")])
SEEDS = [Example(id=f"s{i}", messages=(Message(role="user", content=text), Message(role="assistant", content="Done.")))
         for i, text in enumerate(("Name three uses of slate.", "Explain why harbours freeze.", "Write a haiku about stone.",
                                   "Sort these by age: oak, moss, fern."))]

QA = {"question": "How many arches has the Tarn Bridge?", "answer": "It has four arches.", "quote": "It has four arches of grey stone."}


def answering(*replies: str | dict | Callable[[Ask], str], model: str = "ollama:small", finish: str = "stop") \
        -> tuple[Callable[[Ask, Role], Reply], list[tuple[Role, Ask]]]:
    """An ask that gives these replies in turn (the last one again and again), and the list of what it was asked."""
    asked: list[tuple[Role, Ask]] = []

    def ask(ask: Ask, role: Role) -> Reply:
        asked.append((role, ask))
        reply = replies[min(len(asked), len(replies)) - 1]
        text = reply(ask) if callable(reply) else reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False)
        return Reply(text, tokens_in=10, tokens_out=5, model=f"{model}-{role}", seconds=0.5, finish=finish)

    return ask, asked


def only(recipe: Recipe, ask: Callable[[Ask, Role], Reply], row: Row | None = None, **writing: object) -> Example:
    made = list(recipe.steps(row or first_row(recipe), ask, Writing(**writing)))     # type: ignore[arg-type]
    assert len(made) == 1
    return made[0]


def first_row(recipe: Recipe) -> Row:
    return next(recipe.plan(inputs()))


def inputs(**changes: object) -> RecipeInputs:
    return RecipeInputs(**{"documents": DOCUMENTS, "seeds": SEEDS, "topics": ("bridges", "ice"), "language": "", "count": 12,
                           **changes})                                              # type: ignore[arg-type]


# ---- files


def test_every_recipe_that_comes_with_the_program_loads_and_plans() -> None:
    found = listed()
    assert {r.kind for r in found} == {"documents", "seeds", "topics", "evolve", "multi_turn", "translate", "reasoning", "answers"}
    for recipe in found:
        rows = list(recipe.plan(inputs(language="Spanish")))
        assert rows and len({r.id for r in rows}) == len(rows) and len({r.seed for r in rows}) == len(rows)
        assert sum(r.wanted for r in rows) <= 12
        assert json.loads(json.dumps([r.given for r in rows])) == [r.given for r in rows]
        assert rows == list(recipe.plan(inputs(language="Spanish")))


def test_titles_in_the_window_are_those_of_the_files() -> None:
    for path in FOLDER.glob("*.toml"):
        built_in, file = load(path.stem), load(str(path))
        assert (built_in.title, built_in.sentence) == (file.title, file.sentence)
        assert built_in.path == "" and file.path == str(path) and built_in.sha256 == file.sha256


def test_a_run_keeps_its_recipe_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(load("answers").text, "utf-8")
    frozen = load(str(path)).text
    path.write_text("broken", "utf-8")
    assert load(str(path), text=frozen).kind == "answers"
    with pytest.raises(FormatError):
        load(str(path))


@pytest.mark.parametrize(("change", "error", "words"), [
    (("kind = \"documents\"", "kind = \"poems\""), FormatError, "poems"),
    (("format = 1", "format = 2"), TooNew, "later"),
    (("{passage}", "{text}"), FormatError, "{passage}"),
    (("{wanted}", "{desired}"), FormatError, "{desired}"),
    (("[options]\npassage", "[options]\npasage"), FormatError, "pasage"),
    (("answer = \"\"\"\nPassage", "reply = \"\"\"\nPassage"), FormatError, "reply"),
    (("required = [\"question\", \"answer\", \"quote\"]", "required = [\"question\", \"answer\"]"), FormatError, "quote"),
    (("[schemas.ask]\ntype = \"object\"", "[schemas.ask]\ntype = \"objekt\""), FormatError, "ask"),
    (("tries = 3", "tries = 0"), FormatError, "tries"),
    (("title =", "titel ="), FormatError, "tit"),
    (("refusals = true", "refusal = true"), FormatError, "refusal"),
    (("format = 1", "format = "), FormatError, "TOML"),
    (("[schemas.ask]\ntype = \"object\"", "[schemas.ask]\n\"$ref\" = \"http://127.0.0.1:9/x\"\ntype = \"object\""), FormatError, "ask"),
])
def test_a_mistake_in_a_file_is_named(tmp_path: Path, change: tuple[str, str], error: type[FledgeError], words: str) -> None:
    text = load("documents").text
    assert change[0] in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(*change), "utf-8")
    with pytest.raises(error) as wrong:
        load(str(path))
    assert words in wrong.value.sentence and wrong.value.remedy


def test_what_is_missing_is_said_before_anything_is_asked() -> None:
    for id, field, given in (("documents", "corpus", {"documents": ListedDocuments(())}), ("seeds", "seeds", {"seeds": ()}),
                             ("topics", "topics", {"topics": ()}), ("translate", "language", {"language": " "}),
                             ("multi_turn", "topics", {"topics": (), "seeds": ()})):
        with pytest.raises(SettingError) as wrong:
            load(id).plan(inputs(**given))
        assert wrong.value.field == field
    with pytest.raises(NotFound):
        load("poems")
    with pytest.raises(NotFound):
        load("/nowhere/poems.toml")


def test_other_braces_stay_and_what_is_filled_in_is_not_filled_again() -> None:
    documents = ListedDocuments([Document(id="d", text="The {language} of {wanted} braces. " * 5, source="a")])
    ask, asked = answering(QA)
    row = next(load("documents").plan(inputs(documents=documents)))
    list(load("documents").steps(row, ask))
    text = asked[0][1].messages[-1].content
    assert "The {language} of {wanted} braces." in text and '{"question": "...", "answer": "...", "quote": "..."}' in text


# ---- documents


def test_a_quotation_that_stands_in_the_passage_is_kept_with_its_place() -> None:
    ask, asked = answering('```json\n' + json.dumps({**QA, "quote": "“It has\n four arches of grey stone.”"}) + '\n```')
    made = only(load("documents"), ask, prefix="7-")
    assert made.id == "7-0000000" and made.flags == () and made.origin == "ollama:small-responder"
    assert [m.role for m in made.messages] == ["user", "assistant"] and made.messages[1].content == "It has four arches."
    document = {"d1": TEXT * 3, "d2": TEXT * 12}[made.facts["document"]]
    assert document[made.facts["quote_start"]:made.facts["quote_end"]] == made.facts["quote"] == "It has four arches of grey stone."
    assert made.facts["tokens"] == 15 and made.facts["recipe"] == "documents" and len(asked) == 1


def test_a_made_up_quotation_is_asked_again_and_set_aside_at_last() -> None:
    recipe = load("documents")
    ask, asked = answering({**QA, "quote": "It has nine arches of red brick."})
    made = only(recipe, ask)
    assert made.flags == ("not_grounded",) and len(asked) == recipe.tries
    assert len({a.seed for _, a in asked}) == recipe.tries
    assert "word for word, at least" in asked[1][1].messages[-1].content and "at least" not in asked[0][1].messages[-1].content
    ask, asked = answering({**QA, "quote": "It has nine arches."}, "<think>Copy it.</think>" + json.dumps(QA))
    assert only(recipe, ask).flags == () and len(asked) == 2


@pytest.mark.parametrize(("question", "flag"), [
    ("According to the passage, how many arches has the bridge?", "refers_to_passage"),
    ("What does the text say about Nolm?", "refers_to_passage"),
    ("What is described in this excerpt?", "refers_to_passage"),
    ("Laut dem Text: wie viele Bögen hat die Brücke?", "refers_to_passage"),
    ("How long is the passage of ships through the harbour of Nolm?", ""),
    ("What is stated in the document of surrender?", ""),
    ("Who wrote the text about Ada Velk?", ""),
    ("How many arches has the Tarn Bridge?", ""),
])
def test_a_question_that_speaks_of_the_passage_is_set_aside(question: str, flag: str) -> None:
    ask, _ = answering({**QA, "question": question})
    assert only(load("documents"), ask).flags == ((flag,) if flag else ())


@pytest.mark.parametrize(("text", "finish", "flag"), [("", "stop", "empty"), ("I would ask about arches.", "stop", "unreadable"),
                                                      ('{"question": "How ma', "length", "cut"), ("<think>Let me", "length", "cut")])
def test_a_row_that_came_to_nothing_keeps_what_was_said(text: str, finish: str, flag: str) -> None:
    ask, _ = answering(text, finish=finish)
    made = only(load("documents"), ask)
    assert made.flags == (flag,) and made.facts["failed"] is True
    assert "Tarn" in made.messages[0].content or "Nolm" in made.messages[0].content


def test_documents_are_asked_about_by_their_length_and_no_passage_twice_in_the_same_way() -> None:
    recipe = load("documents")
    rows = list(recipe.plan(inputs(count=15)))
    of = [r.given["document"] for r in rows]
    assert len(rows) == 15 and of.count("d2") > 2 * of.count("d1") > 0
    long = [(r.given["start"], r.given["way"]) for r in rows if r.given["document"] == "d2"]
    assert len({start for start, _ in long}) == 2 and len(set(long[:2 * len(recipe.ways)])) == 2 * len(recipe.ways)


def test_what_does_not_divide_evenly_is_asked_in_a_further_turn_and_nothing_twice() -> None:
    documents = ListedDocuments([Document(id=f"d{n}", text=TEXT * 8) for n in range(3)])
    rows = list(load("documents").plan(inputs(documents=documents, count=10)))
    assert len({(r.given["document"], r.given["start"], r.given["way"]) for r in rows}) == len(rows) == 10
    rows = list(load("documents").plan(inputs(documents=documents, count=4)))
    assert len({(r.given["document"], r.given["start"]) for r in rows}) == len(rows) == 4


def test_planning_reads_only_the_documents_it_needs() -> None:
    class Many:
        read = 0

        def __len__(self) -> int:
            return 1_000_000

        def lengths(self):
            import numpy as np
            return np.full(1_000_000, 2000)

        def __getitem__(self, number: int) -> Document:
            self.read += 1
            return Document(id=f"d{number}", text=TEXT * 8)

    many = Many()
    rows = list(load("documents").plan(inputs(documents=many, count=50)))
    assert len(rows) == 50 == len({r.given["document"] for r in rows}) and many.read == 50


# ---- two responders and a judge


def judged(good: str, place_matters: bool = False) -> Callable[[Ask], str]:
    def judge(ask: Ask) -> str:
        a = ask.messages[-1].content.split("Answer A:\n<<<\n")[1].split("\n>>>")[0]
        first = place_matters or a == good
        return json.dumps({"rationale": "It is complete.", "score_a": 9 if first else 4, "score_b": 4 if first else 9})
    return judge


def by_role(**replies: str | dict | Callable[[Ask], str]) -> Callable[[Ask, Role], Reply]:
    def ask(ask: Ask, role: Role) -> Reply:
        reply = replies[role]
        return Reply(reply(ask) if callable(reply) else reply if isinstance(reply, str) else json.dumps(reply), model=f"m-{role}")
    return ask


def test_the_better_answer_is_kept_and_the_other_one_as_rejected() -> None:
    ask = by_role(responder="Slate.", second="Roofs, tables and boards.", judge=judged("Roofs, tables and boards."))
    made = only(load("answers"), ask, second=True, judge=True)
    assert made.messages[-1].content == "Roofs, tables and boards." and made.origin == "m-second" and made.score == 9
    assert made.facts["rejected"] == {"text": "Slate.", "model": "m-responder", "score": 4} and made.facts["scores"] == [9, 4]
    assert made.facts["rationale"] == "It is complete." and made.flags == ()
    assert "rejected" not in only(load("answers"), ask, second=True, judge=True, keep_rejected=False).facts


def test_a_tie_is_set_aside_and_has_no_rejected_answer() -> None:
    ask = by_role(responder="Slate.", second="Roofs.", judge=judged("", place_matters=True))
    made = only(load("answers"), ask, second=True, judge=True)
    assert made.flags == ("tie",) and made.facts["flipped"] is True and "rejected" not in made.facts


def test_the_same_model_answers_twice_with_different_seeds() -> None:
    seeds: dict[str, int] = {}

    def ask(ask: Ask, role: Role) -> Reply:
        seeds.setdefault(role, ask.seed)
        return Reply('{"rationale": "", "score_a": 5, "score_b": 7}' if role == "judge" else f"Answer {ask.seed}.")

    only(load("answers"), ask, second=True, judge=True)
    assert seeds["responder"] != seeds["second"]


def test_an_answer_that_failed_is_not_judged_against_one_that_did_not() -> None:
    recipe = load("documents")
    ask = by_role(responder={**QA, "quote": "Nine arches of red brick."},
                  second={"answer": "Four of them, of grey stone.", "quote": QA["quote"]}, judge='{"rationale": "right", "score": 8}')
    made = only(recipe, ask, second=True, judge=True)
    assert made.messages[-1].content == "Four of them, of grey stone." and made.flags == () and made.score == 8
    assert "rejected" not in made.facts and made.facts["quote"] == QA["quote"]


def test_a_question_that_is_set_aside_is_neither_answered_again_nor_judged() -> None:
    recipe = load("documents")
    roles: list[str] = []

    def ask(ask: Ask, role: Role) -> Reply:
        roles.append(role)
        return Reply(json.dumps({**QA, "question": "What does the passage say about arches?"}))

    made = only(recipe, ask, second=True, judge=True)
    assert made.flags == ("refers_to_passage",) and roles == ["responder"] * recipe.tries


def test_a_score_below_the_lowest_and_a_judge_that_cannot_be_read_are_flagged() -> None:
    low = by_role(responder="Slate.", judge='{"rationale": "thin", "score": 3}')
    assert only(load("answers"), low, judge=True, lowest_score=5).flags == ("low_score",)
    none = only(load("answers"), by_role(responder="Slate.", judge="I like it!"), judge=True)
    assert none.flags == ("not_judged",) and none.score is None and none.messages[-1].content == "Slate."


def test_the_judge_of_documents_sees_the_passage_and_the_persons_rubric() -> None:
    def judge(ask: Ask) -> str:
        text = ask.messages[-1].content
        assert "grey stone" in text and "Only arches count." in text
        return '{"rationale": "", "score": 6}'

    assert only(load("documents"), by_role(responder=QA, judge=judge), judge=True, rubric="Only arches count.").score == 6


def test_thinking_is_left_out_or_kept_as_chosen() -> None:
    def ask(ask: Ask, role: Role) -> Reply:
        return Reply("Roofs.", thinking="Slate splits.", model="m")

    assert only(load("answers"), ask).messages[-1].content == "Roofs."
    assert only(load("answers"), ask, keep_thinking=True).messages[-1].content == "<think>\nSlate splits.\n</think>\n\nRoofs."
    inline, _ = answering("<think>Slate splits.</think>Roofs.")
    assert only(load("answers"), inline).messages[-1].content == "Roofs."
    assert only(load("answers"), inline, keep_thinking=True).messages[-1].content == "<think>Slate splits.</think>Roofs."


# ---- the other kinds


def test_seeds_are_shown_in_turns_and_a_copy_is_no_new_instruction() -> None:
    recipe = load("seeds")
    rows = list(recipe.plan(inputs(count=40)))
    shown = [seed for row in rows for seed in row.given["seeds"]]
    counts = [shown.count(seed.id) for seed in SEEDS]
    assert max(counts) <= 1.4 * min(counts) and all(len(set(r.given["seeds"])) == 3 for r in rows)
    assert len({tuple(r.given["seeds"]) for r in rows}) > 10
    new = {"instruction": "List two ways to cut granite."}
    ask, asked = answering({"instruction": rows[0].given["shown"][0]}, new, "Saw it, or split it.")
    made = only(recipe, ask, rows[0])
    assert made.messages[0].content == new["instruction"] and made.messages[1].content == "Saw it, or split it." and made.flags == ()
    assert asked[2][1].schema is None and asked[2][1].messages[0].role == "system" and made.messages[0].role == "user"
    ask, _ = answering({"instruction": rows[0].given["shown"][0]})
    assert "copied" in only(recipe, ask, rows[0]).flags


def test_a_topic_becomes_subtopics_questions_and_answers() -> None:
    def reply(ask: Ask) -> str:
        text = ask.messages[-1].content
        if "narrow subtopics" in text:
            return json.dumps({"subtopics": ["arch bridges", "ice on piers", "arch bridges"]})
        if "different people" in text:
            about = re.search(r"subtopic: (.+)", text)[1]       # type: ignore[index]
            return json.dumps({"questions": [f"What holds up {about}?", f"Who looks after {about} in winter?", f"What holds up {about}?"]})
        return f"Careful work: {ask.messages[-1].content}"

    rows = list(load("topics").plan(inputs(count=10)))
    assert [r.wanted for r in rows] == [4, 4, 2]
    made = list(load("topics").steps(rows[0], answering(reply)[0]))
    assert len(made) == 4 == len({e.id for e in made}) == len({e.messages[0].content for e in made})
    assert {e.facts["subtopic"] for e in made} == {"arch bridges", "ice on piers"}
    assert all(e.messages[1].content == f"Careful work: {e.messages[0].content}" for e in made)


def test_topics_come_from_all_sides_before_any_comes_again() -> None:
    recipe = load("topics")
    rows = list(recipe.plan(inputs(count=4 * 2 * len(recipe.ways))))
    assert len({(r.given["topic"], r.given["way"]) for r in rows}) == len(rows) == 2 * len(recipe.ways)


@pytest.mark.parametrize(("prompt", "flag"), [
    ("Name three uses of slate that were known before 1700, each with a place.", ""),
    ("Name three uses of slate!", "not_evolved"),
    ("#Rewritten Prompt#: Name three uses of slate with dates.", "refers_to_prompt"),
])
def test_a_prompt_is_rewritten_or_the_row_says_that_it_was_not(prompt: str, flag: str) -> None:
    recipe = load("evolve")
    row = next(r for r in recipe.plan(inputs()) if r.given["seed"] == "s0")
    ask, _ = answering(*[{"prompt": prompt}] * (1 if not flag else recipe.tries), "Roofs in Wales.")
    made = only(recipe, ask, row)
    assert made.flags == ((flag,) if flag else ()) and made.messages[0].content == prompt and made.facts["seed"] == "s0"


def test_every_seed_is_rewritten_in_every_way_before_a_way_comes_again() -> None:
    recipe = load("evolve")
    rows = list(recipe.plan(inputs(count=len(SEEDS) * len(recipe.ways))))
    assert len({(r.given["seed"], r.given["way"]) for r in rows}) == len(rows)


def test_a_conversation_takes_turns_and_ends_early_rather_than_badly() -> None:
    recipe = load("multi_turn")
    row = next(recipe.plan(inputs(seeds=())))
    ask, asked = answering({"message": "How do arches stand?"}, "Each stone leans on the next.", {"message": "And in an earthquake?"},
                           "Then they crack.", {"message": "Can cracks be mended?"}, "With lime mortar.")
    made = only(recipe, ask, row)
    assert [m.role for m in made.messages] == ["user", "assistant"] * 3 and made.facts["turns"] == 3 and made.flags == ()
    assert made.messages[-1].content == "With lime mortar." and "leans on the next" in asked[2][1].messages[-1].content
    # The model only says the same again: the conversation is shorter, and whole.
    ask, _ = answering({"message": "How do arches stand?"}, "Each stone leans on the next.", {"message": "How do arches stand?"},
                       {"message": "How do arches stand?"}, {"message": "How do arches stand?"}, "They lean.")
    made = only(recipe, ask, row)
    assert [m.role for m in made.messages] == ["user", "assistant"] and made.messages[-1].content == "They lean."


def test_a_conversation_goes_on_from_a_seed() -> None:
    row = next(load("multi_turn").plan(inputs(topics=())))
    ask, _ = answering("Because it is cold.", {"message": "And salt water?"}, "It freezes later.", {"message": "How much?"},
                       "By two degrees.")
    made = only(load("multi_turn"), ask, row)
    assert made.messages[0].content in {s.messages[0].content for s in SEEDS} and made.facts["seed"].startswith("s")


def test_a_translation_keeps_code_numbers_and_turns() -> None:
    code = "```python\nprint('Guten Tag 5')\n```"
    seed = Example(id="t", messages=(Message(role="user", content="Greet 40 people in `main.py`."),
                                     Message(role="assistant", content=f"Like this:\n\n{code}\n\nSee https://x.example/a for 1,200 more.")),
                   facts={"answer": "40", "check": "number"})
    said = {"Greet 40 people in `main.py`.": "Saluda a 40 personas en `main.py`.", "Like this:": "Así:",
            "See https://x.example/a for 1,200 more.": "Véase https://x.example/a para 1.200 más."}

    def reply(ask: Ask) -> str:
        text = ask.messages[-1].content.split("<<<\n")[1].split("\n>>>")[0]
        assert "print(" not in text and "Spanish" in ask.messages[-1].content
        return json.dumps({"translation": said[text]})

    recipe = load("translate")
    row = next(recipe.plan(inputs(seeds=[seed], language="Spanish")))
    made = only(recipe, answering(reply)[0], row)
    assert made.messages[1].content == f"Así:\n\n{code}\n\nVéase https://x.example/a para 1.200 más." and made.flags == ()
    assert made.facts["answer"] == "40" and made.messages[0].content == "Saluda a 40 personas en `main.py`."
    made = only(recipe, answering({"translation": "Saluda a todos."})[0], row)
    assert made.flags == ("structure",)


@pytest.mark.parametrize(("before", "after", "whole"), [
    ("Pay 1,234.50 by May", "Zahle 1.234,50 bis Mai", True),
    ("Take 3 eggs", "Nimm drei Eier", True),
    ("Built in 1874", "Erbaut im Jahr 1847", False),
    ("Dear {name}, see {{link}}", "Liebe {name}, siehe {{link}}", True),
    ("Dear {name}", "Liebe {Name}", False),
    ("- one\n- two", "- eins\n- zwei", True),
    ("- one\n- two", "eins und zwei", False),
    ("<b>now</b>", "<b>jetzt</b>", True),
    ("Run `ls -l`", "Führe ls -l aus", False),
])
def test_structure_that_a_translation_lacks_is_found(before: str, after: str, whole: bool) -> None:
    assert (not lost(before, after)) is whole


def test_a_problem_is_solved_again_and_set_aside_where_answers_differ() -> None:
    recipe = load("reasoning")
    problem = {"problem": "Ada has 3 crates of 14 slates. How many slates?", "solution": "3 times 14 is 42.", "answer": "42 slates"}
    ask, asked = answering(problem, {"solution": "14+14+14 = 42", "answer": "42"})
    made = only(recipe, ask)
    assert made.flags == () and made.facts["answer"] == "42" and made.facts["check"] == "number" and made.facts["agreed"] == 1
    assert made.messages[1].content == "3 times 14 is 42.\n\nAnswer: 42"
    assert "3 times 14" not in asked[1][1].messages[-1].content
    ask, _ = answering(problem, {"solution": "3+14 = 17", "answer": "17"})
    assert only(recipe, ask).flags == ("answers_differ",)
    assert next(recipe.plan(inputs(topics=()))).given["topic"] in recipe.topics


@pytest.mark.parametrize(("answer", "value"), [("42", "42"), ("$1,200.50", "2401/2"), ("-3/4", "-3/4"), ("12 apples", "12"), ("−7", "-7"),
                                               ("75%", "75"), ("3 h 20 min", None), ("about twelve", None), ("", None), ("1/0", None),
                                               ("2 or 3", None), ("0.5.", "1/2")])
def test_the_number_of_a_short_answer(answer: str, value: str | None) -> None:
    found = number_in(answer)
    assert (None if found is None else str(found)) == value


def test_choices_and_words_are_compared_as_what_they_are() -> None:
    listed_ = "Which is oldest?\nA) oak\nB) moss\nC) fern"
    assert check_of(listed_, "B) moss") == "choice" and short("choice", "b) moss") == "B" and same("choice", "B", "(b)")
    assert check_of("Which is oldest?", "B") == "text" and same("text", "The moss.", "the moss") and not same("text", "moss", "fern")
    assert same("number", "0.50", "1/2") and not same("number", "5", "five")


def test_a_copy_of_any_seed_is_a_duplicate_where_prompts_must_be_new() -> None:
    assert {r.id for r in listed() if r.new_prompts} == {"seeds", "evolve"}
    recipe = load("seeds")
    row = first_row(recipe)
    unseen = next(s for s in SEEDS if s.id not in row.given["seeds"])
    checks = Checks(CheckSettings.of({}, recipe.checks, recipe.kind))
    checks.know(SEEDS)
    made = only(recipe, answering({"instruction": unseen.messages[0].content}, "Done so.")[0], row)
    assert made.flags == () and checks.looked(made).flags == ("duplicate",)


# ---- Python


PYTHON = '''
import pathlib
pathlib.Path(__file__).with_name("ran").touch()
TITLE, NEEDS = "Capitals", ["topics"]

def rows(inputs):
    for topic in inputs.topics:
        yield {"prompt": f"Capital of {topic}?", "facts": {"topic": topic}}

def example(row, answer):
    return None if "skip" in answer else {"answer": answer.upper(), "facts": {"letters": len(answer)}}
'''


def test_a_recipe_in_python_never_runs_unless_exactly_its_text_was_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "capitals.py"
    path.write_text(PYTHON, "utf-8")
    seen = load(str(path))
    assert (seen.title, seen.needs, seen.trusted, seen.python) == ("Capitals", ("topics",), False, True)
    for recipe in (seen, load(str(path), trusted="0" * 64), load(str(path), text=PYTHON + "\n", trusted=seen.sha256)):
        with pytest.raises(SettingError) as wrong:
            recipe.plan(inputs())
        assert wrong.value.code == "untrusted_recipe" and recipe.sha256 in wrong.value.remedy
        with pytest.raises(SettingError):
            recipe.steps(Row("0", 0, 0, {}), answering("x")[0])
    assert not (tmp_path / "ran").exists()
    trusted = load(str(path), trusted=seen.sha256)
    rows = list(trusted.plan(inputs()))
    assert (tmp_path / "ran").exists() and len(rows) == 2
    made = only(trusted, answering("oslo")[0], rows[0])
    assert made.messages[1].content == "OSLO" and made.facts["letters"] == 4 and made.facts["topic"] == "bridges"
    assert list(trusted.steps(rows[1], answering("skip this")[0])) == []


@pytest.mark.parametrize(("text", "words"), [
    ("def rows(inputs):\n    yield {'prompt': 1/0}\n", "line 2"),
    ("def rows(inputs):\n    yield {'question': 'x'}\n", "row 1"),
    ("def rows(inputs):\n    yield {'prompt': 'x', 'facts': {'a': object()}}\n", "row 1"),
    ("raise KeyError('k')\ndef rows(inputs):\n    yield 'x'\n", "KeyError"),
])
def test_what_a_recipe_in_python_does_wrong_is_named_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(text, "utf-8")
    recipe = load(str(path), trusted=load(str(path)).sha256)
    with pytest.raises(FormatError) as wrong:
        list(recipe.plan(inputs()))
    assert words in wrong.value.sentence
    for broken in ("def rows(inputs:", "x = 1\n", "NEEDS = ['money']\ndef rows(i): pass\n"):
        path.write_text(broken, "utf-8")
        with pytest.raises(FormatError):
            load(str(path))


def test_the_example_in_python_works_and_keeps_right_sums_only() -> None:
    path = str(FOLDER / "arithmetic.py")
    recipe = load(path, trusted=load(path).sha256)
    rows = list(recipe.plan(inputs(count=5)))
    assert rows == list(recipe.plan(inputs(count=5))) and len(rows) == 5
    right = rows[0].given["facts"]["answer"]
    assert only(recipe, answering(f"Step by step.\n{right}")[0], rows[0]).flags == ()
    assert only(recipe, answering("It is\n123456789")[0], rows[0]).flags == ("wrong_result",)


# ---- all


def test_the_same_replies_lead_to_the_same_asks() -> None:
    """A run that was killed goes through its journal: whatever is asked twice must be the same."""
    for recipe in listed():
        for row in islice(recipe.plan(inputs(language="Spanish")), 3):
            takes = []
            for _ in range(2):
                ask, asked = answering("no JSON", {"question": "Who was it then?", "answer": "4", "quote": "x", "instruction": "Do it now.",
                                       "prompt": "Do it now.", "message": "Go on then.", "translation": "Hazlo.",
                                       "subtopics": ["arches"], "questions": ["What holds them?"], "problem": "How much is 2+2?",
                                       "solution": "4", "rationale": "", "score": 5, "score_a": 5, "score_b": 8})
                made = list(recipe.steps(row, ask, Writing(second=True, judge=True)))
                takes.append((asked, made))
            assert takes[0] == takes[1] and takes[0][0]
            assert len({(role, a.messages, a.seed) for role, a in takes[0][0]}) == len(takes[0][0])
            for example in takes[0][1]:
                assert set(example.flags) <= {f.id for f in known_flags()}
                assert Example.model_validate_json(example.model_dump_json()) == example


def test_prompts_are_short_enough_for_small_models() -> None:
    """What is asked, the material aside, stays under 1,400 characters."""
    for recipe in listed():
        for name, prompt in recipe.prompts.items():
            assert len(prompt) < 1400, (recipe.id, name)


def test_what_is_wrong_in_a_file_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("wibble = 3\n" + (FOLDER / "topics.toml").read_text("utf-8"), "utf-8")
    with pytest.raises(FormatError, match=r"wibble: a recipe has nothing of that name"):
        load(str(tmp_path / "a.toml"))
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00x")
    with pytest.raises(FormatError, match="no text in UTF-8"):
        load(str(tmp_path / "a.toml"))


def test_a_recipe_in_python_is_refused_before_any_model_is_asked(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(PYTHON)
    with pytest.raises(SettingError, match="--set recipe_hash="):
        load(str(tmp_path / "a.py")).check(inputs())
