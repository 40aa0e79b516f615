"""The process that answers many questions: the newest first, none for a key that was asked again or forgotten, none that takes too long."""

from pathlib import Path

from desktop.jobs.bench import Bench
from engine.contract.errors import FledgeError


def sources(name: str) -> dict[str, list[str]]:
    return {"sources": [f"/nothing/{name}"]}


def test_of_the_questions_that_wait_the_newest_goes_first_and_old_ones_of_a_key_never(qapp, qtbot) -> None:
    bench, answers = Bench("engine.text.probe"), []

    def failed(wrong: FledgeError) -> None:
        answers.append(Path(wrong.sentence.split()[0].rstrip(".:")).name)
    for key, name in (("page 1", "a"), ("page 2", "b"), ("page 3", "c"), ("page 2", "d"), ("page 4", "e")):
        bench.ask("preview", sources(name), lambda answer: None, failed, key=key)
    bench.forget("page 3")
    qtbot.waitUntil(lambda: not bench.busy, timeout=20_000)
    qtbot.wait(100)
    assert answers == ["a", "e", "d"]
    bench.stop()


def test_an_answer_that_takes_too_long_is_given_up_and_the_next_one_comes(qapp, qtbot) -> None:
    bench, wrong, more = Bench("engine.text.probe", retry="Try again.", limit=0.02), [], []
    bench.ask("preview", sources("a"), lambda answer: None, wrong.append)  # its process alone takes longer to start
    qtbot.waitUntil(lambda: bool(wrong), timeout=20_000)
    assert "too long" in wrong[0].sentence and wrong[0].remedy == "Try again." and not bench.busy
    bench._limit.setInterval(20_000)
    bench.ask("preview", sources("b"), lambda answer: None, more.append)
    qtbot.waitUntil(lambda: bool(more), timeout=20_000)
    assert more[0].code == "not_found"
    bench.stop()
