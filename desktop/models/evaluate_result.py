"""A finished evaluation in words and figures: a figure for each suite and model, its interval, and whether it really differs from the model
it is compared with. From the artifact's facts alone; no Qt, no files, no torch.

A difference is marked only where it is more than chance: exact p under 0.05, held by Holm's method over all comparisons of the evaluation,
so that many suites do not make one of them look right by luck.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.contract.units import MINUS, number, percent, significant
from engine.contract.words import tr, trn
from engine.evaluation.intervals import mean_interval
from engine.project.artifacts import Artifact

ALPHA = 0.05
LISTED = 8
FEWEST = 8
"""Paired losses under this have no interval that could be trusted."""
LOSSES = ("text_loss", "example_loss")
FORMS = {"chat": tr("as a chat"), "plain": tr("plain"), "few_shot": tr("after solved questions"), "": ""}


@dataclass(frozen=True)
class Figure:
    """One model by one suite. `share` is true for 0..1 values; `mark` 1 or -1 where it is really better or worse than the first model."""

    model: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    words: str = ""
    note: str = ""
    form: str = ""
    share: bool = True
    mark: int = 0


@dataclass(frozen=True)
class Line:
    """A suite with its figures, in the order of the models."""

    id: str
    title: str
    kind: str
    unit: str
    sentence: str
    questions: int
    figures: tuple[Figure, ...]


class Result:
    """`artifact` is an evaluation. `votes` are people's tallies by (suite, second model) where they are told already (models/
    evaluate_blind.py); `paired` intervals of differences of loss by (suite, model), once they were read from the rows."""

    def __init__(self, title: str, facts: Mapping[str, Any], id: str = "") -> None:
        self.id, self.title, self.facts = id, title, facts
        self.models: list[tuple[str, str]] = [(m["id"], m["title"]) for m in facts.get("models") or ()]
        self.suites: list[dict[str, Any]] = list(facts.get("suites") or ())
        self.votes: dict[tuple[str, str], dict[str, Any]] = {}
        self.judged: dict[str, tuple[int, int]] = {}
        self.paired: dict[tuple[str, str], tuple[float, float]] = {}

    @classmethod
    def of(cls, made: Artifact) -> "Result":
        return cls(made.title, made.facts, made.id)

    def suite(self, id: str) -> dict[str, Any]:
        return next(s for s in self.suites if s["id"] == id)

    def model_title(self, id: str) -> str:
        return next((title for known, title in self.models if known == id), id)

    def results(self, suite: str, model: str = "") -> list[dict[str, Any]]:
        return [r for r in self.facts.get("results") or () if r["suite"] == suite and (not model or r["model"] == model)]

    def best(self, suite: str, model: str) -> dict[str, Any] | None:
        """The result in the form the model did best in."""
        found = self.results(suite, model)
        return max(found, key=lambda r: (r["value"], r["form"] == "chat")) if found else None

    # the table --------------------------------------------------------------------------------------------------------

    def lines(self) -> list[Line]:
        marks = self._marks()
        made = []
        for suite in self.suites:
            figures = tuple(self._figure(suite, id, marks.get((suite["id"], id), 0)) for id, _ in self.models)
            made.append(Line(suite["id"], suite["title"], suite["kind"], unit_words(suite["kind"], suite.get("graders") or ()),
                             suite.get("sentence", ""),
                             int(suite.get("questions") or 0), figures))
        return made

    def _figure(self, suite: Mapping[str, Any], model: str, mark: int) -> Figure:
        kind, first = suite["kind"], self.models[0][0] == model
        if kind in ("win_rate", "blind"):
            if first:
                return Figure(model, words=tr("compared with"))
            rate = self._rate(suite["id"], model)
            if rate is None:
                return Figure(model, words=tr("not told yet") if kind == "blind" else "–", note=self._judged_words(suite["id"]))
            return Figure(model, rate["value"], rate["low"], rate["high"], percent(rate["value"]), interval_words(rate), mark=mark)
        found = self.best(suite["id"], model)
        if found is None:
            why = next((s["why"] for s in self.facts.get("skipped") or () if s["suite"] == suite["id"] and s["model"] == model), "")
            return Figure(model, words="–", note=tr("not measured") if why else "")
        if kind in LOSSES:
            return Figure(model, found["value"], words=significant(found["value"], 4), share=False, mark=mark)
        return Figure(model, found["value"], found["low"], found["high"], percent(found["value"]), interval_words(found), found["form"],
                      mark=mark)

    def _judged_words(self, suite: str) -> str:
        done, total = self.judged.get(suite, (0, 0))
        return tr("{done} of {total} judged", done=number(done), total=number(total)) if total else ""

    def _rate(self, suite: str, model: str) -> dict[str, Any] | None:
        if (suite, model) in self.votes:
            return self.votes[suite, model]
        return next((r for r in self.facts.get("win_rates") or () if r["suite"] == suite and r["second"] == model), None)

    def _marks(self) -> dict[tuple[str, str], int]:
        """(suite, model) -> 1 or -1 where the difference to the first model is real."""
        found: list[tuple[float, tuple[str, str], int]] = []
        for c in self.facts.get("comparisons") or ():
            found.append((c["p"], (c["suite"], c["second"]), 1 if c["only_second"] > c["only_first"] else -1))
        rates = [(r["suite"], r["second"], r) for r in self.facts.get("win_rates") or ()] + [(s, m, r) for (s, m), r in self.votes.items()]
        found += [(r["p"], (suite, model), 1 if r["wins"] > r["losses"] else -1) for suite, model, r in rates if r["n"]]
        made = {key: sign for key, sign in holm(found)}
        for key, (low, high) in self.paired.items():  # an interval of 95 % that leaves out 0; lower is better
            if low > 0 or high < 0:
                made[key] = -1 if low > 0 else 1
        return made

    # a suite ----------------------------------------------------------------------------------------------------------

    def bars(self, suite: str) -> list[Figure]:
        """A figure for each model and form: what the bars show."""
        info, made = self.suite(suite), []
        marks = self._marks()
        for model, _ in self.models:
            if info["kind"] in (*LOSSES, "win_rate", "blind"):
                figure = self._figure(info, model, marks.get((suite, model), 0))
                if figure.value is not None:
                    made.append(figure)
                continue
            best = self.best(suite, model)
            for r in self.results(suite, model):
                mark = marks.get((suite, model), 0) if r is best else 0
                made.append(Figure(model, r["value"], r["low"], r["high"], percent(r["value"]), interval_words(r), r["form"], mark=mark))
        return made

    def sentences(self, suite: str) -> list[str]:
        """What the comparison with the first model says, a sentence for each."""
        info, said = self.suite(suite), []
        first = self.models[0][1] if self.models else ""
        marks = self._marks()
        for c in self.facts.get("comparisons") or ():
            if c["suite"] == suite and not c["only_first"] and not c["only_second"]:
                said.append(tr("There is no question that only one of {second} and {first} answers.", second=self.model_title(c["second"]),
                               first=first))
            elif c["suite"] == suite:
                real = chance_words((suite, c["second"]) in marks, c["p"])
                said.append(tr("{second} answers {gained} that {first} does not, and misses {lost} that it does. {real} (p {p}).",
                               second=self.model_title(c["second"]), first=first, gained=number(c["only_second"]),
                               lost=number(c["only_first"]), real=real, p=p_words(c["p"])))
        if info["kind"] in ("win_rate", "blind"):
            for model, title in self.models[1:]:
                rate = self._rate(suite, model)
                if rate is not None and rate["n"]:
                    real = chance_words((suite, model) in marks, rate["p"])
                    said.append(tr("{second} is better {wins} times, {first} {losses} times, {ties} are ties. {real} (p {p}).",
                                   second=title, first=first, wins=number(rate["wins"]), losses=number(rate["losses"]),
                                   ties=number(rate["ties"]), real=real, p=p_words(rate["p"])))
                if rate is not None and rate.get("judge"):
                    said.append(bias_words(rate["judge"]))
                elif rate is not None and rate.get("rewards"):
                    ours, theirs = rate["rewards"]
                    said.append(tr("Mean reward {first} and {second}, in spreads of the answers the reward model was trained on.",
                                   first=number(ours, 2), second=number(theirs, 2)))
        for (name, model), (low, high) in self.paired.items():
            if name == suite:
                real = tr("That is more than chance.") if (suite, model) in marks else tr("That may be chance.")
                said.append(tr("On the same conversations {second} needs {low} to {high} nats more than {first} (95 %). {real}",
                               second=self.model_title(model), first=first, low=signed(low), high=signed(high), real=real))
        if info["kind"] == "text_loss" and len(self.models) > 1:
            said.append(tr("One measure over the same text for every model: it has no interval, so no difference is marked."))
        for skipped in self.facts.get("skipped") or ():
            if skipped["suite"] == suite:
                said.append(tr("{model} was not measured: {why}", model=self.model_title(skipped["model"]), why=skipped["why"]))
        return said

    def groups(self, suite: str) -> list[tuple[str, str, list[tuple[str, float, str]]]]:
        """(column, model's title, [(value, share, words)]), of each model's best form: the parts of the questions."""
        made = []
        for model, title in self.models:
            best = self.best(suite, model) or {}
            for column, parts in (best.get("groups") or {}).items():
                lines = [(name, p["value"], tr("{share} of {count}", share=percent(p["value"]), count=number(p["n"])))
                         for name, p in parts.items()]
                if 1 < len(lines) <= 40:
                    made.append((column, title, lines))
        return made

    def broken(self, suite: str) -> list[tuple[str, list[tuple[str, float, str]]]]:
        """(model's title, [(check, share of answers that broke it, words)]): format checks by kind."""
        made = []
        for model, title in self.models:
            best = self.best(suite, model) or {}
            total = max(1, int(best.get("n") or 0) * max(1, int(best.get("tries") or 1)))
            lines = [(check_words(name), many / total, trn("{shown} answer", "{shown} answers", many, shown=number(many)))
                     for name, many in (best.get("broken") or {}).items()]
            if len(lines) > LISTED:
                rest = len(lines) - LISTED
                lines = [*lines[:LISTED], (trn("{count} more", "{count} more", rest), 0.0, tr("fewer each"))]
            if lines:
                made.append((title, lines))
        return made

    def details(self, suite: str, model: str) -> list[tuple[str, str]]:
        """Facts about one model's best form: other ways of grading, pass@k, answers that were cut."""
        found = self.best(suite, model) or {}
        pairs = []
        if found.get("form"):
            pairs.append((tr("Asked"), FORMS.get(found["form"], found["form"])))
        graders = found.get("graders") or {}
        if len(graders) > 1:
            pairs += [(grader_words(name), percent(value)) for name, value in graders.items()]
        pairs += [(tr("One of {k} right", k=k), percent(value)) for k, value in (found.get("pass_at") or {}).items() if k != "1"]
        if found.get("cut"):
            pairs.append((tr("Cut at the limit"), percent(found["cut"])))
        if found.get("too_long"):
            pairs.append((tr("Too long to ask"), number(found["too_long"])))
        if found.get("tokens") and "graders" in found and found.get("graders"):
            pairs.append((tr("Tokens an answer"), significant(found["tokens"], 3)))
        if found.get("mean_of_examples"):
            low, high = found["mean_of_examples"]
            pairs += [(tr("Conversations"), number(found["n"])),
                      (tr("Mean of each (95 %)"), tr("{low} to {high}", low=significant(low, 3), high=significant(high, 3)))]
        if found.get("bytes"):
            pairs += [(tr("Nats a token"), significant(found["per_token"], 4)), (tr("Tokens"), number(found["tokens"]))]
        return pairs

    # words ------------------------------------------------------------------------------------------------------------

    def goes_in(self) -> tuple[str, str]:
        names = ", ".join(title for _, title in self.models)
        if len(self.models) == 1:
            return names, ""
        return trn("{count} model", "{count} models", len(self.models)), names

    def happened(self) -> tuple[str, str]:
        return (trn("{count} suite", "{count} suites", len(self.suites)), ", ".join(s["title"] for s in self.suites))

    def came_out(self) -> tuple[str, str]:
        real = sum(abs(f.mark) for line in self.lines() for f in line.figures)
        words = trn("{shown} answer kept", "{shown} answers kept", int(self.facts.get("rows") or 0), shown=number(self.facts.get("rows")
                                                                                                                  or 0))
        if len(self.models) < 2:
            return words, tr("nothing to compare with")
        return words, trn("{count} real difference", "{count} real differences", real) if real else tr("no real difference")


def paired_losses(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """The interval (95 %) of how many nats more the second model needs for a conversation; None where there are too few of the same."""
    known = {row["id"]: row for row in first}
    differences = [row["nats"] - known[row["id"]]["nats"] for row in second if row["id"] in known]
    if len(differences) < FEWEST:
        return None
    _, low, high = mean_interval(differences)
    return low, high


def holm(found: Sequence[tuple[float, tuple[str, str], int]], alpha: float = ALPHA) -> list[tuple[tuple[str, str], int]]:
    """Those of (p, key, sign) that hold at `alpha` over all of them together (Holm 1979)."""
    kept = []
    for place, (p, key, sign) in enumerate(sorted(found)):
        if p > alpha / (len(found) - place):
            break
        kept.append((key, sign))
    return kept


def with_marks(figures: Sequence[Figure], marks: Mapping[str, int]) -> list[Figure]:
    return [replace(f, mark=marks.get(f.model, 0)) for f in figures]


def interval_words(found: Mapping[str, Any]) -> str:
    """"61 to 81 %"."""
    return tr("{low} to {high}", low=number(found["low"] * 100), high=percent(found["high"]))


def p_words(p: float) -> str:
    return tr("under 0.001") if p < 0.001 else significant(p, 2)


def signed(value: float, digits: int = 3) -> str:
    words = significant(abs(value), digits)
    return f"{MINUS}{words}" if value < 0 else words


def unit_words(kind: str, graders: Sequence[str] = ()) -> str:
    """What the figures of a suite count."""
    if kind == "questions" and tuple(graders[:1]) == ("checks",):
        return tr("answers keep to the form")
    return {"text_loss": tr("bits per byte, lower is better"), "example_loss": tr("nats a token, lower is better"),
            "win_rate": tr("better than the first model"), "blind": tr("better than the first model"),
            "choices": tr("likeliest answer is right")}.get(kind, tr("answers are right"))


def grader_words(name: str) -> str:
    return {"exact": tr("The same text"), "contains": tr("Contains the answer"), "number": tr("Ends with the number"),
            "choice": tr("Names the choice"), "json": tr("JSON as asked"), "regex": tr("Fits the pattern"),
            "checks": tr("Keeps to the form"),
            "likeliest": tr("Likeliest as it stands"), "likeliest_a_byte": tr("Likeliest by length")}.get(name, name)


def check_words(name: str) -> str:
    return {"one_word": tr("one word"), "words": tr("number of words"), "sentences": tr("number of sentences"), "lines": tr("lines"),
            "paragraphs": tr("paragraphs"), "bullets": tr("bullet points"), "numbered": tr("numbered list"), "upper": tr("capitals"),
            "lower": tr("small letters"), "without_letter": tr("without a letter"), "without": tr("without words"),
            "with": tr("with words"), "starts": tr("its beginning"), "ends": tr("its end"), "quoted": tr("in quotes"), "json": "JSON",
            "no_commas": tr("no commas"), "only_number": tr("a number only"), "one_of": tr("one of several"), "separated": tr("parts"),
            "characters": tr("number of characters"), "title": tr("a title"), "placeholder": tr("placeholders"),
            "repeats": tr("repeats the question"), "regex": tr("a pattern")}.get(name, name)


def bias_words(judge: Mapping[str, Any]) -> str:
    """What the verdicts say of the judge."""
    pairs = int(judge.get("pairs") or 0)
    if not pairs:
        return tr("The judge was not asked: all answers were the same.")
    said = tr("The judge changed its mind with the order in {share} of {pairs} pairs", share=percent(judge["flip_share"]),
              pairs=number(pairs))
    favour = float(judge.get("favour") or 0.0)
    points = significant(abs(favour), 2)
    if favour >= 0.05:
        said += tr(", and gave the answer in front {points} points more for its place", points=points)
    elif favour <= -0.05:
        said += tr(", and gave the answer behind {points} points more for its place", points=points)
    return said + "."


def chance_words(real: bool, p: float) -> str:
    """What a difference is to be taken for; with several comparisons a small p alone says less (Holm's correction)."""
    if real:
        return tr("That is more than chance")
    return tr("Among so many comparisons that may be chance") if p < 0.05 else tr("That may be chance")
