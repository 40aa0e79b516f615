"""One evaluation under way: what is asked of whom, what is kept of it as it comes, and what it comes to at the end.

What it asks, grades and reckons with stands in engine/evaluation; run.py says in which order, and writes the artifact.
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from engine.contract import units
from engine.contract.context import RunContext
from engine.contract.errors import FledgeError, InputError, SettingError, Stopped
from engine.contract.events import Facts, Notice, Sample
from engine.contract.rows import Example
from engine.contract.words import tr
from engine.evaluation import losses, questions, report, suites, win_rate
from engine.evaluation.answering import Answer, Examinee, best_form, seed_of, shots_for, without_leak
from engine.evaluation.journal import Journal
from engine.evaluation.questions import Question
from engine.evaluation.suites import Suite
from engine.generators import provider as providers
from engine.model.scorer import Scorer
from engine.project import snapshots
from engine.project.models import ModelRef, parents_of, resolve, resolve_reward
from engine.project.project import Project
from engine.sampling.sampling import Sampling
from engine.stages.evaluate.spec import EvaluateSpec
from engine.text.corpus import Corpus
from engine.training import devices

TOLD_SECONDS = 0.5
SHOWN_SECONDS = 2.0
JUDGED = "judged"
REWARD = "reward"
"""A judge called reward:ID is a reward model of the project."""


@dataclass
class Job:
    """One evaluation under way. Everything a run names is found and checked before the first model is loaded."""

    spec: EvaluateSpec
    context: RunContext
    project: Project
    journal: Journal = field(init=False)
    results: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec, context = self.spec, self.context
        self.started = self.began = self._told = self._shown = time.monotonic()
        self.done = self.total = self.fresh = 0
        self.refs: list[ModelRef] = [resolve(self.project, id) for id in spec.models]
        self.suites: list[Suite] = [suites.load(name, self.project.dir) for name in spec.suites]
        self.library: list[Example] = list(snapshots.rows(context.run_dir, "questions"))
        self._check_needs()
        self.asked: dict[str, list[Question]] = {suite.id: self._questions(suite) for suite in self.suites}
        wants_text = any(suite.kind == "text_loss" for suite in self.suites)
        self.texts = losses.held_out_texts(Corpus.open(self.project.artifacts.get(spec.corpus).path), spec.text_bytes) if wants_text else []
        self.device = next((d for d in devices.detect() if d.id == context.device), devices.choose("cpu"))
        self.judge_model: providers.Provider | None = None
        self.scorer: ModelRef | None = None
        if any(suite.kind == "win_rate" for suite in self.suites):
            self._find_judge()
        content = [orjson.dumps(spec.model_dump(mode="json"))] + [suite.path.read_bytes() for suite in self.suites]
        content += [repr(self.asked[suite.id]).encode() for suite in self.suites]
        self.mark = hashlib.sha256(b"\0".join(content)).hexdigest()[:12]

    def _find_judge(self) -> None:
        """The local model that judges, or the folder of the reward model that does. Raises NotFound, InputError, what a provider says."""
        kind, _, id = self.spec.judge.partition(":")
        if kind != REWARD:
            self.judge_model = providers.of(self.spec.judge, self.project.dir, self.spec.allowed_host, tell=self.context.emit)
            self.judge_model.check()
            return
        self.scorer = resolve_reward(self.project, id)

    def _check_needs(self) -> None:
        spec = self.spec
        for suite in self.suites:
            lacks = {"corpus": not spec.corpus, "examples": not spec.examples, "judge": not spec.judge, "two_models": len(spec.models) < 2}
            words = {"corpus": (tr("a corpus"), "corpus", tr("Choose a corpus that kept some text for validation.")),
                     "examples": (tr("a set of the library"), "examples", tr("Choose a set of instruction data whose answers are known.")),
                     "judge": (tr("a model that judges"), "judge", tr("Choose a model for the judge.")),
                     "two_models": (tr("two models"), "models", tr("Choose the models to compare."))}
            for need in suite.needs:
                if lacks[need]:
                    what, field, remedy = words[need]
                    raise SettingError(tr("“{suite}” needs {what}.", suite=suite.title, what=what), remedy, field=field,
                                       code="suite_needs")

    def _questions(self, suite: Suite) -> list[Question]:
        """Its own and, where it takes them, those of the library that it can grade; at most `limit`, evenly spread."""
        if suite.kind in ("text_loss", "example_loss"):
            return []
        instead = suite.kind in ("win_rate", "blind") and bool(self.spec.examples)  # one's own prompts, where there are some
        found = [] if instead else list(suite.questions)
        left_out = 0
        if suite.library or instead:
            known = {question.id for question in found}
            for question in questions.of_examples(self.library):
                try:
                    suites.check(question, self._graded(suite))
                except FledgeError:
                    left_out += 1
                    continue
                if question.id not in known:
                    known.add(question.id)
                    found.append(question)
        if left_out:
            self._notice("ungraded", tr("Questions left out"), tr("{count} examples of the library have no known answer that {suite} can "
                         "compare with.", count=units.number(left_out), suite=suite.title))
        if not found:
            raise InputError(tr("There is nothing to ask for {suite}.", suite=suite.title),
                             tr("Choose sets whose examples have known answers."), field="examples", code="no_questions")
        limit = self.spec.limit
        return [found[i * len(found) // limit] for i in range(limit)] if 0 < limit < len(found) else found

    def _graded(self, suite: Suite) -> Suite:
        """The suite with the run's grader for the library's questions."""
        if not self.spec.grader or not suite.library or suite.kind != "questions":
            return suite
        return replace(suite, graders=(self.spec.grader, *(g for g in suite.graders if g != self.spec.grader)))

    # ------------------------------------------------------------------------------------------------------------ measuring

    def measure(self, ref: ModelRef) -> None:
        """One model by every suite."""
        examinee = Examinee.load(ref, self.device)
        plan = [(suite, form) for suite in self.suites for form in self._forms(suite, examinee)]
        self.done, self.fresh, self.total = 0, 0, sum(self._tries(suite) * max(1, len(self.asked[suite.id])) for suite, _ in plan)
        self.began = time.monotonic()
        for suite, form in plan:
            match suite.kind:
                case "text_loss":
                    self._text(suite, examinee)
                case "example_loss":
                    self._examples(suite, examinee)
                case "choices":
                    self._choices(suite, examinee, form)
                case _:
                    self._ask(suite, examinee, form)
            rows = self._rows_of(suite.id, ref.id, form)
            if rows and suite.kind not in ("win_rate", "blind"):
                self.results.append({"suite": suite.id, "model": ref.id, "form": form, **report.result(rows, suite)})
                self.context.emit(Facts(facts={"results": self.results}))

    def _forms(self, suite: Suite, examinee: Examinee) -> tuple[str, ...]:
        if suite.kind in ("text_loss", "example_loss"):
            return ("",)
        forms = examinee.forms((self.spec.form,) if self.spec.form != "auto" else suite.forms)
        return forms if suite.kind in ("questions", "choices") else forms[:1]  # side by side stands one answer a model

    def _tries(self, suite: Suite) -> int:
        return (suite.samples or self.spec.samples) if suite.kind == "questions" else 1

    def _ask(self, suite: Suite, examinee: Examinee, form: str) -> None:
        """Everything that is not answered yet, in one call of the sampler; each answer is graded and kept as it comes."""
        graded, asked, spec = self._graded(suite), self.asked[suite.id], self.spec
        temperature = spec.temperature if suite.temperature is None else suite.temperature
        length = min(spec.max_tokens, suite.max_tokens or spec.max_tokens)
        shots = shots_for(asked, suite.asking, suite.few_shot)
        prompts: list[list[int]] = []
        tries: list[tuple[int, int]] = []
        for place, question in enumerate(asked):
            wanted = [n for n in range(self._tries(suite)) if (suite.id, examinee.ref.id, form, question.id, n) not in self.journal.rows]
            self.done += self._tries(suite) - len(wanted)
            try:
                prompts.append(examinee.prompt(without_leak(shots, question), question, form, length) if wanted else [])
            except InputError as wrong:
                prompts.append([])
                self._too_long(suite, examinee, form, question, wanted, wrong)
                continue
            tries += [(place, n) for n in wanted]

        def told(answer: Answer) -> None:
            question = asked[answer.place]
            said = questions.answer_of(answer.text, form)
            grades, why = questions.grades(question, said, graded.graders, form, suite.tolerance) if suite.kind == "questions" else ({}, "")
            score = grades[graded.graders[0]] if grades else 0.0
            self._keep({"suite": suite.id, "model": examinee.ref.id, "form": form, "id": question.id, "sample": answer.sample,
                        "prompt": question.prompt, "answers": list(question.answers), "said": said, "score": score, "grades": grades,
                        "why": why, "finish": answer.finish, "tokens": answer.tokens, "group": question.group})

        def stop(tokens: int) -> bool:
            self._heed()
            return False

        if tries:
            examinee.answers(prompts, tries, form=form, sampling=Sampling(temperature=temperature, max_new_tokens=length),
                             seeds=[seed_of(spec.seed, asked[place].id, n) for place, n in tries], told=told, stop=stop)

    def _too_long(self, suite: Suite, examinee: Examinee, form: str, question: Question, tries: Sequence[int], wrong: FledgeError) -> None:
        """Counted as not answered, and said."""
        self._notice("too_long", tr("Questions too long"), wrong.sentence + " " + tr("They count as not answered."))
        for sample in tries:
            self._keep({"suite": suite.id, "model": examinee.ref.id, "form": form, "id": question.id, "sample": sample,
                        "prompt": question.prompt, "answers": list(question.answers), "said": "", "score": 0.0,
                        "grades": dict.fromkeys(self._graded(suite).graders, 0.0) if suite.kind == "questions" else {}, "why": "",
                        "finish": "too_long", "tokens": 0, "group": question.group})

    def _choices(self, suite: Suite, examinee: Examinee, form: str) -> None:
        """The likeliest choice as it stands, and by probability a byte, which does not favour short ones."""
        asked = [q for q in self.asked[suite.id] if (suite.id, examinee.ref.id, form, q.id, 0) not in self.journal.rows]
        self.done += len(self.asked[suite.id]) - len(asked)
        for question, found in zip(asked, examinee.choice_logprobs(suite.asking, asked, form), strict=True):
            plain = max(range(len(found)), key=lambda i: found[i][0])
            scaled = max(range(len(found)), key=lambda i: found[i][0] / max(1, found[i][1]))
            grades = {"likeliest": float(plain == question.right), "likeliest_a_byte": float(scaled == question.right)}
            self._keep({"suite": suite.id, "model": examinee.ref.id, "form": form, "id": question.id, "sample": 0,
                        "prompt": question.prompt, "answers": list(question.answers), "said": question.choices[plain],
                        "score": grades["likeliest"], "grades": grades, "why": "", "finish": "stop", "tokens": 0, "group": question.group,
                        "choices": list(question.choices), "logprobs": [round(value, 4) for value, _ in found]})
            self._heed()

    def _text(self, suite: Suite, examinee: Examinee) -> None:
        key = (suite.id, examinee.ref.id, "", self.spec.corpus, 0)
        if key not in self.journal.rows:
            found = losses.text_loss(examinee, self.texts)
            self._keep({"suite": suite.id, "model": examinee.ref.id, "form": "", "id": self.spec.corpus, "sample": 0, "nats": found.nats,
                        "tokens": found.tokens, "bytes": found.bytes})
        self._heed()

    def _examples(self, suite: Suite, examinee: Examinee) -> None:
        """All of them or none: one pass, quicker than keeping count."""
        if self._rows_of(suite.id, examinee.ref.id, ""):
            return
        limit = self.spec.limit
        rows = [self.library[i * len(self.library) // limit] for i in range(limit)] if 0 < limit < len(self.library) else self.library

        def told(done: int, total: int) -> bool:
            self._heed()
            return False

        try:
            found = list(losses.example_losses(examinee, rows, self.spec.held_out_percent, told))
        except FledgeError as wrong:
            if len(self.spec.suites) == 1 and len(self.refs) == 1 or isinstance(wrong, Stopped):
                raise
            self.skipped.append({"suite": suite.id, "model": examinee.ref.id, "why": wrong.sentence})
            self._notice("not_measured", tr("Not measured"), wrong.sentence)
            return
        for row in found:
            place = row.pop("place")
            self._keep({"suite": suite.id, "model": examinee.ref.id, "form": "", "sample": 0, **row, "id": f"{row['id']}-{place}"})

    def judge(self) -> None:
        """Every model's answers against the first one's."""
        scorer = Scorer(self.scorer.folder, self.device.id) if self.scorer else None
        stopped: list[Stopped] = []

        def stop() -> bool:
            try:
                self._heed()
            except Stopped as asked:
                stopped.append(asked)
            return bool(stopped)

        try:
            for suite in (suite for suite in self.suites if suite.kind == "win_rate"):
                for other in self.refs[1:]:
                    known = {row["id"] for row in self._rows_of(suite.id, other.id, JUDGED)}
                    open_pairs = [pair for pair in self._pairs(suite, other) if pair.id not in known]
                    self.total, self.done, self.fresh, self.began = len(open_pairs), 0, 0, time.monotonic()
                    for row in self._verdicts(scorer, suite, open_pairs, stop):
                        self._keep({"suite": suite.id, "model": other.id, "form": JUDGED, "sample": 0, **row})
                    if stopped:
                        raise stopped[0]
        finally:
            if self.judge_model is not None:
                self.judge_model.close()

    def _verdicts(self, scorer: Scorer | None, suite: Suite, pairs: list[win_rate.Pair], stop: Callable[[], bool]) -> Iterator[
            dict[str, Any]]:
        if scorer is not None:
            return win_rate.scored(scorer, pairs, stop)
        assert self.judge_model is not None
        return win_rate.judged(self.judge_model, pairs, self.spec.rubric or suite.rubric, self.spec.margin, self.spec.seed, stop)

    def _pairs(self, suite: Suite, other: ModelRef) -> list[win_rate.Pair]:
        first = [row for row in self.journal.rows.values() if row["suite"] == suite.id and row["model"] == self.refs[0].id
                 and row["form"] != JUDGED]
        second = [row for row in self.journal.rows.values() if row["suite"] == suite.id and row["model"] == other.id
                  and row["form"] != JUDGED]
        return win_rate.pairs(first, second)

    # ------------------------------------------------------------------------------------------------------------ telling

    def _keep(self, row: dict[str, Any]) -> None:
        self.journal.add(row)
        self.done += 1
        self.fresh += 1
        now = time.monotonic()
        if row.get("said") and now - self._shown > SHOWN_SECONDS:
            self._shown = now
            self.context.emit(Sample(step=self.done, prompt=row["prompt"], text=row["said"], temperature=self.spec.temperature))
        if now - self._told > TOLD_SECONDS or self.done == self.total:
            self._told = now
            rate = self.fresh / max(now - self.began, 1e-6)
            self.context.progress(self.done, self.total, tr("questions"), rate, max(0, self.total - self.done) / max(rate, 1e-9),
                                  next((suite.title for suite in self.suites if suite.id == row["suite"]), ""))

    def _heed(self) -> None:
        command = self.context.command()
        if command and command.word in ("stop", "stop_save", "pause"):
            self.journal.flush()
            raise Stopped(tr("The evaluation was stopped; what was answered is kept, and it can be resumed."), saved=True,
                          paused=command.word == "pause")

    def _notice(self, code: str, title: str, text: str) -> None:
        self.context.emit(Notice(level="warning", code=code, title=title, text=text))

    # ------------------------------------------------------------------------------------------------------------ what came of it

    def _rows_of(self, suite: str, model: str, form: str) -> list[dict[str, Any]]:
        return [row for key, row in self.journal.rows.items() if key[:3] == (suite, model, form)]

    def rows(self) -> list[dict[str, Any]]:
        """All rows in a fixed order: suites and models as asked for, questions in theirs."""
        place = {suite.id: {question.id: i for i, question in enumerate(self.asked[suite.id])} for suite in self.suites}
        models, names = [ref.id for ref in self.refs], [suite.id for suite in self.suites]
        return sorted(self.journal.rows.values(), key=lambda r: (names.index(r["suite"]), models.index(r["model"]), r["form"],
                                                                 place[r["suite"]].get(r["id"], 0), r["id"], r["sample"]))

    def asked_for(self) -> dict[str, Any]:
        """What is measured, for the page while it runs."""
        return {
            "models": [{"id": ref.id, "title": ref.title, "chat": ref.chat, "step": ref.step,
                        "parameters": ref.facts.get("parameters")} for ref in self.refs],
            "suites": [{"id": suite.id, "title": suite.title, "sentence": suite.sentence, "kind": suite.kind,
                        "graders": list(self._graded(suite).graders) if suite.kind == "questions" else [],
                        "questions": len(self.asked[suite.id])} for suite in self.suites]}

    def report(self) -> dict[str, Any]:
        """Figures only; the same as the artifact's facts."""
        return {**self.asked_for(), "results": self.results, "comparisons": self._compared(), "win_rates": self._win_rates(),
                "skipped": self.skipped, "rows": len(self.journal.rows), "seconds": round(time.monotonic() - self.started, 2)}

    def _best(self, suite: Suite, model: str) -> str | None:
        shares = {r["form"]: r["value"] for r in self.results if r["suite"] == suite.id and r["model"] == model}
        return best_form(shares) if shares else None

    def _compared(self) -> list[dict[str, Any]]:
        """Every model with the first, each in the form it did best in."""
        made = []
        for suite in (suite for suite in self.suites if suite.kind in ("questions", "choices")):
            first = self._best(suite, self.refs[0].id)
            for other in self.refs[1:]:
                second = self._best(suite, other.id)
                if first is not None and second is not None:
                    made.append({"suite": suite.id, "first": self.refs[0].id, "second": other.id, "first_form": first,
                                 "second_form": second, **report.compare(self._rows_of(suite.id, self.refs[0].id, first),
                                                                         self._rows_of(suite.id, other.id, second))})
        return made

    def _win_rates(self) -> list[dict[str, Any]]:
        return [{"suite": suite.id, "first": self.refs[0].id, "second": other.id, "judged_by": self.spec.judge, **win_rate.tally(rows)}
                for suite in self.suites if suite.kind == "win_rate" for other in self.refs[1:]
                if (rows := self._rows_of(suite.id, other.id, JUDGED))]

    def comparisons(self) -> list[win_rate.Comparison]:
        return [one for suite in self.suites if suite.kind == "blind" for other in self.refs[1:]
                for one in win_rate.comparisons(self._pairs(suite, other), self.refs[0].id, other.id, self.spec.seed)]

    def examples(self) -> list[dict[str, Any]]:
        """Best, worst and random rows of each suite, model and form."""
        grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in self.rows():
            grouped[row["suite"], row["model"], row["form"]].append(row)
        kinds = {suite.id: suite.kind for suite in self.suites}
        return [{"suite": suite, "model": model, "form": form, **report.pick(rows, self.spec.seed, kinds[suite] == "example_loss")}
                for (suite, model, form), rows in grouped.items()
                if form != JUDGED and kinds[suite] not in ("text_loss", "win_rate", "blind")]

    def title(self) -> str:
        return tr("{suites}: {models}", suites=", ".join(suite.title for suite in self.suites[:3]),
                  models=", ".join(ref.title for ref in self.refs[:3]))

    def parents(self) -> list[str]:
        """The models' artifacts (or what their run was given), the reward model that judges, the corpus, and what generated the questions:
        rows bear their run's id."""
        found = [id for ref in self.refs for id in parents_of(self.project, ref)] + ([self.spec.corpus] if self.spec.corpus else [])
        if self.scorer:
            found += parents_of(self.project, self.scorer)
        runs = dict.fromkeys(row.id.partition(":")[0] for row in self.library if ":" in row.id)
        found += [made.id for run in runs if (made := self.project.artifacts.made_by(run, "examples"))]
        return list(dict.fromkeys(found))
