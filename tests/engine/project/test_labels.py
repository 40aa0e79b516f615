"""Labels: what a person said is there when the call returns, whatever is undone, shown again or counted; how good labels are."""

import random
import time
from pathlib import Path

import pytest

from engine.contract.errors import InputError, NotFound, SettingError
from engine.contract.rows import Answer, Message, Pair, pair_id
from engine.project.label_quality import Judged, cohen, measure, wilson
from engine.project.label_queues import a_minute
from engine.project.labels import Label
from engine.project.pair_sets import shown_again
from engine.project.pairs import Pairs
from engine.project.project import Project


def pair(name: str, first: str = "", second: str = "") -> Pair:
    prompt = (Message(role="user", content=f"What is {name}?"),)
    first, second = first or f"{name} is one thing.", second or f"{name} is another."
    return Pair(id=pair_id(prompt, first, second), prompt=prompt, first=Answer(text=first), second=Answer(text=second))


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    return Project.create(tmp_path / "p").library.pairs


@pytest.fixture
def five(pairs: Pairs) -> list[str]:
    """Ids of five pairs in the set pair-set-1; nobody shown one twice."""
    rows = [row for n in range(50) if not shown_again((row := pair(str(n))).id, "Ada")][:5]
    pairs.add(pairs.create_set("five").id, rows)
    return [row.id for row in rows]


SET = ["pair-set-1"]


def said(pairs: Pairs, author: str = "Ada", rounds: tuple[int, ...] = (1,)) -> dict[str, str]:
    return {one.pair: one.choice for one in pairs.labels(author=author, rounds=rounds)}


def test_a_label_comes_back_as_it_was_given(pairs: Pairs, five: list[str]) -> None:
    given = Label("second", 3, "rewritten", "nice", True, "Ada", 1, "second", 4.5, 7, "my-id", 1_700_000_000.0)
    made = pairs.label(five[0], given)
    assert (made.pair, made.revision) == (five[0], 1) and abs(made.changed - time.time()) < 60
    assert pairs.labels() == pairs.labels(SET, "Ada") == pairs.labels_of(five[0]) == [made] == [pairs.get_label("my-id")]
    assert Label(**{**vars(made), "pair": "", "revision": 0, "changed": 0.0}) == given
    plain = pairs.label(five[1], Label("tie", author="Ben"))
    assert plain.id and abs(plain.made - time.time()) < 60 and pairs.authors() == {"Ada": 1, "Ben": 1}
    assert pairs.labels(SET, "Cy") == [] and pairs.labels(SET, "Ben") == [plain]


def test_what_is_no_label_is_refused(pairs: Pairs, five: list[str]) -> None:
    for wrong, error in ((Label("left", author="Ada"), SettingError), (Label("", author="Ada"), SettingError),  # type: ignore[arg-type]
                         (Label("first", 4, author="Ada"), SettingError), (Label("first"), InputError),
                         (Label("tie", edited="x", author="Ada"), InputError)):
        with pytest.raises(error):
            pairs.label(five[0], wrong)
    with pytest.raises(NotFound):
        pairs.label("unknown", Label("first", author="Ada"))
    made = pairs.label(five[0], Label("first", author="Ada", id="x"))
    with pytest.raises(InputError):
        pairs.label(five[1], Label("first", author="Ada", id=made.id))
    with pytest.raises(InputError):
        pairs.flag(five[0], True, "")
    assert len(pairs.labels()) == 1 and len(pairs.history(five[0])) == 1


def test_labels_are_undone_and_redone_by_their_author_without_limit(pairs: Pairs, five: list[str]) -> None:
    assert pairs.undo("Ada") is None and pairs.redo("Ada") is None
    for id in five:
        pairs.label(id, Label("first", author="Ada"))
        pairs.label(id, Label("second", author="Ben"))
    pairs.label(five[0], Label("tie", author="Ada"))
    assert pairs.label(five[0], Label("tie", author="Ada")) == pairs.labels_of(five[0])[0]  # the same again: no step
    step = pairs.undo("Ada")
    assert step is not None and (step.pair, step.what, step.undone) == (five[0], "label", True)
    assert step.before and step.after and (step.before.choice, step.after.choice) == ("first", "tie")
    assert said(pairs)[five[0]] == "first"
    undone = [step.pair for _ in five if (step := pairs.undo("Ada"))]
    assert undone == five[::-1] and pairs.undo("Ada") is None and said(pairs) == {} and len(said(pairs, "Ben")) == 5
    assert [step.pair for _ in range(6) if (step := pairs.redo("Ada"))] == [*five, five[0]] and said(pairs)[five[0]] == "tie"
    pairs.undo("Ada")
    pairs.label(five[1], Label("bad", author="Ada"))  # takes the place of what could be redone
    assert pairs.redo("Ada") is None and [s.overtaken for s in pairs.history(five[0])] == [False, False, True]
    assert [s.author for s in pairs.history(five[1])] == ["Ada", "Ben", "Ada"]


