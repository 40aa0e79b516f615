"""Files of conversations: every form in and out, rows that are none told by line, hostile files survived."""

import dataclasses
import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contract.errors import FormatError, InputError, NotFound, SettingError
from engine.contract.rows import Example, Message
from engine.text.conversations import FORMS, Mapping, Refused, look, read, write
from engine.text.conversations.making import LONGEST, NoExample, make
from engine.text.conversations.rows import KIND
from engine.text.read_watch import Limits
from engine.text.readers import base
from engine.text.row_files.reading import file_of, look_into, read_rows
from tests.running import children

SHARED = Path(__file__).parents[3] / ".." / "shared" / "data"
FEW = Limits(memory=600_000_000, idle_seconds=2.5, seconds=30)


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def here(path: Path, mapping: Mapping | None = None) -> list[Example | Refused]:
    return list(read_rows(KIND, file_of(KIND, path), mapping))


def said(example: Example | Refused) -> list[tuple[str, str]]:
    assert isinstance(example, Example), example
    return [(m.role, m.content) for m in example.messages]


QA = [("user", "Why?"), ("assistant", "Because.")]
FORMS_READ = {
    "messages": ({"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]}, QA),
    "messages of parts": ({"messages": [{"role": "developer", "content": "Be brief."},
                                        {"role": "user", "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}]},
                                        {"role": "assistant", "content": "Because."}]}, [("system", "Be brief."), *QA]),
    "sharegpt": ({"id": "x_0", "system": "Be brief.", "conversations": [{"from": "Human", "value": "Why?"},
                                                                        {"from": "gpt", "value": "Because."}]},
                 [("system", "Be brief."), *QA]),
    "sharegpt with tools": ({"conversations": [{"from": "human", "value": "Why?"}, {"from": "function_call", "value": "look()"},
                                               {"from": "observation", "value": "so"}, {"from": "gpt", "value": "Because."}]},
                            [QA[0], ("assistant", "look()"), ("tool", "so"), QA[1]]),
    "alpaca": ({"instruction": "Why?", "input": "", "output": "Because."}, QA),
    "alpaca with input": ({"instruction": "Add.", "input": "1 and 2", "output": "3", "system": "Be brief.", "history": [["a", "b"]]},
                          [("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "Add.\n\n1 and 2"), ("assistant", "3")]),
    "prompt and completion": ({"prompt": "Why?", "completion": "Because."}, QA),
    "prompt and completion as messages": ({"prompt": [{"role": "user", "content": "Why?"}],
                                           "completion": [{"role": "assistant", "content": "Because."}]}, QA),
    "questions": ({"question": "Why?", "answer": "Because."}, QA),
    "instruction and response": ({"instruction": "Why?", "response": "Because."}, QA),
    "problem, solution and answer": ({"problem": "Why?", "solution": "Because.", "answer": "7"}, QA),
}


@pytest.mark.parametrize("name", FORMS_READ)
def test_a_form_is_told_by_its_columns(tmp_path: Path, name: str) -> None:
    row, expected = FORMS_READ[name]
    (found,) = here(lines(tmp_path / "a.jsonl", row))
    assert said(found) == expected and isinstance(found, Example) and found.origin == "import:a.jsonl"


@pytest.mark.parametrize(("row", "prompt"), [
    ({"prompt": "Why?", "chosen": "Because.", "rejected": "No."}, QA[:1]),
    ({"prompt": [{"role": "user", "content": "Why?"}], "chosen": [{"role": "assistant", "content": "Because."}],
      "rejected": [{"role": "assistant", "content": "No."}]}, QA[:1]),
    ({"chosen": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}],
      "rejected": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "No."}]}, QA[:1]),
    ({"prompt": "Why?", "chosen": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}],
      "rejected": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "No."}]}, QA[:1]),
    ({"chosen": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: Because.",
      "rejected": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: No."},
     [("user", "Hi"), ("assistant", "Yes?"), QA[0]])])
def test_of_a_pair_the_chosen_answer_is_learned_and_the_rejected_one_kept(tmp_path: Path, row: dict, prompt: list) -> None:
    (found,) = here(lines(tmp_path / "a.jsonl", row))
    assert said(found) == [*prompt, QA[1]] and isinstance(found, Example)
    assert found.facts == {"rejected": {"text": "No.", "model": "", "score": None}}


