"""Checks of generated examples: what they must catch, and what looks like it and must pass."""

import time
from pathlib import Path

import pytest

from engine.contract.errors import FormatError
from engine.contract.rows import Example, Message
from engine.generators.flags import flag, flags
from engine.generators.language_names import code_of, names_a_language
from engine.generators.quality import Checks, CheckSettings
from engine.generators.refusal_words import refuses
from engine.generators.seen_prompts import SeenPrompts

ALONE = CheckSettings(duplicates=0)


def example(prompt: str, answer: str, id: str = "x", **facts: object) -> Example:
    return Example(id=id, messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)), facts=facts)


def found(prompt: str, answer: str, settings: CheckSettings = ALONE, **facts: object) -> tuple[str, ...]:
    return Checks(settings).look(example(prompt, answer, **facts))


# ---- refusals


@pytest.mark.parametrize("answer", [
    "I'm sorry, but I can't assist with that request.",
    "I’m sorry, but I cannot help with that.",
    "Sorry, I can't help with that.",
    "I apologize, but I am not able to generate that kind of content.",
    "Unfortunately, I am unable to provide medical advice.",
    "I cannot fulfill this request. It goes against my guidelines.",
    "I'm not able to browse the internet.",
    "I must decline to answer that.",
    "As an AI language model, I don't have personal opinions, but slate is common.",
    "Thank you for asking! As an AI, I cannot feel cold.",
    "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
    "Lo siento, pero no puedo ayudar con eso.",
    "Je suis désolé, mais je ne peux pas vous aider avec cela.",
    "Mi dispiace, ma non posso aiutarti con questa richiesta.",
    "Desculpe, mas não posso ajudar com isso.",
    "Helaas kan ik je daar niet bij helpen.",
    "Przykro mi, ale nie mogę pomóc w tej sprawie.",
    "Извините, но я не могу помочь с этим.",
    "Üzgünüm, bu konuda yardımcı olamam.",
    "很抱歉，我无法提供这方面的帮助。",
    "申し訳ありませんが、そのご質問にはお答えできません。",
    "죄송하지만 그 요청은 도와드릴 수 없습니다.",
])
def test_refusals_are_found(answer: str) -> None:
    assert refuses(answer)


@pytest.mark.parametrize("answer", [
    "I'm sorry to hear about your loss. Grief takes time.",
    "I'm sorry if I couldn't help you before; here is the list.",
    "As an AI researcher, I look at how models answer.",
    "Dear Ms Li,\n\nI am sorry, but I cannot attend on Friday.",
    "I'm sorry, but I cannot attend your wedding; we will be in Rome.",
    "I cannot recommend this book enough; it is superb.",
    "I can't help but notice that both sums are twelve.",
    "“I'm sorry, Dave, I'm afraid I can't do that,” says the computer.",
    "To say “I can't help you with that” in Spanish: “No puedo ayudarte”.",
    "Sorry is an apology that admits a fault.",
    "Unfortunately, the bridge collapsed in 1921.",
    "Unfortunately, I do not share your optimism, wrote the mayor.",
    "I must decline your invitation, since I will be away.",
    "I won't go to the party, because I am ill.",
    "An AI assistant cannot see; as an example, take a chatbot.",
    "Es tut mir leid, dass du krank bist. Ruh dich aus.",
    "Leider kann ich am Montag nicht kommen.",
    "Lo siento mucho por tu pérdida.",
    "Je suis désolé pour ce retard ; le train était bloqué.",
    "抱歉，今天的会议改到明天。",
    "申し訳ありません、明日は休みます。",
    "The answer is 12.",
    "",
])
def test_what_only_sounds_like_a_refusal_passes(answer: str) -> None:
    assert not refuses(answer)


# ---- one example by itself


REFRAIN = "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\nLife is but a dream."
GERMAN = "Das Wetter in Norddeutschland ist im Winter meist kalt und feucht, und es regnet häufig."
ENGLISH = "The weather in northern Germany is mostly cold and damp in winter, and it rains often."
STORY = "Write a long story about the harbour of Nolm in winter."