def test_queues_and_counts_follow_every_step(pairs: Pairs, five: list[str]) -> None:
    def at(author: str = "Ada") -> tuple[int, ...]:
        now = pairs.progress(SET, author)
        lists = [len(pairs.queue(SET, name, author)) for name in ("todo", "done", "skipped", "flagged")]
        assert lists == [pairs.queue_count(SET, name, author) for name in ("todo", "done", "skipped", "flagged")]
        return now.todo, now.done, now.skipped, now.flagged
    assert at() == (5, 0, 0, 0)
    pairs.label(five[0], Label("skip", author="Ada"))
    pairs.label(five[1], Label("first", author="Ada", flagged=True))
    assert at() == (3, 1, 1, 1) and at("Ben") == (5, 0, 0, 0)
    whole = pairs.get_set(SET[0])
    assert (whole.labelled, whole.todo, whole.skipped, whole.flagged) == (1, 3, 1, 1)
    pairs.label(five[0], Label("tie", author="Ben"))
    whole = pairs.get_set(SET[0])
    assert (whole.labelled, whole.todo, whole.skipped) == (2, 3, 0) and at("Ben") == (4, 1, 0, 0)
    assert [row.pair.id for row in pairs.queue(SET, "todo", "Ada")] == five[2:]
    (skipped,) = pairs.queue(SET, "skipped", "Ada")
    assert skipped.label is not None and skipped.label.choice == "skip" and skipped.set == SET[0]
    pairs.label(five[0], Label("second", author="Ada"))
    assert at() == (3, 2, 0, 1) and [r.pair.id for r in pairs.queue(SET, "done", "Ada")] == five[:2]
    assert [r.pair.id for r in pairs.queue(SET, "done", "Ada", "latest", 0, 1)] == [five[1]]
    pairs.undo("Ada")
    pairs.undo("Ada")
    assert at() == (4, 0, 1, 0)


def test_flags_and_comments_go_into_the_label_and_come_back_when_it_is_undone(pairs: Pairs, five: list[str]) -> None:
    id = five[0]
    assert pairs.flag(id, True, "Ada") and not pairs.flag(id, True, "Ada") and pairs.comment(id, "odd", "Ada")
    card = pairs.next(SET, "Ada")
    assert card is not None and card.pair.id == id and card.label and (card.label.comment, card.label.flagged) == ("odd", True)
    assert pairs.progress(SET, "Ada").todo == 5 and pairs.get_set(SET[0]).flagged == 1 and pairs.labels() == []
    made = pairs.label(id, Label("first", author="Ada", comment="fine after all"))
    assert (made.comment, made.flagged) == ("fine after all", True) and len(pairs.labels_of(id)) == 1
    assert pairs.flag(id, False, "Ada") and not pairs.labels_of(id)[0].flagged and pairs.queue(SET, "flagged", "Ada") == []
    assert pairs.undo("Ada").what == "flag" and pairs.undo("Ada").what == "label"  # type: ignore[union-attr]
    (note,) = pairs.labels_of(id)
    assert (note.round, note.choice, note.comment, note.flagged) == (0, "", "odd", True)
    pairs.flag(id, False, "Ada")
    pairs.comment(id, "", "Ada")
    assert pairs.labels_of(id) == [] and len(pairs.history(id)) == 6
    while pairs.undo("Ada"):
        pass
    assert pairs.labels_of(id) == [] and list(pairs.export_labels())[-1]["kind"] == "label"