def test_known_answers_of_questions_are_kept(tmp_path: Path) -> None:
    marked = lines(tmp_path / "m.jsonl", {"question": "q", "answer": "48 / 2 = 24\n#### 1,072"}, {"question": "r", "answer": "#### $-3.5 "})
    assert [e.facts for e in here(marked) if isinstance(e, Example)] == [{"answer": "1072"}, {"answer": "$-3.5"}]
    short = lines(tmp_path / "s.jsonl", {"question": "q", "answer": "Paris"}, {"question": "r", "answer": 7})
    assert [e.facts for e in here(short) if isinstance(e, Example)] == [{"answer": "Paris"}, {"answer": "7"}]
    long = lines(tmp_path / "l.jsonl", {"question": "q", "answer": "A long answer. " * 20})
    assert [e.facts for e in here(long) if isinstance(e, Example)] == [{}]


def test_rows_that_are_no_examples_are_told_by_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]}

    def turn(*messages: object) -> dict:
        return {"messages": list(messages)}

    user, answer = good["messages"]
    path = lines(tmp_path / "a.jsonl", good, "{not json", '"a text"', "[1, 2]", "", turn(user, {"role": "narrator", "content": "x"}),
                 turn(user, {"role": "assistant", "content": "  "}), turn(user), turn(answer), turn(user, "x"),
                 turn({"content": "x"}, answer), {"messages": "none"}, {"other": 1}, turn({"role": "user", "content": 7}, answer),
                 turn(user, {"role": "assistant", "content": None, "tool_calls": [{}]}),
                 turn({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, answer), turn({"role": "user"}, answer), good)
    found = here(path)
    refused = {r.line: r.reason for r in found if isinstance(r, Refused)}
    assert [said(e) for e in found if isinstance(e, Example)] == [QA, QA]
    assert [f.line if isinstance(f, Refused) else 0 for f in found] == [0, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 0]
    for line, word in {2: "JSON", 3: "object", 4: "object", 6: "narrator", 7: "empty", 8: "nobody answers", 9: "no question",
                       10: "no object", 11: "no role", 12: "no list of messages", 13: "missing", 14: "no text", 15: "tools",
                       16: "more than text", 17: "empty"}.items():
        assert word in refused[line], (line, refused[line])
    mapped = here(path, Mapping("messages", conversation="messages", roles=(("Narrator", "assistant"),)))
    assert said(mapped[4]) == [("user", "Why?"), ("assistant", "x")]


def test_a_look_shows_columns_first_rows_and_problems(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "answer": "" if n == 3 else f"a{n}", "topic": "t"} for n in range(50)]
    found = look(lines(tmp_path / "a.jsonl", *rows, "broken"))
    assert found.columns == ("question", "answer", "topic") and found.mapping.prompt == "question" and found.mapping.complete
    assert [said(e)[0][1] for e in found.preview] == ["q0", "q1", "q2", "q4", "q5"]
    assert [p.line for p in found.problems] == [4, 51] and (found.seen, found.bad, found.rows, found.exact) == (51, 2, 51, True)
    other = look(tmp_path / "a.jsonl", dataclasses.replace(found.mapping, prompt="topic", known="", facts=("question",)))
    assert said(other.preview[0])[0] == ("user", "t") and other.preview[0].facts == {"question": "q0"}
    many = lines(tmp_path / "b.jsonl", *[{"question": "q" * 100, "answer": f"a{n}"} for n in range(20_000)])
    guessed = look(many)
    assert not guessed.exact and 18_000 < guessed.rows < 22_000
    assert look_into(KIND, file_of(KIND, tmp_path / "a.jsonl")) == found


def test_columns_that_say_nothing_are_asked_for(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"eins": "Why?", "zwei": "Because."})
    assert not look(path).mapping.complete and look(path).problem == ""
    with pytest.raises(FormatError) as asked:
        list(read(path))
    assert "eins, zwei" in asked.value.remedy
    assert said(next(iter(read(path, Mapping(prompt="eins", answer="zwei"))))) == QA


