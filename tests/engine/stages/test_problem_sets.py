"""Problems into the library from files, generators and examples; what of them a model has seen; the window's process for all of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.contract.errors import InputError, Missing, NotFound
from engine.contract.rows import Example, Message, Problem, problem_id
from engine.project.project import Project
from engine.stages.grpo import problem_files, seen
from engine.text.corpus_writer import CorpusWriter
from engine.verifiers.pool import Pool

GSM8K = Path(__file__).parents[3] / ".." / "shared" / "data" / "gsm8k-train.jsonl"
WORDS = "amber basil cedar delta ember fjord grove heron inlet jetty kiosk ledge maple north ocean plaza quill ridge spire tower".split()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p", "P")


def problem(text: str, answer: Any = "1", **more: Any) -> Problem:
    prompt = (Message(role="user", content=text),)
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer, **more)


def sentence(seed: int, length: int = 30) -> str:
    random = np.random.default_rng(seed)
    return " ".join(f"{WORDS[n]}{random.integers(10)}" for n in random.integers(len(WORDS), size=length))


def started(project: Project, *words: str, **more: Any) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "engine.stages.grpo.problems_process", str(project.dir), *words], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[3], **more)


def told(project: Project, *words: str) -> dict[str, Any]:
    process = started(project, *words)
    out, wrong = process.communicate(timeout=120)
    last = json.loads(out.splitlines()[-1])
    assert ("result" in last) == (process.returncode == 0), (out, wrong)
    return last


def put_corpus(project: Project, texts: list[str]) -> str:
    with project.artifacts.create("corpus", title="Corpus") as writer:
        made = CorpusWriter(writer.path)
        for n, text in enumerate(texts):
            made.add("train", text, "a.txt", f"d{n}")
        made.finish()
        return writer.finish().id


# ---- files

def test_a_file_becomes_a_set_and_says_who_is_held_out(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "sums.csv"
    path.write_text("question,answer,split\n" + "".join(f"What is {n}?,{n},{'test' if n < 3 else 'train'}\n" for n in range(20)) + "x\n")
    done = problem_files.bring(project.library.problems, path)
    assert (done.set.count, done.set.held_out, done.added, done.refused, done.problems[0][0]) == (20, 3, 20, 1, 22)
    assert json.loads(done.set.source)["mapping"]["held_out"] == "split"
    again = problem_files.bring(project.library.problems, path, into=done.set.id)
    assert (again.set.id, again.added, again.same) == (done.set.id, 0, 20)
    assert problem_files.bring(project.library.problems, path, held_out_percent=50).set.held_out > 3
    (tmp_path / "none.csv").write_text("question,answer\n ,1\n ,2\n")
    with pytest.raises(InputError, match="No row of none.csv is a problem"):
        problem_files.bring(project.library.problems, tmp_path / "none.csv")
    assert len(project.library.problems.sets()) == 2


@pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K's train file does not lie beside the checkout")
def test_gsm8k_is_imported_whole_by_the_process(project: Project) -> None:
    start = time.perf_counter()
    result = told(project, "import", str(GSM8K), "{}")["result"]
    print(f"{7_473 / (time.perf_counter() - start):,.0f} problems a second, the process's start included")
    made = project.library.problems.set_of(result["set"])
    assert (made.count, result["refused"], result["same"]) == (7_473, 0, 0) and 600 < made.held_out < 900


# ---- examples and generators

def test_examples_with_a_known_answer_become_problems(project: Project) -> None:
    examples = project.library.examples
    made = examples.create_set("Generated", run="3-instruct")

    def talk(n: int, said: str, **facts: Any) -> Example:
        return Example(id=f"e{n}", messages=(Message(role="user", content=f"Question {n}?"), Message(role="assistant", content=said)),
                       facts=facts)
    examples.add(made.id, [talk(1, "Because so.\nIt is 4.", answer="4", level=2, check="number"), talk(2, "Blue"), talk(3, "A\nB"),
                           talk(4, "5", answer="5")])
    done = project.library.problems.from_examples([made.id], held_out_percent=0)
    one, other = project.library.problems.rows([done.id])
    assert (one.answer, one.difficulty, one.origin) == ("4", 2.0, f"examples:{made.id}") and done.run == "3-instruct"
    assert one.facts == {"example": "e1", "solution": "Because so.\nIt is 4.", "check": "number"}
    assert other.facts == {"example": "e4"} and done.title == "Generated"
    result = told(project, "examples", made.id, json.dumps({"last_answers": True, "title": "All"}))["result"]
    assert result["added"] == 3
    examples.set_status(["e1", "e4"], "rejected")
    with pytest.raises(InputError, match="None of these examples"):
        project.library.problems.from_examples([made.id])


def test_a_generator_fills_a_set_by_the_process(project: Project, tmp_path: Path) -> None:
    try:
        with Pool(1) as pool:
            pool.start()
    except Missing as refused:
        pytest.skip(refused.sentence)
    result = told(project, "generate", "arithmetic", json.dumps({"levels": [1, 3], "count": 40, "seed": 5}))["result"]
    made = project.library.problems.set_of(result["set"])
    assert made.difficulties == ((1.0, 40), (3.0, 40)) and made.origin == "generator:arithmetic" and made.held_out
    own = tmp_path / "mine.py"
    own.write_text('"""Mine."""\ndef generate(random, level):\n    n = random.randint(1, 5)\n    return {"prompt": f"{n}?", "answer": n}\n')
    result = told(project, "generate", str(own), json.dumps({"count": 40}))["result"]
    assert (result["added"], result["asked"]) == (5, 40)
    assert json.loads(project.library.problems.set_of(result["set"]).source)["text"] == own.read_text()
    own.write_text("def generate(random, level):\n    raise ValueError('no')\n")
    error = told(project, "generate", str(own), "{}")["error"]
    assert "Line 2: ValueError: no" in error["sentence"] and len(project.library.problems.sets()) == 2


def test_a_process_that_is_stopped_leaves_no_half_set(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"question": f"What is {n}?", "answer": str(n)}) + "\n" for n in range(300_000)))
    process = started(project, "import", str(path), "{}")
    assert process.stdout.readline().startswith('{"done"')
    process.send_signal(signal.SIGTERM if os.name != "nt" else signal.CTRL_BREAK_EVENT)
    assert process.wait(timeout=60) != 0
    process.communicate()
    assert project.library.problems.sets() == []
    assert project.library.db.execute("select count(*) from problems").fetchone() == (0,)


# ---- what a model has seen

def test_problems_are_found_in_a_corpus_with_a_quote(project: Project) -> None:
    asked = [sentence(n) for n in range(12)]
    corpus = put_corpus(project, [f"An old page. {asked[0].upper()}! And more.", sentence(900), f"{asked[1][:len(asked[1]) // 2]} xxx",
                                  f"Solved: {sentence(500)}", sentence(901)])
    rows = [problem(text, held_out=n % 2 == 0) for n, text in enumerate(asked)]
    rows[5] = rows[5].model_copy(update={"facts": {"solution": sentence(500).replace(" ", " <<1+1=2>>", 1)}})
    rows.append(problem("What is two and two?"))
    rows.append(problem(asked[0], "another answer", held_out=True))
    made = project.library.problems.take("Set", rows, origin="person", held_out_percent=0)
    reports: list[float] = []
    [found] = seen.look(project, [made.id], [corpus], tell=lambda share, what: reports.append(share))
    assert (found.problems, found.found, found.found_held_out, found.short) == (14, 4, 2, 1)
    kept = project.library.problems.seen([p.id for p in rows])
    whole, half, solution = (kept[rows[n].id][0] for n in (0, 1, 5))
    assert whole.quote.lower().startswith(asked[0][:40]) and whole.facts == {"where": "prompt", "share": 1.0, "document": "d0",
                                                                             "place": "a.txt"}
    assert 0 < half.facts["share"] < 1 and half.facts["document"] == "d2" and solution.facts["where"] == "solution"
    assert kept[rows[2].id][0].quote == "" and kept[rows[-1].id][0].quote
    assert project.library.problems.seen_counts([made.id]) == {corpus: (14, 4)}
    assert reports == sorted(reports) and reports[-1] == 1.0


def test_a_corpus_of_many_pieces_is_searched_through(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "BYTES", 2_000)
    texts = [sentence(100 + n) for n in range(40)]
    asked = sentence(1)
    texts[33] = f"{texts[33]} {asked}"
    corpus = put_corpus(project, texts)
    made = project.library.problems.take("Set", [problem(asked), problem(sentence(2))], origin="person")
    reports: list[float] = []
    [found] = seen.look(project, [made.id], [corpus], processes=1, tell=lambda share, what: reports.append(share))
    [row] = project.library.problems.page(seen=True)
    assert found.found == 1 and project.library.problems.seen([row.id])[row.id][0].facts["document"] == "d33" and len(reports) > 4

    def stopped() -> None:
        raise KeyboardInterrupt
    project.library.problems.mark_seen({}, looked={corpus: [row.id]})
    with pytest.raises(KeyboardInterrupt):
        seen.look(project, [made.id], [corpus], processes=1, check=stopped)
    assert project.library.problems.seen([row.id])[row.id][0].quote == "", "a search that was stopped says nothing"


def test_problems_are_found_in_examples_and_a_model_names_its_sources(project: Project) -> None:
    corpus = put_corpus(project, [sentence(900)])
    asked = [sentence(n) for n in range(5)]
    examples = project.library.examples
    tuned = examples.create_set("Tuned")
    examples.add(tuned.id, [Example(id=f"e{n}", messages=(Message(role="user", content=text), Message(role="assistant", content="Hm.")))
                            for n, text in enumerate([sentence(700), asked[3]])])
    with project.artifacts.create("model", title="Base", parents=(corpus,)) as writer:
        base = writer.finish().id
    with project.artifacts.create("model", title="Tuned", parents=(base,)) as writer:
        model = writer.finish(sets=[{"id": tuned.id, "title": "Tuned", "examples": 2}]).id
    assert seen.sources_of(project, model) == ((corpus,), (tuned.id,)) and seen.sources_of(project, base) == ((corpus,), ())
    made = project.library.problems.take("Set", [problem(text) for text in asked], origin="person")
    found = told(project, "check", made.id, json.dumps({"model": model}))["result"]["found"]
    assert [(one["source"], one["found"]) for one in found] == [(corpus, 0), (tuned.id, 1)]
    [row] = project.library.problems.page(seen=True)
    assert row.prompt[0].content == asked[3] and project.library.problems.seen([row.id])[row.id][0].facts["example"] == "e1"
    with pytest.raises(NotFound):
        seen.sources_of(project, "model-9")


def test_a_search_for_nothing_or_in_nothing_is_refused(project: Project) -> None:
    corpus = put_corpus(project, [sentence(900)])
    short = project.library.problems.take("Short", [problem("2 + 2?"), problem("3 + 3?")], origin="person")
    with pytest.raises(InputError) as caught:
        seen.look(project, [short.id], [corpus])
    examples = project.library.examples
    tuned = examples.create_set("Tuned")
    turns = (Message(role="user", content=" 2 +  2?"), Message(role="assistant", content="3 + 3?"))
    examples.add(tuned.id, [Example(id="e", messages=turns)])
    [told_of] = seen.look(project, [short.id], (), [tuned.id])
    assert (told_of.found, told_of.short) == (1, 0)
    [row] = project.library.problems.page(seen=True)
    assert row.prompt[0].content == "2 + 2?" and project.library.problems.seen([row.id])[row.id][0].facts["example"] == "e"
    project.library.problems.mark_seen({}, looked={tuned.id: [row.id]})
    assert caught.value.code == "too_short" and project.library.problems.seen_counts() == {tuned.id: (2, 0)}
    for corpora, code in (((), "no_sources"), (("corpus-9",), "not_found")):
        with pytest.raises(InputError) as caught:
            seen.look(project, [short.id], corpora)
        assert caught.value.code == code