def test_cards_come_in_order_and_can_be_fetched_ahead(pairs: Pairs, five: list[str]) -> None:
    def ids(**how: object) -> list[str]:
        found: list[str] = []
        while card := pairs.next(SET, "Ada", after=found[-1] if found else "", passing=found, **how):  # type: ignore[arg-type]
            found.append(card.pair.id)
        return found
    assert ids() == five and sorted(ids(order="random")) == sorted(five)
    assert ids(order="random") == [row.pair.id for row in pairs.queue(SET, "todo", "Ada", "random")]
    assert pairs.next(SET, "Ada", after=five[2]).pair.id == five[3]  # type: ignore[union-attr]
    pairs.label(five[3], Label("first", author="Ada"))
    assert pairs.next(SET, "Ada", after=five[2]).pair.id == five[4]  # type: ignore[union-attr]
    assert pairs.next(SET, "Ada", after=five[4]).pair.id == five[0]  # type: ignore[union-attr]
    assert pairs.next(SET, "Ben").pair.id == five[0] and pairs.next([], "Ada") is None  # type: ignore[union-attr]
    other = pairs.create_set("more").id
    pairs.add(other, [pair("a"), pair("b")])
    assert pairs.next([other, *SET], "Ada").set == other  # type: ignore[union-attr]
    assert pairs.next([*SET, other], "Ada", after=five[4]).set == other  # type: ignore[union-attr]
    for id in (*five, pair("a").id):
        pairs.label(id, Label("skip", author="Ada"))
    assert pairs.next([*SET, other], "Ada").pair.id == pair("b").id and pairs.next(SET, "Ada") is None  # type: ignore[union-attr]


def test_a_pair_that_is_to_do_again_comes_again_however_far_one_is(pairs: Pairs) -> None:
    """The place up to which nothing is left is only a hint."""
    rows = [row for n in range(1_300) if not shown_again((row := pair(str(n))).id, "Ada")]
    set_id = pairs.create_set("many").id
    pairs.add(set_id, rows)
    lines = [{"kind": "label", "id": f"l{n}", "pair_id": row.id, "author": "Ada", "round": 1, "choice": "a", "strength": 0, "edited": "",
              "comment": "", "flagged": False, "left_side": "a", "seconds": 1.0, "position": 1, "made": float(n), "revision": 1,
              "changed": float(n), "deleted": False} for n, row in enumerate(rows[:1_000])]
    pairs.merge_labels(lines)
    for order in ("order", "random"):
        card = pairs.next([set_id], "Ada", order=order)
        assert card is not None
        pairs.label(card.pair.id, Label("tie", author="Ada"))
    assert {r[0] for r in pairs._rows("select sorted from pair_fronts", [])} == {"order", "random"}
    mark = {"order": rows[1].id, "random": min(rows[:1_000], key=lambda row: int(pairs._rows(
        "select draw from pairs where id = ?", [row.id])[0][0])).id}
    for order, id in mark.items():
        line = next(line for line in lines if line["pair_id"] == id)
        pairs.merge_labels([{**line, "revision": 2, "deleted": True}])
        assert pairs.next([set_id], "Ada", order=order).pair.id == id  # type: ignore[union-attr]
        pairs.label(id, Label("tie", author="Ada"))
        pairs.undo("Ada")
        assert pairs.next([set_id], "Ada", order=order).pair.id == id  # type: ignore[union-attr]


# ---- shown again


def test_one_in_twenty_is_shown_again_later_with_its_sides_swapped(pairs: Pairs) -> None:
    set_id = pairs.create_set("many").id
    rows = [pair(str(n)) for n in range(400)]
    pairs.add(set_id, rows)
    repeated = {row.id for row in rows if shown_again(row.id, "Ada")}
    assert 8 <= len(repeated) <= 35 and repeated != {row.id for row in rows if shown_again(row.id, "Ben")}
    shown: list[tuple[str, int, str]] = []
    ahead: str = ""
    rng = random.Random(0)
    while True:
        card = pairs.next([set_id], "Ada", after=ahead)
        if card is None:
            break
        if rng.random() < 0.2:  # fetched while another card was shown: the same repeat never comes twice
            later = pairs.next([set_id], "Ada", after=card.pair.id, passing=[card.pair.id])
            assert later is None or later.pair.id != card.pair.id
        shown.append((card.pair.id, card.round, card.left))
        assert card.why == "" and card.label is None
        pairs.label(card.pair.id, Label("first", author="Ada", round=card.round, left=card.left))
    first = {id: (n, left) for n, (id, round, left) in enumerate(shown) if round == 1}
    again = {id: (n, left) for n, (id, round, left) in enumerate(shown) if round == 2}
    assert len(first) == 400 and len(shown) == 400 + len(again) and set(again) <= repeated and len(again) >= len(repeated) - 2
    assert 150 < sum(left == "first" for _, left in first.values()) < 250  # the sides are drawn
    for id, (n, left) in again.items():
        assert left != first[id][1] and sum(round == 1 for _, round, _ in shown[first[id][0] + 1:n]) >= 10
    places = sorted(n for n, _ in again.values() if n < 400)
    assert min(b - a for a, b in zip(places, places[1:], strict=False)) > 5 and len(places) > len(again) // 2  # among the others
    measured = pairs.quality([set_id], "Ada")
    assert (measured.self_agreement.n, measured.self_agreement.share) == (len(again), 1.0) and measured.labels == 400


