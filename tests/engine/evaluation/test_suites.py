"""Suites: what the shipped ones are, what people's own may say, and what is refused with a reason."""

import pytest

from engine.contract.errors import FledgeError, FormatError, NotFound
from engine.contract.rows import Example, Message
from engine.evaluation import questions, suites
from engine.evaluation.questions import Asking
from engine.project import layout


def own(folder, name, text, **beside):
    place = layout.suites(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.toml").write_text(text, "utf-8")
    for file, content in beside.items():
        (place / file.replace("_jsonl", ".jsonl").replace("_csv", ".csv")).write_text(content, "utf-8")
    return folder


def test_every_shipped_suite_can_be_read_and_says_what_it_is():
    known = suites.list_suites()
    assert [s.id for s in known] and sorted(s.id for s in known) == suites.names()
    for suite in known:
        assert suite.title and suite.sentence.endswith(".") and suite.kind in suites.KINDS and not suite.own
    by_id = {s.id: s for s in known}
    assert by_id["questions"].needs == ("examples",) and by_id["held_out_text"].needs == ("corpus",)
    assert by_id["win_rate"].needs == ("two_models", "judge")
    answers = [q.right for q in by_id["everyday"].questions]
    assert {answers.count(place) for place in range(4)} == {len(answers) // 4}  # always saying the first one gains nothing


def test_a_suite_of_ones_own_wins_over_a_shipped_one_and_may_have_a_file_beside_it(tmp_path):
    own(tmp_path, "formats",
        'title = "Mine"\nfile = "q.jsonl"\ngraders = ["number"]\n[columns]\nprompt = "question"\nanswer = "solution"\n',
        q_jsonl='{"question": "2+2?", "solution": "so #### 4", "level": 3}\n{"question": "3+3?", "solution": "#### 6", "level": 4}\n')
    suite = suites.load("formats", tmp_path)
    assert suite.own and suite.title == "Mine" and [q.answers for q in suite.questions] == [("so #### 4",), ("#### 6",)]
    assert suite.questions[0].group == {}  # columns of other people's files are no groups
    assert suites.list_suites(tmp_path)[0].id == "formats"
    assert not suites.load("formats").own


def test_questions_in_a_suite_bring_groups_choices_and_their_own_shots(tmp_path):
    own(tmp_path, "mine", """
kind = "choices"
plain = " {prompt}"
[[shots]]
prompt = "a"
answer = "b"
[[questions]]
prompt = "x?"
choices = ["p", "q"]
answer = "B"
level = 2
[[questions]]
prompt = "y?"
choices = ["p", "q"]
answer = "p"
""")
    suite = suites.load("mine", tmp_path)
    assert [q.right for q in suite.questions] == [1, 0] and suite.questions[0].group == {"level": "2"}
    assert suite.asking.text(suite.questions[0], "plain") == " x?"
    assert suite.asking.shots == (("a", "b"),)


@pytest.mark.parametrize("text", [
    "title = ", 'kind = "poems"\n', 'graders = ["nice"]\n[[questions]]\nprompt = "a"\nanswer = "b"\n', 'colour = 3\n', 'title = "empty"\n',
    'forms = ["song"]\n[[questions]]\nprompt = "a"\nanswer = "b"\n', '[[questions]]\nprompt = "a"\n', '[[questions]]\nanswer = "a"\n',
    'graders = ["number"]\n[[questions]]\nprompt = "a"\nanswer = "none"\n', 'plain = "x"\n[[questions]]\nprompt = "a"\nanswer = "b"\n',
    'graders = ["checks"]\n[[questions]]\nprompt = "a"\nchecks = [{check = "rhymes"}]\n',
    'samples = 0\n[[questions]]\nprompt="a"\nanswer="b"\n',
    '[[questions]]\nprompt = "a"\nanswer = "b"\n[[questions]]\nprompt = "a"\nanswer = "b"\n', 'file = "missing.jsonl"\n',
    'kind = "choices"\n[[questions]]\nprompt = "a"\nchoices = ["x", "y"]\nanswer = "z"\n', 'file = "../secret.jsonl"\n', 'graders = []\n',
    '[[questions]]\nmessages = [{role = "assistant", content = "x"}]\nanswer = "b"\n'])
def test_a_suite_that_cannot_be_used_says_why(tmp_path, text):
    (tmp_path / "secret.jsonl").write_text('{"prompt": "a", "answer": "b"}')
    own(tmp_path, "mine", text)
    with pytest.raises(FledgeError) as wrong:
        suites.load("mine", tmp_path)
    assert wrong.value.sentence and wrong.value.remedy
    assert "mine" not in [suite.id for suite in suites.list_suites(tmp_path)]


@pytest.mark.parametrize("name", ["nothing", "../formats", "a/b", ""])
def test_an_unknown_name_tells_the_known_ones(name):
    with pytest.raises(NotFound) as wrong:
        suites.load(name)
    assert "formats" in wrong.value.remedy


def test_csv_and_broken_files_beside_a_suite(tmp_path):
    own(tmp_path, "mine", 'file = "q.csv"\n', q_csv="prompt,answer\nWhat?,that\nWho?,she\n")
    assert [q.answers[0] for q in suites.load("mine", tmp_path).questions] == ["that", "she"]
    own(tmp_path, "mine", 'file = "q.jsonl"\n', q_jsonl='{"prompt": "a", "answer": "b"}\n{oops\n')
    with pytest.raises(FormatError):
        suites.load("mine", tmp_path)
    own(tmp_path, "mine", 'file = "q.jsonl"\n', q_jsonl='{"question": "a", "answer": "b"}\n')
    with pytest.raises(FormatError) as wrong:
        suites.load("mine", tmp_path)
    assert "Line 1" in wrong.value.sentence


def test_questions_of_the_library_have_the_sentence_and_the_short_answer():
    row = Example(id="r1", messages=(Message(role="user", content="Where?"), Message(role="assistant", content="In Bretol.")),
                  facts={"answer": "Bretol", "group": {"fact": "town"}})
    bare = Example(id="r2", messages=(Message(role="user", content="Why?"),))
    wordless = Example(id="r3", messages=(Message(role="assistant", content="Hello"),))
    made = list(questions.of_examples([row, bare, wordless]))
    assert [q.id for q in made] == ["r1", "r2"]
    assert made[0].answers == ("In Bretol.", "Bretol") and made[0].group == {"fact": "town"} and made[1].answers == ()


def test_the_forms_of_asking():
    question = questions.of_table({"prompt": "Where?", "answer": "Here"}, "x")
    asking = Asking(shots=(("Who?", "Ada"), ("Where?", "Here")), system="Be brief.")
    assert asking.text(question, "plain") == "Where?"
    assert asking.text(question, "few_shot") == "Question: Who?\nAnswer: Ada\n\nQuestion: Where?\nAnswer:"  # never itself
    assert asking.messages(question)[0] == {"role": "system", "content": "Be brief."}
    assert questions.answer_of("\n Here it is.\nQuestion: next", "few_shot") == "Here it is."
    assert questions.answer_of(" Here.\nThere. ", "chat") == "Here.\nThere."


def test_a_base_model_that_goes_on_after_its_answer_is_read_generously_and_a_chat_model_is_not():
    question = questions.of_table({"prompt": "Where?", "answer": "She lives in Bretol."}, "x")
    said = "She lives in Bretol. Her cat is old."
    assert questions.grades(question, said, ["exact"], "plain")[0] == {"exact": 1.0}
    assert questions.grades(question, said, ["exact"], "chat")[0] == {"exact": 0.0}


def test_an_id_follows_the_content_alone():
    first = questions.of_table({"prompt": "a", "answer": "b"}, "x").id
    assert first == questions.of_table({"answers": ["b"], "prompt": "a"}, "y").id
    assert first != questions.of_table({"prompt": "a", "answer": "c"}, "x").id


def test_a_file_of_others_is_told_how_to_name_its_columns(tmp_path):
    own(tmp_path, "mine", 'kind = "questions"\nfile = "q.csv"\n', q_csv="question,answer\nWho?,me\n")
    with pytest.raises(FormatError, match=r'\[columns\]: prompt = "question"'):
        suites.load("mine", tmp_path)


def test_a_suite_that_is_no_text_is_told_in_words(tmp_path):
    own(tmp_path, "mine", "")
    (layout.suites(tmp_path) / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="mine.toml is not text in UTF-8"):
        suites.load("mine", tmp_path)
