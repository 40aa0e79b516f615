"""Rows become pairs: which answer a row needs next, what two answers come to, what is told of it. Whoever asks hands answers in.

A row is a number: its prompt is that number modulo the prompts there are, and the seed of each of its answers follows from it. So a
resume asks what was not answered yet, and nothing else.
"""

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from pydantic import ValidationError

from engine.contract.context import RunContext
from engine.contract.events import Facts, Metrics, Notice, Resumed, Sample
from engine.contract.rows import Answer, Pair, pair_id
from engine.contract.words import tr, trn
from engine.evaluation.answering import seed_of
from engine.project import layout
from engine.stages.preference.kept import Appending, Kept, whole_lines
from engine.stages.preference.prompts import Prompt, Prompts
from engine.stages.preference.spec import PreferenceSpec

TELL_SECONDS, TELL_LATER = 0.5, 3.0
"""Between two lines about progress: a run of days should not fill the disk with them."""
SHOW_SECONDS = 2.0
RATE_SECONDS = 60.0
WARN_AFTER = 20
"""Rows in a row whose answers were the same."""
SIDES = ("first", "second")


class Pairing:
    """All rows of a run, over all its attempts. One thread calls it, but for `prompt`, `different` and `seed`.

    makers   who answers first and second, as the settings name them
    failed   rows that were given up for now by reason: a resume tries them again
    """

    def __init__(self, spec: PreferenceSpec, context: RunContext, prompts: Prompts, makers: tuple[str, str]) -> None:
        self.spec, self.context, self.prompts, self.makers, self.total = spec, context, prompts, makers, spec.count
        self.kept = Kept(layout.work(context.run_dir) / "answers.jsonl", self.total)
        self.failed: Counter[str] = Counter()
        self.made: set[str] = set()
        self.sums: Counter[str] = Counter()
        self.greedy = spec.first_temperature == 0, spec.second_temperature == 0
        self._done = np.zeros(self.total, bool)
        self._done[list(self.kept.out)] = True
        self.left: Counter[str] = Counter(self.kept.out.values())
        path = layout.rows_file(context.run_dir)
        for _, line in whole_lines(path):
            self._earlier(line)
        self._file = Appending(path)
        self._sides: Sequence[str] = SIDES
        self._times: deque[tuple[float, int]] = deque()
        self._told = self._shown = 0.0
        self._began = time.monotonic()
        self._changed: Any = None
        self._alike = 0
        if context.attempt > 1:
            context.emit(Resumed(step=self.settled))
        self._step, self._before = self.settled, Counter({**self.sums, "pairs": len(self.made)})
        for row, side in self.kept.under_way():
            if not self._done[row]:
                self.settle(row, side)

    # ---- rows

    @property
    def settled(self) -> int:
        """Rows that are pairs, or were left out for good."""
        return len(self.made) + sum(self.left.values())

    def open_rows(self, sides: Sequence[str]) -> Iterator[int]:
        """Rows that need an answer of one of these sides."""
        return (row for row in range(self.total) if self.needs(row, sides))

    def needs(self, row: int, sides: Sequence[str] = SIDES) -> str:
        """Which of these sides must answer next; "" where none must."""
        if self._done[row]:
            return ""
        side = "second" if self.kept.has_first(row) else "first"
        return side if side in sides else ""

    def prompt(self, row: int) -> Prompt:
        return self.prompts[row % len(self.prompts)]

    def seed(self, row: int, side: str, number: int) -> int:
        """Of try `number`, below 2^31: some servers take no more."""
        return seed_of(self.spec.seed, f"{row}/{side}", number) % 2**31

    def tried(self, row: int, side: str) -> int:
        return self.kept.tries[row, side]

    def tries(self, side: str) -> int:
        """How often a row's side is asked at most: once where asking again gives the same."""
        return 1 if self.temperature(side) == 0 else 1 + self.spec.equal

    def temperature(self, side: str) -> float:
        return self.spec.first_temperature if side == "first" else self.spec.second_temperature

    def different(self, prompt: Prompt, first: Answer, second: Answer) -> bool:
        """Whether the two are worth comparing, and were not laid beside each other already."""
        return _said(first) != _said(second) and pair_id(prompt.messages, first.text, second.text) not in self.made

    # ---- what comes

    def take(self, row: int, side: str, answer: Answer) -> None:
        """Keeps an answer; the row's pair is written when both are there. What has no text is no answer."""
        self.kept.add(row, side, answer)
        self.sums["answers"] += 1
        self.sums["answer_tokens"] += answer.facts["tokens"]
        self.settle(row, side)
        self.tell()

    def settle(self, row: int, side: str) -> None:
        """After an answer of `side`, or where one lies there from an earlier attempt."""
        if side == "first":
            if not self.kept.has_first(row) and self.tried(row, side) >= self.tries(side):
                self.leave_out(row, "empty")
            return
        first, second = self.kept.first(row), self.kept.last(row)
        assert first is not None and second is not None
        prompt = self.prompt(row)
        if second.text and self.different(prompt, first, second):
            self._write(row, prompt, first, second)
        elif self.tried(row, side) >= self.tries(side):
            self.leave_out(row, "same" if second.text else "empty")

    def leave_out(self, row: int, why: str) -> None:
        """For good: "same", "empty", "too_long" or "template"."""
        self.kept.leave_out(row, why)
        self._done[row] = True
        self.left[why] += 1
        self._alike = self._alike + 1 if why == "same" else 0
        if self._alike == WARN_AFTER:
            self.context.emit(Notice(level="warning", code="same_answers", title=tr("The answers are the same"), text=tr(
                "{count} prompts in a row got the same answer twice, and were left out.", count=WARN_AFTER),
                remedy=tr("Raise a temperature, or take another second model.")))
        self.tell()

    def give_up(self, row: int, why: str) -> None:
        """For now."""
        self.failed[why] += 1
        self._done[row] = True
        self.tell()

    def sync(self) -> None:
        self._file.sync()
        self.kept.sync()

    def close(self) -> None:
        self._file.close()
        self.kept.close()
        self.prompts.close()

    def _write(self, row: int, prompt: Prompt, first: Answer, second: Answer) -> None:
        one, other = self.makers
        facts: dict[str, Any] = {"row": row, "source": prompt.source}
        if prompt.document:
            facts["document"] = prompt.document
        pair = Pair(id=pair_id(prompt.messages, first.text, second.text), prompt=prompt.messages, first=first, second=second,
                    origin=one if one == other else f"{one} + {other}", facts=facts)
        self._file.add(pair.model_dump_json().encode())
        self._count(pair)
        self.kept.done(row)
        self._alike = 0
        now = time.monotonic()
        if now - self._shown > SHOW_SECONDS:
            self._shown = now
            for answer in (first, second):
                self.context.emit(Sample(step=self.settled, prompt=prompt.messages[-1].content, text=answer.text,
                                         temperature=answer.facts["temperature"]))

    def _earlier(self, line: bytes) -> None:
        """A row that an earlier attempt wrote."""
        try:
            pair = Pair.model_validate_json(line)
            row = int(pair.facts["row"])
        except (ValidationError, ValueError, KeyError, TypeError):
            return  # torn by a kill: its answers are kept, and it is written again
        if 0 <= row < self.total and not self._done[row] and pair.id not in self.made:
            self._count(pair)
            self.kept.done(row)

    def _count(self, pair: Pair) -> None:
        self.made.add(pair.id)
        self._done[pair.facts["row"]] = True
        for side, answer in zip(SIDES, (pair.first, pair.second), strict=True):
            self.sums[f"{side}_tokens"] += answer.facts["tokens"]
            self.sums[f"{side}_plain"] += answer.facts.get("form") == "plain"
            self.sums[f"{side}_cut"] += answer.facts["finish"] == "length"
            self.sums[f"{side}_seconds_ms"] += round(1000 * answer.facts["seconds"])

    # ---- telling

    def begin(self, sides: Sequence[str]) -> None:
        """Progress is that of these sides from here on."""
        self._sides = sides
        self._times = deque([(time.monotonic(), self._answered())])
        self.tell(now=True)

    def _answered(self) -> int:
        """Rows that need nothing more of these sides."""
        if "second" in self._sides:
            return int(self._done.sum())
        return int((self._done | self.kept.has_firsts).sum())

    def tell(self, now: bool = False) -> None:
        moment = time.monotonic()
        if not now and moment - self._told < (TELL_SECONDS if moment - self._began < 60 else TELL_LATER):
            return
        self._told = moment
        done = self._answered()
        changed = (done, len(self.made), self.sums["answers"], self._sides)
        if changed == self._changed:
            return
        self._changed = changed
        self._times.append((moment, done))
        while len(self._times) > 2 and moment - self._times[0][0] > RATE_SECONDS:
            self._times.popleft()
        then, count = self._times[0]
        rate = (done - count) / (moment - then) if moment > then else 0.0
        unit = tr("rows") if "second" in self._sides else tr("answers")
        self.context.progress(done, self.total, unit, rate, (self.total - done) / rate if rate else -1.0)
        self.context.emit(Facts(facts={"counts": self.counts()}))
        self._measure(moment, rate)

    def _measure(self, moment: float, rate: float) -> None:
        """A line of the run's charts for each time that rows were settled."""
        step, sums = self.settled, self.sums
        if step <= self._step:
            return
        pairs = len(self.made) - self._before["pairs"]
        row: dict[str, float] = {"step": step, "pairs": len(self.made), "left_out": sum(self.left.values()), "rows_per_second": rate,
                                 "elapsed": moment - self._began}
        if pairs > 0:
            row |= {f"{side}_tokens": (sums[f"{side}_tokens"] - self._before[f"{side}_tokens"]) / pairs for side in SIDES}
        self.context.emit(Metrics(columns={name: [round(value, 4)] for name, value in row.items()}))
        self._step, self._before = step, Counter({**sums, "pairs": len(self.made)})

    def sum_up(self) -> None:
        """At the end, what the person should know beside the counts."""
        if self.failed or self.left:
            said = {**_left_words(), **_failed_words()}
            counted = self.left + self.failed
            reasons = ", ".join(f"{words} ({counted[why]:,})" for why, words in said.items() if counted[why])
            remedy = tr("Raise a temperature, or take another second model.") if self.left["same"] * 2 > sum(counted.values()) else ""
            self.context.emit(Notice(level="warning" if sum(counted.values()) * 5 > self.total else "info", code="left_out",
                                     title=tr("Prompts without a pair"), remedy=remedy,
                                     text=trn("{count} was left out: {reasons}.", "{count} were left out: {reasons}.",
                                              sum(counted.values()), reasons=reasons)))

    def counts(self) -> dict[str, Any]:
        """Over all attempts; `failed` of this one."""
        return {"rows": self.total, "pairs": len(self.made), "prompts": len(self.prompts), "left_out": dict(self.left),
                "failed": dict(self.failed)}

    def facts(self) -> dict[str, Any]:
        """Of the artifact: counts, and for each side who answered how. Mean tokens, share of answers that were cut, seconds an answer."""
        n = max(1, len(self.made))
        sides = {side: {"model": maker, "form": "plain" if self.sums[f"{side}_plain"] else "chat",
                        "temperature": self.temperature(side), "top_p": self.spec.top_p,
                        "tokens": round(self.sums[f"{side}_tokens"] / n, 2), "cut": round(self.sums[f"{side}_cut"] / n, 4),
                        "seconds": round(self.sums[f"{side}_seconds_ms"] / 1000 / n, 3)}
                 for side, maker in zip(SIDES, self.makers, strict=True)}
        return {**self.counts(), "passed": dict(self.prompts.passed), **sides}

    def save(self, folder: Path) -> None:
        """pairs.jsonl, in the order of rows."""
        self.sync()
        rows = [(orjson.loads(line)["facts"]["row"], at) for at, line in whole_lines(layout.rows_file(self.context.run_dir))
                if _is_pair(line)]
        with open(layout.rows_file(self.context.run_dir), "rb") as source, open(folder / "pairs.jsonl", "wb") as out:
            for _, at in sorted(rows):
                source.seek(at)
                out.write(source.readline())


def _said(answer: Answer) -> str:
    return " ".join(answer.text.split())


def _is_pair(line: bytes) -> bool:
    try:
        Pair.model_validate_json(line)
    except ValidationError:
        return False
    return True


def _left_words() -> dict[str, str]:
    return {"same": tr("both answers the same"), "empty": tr("an empty answer"), "too_long": tr("too long for a model's context"),
            "template": tr("refused by a chat template")}


def _failed_words() -> dict[str, str]:
    return {"slow": tr("took too long"), "dropped": tr("the connection broke"), "server": tr("the server failed"),
            "form": tr("no readable answer")}