def test_the_second_round_never_overwrites_the_first(pairs: Pairs) -> None:
    set_id = pairs.create_set("many").id
    rows = [pair(str(n)) for n in range(300)]
    pairs.add(set_id, rows)
    card = pairs.next([set_id], "Ada")
    while card is not None and card.round == 1:
        pairs.label(card.pair.id, Label("first", author="Ada", left=card.left))
        card = pairs.next([set_id], "Ada")
    assert card is not None and card.round == 2
    id = card.pair.id
    pairs.label(id, Label("second", 2, author="Ada", round=2, left=card.left, edited="better"))
    assert said(pairs)[id] == "first" and said(pairs, rounds=(2,)) == {id: "second"}
    (learned,) = [p for p in pairs.for_training([set_id]) if p.id == id]
    assert learned.chosen == card.pair.first.text and learned.strength == 0
    assert pairs.quality([set_id]).self_agreement.count == 0
    following = pairs.next([set_id], "Ada")
    assert following is not None and following.round == 1
    step = pairs.undo("Ada")
    assert step is not None and step.after is not None and step.after.round == 2 and said(pairs)[id] == "first"
    back = pairs.next([set_id], "Ada")
    assert back is not None and (back.pair.id, back.round, back.left) == (id, 2, card.left)
    pairs.redo("Ada")
    pairs.label(id, Label("skip", author="Ada"))
    assert said(pairs, rounds=(2,)) == {id: "second"} and pairs.progress([set_id], "Ada").skipped == 1


def test_a_few_labels_are_not_shown_again_at_once(pairs: Pairs) -> None:
    set_id = pairs.create_set("few").id
    rows = [row for n in range(200) if shown_again((row := pair(str(n))).id, "Ada")][:5]
    pairs.add(set_id, rows)
    for row in rows:
        pairs.label(row.id, Label("first", author="Ada"))
    assert len(rows) == 5 and pairs.next([set_id], "Ada") is None
    more = [row for n in range(200, 260) if not shown_again((row := pair(str(n))).id, "Ada")][:10]
    pairs.add(set_id, more)
    for row in more[:-1]:
        pairs.label(row.id, Label("first", author="Ada"))
    assert pairs.next([set_id], "Ada").pair.id == more[-1].id  # type: ignore[union-attr]
    pairs.label(more[-1].id, Label("first", author="Ada"))
    shown = []
    while card := pairs.next([set_id], "Ada"):
        assert card.round == 2
        shown.append(card.pair.id)
        pairs.label(card.pair.id, Label("first", author="Ada", round=2, left=card.left))
    assert shown == [row.id for row in rows]


# ---- how far, how good


def test_the_rate_leaves_pauses_out() -> None:
    assert a_minute([]) is None and a_minute([5.0]) is None and a_minute([0.0, 500.0]) is None
    assert a_minute([0.0, 10.0, 20.0, 30.0]) == 6.0
    assert a_minute([1_000.0, 30.0, 0.0, 1_010.0]) == 3.0  # gaps of 30 and 10 seconds; the pause is none
    assert a_minute([0.0, 120.0]) == 0.5


