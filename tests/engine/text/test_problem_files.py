"""Files of problems: what is told of their columns, what becomes of each row, and that what is written is read again."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contract.errors import FormatError, SettingError
from engine.contract.rows import Message, Problem, problem_id
from engine.project.library import Library
from engine.text.problem_files import Mapping, Refused, look, read, write
from engine.text.problem_files.guessing import guess
from engine.text.problem_files.making import NoProblem, make
from engine.text.row_files.kind import NoRow

GSM8K = Path(__file__).parents[3] / ".." / "shared" / "data" / "gsm8k-train.jsonl"


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def problem(text: str, answer: Any, **more: Any) -> Problem:
    prompt = (Message(role="user", content=text),)
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer, **more)


def one(row: Any, **mapping: Any) -> Problem:
    [made] = make(row, Mapping(**mapping), "import:x")
    return made


# ---- what is told of columns

@pytest.mark.parametrize(("row", "wanted"), [
    ({"question": "2 + 2?", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"}, {"kind": "gsm8k", "prompt": "question", "answer": "answer"}),
    ({"problem": "Find x.", "solution": "So $\\boxed{x^{2}}$.", "level": "Level 3", "type": "Algebra"},
     {"kind": "boxed", "prompt": "problem", "answer": "solution", "difficulty": "level"}),
    ({"problem": "Find x.", "solution": "So $\\boxed{7}$.", "answer": "7", "subject": "Algebra"},
     {"kind": "columns", "prompt": "problem", "answer": "answer", "solution": "solution"}),
    ({"Question": "Who?", "Correct_Answer": "Ada", "Difficulty": "easy", "split": "test"},
     {"prompt": "Question", "answer": "Correct_Answer", "difficulty": "Difficulty", "held_out": "split"}),
    ({"question": "Which?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"},
     {"prompt": "question", "choices": "choices", "answer": "answerKey"}),
    ({"prompt": [{"role": "user", "content": "2?"}], "reward_model": {"style": "rule", "ground_truth": "4"}},
     {"prompt": "prompt", "answer": "reward_model.ground_truth"}),
    ({"id": "1", "prompt": [], "answer": "", "held_out": False, "facts": {}}, {"kind": "fledge"}),
    ({"prompt": "a", "answer": "b", "difficulty": "who knows", "split": "north"}, {"difficulty": "", "held_out": ""}),
])
def test_columns_are_told_by_names_and_values(row: dict[str, Any], wanted: dict[str, str]) -> None:
    made = guess([row, row])
    assert {name: getattr(made, name) for name in wanted} == wanted and made.complete


def test_nothing_is_told_where_nothing_says_it() -> None:
    assert not guess([{"x": 1, "y": 2}]).complete and not guess([]).complete and not guess([{"question": "a"}]).complete
    assert guess(["a", "b"]).kind == "prompts"


# ---- rows

def test_the_answer_of_a_worked_solution_is_taken_and_the_solution_kept() -> None:
    made = one({"question": "How much?", "answer": "1 + 1\n#### 1,080"}, kind="gsm8k", prompt="question", answer="answer")
    assert made.answer == "1080" and made.facts == {"solution": "1 + 1\n#### 1,080"} and made.origin == "import:x"
    made = one({"p": "How much?", "s": "\\boxed{1} or rather \\boxed{\\frac{1}{2}}."}, kind="boxed", prompt="p", answer="s")
    assert made.answer == "\\frac{1}{2}"


def test_every_column_finds_its_place() -> None:
    row = {"q": "Which?", "a": 4.0, "s": "2 + 2", "d": "Level 5", "split": "Test", "sys": "Be brief.", "kept": [1], "other": {"x": 1},
           "none": None}
    made = one(row, prompt="q", answer="a", solution="s", difficulty="d", held_out="split", system="sys", facts=("kept",), rest=True)
    assert (made.answer, made.difficulty, made.held_out) == ("4", 5.0, True)
    assert [m.role for m in made.prompt] == ["system", "user"]
    assert made.facts == {"solution": "2 + 2", "kept": [1], "other": {"x": 1}}
    assert one(row, prompt="q", answer="a").facts == {}
    assert one(row, prompt="q", answer="a", held_out="split", held_out_values=("train",)).held_out is False
    tests = {"entry": "f", "tests": [{"arguments": [1], "expected": 2}]}
    assert one({"q": "f?", "a": tests}, prompt="q", answer="a").answer == tests
    assert one({"q": "f?", "a": json.dumps(tests)}, prompt="q", answer="a").answer == tests
    assert one({"q": "f?"}, kind="prompts", prompt="q").answer == ""
    assert one({"q": "f?", "a": 1, "d": float("nan"), "x": float("nan")}, prompt="q", answer="a", difficulty="d", rest=True).facts == {}


def test_conversations_end_where_the_question_does() -> None:
    talk = [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]
    made = one({"talk": talk}, prompt="talk", answer="talk")
    assert [m.content for m in made.prompt] == ["2 + 2?"] and made.answer == "4"


def test_choices_stand_behind_the_question_and_the_answer_is_a_letter() -> None:
    for choices, answer in ((["red", "blue"], 1), (["red", "blue"], "blue"), ({"text": ["red", "blue"], "label": ["1", "2"]}, "2"),
                            ('["red", "blue"]', "B")):
        made = one({"q": "Which?", "c": choices, "a": answer}, prompt="q", choices="c", answer="a")
        letters = "12" if isinstance(choices, dict) else "AB"
        assert made.prompt[0].content == f"Which?\n{letters[0]}. red\n{letters[1]}. blue" and made.answer == letters[1]
    with pytest.raises(NoProblem, match="none of the choices"):
        one({"q": "Which?", "c": ["red", "blue"], "a": "green"}, prompt="q", choices="c", answer="a")


@pytest.mark.parametrize(("row", "mapping", "reason"), [
    ([1], {}, "no object"), ({"q": "a"}, {}, "“a” is missing"), ({"a": "b"}, {}, "“q” is missing"),
    ({"q": " ", "a": "b"}, {}, "no question"),
    ({"q": "a", "a": " "}, {}, "“a” is missing"), ({"q": 1j, "a": "b"}, {}, "is no text"),
    ({"q": "a", "a": "no mark"}, {"kind": "gsm8k"}, "holds no ####"),
    ({"q": "a", "a": "x ####  "}, {"kind": "gsm8k"}, "nothing stands after"),
    ({"q": "a", "a": "no box"}, {"kind": "boxed"}, "holds no \\boxed"), ({"q": "a", "a": "\\boxed{1"}, {"kind": "boxed"}, "does not end"),
    ({"q": "a", "a": "b", "d": "?"}, {"difficulty": "d"}, "says no difficulty"),
    ({"q": "a", "a": float("nan")}, {}, "“a” is missing"),
    ({"q": "a", "a": "b", "d": float("inf")}, {"difficulty": "d"}, "says no difficulty"),
    ({"q": [{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}], "a": "b"}, {}, "does not end with a question"),
    ({"q": [{"role": "poet", "content": "x"}], "a": "b"}, {}, "unknown role"),
    ({"q": "x" * 1_000_001, "a": "b"}, {}, "longer than"), ({"q": "a", "a": ["x" * 200_000, 1]}, {}, "longer than")])
def test_what_is_no_problem_is_refused_with_the_reason(row: Any, mapping: dict[str, Any], reason: str) -> None:
    with pytest.raises(NoRow) as refused:
        make(row, Mapping(**{"prompt": "q", "answer": "a", **mapping}), "")
    assert reason in str(refused.value)


# ---- files

def test_a_file_is_looked_into_and_read_with_the_lines_of_what_is_refused(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} + {n}?", "answer": f"It is so.\n#### {2 * n}"} for n in range(30)]
    rows[3] = {"question": "No mark?", "answer": "It is so."}
    path = lines(tmp_path / "sums.jsonl", rows)
    with open(path, "a") as file:
        file.write("{broken\n")
    found = look(path)
    assert found.mapping.kind == "gsm8k" and found.bad == 2 and [p.line for p in found.problems] == [4, 31]
    assert [p.answer for p in found.preview] == ["0", "2", "4", "8", "10"]
    made = list(read(path))
    refused = [row for row in made if isinstance(row, Refused)]
    assert [r.line for r in refused] == [4, 31] and len(made) == 31
    with pytest.raises(FormatError, match="hold a question and its answer"):
        list(read(lines(tmp_path / "other.jsonl", [{"x": 1, "y": 2}])))


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "parquet"])
def test_tables_are_read_alike(kind: str, tmp_path: Path) -> None:
    between = " " if kind == "tsv" else "\n"
    rows = [{"question": f"What, is {n}{between}+ 1?", "answer": str(n + 1), "level": n % 3, "split": "train" if n % 5 else "test"}
            for n in range(20)]
    path = tmp_path / f"sums.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    else:
        with open(path, "w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter="\t" if kind == "tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    made = list(read(path))
    assert [(p.prompt[0].content, p.answer, p.difficulty, p.held_out) for p in made] == [
        (r["question"], r["answer"], float(r["level"]), r["split"] == "test") for r in rows]
    assert made[0].origin == f"import:sums.{kind}"


def test_a_table_with_row_numbers_that_have_no_name(tmp_path: Path) -> None:
    path = tmp_path / "pandas.csv"
    path.write_text(",question,answer\n0,What is 1+1?,2\n1,What is 2+2?,4\n")
    found = look(path)
    assert found.columns == ("column 1", "question", "answer") and found.mapping.complete
    assert [one.answer for one in read(path, found.mapping) if isinstance(one, Problem)] == ["2", "4"]


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_what_fledge_writes_it_reads_again(ending: str, tmp_path: Path) -> None:
    rows = [problem("Größe?", "4", held_out=True, difficulty=2.5, origin="person", facts={"inputs": [1, {"a": None}]}),
            problem("f?", {"entry": "f", "tests": [1]}), problem("[1, 2]?", "{\"tests\": 1}"),
            Problem(id="", prompt=(Message(role="system", content="s"), Message(role="user", content="u")), answer=["a", 1])]
    rows = [row.model_copy(update={"id": problem_id(row.prompt, row.answer)}) for row in rows]
    path = tmp_path / f"mine{ending}"
    assert write(path, rows).rows == 4
    kept = list(read(path))
    assert [row.model_copy(update={"origin": ""}) for row in kept] == [row.model_copy(update={"origin": ""}) for row in rows]
    assert kept[0].origin == "person" and kept[1].origin == f"import:{path.name}"


def test_a_table_and_messages_hold_what_others_read(tmp_path: Path) -> None:
    rows = [problem("2 + 2?", "4", held_out=True, difficulty=1.0, facts={"solution": "2 + 2 = 4"}),
            Problem(id="x", prompt=(Message(role="system", content="s"), Message(role="user", content="u")), answer="v")]
    write(tmp_path / "t.csv", rows, "csv")
    first, second = read(tmp_path / "t.csv")
    assert (first.answer, first.held_out, first.difficulty, first.facts) == ("4", True, 1.0, {"solution": "2 + 2 = 4"})
    assert [m.role for m in second.prompt] == ["system", "user"] and second.difficulty is None and not second.held_out
    write(tmp_path / "m.jsonl", rows, "messages")
    raw = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert raw[0] == {"prompt": [{"role": "user", "content": "2 + 2?"}], "answer": "4", "difficulty": 1.0, "split": "held_out",
                      "extra": {"solution": "2 + 2 = 4"}}
    for form, name in (("csv", "t.txt"), ("poem", "t.jsonl"), ("fledge", "t.csv")):
        with pytest.raises(SettingError):
            write(tmp_path / name, rows, form)


@pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K's train file does not lie beside the checkout")
def test_gsm8ks_train_file_is_read_whole() -> None:
    made = list(read(GSM8K))
    assert len(made) == 7_473 == len({p.id for p in made}) and not any(isinstance(p, Refused) for p in made)
    assert made[0].answer == "72" and made[0].facts["solution"].endswith("#### 72")
    for row in made:
        assert float(row.answer) is not None and "," not in row.answer and row.facts["solution"].replace(",", "").endswith(row.answer)


ODD = ["####", "#### 4", "\\boxed{3}", "\\boxed{", "Level 2", '[{"role": "user"}]', '{"tests": [', "\ud800", "\x00",
       "\n\nHuman: a\n\nAssistant: b", "test", "9" * 400]
TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(ODD))
KEYS = st.one_of(TEXTS, st.sampled_from(["role", "content", "text", "label"]))
ANY = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.binary(max_size=4)),
                   lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=8)
COLUMN = st.sampled_from(["prompt", "answer", "choices", "solution", "level", "split", "system", "extra", "answer.text", ""])


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(COLUMN, ANY, max_size=8), st.sampled_from(["columns", "gsm8k", "boxed", "prompts", "fledge"]),
       st.tuples(*[COLUMN] * 7), st.booleans())
def test_any_row_is_a_problem_or_refused(row: dict, kind: str, columns: tuple[str, ...], rest: bool) -> None:
    guess([row])
    mapping = Mapping(kind, *columns, facts=("extra",), rest=rest)  # type: ignore[arg-type]
    try:
        [made] = make(row, mapping, "import:x")
    except NoRow as why:
        assert str(why)
    else:
        assert made.prompt[-1].role == "user" and made.prompt[-1].content.strip() and made.id == problem_id(made.prompt, made.answer)
        assert Problem.model_validate_json(made.model_dump_json()) == made
        json.dumps([made.answer, made.facts], ensure_ascii=False).encode()


def test_whatever_is_a_problem_goes_into_the_library(tmp_path: Path) -> None:
    library = Library(tmp_path)
    rows = [one({"q": text, "a": text, "x": text}, prompt="q", answer="a", rest=True)
            for text in ("a\x00b", "\ud83d\ude00 \ud800", "ß\u2028", "9" * 400, "'; drop table problems; --")]
    try:
        made = library.problems.take("Odd", rows, origin="x", held_out_percent=0)
        assert [p.model_dump(exclude={"origin"}) for p in library.problems.rows([made.id])] == [
            p.model_dump(exclude={"origin"}) for p in rows]
        assert library.problems.count(search="drop table") == 1
    finally:
        library.close()
