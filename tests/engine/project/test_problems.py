"""Sets of problems: taken whole or not at all, one side for each prompt, pages, edits with undo over restarts, what was found elsewhere."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.contract.errors import InputError, NotFound, SettingError
from engine.contract.rows import Message, Problem, problem_id
from engine.project import layout, migrations
from engine.project.library import Library
from engine.project.problems import KEYS, prompt_key


def problem(text: str, answer: object = "", **more: object) -> Problem:
    prompt = (Message(role="user", content=text),)
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer, **more)  # type: ignore[arg-type]


def sums(count: int, **more: object) -> list[Problem]:
    return [problem(f"What is {n} + {n}?", str(2 * n), difficulty=float(1 + n % 3), **more) for n in range(count)]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = Library(tmp_path)
    yield made
    made.close()


def test_an_id_is_that_of_what_is_said_and_the_order_of_json_keys_is_nothing_to_it() -> None:
    prompt = (Message(role="user", content="ä “2+2”?"),)
    assert problem_id(prompt, "4") == problem_id(list(prompt), "4") != problem_id(prompt, 4)
    assert problem_id(prompt, {"entry": "f", "tests": [1]}) == problem_id(prompt, {"tests": [1], "entry": "f"})
    assert len(problem_id(prompt, "4")) == 32


def test_a_set_is_taken_with_each_problem_once_and_its_counts(library: Library) -> None:
    rows = sums(60)
    made = library.problems.take("Sums", [*rows, *rows[:5]], origin="import:sums.jsonl", author="Ada", source="/tmp/sums.jsonl")
    assert (made.id, made.title, made.count, made.origin, made.author) == ("problems-1", "Sums", 60, "import:sums.jsonl", "Ada")
    assert made.difficulties == ((1.0, 20), (2.0, 20), (3.0, 20))
    assert library.problems.sets() == [made] == [library.problems.set_of("problems-1")]
    kept = list(library.problems.rows(["problems-1"]))
    assert [(p.id, p.answer, p.prompt) for p in kept] == [(p.id, p.answer, p.prompt) for p in rows]
    assert kept[0].origin == "import:sums.jsonl"
    assert made.held_out == sum(p.held_out for p in kept) == library.problems.count(["problems-1"], held_out=True)
    assert [p.id for p in library.problems.rows(["problems-1"], held_out=False)] == [p.id for p in kept if not p.held_out]


def test_held_out_goes_by_the_prompt_alone(library: Library) -> None:
    rows = sums(400)
    one = library.problems.take("One", rows, origin="person", held_out_percent=25)
    other = library.problems.take("Other", [problem(p.prompt[0].content, "another") for p in reversed(rows)], origin="person",
                                  held_out_percent=25)
    assert 70 <= one.held_out <= 130
    sides = {p.prompt: p.held_out for p in library.problems.rows([one.id])}
    assert sides == {p.prompt: p.held_out for p in library.problems.rows([other.id])}
    assert all(held == (prompt_key(prompt) < 0.25 * KEYS) for prompt, held in sides.items())


def test_a_row_that_is_held_out_takes_its_prompt_with_it_and_small_sets_have_both_sides(library: Library) -> None:
    rows = [problem("Which?", "a"), problem("Which?", "b", held_out=True), problem("Who?", "c")]
    made = library.problems.take("Said", rows, origin="person", held_out_percent=0)
    assert [p.held_out for p in library.problems.rows([made.id])] == [True, True, False]
    for percent in (0.001, 99.999):
        small = library.problems.take("Small", sums(2), origin="person", held_out_percent=percent)
        assert small.held_out == 1
    more = [problem("Whence?", "d"), problem("Whither?", "e")]
    assert library.problems.take("", more, origin="person", held_out_percent=0.001, into=small.id).held_out == 1
    assert library.problems.take("All", sums(2), origin="person", held_out_percent=100).held_out == 2
    assert library.problems.take("None", sums(40), origin="person", held_out_percent=0).held_out == 0


def test_a_set_that_fails_or_is_killed_half_way_is_not_there(library: Library, tmp_path: Path) -> None:
    def breaks() -> Iterator[Problem]:
        yield from sums(5_000)
        raise RuntimeError("gone")
    with pytest.raises(RuntimeError):
        library.problems.take("Half", breaks(), origin="person")
    assert library.problems.sets() == [] and library.problems.count() == 0

    class Killed(BaseException):
        pass
    stream = iter(sums(5_000))
    other = Library(tmp_path)

    def looks() -> Iterator[Problem]:
        yield from stream
        assert other.problems.sets() == [] and other.problems.page() == []
        # As a kill leaves it: nothing is cleared up.
        other.db.conn.execute("update problem_sets set touched = 0")
        other.db.conn.commit()
        yield problem("One more?", "1")
    made = library.problems.take("Whole", looks(), origin="person")
    assert made.count == 5_001
    with library._write() as db:
        db.execute("insert into problem_sets (title, created, origin, run, author, source, touched) values ('left', 0, '', '', '', '', 0)")
    library.problems.take("Next", sums(3), origin="person")
    assert library.db.execute("select title from problem_sets where complete = 0").fetchall() == []
    other.close()


def test_what_is_no_problem_is_refused(library: Library) -> None:
    bad = Problem(id="x", prompt=(Message(role="assistant", content="hm"),), answer="1")
    for rows in ([bad], [], [problem("  ")], [problem("half \ud800")]):
        with pytest.raises(InputError):
            library.problems.take("Bad", rows, origin="person")
    with pytest.raises(SettingError):
        library.problems.take("Bad", sums(2), origin="person", held_out_percent=101)
    assert library.problems.sets() == []
    with pytest.raises(NotFound, match="problems-9"):
        library.problems.rows(["problems-9"])


def test_pages_are_searched_filtered_and_sorted(library: Library) -> None:
    take, page = library.problems.take, library.problems.page
    one = take("One", [problem("Größe von 3?", "drei", difficulty=2), problem("Was ist 5 %?", "a_b", difficulty=1), problem("zwei?", "Z")],
               origin="person", held_out_percent=0)
    two = take("Two", [problem("zwei?", "Z", held_out=True)], origin="person", held_out_percent=0)
    assert [p.answer for p in page([one.id])] == ["drei", "a_b", "Z"]
    assert [p.answer for p in page([one.id], sort="-place", count=2)] == ["Z", "a_b"]
    assert [p.answer for p in page([one.id], sort="difficulty")] == ["a_b", "drei", "Z"]
    assert [p.answer for p in page([one.id], sort="-difficulty")] == ["drei", "a_b", "Z"]
    assert [p.answer for p in page([one.id], sort="answer")] == ["a_b", "drei", "Z"]
    assert [p.answer for p in page([one.id], search="GRÖSSE")] == []
    assert [p.answer for p in page([one.id], search="größe")] == ["drei"] == [p.answer for p in page([one.id], search="DREI")]
    assert [p.answer for p in page(search="%")] == ["a_b"] == [p.answer for p in page(search="_")]
    assert library.problems.count() == 4 and library.problems.count([one.id], search="zwei") == 1
    assert [p.answer for p in page(held_out=True)] == ["Z"] and library.problems.places(held_out=True) == [(two.id, page([two.id])[0].id)]
    assert [p.id for p in library.problems.rows([one.id, two.id])] == [p.id for p in page([one.id])]
    with pytest.raises(SettingError):
        page(sort="size")


def test_edits_change_ids_and_sides_and_are_undone_over_a_restart(library: Library, tmp_path: Path) -> None:
    rows = [problem("A?", "1"), problem("A?", "2"), problem("B?", "3")]
    made = library.problems.take("Set", rows, origin="person", held_out_percent=0)
    now = library.problems.edit(rows[0].id, made.id, held_out=True)
    assert now.id == rows[0].id and [p.held_out for p in library.problems.page()] == [True, True, False]
    assert library.problems.set_of(made.id).held_out == 2
    moved = library.problems.edit(rows[2].id, made.id, prompt="A?", answer={"entry": "f", "tests": []}, author="Ada")
    assert moved.held_out and moved.id == problem_id(rows[0].prompt, {"entry": "f", "tests": []})
    assert library.problems.get(moved.id).answer == {"entry": "f", "tests": []}
    with pytest.raises(InputError):
        library.problems.edit(rows[1].id, made.id, answer="1")
    with pytest.raises(NotFound):
        library.problems.edit(rows[2].id, made.id, answer="1")
    assert library.problems.edit(moved.id, made.id, answer=moved.answer) == moved and len(library.problems.steps()) == 2
    library.close()
    again = Library(tmp_path)
    try:
        assert again.problems.remove([moved.id, rows[0].id]) == 2 and again.problems.set_of(made.id).count == 1
        assert [s.what for s in again.problems.steps()] == ["remove", "edit", "hold_out"]
        for _ in range(3):
            assert again.problems.undo() is not None
        assert again.problems.undo() is None
        assert [(p.id, p.held_out) for p in again.problems.page()] == [(p.id, False) for p in rows]
        assert again.problems.set_of(made.id).held_out == 0
        for _ in range(3):
            assert again.problems.redo() is not None
        assert again.problems.redo() is None and [p.id for p in again.problems.page()] == [rows[1].id]
    finally:
        again.close()


def test_a_removed_problem_that_came_again_is_there_once_after_undo(library: Library) -> None:
    rows = sums(4)
    made = library.problems.take("Set", rows, origin="person", held_out_percent=0)
    library.problems.remove([rows[1].id])
    back = library.problems.take("more", [*rows, problem("New?", "n")], origin="person", held_out_percent=0, into=made.id)
    assert back.id == made.id and back.title == "Set" and back.count == 5
    library.problems.undo()
    assert library.problems.count([made.id]) == 5 == library.problems.set_of(made.id).count
    assert library.problems.redo() is not None and library.problems.count([made.id], search="1 + 1") == 1
    assert len(library.problems.sets()) == 1


def test_holding_out_many_is_one_step(library: Library) -> None:
    rows = [*sums(6), problem("What is 0 + 0?", "zero")]
    made = library.problems.take("Set", rows, origin="person", held_out_percent=0)
    assert library.problems.hold_out([rows[0].id, rows[1].id]) == 3
    assert library.problems.set_of(made.id).held_out == 3
    library.problems.undo()
    assert library.problems.set_of(made.id).held_out == 0


def test_deleting_a_set_leaves_nothing_and_renaming_is_kept(library: Library) -> None:
    rows = sums(5)
    one, two = (library.problems.take(t, rows, origin="person") for t in ("One", "Two"))
    library.problems.rename(two.id, "Zwei")
    library.problems.edit(rows[0].id, one.id, answer="7")
    library.problems.mark_seen({rows[1].id: {"corpus": "corpus-1", "quote": "What is 1 + 1"}}, looked={"corpus-1": [p.id for p in rows]})
    clock = library.problems.clock()
    library.problems.delete_set(one.id)
    assert library.problems.clock() > clock
    assert [s.title for s in library.problems.sets()] == ["Zwei"] and library.problems.steps() == []
    assert library.problems.seen_counts([two.id]) == {"corpus-1": (5, 1)}
    library.problems.delete_set(two.id)
    for table in ("problems", "problem_texts", "problem_changed", "problem_steps", "problem_seen", "problem_sets"):
        assert library.db.execute(f"select count(*) from {table}").fetchone() == (0,), table


def test_what_was_found_elsewhere_is_kept_and_replaced(library: Library) -> None:
    rows = sums(4)
    made = library.problems.take("Set", rows, origin="person")
    ids = [p.id for p in rows]
    library.problems.mark_seen({ids[0]: {"corpus": "corpus-2", "quote": "0 + 0", "document": "d1", "share": 1.0}},
                               looked={"corpus-1": ids, "corpus-2": ids[:2]})
    seen = library.problems.seen(ids)
    assert [(s.source, s.quote, s.facts) for s in seen[ids[0]]] == [("corpus-2", "0 + 0", {"document": "d1", "share": 1.0}),
                                                                   ("corpus-1", "", {})]
    assert [s.source for s in seen[ids[3]]] == ["corpus-1"]
    assert library.problems.seen_counts([made.id]) == {"corpus-1": (4, 0), "corpus-2": (2, 1)}
    assert [p.id for p in library.problems.page(seen=True)] == ids[:1] and library.problems.count(seen=False) == 3
    library.problems.mark_seen({}, looked={"corpus-2": ids})
    assert library.problems.count(seen=True) == 0


def test_a_library_of_before_gets_problems_and_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:4])
        Library(tmp_path).close()
    library = Library(tmp_path)
    try:
        assert library.problems.take("Set", sums(2), origin="person").count == 2
    finally:
        library.close()
    [backup] = layout.backups(tmp_path).iterdir()
    with sqlite3.connect(backup) as before:
        assert before.execute("pragma user_version").fetchone() == (4,)
    before.close()


def test_thousands_are_taken_and_paged_at_once(library: Library) -> None:
    start = time.perf_counter()
    made = library.problems.take("Many", sums(20_000), origin="person")
    taken = time.perf_counter() - start
    start = time.perf_counter()
    for sort in ("place", "difficulty", "answer"):
        assert len(library.problems.page([made.id], 15_000, 50, sort=sort)) == 50
    assert taken < 20 and time.perf_counter() - start < 5  # some hundred times what it takes