def test_the_time_left_is_what_is_to_do_at_the_rate(pairs: Pairs, five: list[str]) -> None:
    assert pairs.progress(SET, "Ada").a_minute is None
    for n, id in enumerate(five[:3]):
        pairs.label(id, Label("first", author="Ada", made=1_000_000.0 + 20 * n))
    now = pairs.progress(SET, "Ada")
    assert (now.a_minute, now.todo, now.seconds_left) == (3.0, 2, 40.0)


def test_wilson_and_kappa_as_worked_by_hand() -> None:
    made = wilson(8, 10)
    assert made.share == 0.8 and made.low == pytest.approx(0.4901625) and made.high == pytest.approx(0.9433178)
    assert wilson(0, 0).share is None and (wilson(0, 5).low, wilson(5, 5).high) == (0.0, 1.0)
    # Newcombe (1998), table I, method 3.
    assert wilson(81, 263).low == pytest.approx(0.2553, abs=1e-4) and wilson(81, 263).high == pytest.approx(0.3662, abs=1e-4)
    assert not wilson(5, 10).excludes(0.5) and wilson(90, 100).excludes(0.5) and not wilson(0, 0).excludes(0.5)
    table = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15  # 0.7 seen, 0.5 by chance
    assert cohen(table) == pytest.approx(0.4)
    assert cohen([]) is None and cohen([("a", "a")] * 3) is None and cohen([("a", "b"), ("b", "a")]) == -1.0


def test_quality_finds_what_a_careless_annotator_does() -> None:
    """One who always takes the left answer, gets faster and contradicts himself; one who takes the longer one."""
    lefty = [Judged(Label("first" if n % 2 else "second", author="Left", left="first" if n % 2 else "second", pair=f"p{n}", position=n + 1,
                          seconds=10.0 if n < 50 else 2.0, made=1_700_000_000.0 + n), 10, 20) for n in range(120)]
    again = [Judged(Label("second" if n % 2 else "first", author="Left", left="second" if n % 2 else "first", pair=f"p{n}", round=2,
                          position=130), 10, 20) for n in range(6)]
    long = [Judged(Label("second", author="Long", left="first" if n % 2 else "second", pair=f"p{n}", made=1_700_100_000.0), 10, 20)
            for n in range(40)]
    more = [Judged(Label("skip", author="Long", pair="q")), Judged(Label("tie", author="Long", pair="r", flagged=True)),
            Judged(Label("bad", author="Long", pair="s", edited=""))]
    found = measure(lefty + again)
    assert (found.left.share, found.self_agreement.n, found.self_agreement.count) == (1.0, 6, 0) and found.left.excludes(0.5)
    assert found.longer.share == 0.5 and [(p.first, p.last, p.labels, p.seconds) for p in found.sitting] == [
        (1, 25, 25, 10.0), (26, 50, 25, 10.0), (51, 100, 50, 2.0), (101, 200, 20, 2.0)]
    assert found.sitting[-1].agreement.n == 6 and found.seconds == 2.0 and sum(n for _, n in found.days) == 120
    both = measure([*lefty, *again, *long, *more])
    assert (both.labels, both.ties, both.bad, both.skipped, both.flagged, both.edited) == (162, 1, 1, 1, 1, 0)
    (kappa,) = both.kappas
    assert (kappa.one, kappa.other, kappa.n, kappa.agreement.count, kappa.kappa) == ("Left", "Long", 40, 20, 0.0)
    assert both.authors == {"Left": 120, "Long": 42} and measure(long).longer.share == 1.0 and len(both.days) == 3
    nothing = measure([])
    assert nothing.left.share is None and nothing.kappas == () and nothing.seconds is None and nothing.sitting == ()


def test_quality_of_one_author_is_compared_with_the_others(pairs: Pairs, five: list[str]) -> None:
    for author, choices in {"Ada": "1122", "Ben": "1111", "Cy": "2222"}.items():
        for id, choice in zip(five, choices, strict=False):
            pairs.label(id, Label("first" if choice == "1" else "second", author=author))
    found = pairs.quality(SET, "Ada")
    assert found.labels == 4 and [(k.one, k.other, k.n, k.agreement.count, k.kappa) for k in found.kappas] == [
        ("Ada", "Ben", 4, 2, 0.0), ("Ada", "Cy", 4, 2, 0.0)]
    assert len(pairs.quality(SET).kappas) == 3 and pairs.quality().labels == 12
    assert found.longer.n == 4 and found.longer.count == 2  # "... is one thing." is the longer one