def test_tables_of_every_kind_are_read_the_same(tmp_path: Path) -> None:
    rows = [{"question": "Why,\n\"so\"?", "answer": "Because."}, {"question": "Ä?", "answer": "Ö"}, {"question": "7", "answer": "8"}]
    expected = [[("user", r["question"]), ("assistant", r["answer"])] for r in rows]
    lines(tmp_path / "a.jsonl", *rows)
    (tmp_path / "b.json").write_text(json.dumps(rows))
    (tmp_path / "c.json").write_text(json.dumps({"version": 1, "data": rows}))
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "e.parquet")
    with pa.ipc.new_file(tmp_path / "f.arrow", table.schema) as file:
        file.write_table(table)
    (tmp_path / "g.csv").write_text('question;answer\n"Why,\n""so""?";Because.\nÄ?;Ö\n7;8\n', "utf-8")
    (tmp_path / "h.tsv").write_text('question\tanswer\n"Why,\n""so""?"\tBecause.\nÄ?\tÖ\n7\t8\n', "utf-16")
    ids = set()
    for path in sorted(tmp_path.iterdir()):
        found = list(read(path))
        assert [said(e) for e in found] == expected, path.name
        ids.add(tuple(e.id for e in found if isinstance(e, Example)))
    assert len(ids) == 1  # the same content is the same example, whatever file it came in


def test_a_table_with_short_rows_tells_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nWhy?,Because.\nonly\nWhy?,Because.,more\nAnd?,So.\n")
    found = here(tmp_path / "a.csv")
    assert [f.line if isinstance(f, Refused) else said(f)[0][1] for f in found] == ["Why?", 3, 4, "And?"]


# ---- out, and in again

TEXT = st.text(min_size=1).filter(str.strip)
MANY = st.builds(lambda id, system, pairs, answer, score: Example(
    id=id, messages=tuple([Message(role="system", content=system)] * bool(system) + [
        Message(role=role, content=text) for pair in pairs for role, text in zip(("user", "assistant"), pair, strict=True)]),
    origin="person", score=score, flags=("f",), facts={"answer": answer, "rejected": {"text": "no", "model": "", "score": None}}),
    id=st.text("abc", min_size=1), system=st.just("") | TEXT, pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3),
    answer=st.text("0123456789", min_size=1), score=st.none() | st.floats(1, 10))


PLACES = [(form, ending) for form in FORMS for ending in (".jsonl", ".json", ".parquet")]


@settings(max_examples=60, deadline=None)
@given(st.lists(MANY, min_size=1, max_size=4), st.sampled_from([*PLACES, ("csv", ".csv"), ("alpaca", ".csv"), ("csv", ".tsv")]))
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, examples: list[Example], how: tuple[str, str]) -> None:
    form, ending = how
    path = tmp_path_factory.mktemp("out") / f"a{ending}"
    done = write(path, examples, form)
    held = [e for e in examples if form != "csv" or sum(m.role == "user" for m in e.messages) == 1]
    assert done.rows == len(held) and done.left_out_count == len(examples) - len(held) == len(done.left_out)
    back = here(path) if held else []
    if form == "fledge":
        assert back == examples
    elif ending in (".csv", ".tsv"):  # line ends inside of cells are read as line feeds
        assert len(back) == len(held)
    else:
        assert [said(b) for b in back] == [[(m.role, m.content) for m in e.messages] for e in held]
        kept = "rejected" if form == "preferences" else "answer"
        assert [b.facts[kept] for b in back if isinstance(b, Example)] == [e.facts[kept] for e in held]


def test_a_form_that_cannot_hold_an_example_says_so(tmp_path: Path) -> None:
    two = Example(id="1", messages=tuple(Message(role=r, content="x") for r in ("user", "assistant", "tool", "assistant")))
    done = write(tmp_path / "a.jsonl", [two], "alpaca")
    assert done.rows == 0 and done.left_out[0][0] == "1" and (tmp_path / "a.jsonl").read_text() == ""
    assert write(tmp_path / "a.jsonl", [two], "preferences").left_out_count == 1
    with pytest.raises(SettingError):
        write(tmp_path / "a.jsonl", [two], "word")
    with pytest.raises(SettingError):
        write(tmp_path / "a.csv", [two], "messages")
    with pytest.raises(SettingError):
        write(tmp_path / "a.docx", [two])
    with pytest.raises(InputError):
        write(tmp_path / "a.jsonl", [two], replace=False)


def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("before")

    def rows():
        yield Example(id="1", messages=(Message(role="user", content="x"),))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(path, rows())
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"] and path.read_text() == "before"


# ---- files nobody trusts