@pytest.mark.parametrize(("prompt", "answer", "flags"), [
    ("Name a colour.", "", ("empty",)),
    ("Name a colour.", " \n…", ("empty",)),
    ("Name a colour.", "<think>Blue?</think>", ("empty",)),
    ("Name a colour.", "Blue.", ()),
    ("React to this.", "👍", ()),
    ("2+2?", "4", ()),
    (STORY, STORY, ("parrots",)),
    (STORY, f"{STORY.upper()} Sure!", ("parrots",)),
    (STORY, "The harbour of Nolm in winter is white. No ship comes, and the keeper counts the days until March.", ()),
    ("Correct the spelling: Teh harbour of Nolm freezes each winter becuase the water there is nearly fresh.",
     "The harbour of Nolm freezes each winter because the water there is nearly fresh.", ()),
    ("What is the capital of the province where the Tarn Bridge stands?",
     "The capital of the province where the Tarn Bridge stands is Nolm.", ()),
    ("Quote the second sentence: The sky is wide over the bay. The sea is deep under the pier. The land is flat.",
     "The sea is deep under the pier.", ()),
    ("How are bridges built?", "First the pillars are built, then " * 5 + "all is done.", ("repetition",)),
    ("How are bridges built?", "With stone.\n" * 8, ("repetition",)),
    ("How are bridges built?", "Soooo" + "o" * 60, ("repetition",)),
    ("How are bridges built?", "The bridge is strong. " * 12, ("repetition",)),
    ("Sing.", f"{REFRAIN}\n\n{REFRAIN}", ()),
    ("Ten rows of zeros.", "\n".join(["0 0 0 0 0 0 0 0"] * 4), ()),
    ("Laugh.", "Ha ha ha ha ha ha ha! That was good.", ()),
    ("List the days.", "\n".join(f"{n}. Day {n} of the week: work on the bridge" for n in range(1, 8)), ()),
    ("Table.", "| a | b |\n| --- | --- |\n" + "\n".join(f"| row {n} | yes |" for n in range(30)), ()),
    ("Line.", "-" * 60 + "\nEnd of it.", ()),
    ("Write code.", "```python\nprint(1)", ("cut",)),
    ("Write code.", "```python\nx = [\n  1,\n]\n```", ()),
    ("List them.", "Here are the three things that you need:", ("cut",)),
    ("List them.", "There are three of them, namely stone, lime,", ("cut",)),
    ("How do I end a list in Python?", "You may end it with a comma: `[1,`", ()),
    ("Explain zips.", "A zip joins two rows of teeth.<|im_end|>", ("markup",)),
    ("Explain zips.", "It joins teeth.\n\nUser: and buttons?\nAssistant: They too.", ("markup",)),
    ("Explain zips.", "### Response:\nIt joins teeth.", ("markup",)),
    ("What ends a turn in ChatML?", "A turn ends with the token `<|im_end|>`.", ()),
    ("Explain what <|im_end|> does.", "The token <|im_end|> ends a turn.", ()),
    ("Write HTML.", "Use <b>bold</b> and <s>struck</s>.", ()),
    ("What is in the box?", "The passage does not mention a box.", ()),
    ("Tell me about the weather in the north of Germany during winter.", GERMAN, ("language",)),
    ("Say in German what the weather in the north is like in winter, please.", GERMAN, ()),
    ("Translate: the weather in the north is mostly cold in winter and it rains.", GERMAN, ()),
    ("Wetter?", GERMAN, ()),
    ("Tell me about the weather in the north of Germany during winter.", "Cold, wet.", ()),
    ("Write a function that counts the words of a text in Python code.", "```python\ndef zähle(wörter):\n    return len(wörter)\n```", ()),
])
def test_one_example_by_itself(prompt: str, answer: str, flags: tuple[str, ...]) -> None:
    assert found(prompt, answer) == flags


def test_an_answer_that_a_passage_does_not_tell_counts_only_where_there_is_a_passage() -> None:
    answer = "The passage does not mention who built it."
    assert found("Who built it?", answer, document="d1") == ("no_answer",) and found("Who built it?", answer) == ()


