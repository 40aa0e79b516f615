"""What a verifier says to completions whose worth is known beforehand: gold answers, which must score full, and nonsense, which must not.
Probes only: no file, no process, no window. What its scores of a model's completions say is scoring.py's matter.

    report = run_checks(verifier, problems)
    report.failing, report.sentence

A problem's gold answer is a number or a word; how a completion has to give it is the verifier's matter. It is therefore handed in in each
of the usual forms (bare, in tags, in a box, ...), and the one that scores is the form in which the other probes are made as well.
"""

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.contract.rows import Problem
from engine.contract.words import tr, trn
from engine.verifiers.api import Attempt, Check, Verdict, Verifier, never
from engine.verifiers.scoring import CLOSE, Level, is_full

Told = Callable[[int, int], None]
PROBES = ("gold", "empty", "prompt_again", "every_number", "gold_in_prose", "megabyte", "nul")
MEGABYTE = 1_000_000
ODD, LONG = 32, 3
"""Problems whose nonsense is tried, and those with a megabyte of it: what happens to some happens to all."""
TWICE = 8
FEW, FEW_ODD = 24, 4
"""Problems and nonsense of a verifier whose every call takes long (a language model that judges)."""
NAMED = 50
MUCH, LONG_CALL = 5.0, 0.002
"""So many times as long a form of gold answers takes, and so many seconds more a call, before another one is taken in its place."""
SLOW_MS = 100.0


def titles() -> dict[str, str]:
    """Of the probes, as the list of checks has them."""
    return {"gold": tr("Gold answer"), "empty": tr("Empty"), "prompt_again": tr("Prompt again"), "every_number": tr("Every number"),
            "gold_in_prose": tr("Gold in prose"), "megabyte": tr("One megabyte"), "nul": tr("NUL bytes")}


def helps() -> dict[str, str]:
    """What each probe hands in, and why."""
    return {"gold": tr("The known answer itself, in the form that scores best. Whatever is right must get the full reward."),
            "empty": tr("Nothing at all."),
            "prompt_again": tr("The question, repeated word for word."),
            "every_number": tr("A list of all numbers up to 100, the right one among them."),
            "gold_in_prose": tr("The right answer in the middle of a text that says it does not know. Where this scores, a model that "
                                "mentions many answers can score, too."),
            "megabyte": tr("A million characters: what a model that never ends may write."),
            "nul": tr("NUL bytes and other control characters.")}


# ------------------------------------------------------------------------------------------------------------------ probes


@dataclass(frozen=True)
class Form:
    """A way to give an answer. `pattern` holds {answer}."""

    name: str
    pattern: str

    def of(self, answer: str) -> str:
        return self.pattern.replace("{answer}", answer)


PLAIN = Form("plain", "{answer}")
FORMS = (PLAIN, Form("answer_tags", "<answer>{answer}</answer>"),
         Form("think_answer_tags", "<think>The answer has to be found first.</think>\n<answer>{answer}</answer>"),
         Form("boxed", "\\boxed{{answer}}"), Form("hashes", "#### {answer}"), Form("sentence", "The answer is {answer}."),
         Form("fenced", "```python\n{answer}\n```"), Form("json_fence", "```json\n{answer}\n```"))
SOLUTION = Form("solution", "{answer}")


def form_title(name: str) -> str:
    return {"plain": tr("as it is"), "answer_tags": tr("in <answer> tags"), "think_answer_tags": tr("in <think> and <answer> tags"),
            "boxed": tr("in \\boxed{…}"), "hashes": tr("after ####"), "sentence": tr("after “The answer is”"),
            "fenced": tr("between ``` fences"), "json_fence": tr("between ```json fences"),
            "solution": tr("as the problem's own solution")}[name]


def golds(problem: Problem) -> list[tuple[Form, str]]:
    """Completions that are right if anything is, likeliest first; none for a program without a solution."""
    found: list[tuple[Form, str]] = []
    solution = problem.facts.get("solution")
    if isinstance(solution, str) and solution.strip():
        found.append((SOLUTION, solution))
    if isinstance(problem.answer, Mapping) and "tests" in problem.answer:
        return [*found, *((form, form.of(text)) for form, text in [(form, solution) for form in FORMS if form.name == "fenced"] if text)]
    answer = problem.answer if isinstance(problem.answer, str) else json.dumps(problem.answer, ensure_ascii=False)
    return [*((form, form.of(answer)) for form in FORMS), *found] if answer.strip() else found


NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def every_number(problem: Problem) -> str:
    """All that could be meant at once: neither the first nor the last of it is right. Letters where the answer is one."""
    answer = str(problem.answer).strip()
    if re.fullmatch(r"[A-Za-z]", answer):
        letters = [letter for letter in "ABCDEFGHIJ" if letter != answer.upper()]
        return ", ".join([*letters[:4], answer.upper(), *letters[4:]])
    own = [found[0].rstrip(".,") for found in NUMBER.finditer(answer)]
    asked = [found[0].rstrip(".,") for found in NUMBER.finditer(_last_turn(problem))][:100]
    numbers = [str(n) for n in range(101) if str(n) not in own]
    unit = answer[answer.rfind(own[-1]) + len(own[-1]):] if own else ""
    middle = [f"{number}{unit if number == own[-1] else ''}" for number in own]
    return ", ".join([*numbers[:50], *(n for n in asked if n not in own), *middle, *numbers[50:]])


def in_prose(answer: str) -> str:
    return (f"I am not sure about this one. Somebody said it could be {answer} or perhaps something else, but there are many ways to look "
            "at it, and I cannot tell which of them is meant.")


def _last_turn(problem: Problem) -> str:
    return next((message.content for message in reversed(problem.prompt) if message.role == "user"), "")