KEY = st.sampled_from(["role", "content", "from", "value", "text", "type", "id"]) | st.text(max_size=3)
ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                   lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4), max_leaves=12)
COLUMN = st.sampled_from(["", "messages", "prompt", "answer", "rejected", "extra"])


@given(st.dictionaries(COLUMN, ANY, max_size=6), st.sampled_from(["columns", "messages", "preferences", "questions", "fledge"]),
       st.tuples(*[COLUMN] * 9))
def test_any_row_is_an_example_or_refused(row: dict, kind: str, columns: tuple[str, ...]) -> None:
    mapping = Mapping(kind, *columns, facts=("extra",))  # type: ignore[arg-type]
    try:
        made = make(row, mapping, "import:x")
    except NoExample as why:
        assert str(why)
    else:
        assert any(m.role == "assistant" and m.content.strip() for m in made.messages)
        assert Example.model_validate_json(made.model_dump_json()) == made


def test_deep_and_endless_rows_cost_only_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LONGEST_LINE", 3_000_000)
    good = json.dumps({"prompt": "Why?", "completion": "Because."})
    deep = '{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}"
    endless = '{"prompt": "' + "x" * 4_000_000 + '"}'
    long = json.dumps({"prompt": "Why?", "completion": "x" * (LONGEST + 1)})
    nested = '{"prompt": "Why?", "completion": ' + "[" * 900 + "]" * 900 + "}"
    found = here(lines(tmp_path / "a.jsonl", good, deep, endless, long, nested, good))
    assert [f.line if isinstance(f, Refused) else 0 for f in found] == [0, 2, 3, 4, 5, 0]


@pytest.mark.parametrize(("deed", "word"), [("spin", "move"), ("eat", "memory"), ("abort", "crash"), ("raise", "odd")])
def test_a_reader_that_hangs_or_crashes_costs_the_rest_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str,
                                                                 word: str) -> None:
    monkeypatch.setenv("FLEDGE_READ_TRIAL", "hostile_rows")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    rows = [{"prompt": f"q{n}", "completion": "a"} for n in range(2_500)]
    path = lines(tmp_path / "a.jsonl", *rows, {"deed": deed})
    taken = 0
    with pytest.raises(FormatError) as told:
        for row in read(path, Mapping(prompt="prompt", answer="completion"), limits=FEW):
            taken += isinstance(row, Example)
    assert taken >= 2_000 and word in str(told.value)
    short = lines(tmp_path / "b.jsonl", {"deed": deed})
    seen = look(short, limits=dataclasses.replace(FEW, seconds=5.0))
    assert seen.problem and word in f"{seen.problem} {seen.remedy}"
    assert not children("engine.text.read_child")


def test_an_import_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    stream = read(lines(tmp_path / "a.jsonl", *[{"prompt": "q", "completion": "a"}] * 5_000))
    next(stream)
    stream.close()
    assert not children("engine.text.read_child")


def test_what_is_no_file_of_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("only text")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / "c.jsonl").write_text("\n\n")
    for name, kind in (("a.txt", FormatError), ("missing.jsonl", NotFound), (".", FormatError)):
        with pytest.raises(kind):
            look(tmp_path / name)
        with pytest.raises(kind):
            read(tmp_path / name)
    assert "damaged" in look(tmp_path / "b.parquet").problem
    assert look(tmp_path / "c.jsonl").problem and list(read(tmp_path / "c.jsonl")) == []
    with pytest.raises(FormatError):
        list(read(tmp_path / "b.parquet"))


def test_gsm8k_comes_in_whole_with_its_answers() -> None:
    path = SHARED / "gsm8k-train.jsonl"
    if not path.is_file():
        pytest.skip("gsm8k-train.jsonl is not beside the checkout")
    rows = [row for row in read(path) if isinstance(row, Example)]
    assert len(rows) == 7_473 == len({row.id for row in rows})
    assert rows[0].facts == {"answer": "72"} and all(row.facts["answer"].lstrip("-").replace(".", "").isdecimal() for row in rows)


def test_a_long_answer_among_short_ones_is_an_example_without_a_known_answer(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "answer": f"a{n}"} for n in range(30)]
    made = here(lines(tmp_path / "a.jsonl", *rows, {"question": "why", "answer": "because\n\nof that"}))
    assert len(made) == 31 and not any(isinstance(row, Refused) for row in made)
    assert made[0].facts["answer"] == "a0" and "answer" not in made[-1].facts