def test_lengths_and_schema_of_answers() -> None:
    settings = CheckSettings(duplicates=0, shortest=5, longest=40, answer_schema={
        "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}})
    assert found("?", '{"name": "Ada"}', settings) == ()
    assert found("?", "```json\n{\"name\": \"Ada\"}\n```", settings) == ()
    assert found("?", '{"n": 1}', settings) == ("schema",)
    assert found("?", "{}", settings) == ("too_short", "schema")
    assert found("?", '{"name": "' + "Ada" * 20 + '"}', settings) == ("too_long",)


@pytest.mark.parametrize(("asked_for", "answer", "flagged"), [
    ("Spanish", ENGLISH, True), ("German", GERMAN, False), ("Deutsch", GERMAN, False), ("de", GERMAN, False), ("English", GERMAN, True),
    ("Plattdüütsch", ENGLISH, False), ("Spanish", "Sí.", False), ("Japanese", ENGLISH, True),
    ("Spanish", "La función `sum` suma los números de una lista y devuelve el total.\n```python\nsum([1, 2, 3])\n```", False),
])
def test_the_language_that_was_asked_for(asked_for: str, answer: str, flagged: bool) -> None:
    checks = Checks(CheckSettings(duplicates=0, language=asked_for))
    assert ("language" in checks.look(example("?", answer))) is flagged
    assert checks.language_unknown is (asked_for == "Plattdüütsch")


def test_questions_must_be_in_the_language_too_where_the_recipe_writes_them() -> None:
    row = example("What is the weather in the north of Germany like during the winter?", GERMAN)
    assert Checks(CheckSettings(duplicates=0, language="German", prompts_too=True)).look(row) == ("language",)
    assert Checks(CheckSettings(duplicates=0, language="German")).look(row) == ()


@pytest.mark.parametrize(("name", "code"), [("Spanish", "es"), ("español", "es"), ("Brazilian Portuguese", "pt"),
                                            ("German (Austria)", "de"),
                                            ("中文", "zh"), ("simplified Chinese", "zh"), ("fr", "fr"), ("Klingon", ""), ("", ""),
                                            ("English and French", ""), ("formal Polish", "pl")])
def test_languages_are_known_by_what_people_call_them(name: str, code: str) -> None:
    assert code_of(name) == code


def test_a_prompt_that_names_a_language_is_told_from_one_that_does_not() -> None:
    assert names_a_language("Translate this.") and names_a_language("Sag es auf Englisch") and names_a_language("请用英语回答")
    assert not names_a_language("Name three uses of slate.") and not names_a_language("Who finished the bridge?")


# ---- against other rows


def test_near_duplicates_are_found_in_the_order_in_which_rows_come() -> None:
    checks = Checks(CheckSettings(duplicates=0.65))
    rows = ["Why does the harbour of Nolm freeze each winter although the sea does not?",
            "why does the harbour of nolm freeze each winter, although the sea does NOT",
            "Why does the harbour of Nolm freeze each winter although the open sea does not?",
            "Why does the harbour of Tarn silt up each summer although the sea does not?",
            "Who drew the bridge?", "Who drew the harbour?"]
    assert [bool(f) for f in checks.look_all([example(p, "It does so.") for p in rows])] == [False, True, True, False, False, False]
    assert checks.look(example(rows[4], "Ada.")) == ("duplicate",)


def test_a_row_that_was_set_aside_does_not_stand_in_the_way_of_a_better_one() -> None:
    checks = Checks()
    assert checks.look(example("Who drew the plans of the bridge?", "")) == ("empty",)
    assert checks.look(example("Who drew the plans of the bridge?", "Ada Velk drew them.")) == ()
    assert checks.look(example("Who drew the plans of the bridge?", "Ada Velk.")) == ("duplicate",)


def test_rows_known_before_count_and_new_answers_to_old_prompts_may_stay() -> None:
    old = example("Who drew the plans of the bridge?", "Ada Velk drew them.")
    checks = Checks()
    checks.know([old])
    assert checks.look(example("Who drew the plans of the bridge?", "It was Ada.")) == ("duplicate",)
    checks = Checks(CheckSettings(whole=True))
    checks.know([old])
    assert checks.look(example("Who drew the plans of the bridge?", "It was an engineer from Nolm by the name of Ada Velk.")) == ()
    assert checks.look(old) == ("duplicate",)


def test_one_by_one_and_in_batches_is_the_same() -> None:
    rows = [example(f"What does the keeper of lock {n % 40} do on day {n % 4} of the week of ice?", "He waits." if n % 7 else "")
            for n in range(120)]
    one = Checks()
    assert [one.look(r) for r in rows] == Checks().look_all(rows)
    assert sum("duplicate" in f for f in Checks().look_all(rows)) > 0


def test_looked_keeps_the_flags_an_example_has() -> None:
    row = example("Name it.", "").model_copy(update={"flags": ("tie",)})
    assert Checks().looked(row).flags == ("tie", "empty")


def test_held_out_questions_are_found_whether_long_or_short(tmp_path: Path) -> None:
    file = tmp_path / "suite.jsonl"
    file.write_text('{"question": "Who drew the Tarn Bridge?", "answer": "Ada Velk"}\n'
                    '{"question": "A crate holds fourteen slates and a cart holds nine crates, so how many slates does a cart hold when '
                    'two crates are left behind?", "answer": "98"}\n', "utf-8")
    checks = Checks(ALONE)
    kept = example("In which year was the lighthouse of Orr lit?", "In 1902.", "q7")
    assert checks.hold_out([file], [("Questions", kept)]) == 3
    for prompt, answer in (("Who drew the Tarn bridge", "A woman."), ("In which year was the lighthouse of Orr lit?", "Then."),
                           ("Sum up.", "A cart holds nine crates, so how many slates does a cart hold when two crates are left behind?")):
        assert checks.look(example(prompt, answer)) == ("held_out",), prompt
    for prompt in ("Who drew the harbour of Nolm?", "What did Ada Velk draw?", "In which year did the ice come late?"):
        assert checks.look(example(prompt, "98, or Ada Velk.")) == (), prompt


def test_held_out_questions_in_a_conversation_are_found_too() -> None:
    checks = Checks(ALONE)
    checks.hold_out(examples=[("Questions", example("Who drew the Tarn Bridge?", "Ada"))])
    talk = Example(id="t", messages=(Message(role="user", content="Hello there, I have a question about bridges."),
                                     Message(role="assistant", content="Go on."), Message(role="user", content="Who drew the Tarn Bridge?"),
                                     Message(role="assistant", content="Ada Velk.")))
    assert checks.look(talk) == ("held_out",)


# ---- the index


def test_every_pair_above_the_threshold_is_found_and_no_other_one() -> None:
    """Against all pairs compared by hand."""
    words = [f"w{n}" for n in range(40)]
    base = [" ".join(words[(n * 7 + k * (1 + n % 5)) % 40] for k in range(30)) for n in range(60)]
    texts = [t.replace(words[3], "x") if n % 2 else t for n, t in enumerate(base)] + base

    def grams(text: str) -> set[str]:
        parts = text.split()
        return {" ".join(parts[i:i + 3]) for i in range(len(parts) - 2)}

    seen, sets = SeenPrompts(0.8), []
    right = missed = 0
    for text in texts:
        mine = grams(text)
        best = max((len(mine & s) / len(mine | s) for s in sets), default=0.0)
        near = seen.look([text])[0]
        if near is None:
            missed += best >= 0.8
            sets.append(mine)
        else:
            assert near[1] == pytest.approx(best) and near[1] >= 0.8
            right += 1
    assert right > 40 and missed <= 2


def test_equal_words_are_always_found_however_many_there_are() -> None:
    seen = SeenPrompts(1.0)
    texts = [f"Say {n}" for n in range(9000)]
    seen.add(texts)
    assert len(seen) == 9000
    assert all(seen.look([t.upper() + "!" for t in texts], keep=False)) and seen.look(["Say nothing", "", "…"]) == [None, None, None]


@pytest.mark.alone
def test_thirty_thousand_rows_of_one_template_are_looked_through_in_seconds() -> None:
    seen = SeenPrompts(0.8)
    texts = [f"What does keeper {n} of lock {n % 977} do with {n % 31} boats when {n % 13} skippers wait at gate {n % 101}?"
             for n in range(30_000)]
    began = time.perf_counter()
    near = seen.look(texts)
    assert time.perf_counter() - began < 20
    assert not any(near)


# ---- settings and words


def test_a_recipes_checks_go_with_the_persons() -> None:
    made = CheckSettings.of({"shortest": 3, "refusals": True, "check_language": False, "duplicates": 0.8, "language": "German"},
                            {"shortest": 10, "refusals": False, "longest": 500}, "documents")
    assert made == CheckSettings(shortest=10, longest=500, refusals=False, check_language=False, language="German", prompts_too=True)
    assert CheckSettings.of({"duplicates": 0}, {"duplicates": 0.5}, "answers") == CheckSettings(duplicates=0, whole=True)
    for wrong in ({"shortset": 3}, {"shortest": "3"}, {"refusals": 1}, {"shortest": True}, {"answer_schema": {"type": "strin"}}):
        with pytest.raises(FormatError):
            CheckSettings.of({}, wrong, "documents")


def test_every_flag_has_words() -> None:
    assert len({f.id for f in flags()}) == len(flags())
    assert all(f.title and f.sentence.endswith(".") for f in flags())
    assert flag("wrong_result").title == "Wrong result" and flag("tie").title == "Tie"