def completion_of(probe: str, problem: Problem, form: Form) -> list[str]:
    """What a probe hands in for a problem, one or several; gold is another matter (`golds`)."""
    if probe == "empty":
        return [""]
    if probe == "prompt_again":
        return [_last_turn(problem)]
    if probe == "every_number":
        said = every_number(problem)
        return [said] if form in (PLAIN, SOLUTION) or form.name in ("fenced", "json_fence") else [said, form.of(said)]
    if probe == "gold_in_prose":
        return [in_prose(str(problem.answer) if isinstance(problem.answer, str) else json.dumps(problem.answer))]
    if probe == "megabyte":
        own = NUMBER.findall(str(problem.answer))
        line = f"and so on and on, ((({next(str(n) for n in range(7, 100) if str(n) not in own)})) it goes\n"
        return ["<answer>" + line * (MEGABYTE // len(line) + 1)]
    assert probe == "nul"
    return ["\x00\x00\x00 \x1b[2J\x07 \x00"]


def attempt_of(problem: Problem, completion: str) -> Attempt:
    """A completion to a problem as a verifier sees it, as in a run."""
    return Attempt([message.model_dump() for message in problem.prompt], completion, problem.answer, problem.facts)


# ------------------------------------------------------------------------------------------------------------------ checks


@dataclass(frozen=True)
class Miss:
    """A problem where a probe got what was not wanted. `got` None: the verifier could not say, and `message` says why."""

    problem: str
    asked: str
    completion: str
    got: float | None
    error: str = ""
    line: int | None = None
    message: str = ""


@dataclass(frozen=True)
class CheckRow:
    """A probe over all its problems. wanted: at least this for gold, at most this for the rest; None where nothing is wanted. got: the
    worst of all, None where the verifier could not say (`error`, `line`, `message`). missed of tried: problems; `misses` some of them.
    `form`: how gold answers were given."""

    id: str
    wanted: float | None
    got: float | None
    level: Level
    tried: int = 0
    missed: int = 0
    sentence: str = ""
    error: str = ""
    line: int | None = None
    message: str = ""
    form: str = ""
    misses: tuple[Miss, ...] = ()

    @property
    def ok(self) -> bool:
        return self.level in ("ok", "skipped")


@dataclass(frozen=True)
class Report:
    """What the checks found. unusable: gold answers the verifier cannot compare with, as (problem id, what is asked, why). unstable: what
    it said differently the second time, and whether in an interpreter that had served before or in a new one. ms: a call, without waiting
    where the verifier says so. problems: whose gold answers were tried."""

    rows: tuple[CheckRow, ...]
    full: float
    problems: int
    ms: float
    stable: bool = True
    unstable: str = ""
    unusable: tuple[tuple[str, str, str], ...] = ()
    sentence: str = ""

    @property
    def failing(self) -> int:
        return sum(not row.ok for row in self.rows) + (not self.stable)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "failing": self.failing}


class _Calls:
    """A verifier whose calls are counted and timed."""

    def __init__(self, verifier: Verifier, check: Check, told: Told, of: int) -> None:
        self.verifier, self.check, self.told, self.of = verifier, check, told, of
        self.done = 0
        self.calls, self.seconds, self.waited = 0, 0.0, 0.0

    def score(self, attempts: Sequence[Attempt], timed: bool = True) -> list[Verdict]:
        made: list[Verdict] = []
        for start in range(0, len(attempts), 64):
            some = attempts[start:start + 64]
            began = time.perf_counter()
            verdicts = self.verifier.score(some, self.check)
            self.check()
            if timed:
                self.waited += time.perf_counter() - began
                self.calls += len(some)
                self.seconds += sum(one.seconds for one in verdicts)
            self.done = min(self.of, self.done + len(some))
            self.told(self.done, self.of)
            made += verdicts
        return made

    @property
    def ms(self) -> float:
        """Its own seconds where it tells them; else how long it took."""
        return 1000 * (self.seconds or self.waited) / max(1, self.calls)


def _nothing(done: int, of: int) -> None:
    pass


def run_checks(verifier: Verifier, problems: Sequence[Problem], *, full: float = 1.0, reads_answer: bool = True,
               fresh: Verifier | None = None, long: int = LONG, few: bool = False, check: Check = never,
               told: Told = _nothing) -> Report:
    """Every probe on these problems: gold on all, nonsense on some of them, spread evenly. full: what a right answer gets at least.
    reads_answer: whether any part compares with the answer; where none does, nothing is wanted of gold. fresh: the same verifier with an
    interpreter of its own for each call. long: on how many problems a megabyte is tried. few: try FEW problems alone. Raises what the
    verifier raises where it cannot work at all, and what `check` does."""
    assert problems
    problems, twice = (_spread(problems, FEW), 2) if few else (problems, TWICE)
    unusable = tuple((p.id, _last_turn(p)[:200], why) for p, why in zip(problems, verifier.check_answers([p.answer for p in problems]),
                                                                         strict=True) if why)
    bad = {id for id, _, _ in unusable}
    usable = [p for p in problems if p.id not in bad]
    odd, some = _spread(usable or problems, FEW_ODD if few else ODD), _spread(usable or problems, min(long, twice)) if long else []
    calls = _Calls(verifier, check, told, len(usable) + (len(FORMS) + 6) * twice + 5 * len(odd) + len(some))
    gold, form = _gold(calls, usable, full, reads_answer, twice)
    rows = [gold]
    for probe in PROBES[1:]:
        rows.append(_odd_row(calls, probe, some if probe == "megabyte" else odd, form, full, reads_answer))
    unstable = _unstable(calls, fresh, _spread(usable or problems, twice), form)
    told(calls.of, calls.of)
    made = Report(tuple(rows), full, len(usable), calls.ms, not unstable, unstable, unusable[:NAMED])
    return Report(made.rows, full, len(usable), calls.ms, not unstable, unstable, made.unusable,
                  _summary(made, len(unusable) if usable else 0))  # where none is usable the row of gold answers says so


def _spread(problems: Sequence[Problem], count: int) -> list[Problem]:
    if len(problems) <= count:
        return list(problems)
    return [problems[i * len(problems) // count] for i in range(count)]


def _gold(calls: _Calls, problems: Sequence[Problem], full: float, reads_answer: bool, some: int) -> tuple[CheckRow, Form]:
    """The row of gold answers, and the form most of them scored in."""
    if not reads_answer:
        return CheckRow("gold", None, None, "skipped", sentence=tr("No part of this verifier looks at the answer.")), PLAIN
    forms = {p.id: golds(p) for p in problems}
    asked = [p for p in problems if forms[p.id]]
    if not problems:
        return CheckRow("gold", full, None, "failure", sentence=tr("No gold answer can be compared with.")), PLAIN
    if not asked:
        return CheckRow("gold", None, None, "skipped", sentence=tr(
            "There is nothing right to hand in: programs need a worked solution beside their tests.")), PLAIN
    form = _best_form(calls, _spread(asked, some), forms, full)
    best: dict[str, tuple[Verdict, Form, str]] = {}
    left, first = list(asked), True
    while left:
        tries = [(p, *pair) for p in left for pair in _of_form(forms[p.id], form, first)]
        for (p, used, completion), verdict in zip(tries, calls.score([attempt_of(p, text) for p, _, text in tries]), strict=True):
            if p.id not in best or _higher(verdict.score, best[p.id][0].score):
                best[p.id] = (verdict, used, completion)
        if not first:
            break
        left, first = [p for p in left if not is_full(best[p.id][0].score, full)], False
    used_forms = Counter(best[p.id][1] for p in asked if is_full(best[p.id][0].score, full))
    form = used_forms.most_common(1)[0][0] if used_forms else form
    missed = [p for p in asked if not is_full(best[p.id][0].score, full)]
    misses = tuple(_miss(p, best[p.id][2], best[p.id][0]) for p in missed[:NAMED])
    worst = min((best[p.id][0] for p in asked), key=lambda v: (-math.inf if v.score is None else v.score))
    sentence = trn("{count} of {total} gold answers does not get the full reward.",
                   "{count} of {total} gold answers do not get the full reward.", len(missed), total=f"{len(asked):,}") if missed else ""
    return CheckRow("gold", full, worst.score, "failure" if missed else "ok", len(asked), len(missed), sentence, worst.error or "",
                    worst.line, worst.message, form.name, misses), form


def _best_form(calls: _Calls, some: Sequence[Problem], forms: Mapping[str, list[tuple[Form, str]]], full: float) -> Form:
    """In which form these few score most; of equals the first, unless another one is judged much quicker."""
    tries = [(form, text, p) for p in some for form, text in forms[p.id]]
    sums: dict[Form, float] = {}
    seconds: dict[Form, float] = {}
    for (form, _, _), verdict in zip(tries, calls.score([attempt_of(p, text) for _, text, p in tries], timed=False), strict=True):
        score = verdict.score or 0.0
        sums[form] = sums.get(form, 0.0) + (min(score, full) if full > 0 else score)
        seconds[form] = seconds.get(form, 0.0) + verdict.seconds
    best = [form for form in sums if sums[form] >= max(sums.values()) - CLOSE]
    quick = min(best, key=lambda form: seconds[form])
    return quick if seconds[best[0]] > MUCH * seconds[quick] + LONG_CALL * len(some) else best[0]


def _of_form(pairs: Sequence[tuple[Form, str]], form: Form, alone: bool) -> list[tuple[Form, str]]:
    """The completion in a form (the first where it has none), or all in the others."""
    own = [pair for pair in pairs if pair[0] == form] or list(pairs[:1])
    return own if alone else [pair for pair in pairs if pair not in own]


def _higher(one: float | None, other: float | None) -> bool:
    return one is not None and (other is None or one > other)


def _miss(problem: Problem, completion: str, verdict: Verdict) -> Miss:
    return Miss(problem.id, _last_turn(problem)[:200], completion[:500], verdict.score, verdict.error or "", verdict.line, verdict.message)


def _odd_row(calls: _Calls, probe: str, problems: Sequence[Problem], form: Form, full: float, reads_answer: bool) -> CheckRow:
    if probe in ("every_number", "gold_in_prose") and (not reads_answer or any(isinstance(p.answer, Mapping) for p in problems)):
        return CheckRow(probe, None, None, "skipped", sentence=tr("The answers of these problems are no numbers or words.") if reads_answer
                        else tr("No part of this verifier looks at the answer."))
    if not problems:
        return CheckRow(probe, None, None, "skipped")
    if not reads_answer and probe != "megabyte":    # what it rewards is form alone, and these may have it
        return _quiet_row(calls, probe, problems, form)
    tries = [(p, text) for p in problems for text in completion_of(probe, p, form)]
    verdicts = calls.score([attempt_of(p, text) for p, text in tries], timed=probe != "megabyte")
    worst: dict[str, tuple[float, Verdict, Problem, str]] = {}
    for (p, text), verdict in zip(tries, verdicts, strict=True):
        weight = math.inf if verdict.score is None else verdict.score
        if p.id not in worst or weight > worst[p.id][0]:
            worst[p.id] = (weight, verdict, p, text)
    found = list(worst.values())
    top = max(found, key=lambda one: one[0])[1]
    missed = [one for one in found if one[0] > CLOSE]
    unsaid = [one for one in missed if one[1].score is None]
    level, sentence = _level(probe, [one[1] for one in found], missed, unsaid, full)
    slow = next((v for v in verdicts if v.error in ("timeout", "program_timeout")), None)
    if level == "ok" and slow is not None:
        level, sentence = "warning", tr("It does not come to an end in time on this; that counts as 0.")
    shown = slow if top.score is not None and slow is not None and not missed else top
    return CheckRow(probe, 0.0, top.score, level, len(found), len(missed), sentence, shown.error or "", shown.line, shown.message,
                    form.name if probe == "every_number" else "", tuple(_miss(p, text, v) for _, v, p, text in missed[:NAMED]))


def _level(probe: str, verdicts: Sequence[Verdict], missed: Sequence[tuple[float, Verdict, Problem, str]],
           unsaid: Sequence[Any], full: float) -> tuple[Level, str]:
    """What a miss is: a failure where a run would pause or nonsense gets the full reward, else something to look at."""
    if not missed:
        return "ok", ""
    if unsaid:
        return "failure", trn("The verifier cannot judge {count} of {total} completions; a run would pause.",
                              "The verifier cannot judge {count} of {total} completions; a run would pause.", len(unsaid),
                              total=len(verdicts))
    if probe == "gold_in_prose":
        return "warning", trn("In {count} of {total} problems any prose with the right answer in it scores.",
                              "In {count} of {total} problems any prose with the right answer in it scores.", len(missed),
                              total=len(verdicts))
    if probe == "prompt_again" and all(_stands_in_prompt(p) for _, _, p, _ in missed):
        return "warning", trn("The question of {count} problem holds its answer, so repeating it scores.",
                              "The questions of {count} problems hold their answer, so repeating them scores.", len(missed))
    if all(weight < full - CLOSE for weight, _, _, _ in missed):
        return "warning", trn("In {count} of {total} problems this gets part of the reward.",
                              "In {count} of {total} problems this gets part of the reward.", len(missed), total=len(verdicts))
    return "failure", trn("In {count} of {total} problems this gets the full reward.",
                          "In {count} of {total} problems this gets the full reward.",
                          sum(weight >= full - CLOSE for weight, _, _, _ in missed), total=len(verdicts))


def _quiet_row(calls: _Calls, probe: str, problems: Sequence[Problem], form: Form) -> CheckRow:
    """Of a verifier of form alone nothing is wanted but that it says something."""
    tries = [(p, text) for p in problems for text in completion_of(probe, p, form)]
    verdicts = calls.score([attempt_of(p, text) for p, text in tries])
    unsaid = [(p, text, v) for (p, text), v in zip(tries, verdicts, strict=True) if v.score is None]
    top = unsaid[0][2] if unsaid else max(verdicts, key=lambda v: v.score or 0.0)
    return CheckRow(probe, None, top.score, "failure" if unsaid else "ok", len(problems), len(unsaid), tr(
        "The verifier cannot judge this; a run would pause.") if unsaid else "", top.error or "", top.line, top.message, "",
        tuple(_miss(p, text, v) for p, text, v in unsaid[:NAMED]))


def _stands_in_prompt(problem: Problem) -> bool:
    answer = str(problem.answer).strip()
    numbers = [found[0] for found in NUMBER.finditer(answer)]
    asked = _last_turn(problem)
    return bool(answer) and (answer in asked or bool(numbers) and numbers[-1] in NUMBER.findall(asked))


def _unstable(calls: _Calls, fresh: Verifier | None, problems: Sequence[Problem], form: Form) -> str:
    """"" where it says the same of the same completion every time, in a used interpreter and in new ones."""
    tries = [(p, text) for p in problems for text in ([pair[1] for pair in golds(p) if pair[0] == form][:1] or [""])
             + completion_of("gold_in_prose", p, form) + ["7"]][:3 * TWICE]
    attempts = [attempt_of(p, text) for p, text in tries]
    first, second = calls.score(attempts), calls.score(attempts)
    others = fresh.score(attempts, calls.check) if fresh is not None else second
    for once, again, alone in zip(first, second, others, strict=True):
        if _said(once) != _said(again):
            return tr("It scores the same completion differently when it is asked again: {first}, then {second}.", first=_shown(once),
                      second=_shown(again))
        if _said(once) != _said(alone):
            return tr("It scores the same completion differently in a new interpreter: {first}, then {second}.", first=_shown(once),
                      second=_shown(alone))
    return ""


def _said(verdict: Verdict) -> tuple[Any, ...]:
    return verdict.score, verdict.error, tuple(sorted(verdict.parts.items()))


def _shown(verdict: Verdict) -> str:
    return f"{verdict.score:g}" if verdict.score is not None else tr("an error")


def _summary(report: Report, unusable: int) -> str:
    if not unusable:
        return _in_short(report)
    return _in_short(report) + " " + trn("{count} gold answer cannot be compared with.", "{count} gold answers cannot be compared with.",
                                         unusable)


def _in_short(report: Report) -> str:
    failures = sum(row.level == "failure" for row in report.rows)
    gold = report.rows[0]
    if gold.level == "failure":
        return gold.sentence
    if not report.stable:
        return report.unstable
    if failures:
        return trn("{count} check fails: look before you train.", "{count} checks fail: look before you train.", failures)
    if report.failing:
        return trn("{count} check is worth a look.", "{count} checks are worth a look.", report.failing)
    if report.ms > SLOW_MS:
        return tr("All checks pass. Each call takes {ms} ms, so training will wait for it.", ms=f"{report.ms:,.0f}")
    return tr("All checks pass.")
