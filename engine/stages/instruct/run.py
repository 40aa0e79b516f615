"""Generates instruction data: a recipe's rows asked of local models, several at once, each example checked and on the disk the moment it
is there, in the end an artifact of kind "examples".

Work of a run that goes on: the recipe as it was, and the journal of replies (engine/generators/journal.py); examples are in rows.jsonl,
from where the library takes them. A preview makes a few rows and no artifact.
"""

import logging
import queue
import re
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.contract.context import RunContext
from engine.contract.errors import FormatError, Mismatch, SettingError, Stopped
from engine.contract.events import ArtifactMade, Facts, Notice, Phase, Phases
from engine.contract.rows import Example
from engine.contract.words import tr, trn
from engine.generators import provider, recipe
from engine.generators.asking import Asking, Ended, Made
from engine.generators.asks import Role
from engine.generators.journal import Appended, Journal, lines
from engine.generators.provider import Provider
from engine.generators.quality import Checks, CheckSettings
from engine.generators.recipe import CorpusDocuments, ListedDocuments, Recipe, RecipeInputs, Writing
from engine.project import files, layout, snapshots
from engine.project.event_log import read_events
from engine.project.project import Project
from engine.stages.instruct.spec import InstructSpec
from engine.text.corpus import Corpus

FINISH_SECONDS = 10.0
"""How long a stop or a pause waits for answers under way."""
TELL_SECONDS, TELL_LATER = 0.5, 3.0
"""Between two lines about progress: a run of days should not fill the disk with them."""
SET = re.compile(r"set-[0-9]+")
"""A set of the library, among files."""
RATE_SECONDS = 60.0
WARN_AFTER, FAIL_AFTER = 20, 60
"""Rows in a row that came to nothing."""
NO_REPLY = {"empty", "cut", "unreadable", "schema"}
"""Flags of examples whose model did not answer as it was asked."""


def run(spec: InstructSpec, context: RunContext) -> None:
    """Look for the models, plan, ask, check, save."""
    for problem in spec.problems():
        raise SettingError(problem.sentence, problem.remedy, field=problem.field)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request would fill the log
    project = Project.open(context.project_dir)
    phases = [["models", tr("Looking for the models")], ["rows", tr("Asking")], ["save", tr("Saving")]]
    context.emit(Phases(phases=phases[:2] if spec.preview else phases))
    made = project.artifacts.made_by(context.run_id, "examples") if context.attempt > 1 else None  # killed right after it had finished
    if made is None:
        frozen = _recipe(spec, context)
        inputs = _inputs(spec, context, project)
        frozen.check(inputs)
        journal = Journal(layout.work(context.run_dir) / "journal.jsonl")
        rows = _Rows(spec, context, frozen, inputs, journal)
        providers = _providers(spec, context)
        asking = Asking(providers, journal, recipe=frozen.text, concurrency=min(spec.concurrency, rows.total), retries=spec.retries,
                        tell=context.emit)
        try:
            if rows.left:
                with context.phase("models", tr("Looking for the models")):
                    _check_models(list(dict.fromkeys(providers.values())), context)
            with context.phase("rows", tr("Asking")):
                _ask(spec, context, asking, rows, frozen, inputs)
            for each in providers.values():
                each.finished()
            rows.sum_up()
        finally:
            rows.tell(now=True)
            asking.close()
            rows.close()
        if spec.preview:
            shutil.rmtree(layout.work(context.run_dir), ignore_errors=True)
            return
        context.emit(Phase(id="save", title=tr("Saving")))
        parents = (*_parents(spec, project), *snapshots.made_from(project, context.run_dir))
        with project.artifacts.create("examples", title=spec.title or frozen.title, parents=tuple(dict.fromkeys(parents)),
                                      run=context.run_id, spec=spec.model_dump(mode="json")) as writer:
            rows.save(writer.path)
            made = writer.finish(**rows.facts(), recipe=frozen.id, recipe_sha256=frozen.sha256,
                                 sets=snapshots.sets(context.run_dir),
                                 models={role: each.name for role, each in providers.items()},
                                 seconds=_seconds(context), asking_seconds=round(rows.seconds(), 1))
    context.emit(ArtifactMade(id=made.id, kind="examples"))
    shutil.rmtree(layout.work(context.run_dir), ignore_errors=True)


def _check_models(providers: list[Provider], context: RunContext) -> None:
    """Each could answer. Loading one may take minutes: a stop is heeded meanwhile."""
    found: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def look() -> None:
        try:
            for each in providers:
                each.check()
            found.put(None)
        except Exception as wrong:  # raised where it is waited for
            found.put(wrong)
    threading.Thread(target=look, name="models", daemon=True).start()
    while True:
        try:
            wrong = found.get(timeout=0.1)
        except queue.Empty:
            command = context.command()
            if command and command.word in ("stop", "stop_save", "pause"):
                raise Stopped(saved=True, paused=command.word == "pause") from None
            continue
        if wrong is not None:
            raise wrong
        return


def _ask(spec: InstructSpec, context: RunContext, asking: Asking, rows: "_Rows", frozen: Recipe, inputs: RecipeInputs) -> None:
    """All rows that are not done yet. Stopped as the person asks; what was answered is kept, whatever ends it."""
    writing = Writing(temperature=spec.temperature, max_tokens=spec.max_tokens, second=bool(spec.second_responder), judge=bool(spec.judge),
                      rubric=spec.rubric, margin=spec.margin, lowest_score=spec.lowest_score, keep_rejected=spec.keep_rejected,
                      keep_thinking=spec.think == "keep", prefix=f"{context.run_id}:")
    for event in asking.drive(frozen.plan(inputs), lambda row, ask: frozen.steps(row, ask, writing)):
        rows.take(event)
        command = context.command()
        if command and command.word in ("stop", "stop_save", "pause"):
            for event in asking.end(0.0 if command.word == "stop" else min(FINISH_SECONDS, spec.timeout)):
                rows.take(event)
            raise Stopped(saved=True, paused=command.word == "pause")


class _Rows:
    """What came of the rows: examples checked and written, each once; counted; told twice a second."""

    def __init__(self, spec: InstructSpec, context: RunContext, frozen: Recipe, inputs: RecipeInputs, journal: Journal) -> None:
        self.spec, self.context, self.journal = spec, context, journal
        self.total = inputs.count
        self.checks = _checks(spec, context, frozen)
        self.made: set[str] = set()
        self.kept = self.tokens = 0
        self.aside: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        for end, count in journal.outcomes.items():
            if end.startswith("failed:"):
                self.failed[end.removeprefix("failed:")] += count
        self._times: deque[tuple[float, int]] = deque([(time.monotonic(), journal.wanted)])
        self._streak: Counter[str] = Counter()
        self._useful: dict[str, bool] = {}
        self._told, self._began, self._changed = 0.0, time.monotonic(), (-1, -1)
        path = layout.rows_file(context.run_dir)
        if frozen.new_prompts:
            self.checks.know(inputs.seeds)
        earlier = self._earlier(path)
        self.checks.know(earlier)
        for _ in earlier:  # checks that compare nothing have not looked
            pass
        self._file = Appended(path)

    @property
    def left(self) -> int:
        return self.total - self.journal.wanted

    def take(self, event: Any) -> None:
        if isinstance(event, Made):
            self._example(event.row, event.example)
        elif isinstance(event, Ended):
            self._end(event)
        self.tell()

    def _example(self, row: str, example: Example) -> None:
        self._useful[row] = self._useful.get(row, False) or not (example.facts.get("failed") or NO_REPLY & set(example.flags))
        if example.id in self.made:  # the row was under way when the run was killed
            return
        example = self.checks.looked(example)
        self._file.append(example.model_dump_json().encode())
        self._count(example)

    def _earlier(self, path: Path) -> Iterator[Example]:
        """Counts what earlier attempts wrote; gives what passed."""
        for line in lines(path):
            example = Example.model_validate_json(line)
            self._count(example)
            if not example.flags:
                yield example

    def _count(self, example: Example) -> None:
        self.made.add(example.id)
        if example.flags:
            self.aside[example.flags[0]] += 1
        else:
            self.kept += 1

    def _end(self, event: Ended) -> None:
        outcome = f"failed:{event.reason}" if event.reason else "done" if event.examples else "nothing"
        self.journal.finish(event.row, outcome, event.wanted, event.reason in ("", "too_long"))
        if event.reason:
            self.failed[event.reason] += 1
        self._times.append((time.monotonic(), self.journal.wanted))
        if self._useful.pop(event.row, False):
            self._streak.clear()
            return
        self._streak.update(["rows", event.reason])
        if self._streak["rows"] == WARN_AFTER:
            self.context.emit(Notice(level="warning", code="nothing_fits", title=tr("Nothing fits"), text=tr(
                "{count} rows in a row came to nothing: the answers of {model} do not have the form they were asked for.", count=WARN_AFTER,
                model=self.spec.responder), remedy=tr("Look at the rows. A larger model, or longer answers, may do.")))
        if self._streak["rows"] >= FAIL_AFTER and self._streak["too_long"] > FAIL_AFTER // 2:
            raise Mismatch(tr("{count} rows in a row do not fit the context of {model}.", count=FAIL_AFTER, model=self.spec.responder),
                           tr("Choose a model with a longer context, or shorter passages."), code="context_too_small", field="context")
        if self._streak["rows"] >= FAIL_AFTER:
            raise FormatError(tr("{count} rows in a row came to nothing: {model} does not answer in the form it is asked for.",
                                 count=FAIL_AFTER, model=self.spec.responder),
                              tr("Choose a model that follows instructions, allow longer answers, or try a preview first."),
                              code="nothing_fits", field="responder")

    def tell(self, now: bool = False) -> None:
        moment = time.monotonic()
        changed = (len(self.made), self.journal.wanted)
        if not now and (changed == self._changed or moment - self._told < (TELL_SECONDS if moment - self._began < 60 else TELL_LATER)):
            return
        self._told, self._changed = moment, changed
        while len(self._times) > 2 and moment - self._times[0][0] > RATE_SECONDS:
            self._times.popleft()
        then, count = self._times[0]
        done = self.journal.wanted
        rate = (done - count) / (moment - then) if moment > then else 0.0
        self.context.progress(done, self.total, tr("rows"), rate, (self.total - done) / rate if rate else -1.0)
        self.context.emit(Facts(facts={"counts": self.facts()}))

    def sum_up(self) -> None:
        """At the end, what the person should know beside the counts."""
        if self.failed:
            reasons = ", ".join(f"{words} ({self.failed[reason]:,})" for reason, words in _reasons().items() if self.failed[reason])
            self.context.emit(Notice(level="warning", code="rows_failed", title=tr("Rows without an answer"), text=trn(
                "{count} row was given up: {reasons}.", "{count} rows were given up: {reasons}.", sum(self.failed.values()),
                reasons=reasons), remedy=_remedy(self.failed)))
        if self.journal.wanted < self.total:
            self.context.emit(Notice(level="info", code="fewer_rows", title=tr("Fewer rows than asked for"), text=tr(
                "The recipe found material for {planned} of {count}.", planned=f"{self.journal.wanted:,}",
                count=f"{self.total:,}"), remedy=tr("Give it more documents, seed examples or topics.")))
        if self.made and not self.kept:
            self.context.emit(Notice(level="warning", code="none_kept", title=tr("No row passed the checks"),
                                     text=tr("All of them were set aside; the reasons stand with each row."),
                                     remedy=tr("Look at some of them. A larger model often helps.")))

    def facts(self) -> dict[str, Any]:
        """Counts over all attempts. `kept` examples and those set aside by their first reason; rows that failed, by reason; by model what
        was asked and how many tokens went in and came out."""
        by_model = {name: {k: round(v, 3) if isinstance(v, float) else v for k, v in c.items()} for name, c in self.journal.counts.items()}
        return {"rows": len(self.journal.done), "planned": self.total, "examples": len(self.made), "kept": self.kept,
                "set_aside": dict(self.aside), "ties": self.aside["tie"], "failed": dict(self.failed),
                "asked": sum(c["asked"] for c in self.journal.counts.values()),
                "tokens_in": sum(c["tokens_in"] for c in self.journal.counts.values()),
                "tokens_out": sum(c["tokens_out"] for c in self.journal.counts.values()), "by_model": by_model}

    def seconds(self) -> float:
        """That models spent answering, over all attempts."""
        return float(sum(c["seconds"] for c in self.journal.counts.values()))

    def save(self, folder: Path) -> None:
        """examples.jsonl, and set_aside.jsonl where there are any."""
        with open(folder / "examples.jsonl", "wb") as good, open(folder / "set_aside.jsonl", "wb") as bad:
            for line in lines(layout.rows_file(self.context.run_dir)):
                (bad if Example.model_validate_json(line).flags else good).write(line + b"\n")

    def close(self) -> None:
        self._file.close()
        self.journal.close()


def _reasons() -> dict[str, str]:
    return {"slow": tr("took too long"), "dropped": tr("the connection broke"), "server": tr("the server failed"),
            "form": tr("no readable answer"), "too_long": tr("too long for the model's context")}


def _remedy(failed: Counter[str]) -> str:
    """What to do about what most rows were given up for."""
    return {"slow": tr("Allow more time for an answer, or ask fewer at once."),
            "too_long": tr("Choose a model with a longer context, or shorter passages."),
            "form": tr("A model that follows instructions better, or longer answers, may do."),
            }.get(failed.most_common(1)[0][0], tr("Look at the server that answers, and run it again."))


def _seconds(context: RunContext) -> float:
    """All attempts together, as the events have it."""
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for event in read_events(layout.events_file(context.run_dir)):
        first.setdefault(event.attempt, event.time)
        last[event.attempt] = event.time
    return round(sum(last[attempt] - first[attempt] for attempt in last), 1)


def _recipe(spec: InstructSpec, context: RunContext) -> Recipe:
    """As it was when the run was made (or, of an older one, when it first began): editing the file changes no run."""
    kept = layout.work(context.run_dir) / "recipe"
    text = spec.recipe_text or (kept.read_text("utf-8") if kept.is_file() else "")
    found = recipe.load(spec.recipe, text, spec.recipe_hash)
    if not text:
        files.write_bytes(kept, found.text.encode())
    return found


def _checks(spec: InstructSpec, context: RunContext, frozen: Recipe) -> Checks:
    made = Checks(CheckSettings.of(spec.model_dump(), frozen.checks, frozen.kind))
    if spec.held_out:
        held = [("held out", example) for example in snapshots.rows(context.run_dir, "held_out")]
        count = made.hold_out([path for path in spec.held_out if not SET.fullmatch(path)], held)
        context.emit(Facts(facts={"held_out": count}))
    if made.language_unknown:
        context.emit(Notice(level="warning", code="language_unknown", title=tr("A language that is not checked"),
                            text=tr("Answers in “{language}” cannot be told from others here: none is set aside for its language.",
                                    language=spec.language)))
    return made


def _inputs(spec: InstructSpec, context: RunContext, project: Project) -> RecipeInputs:
    documents = CorpusDocuments(Corpus.open(project.artifacts.get(spec.corpus).path)) if spec.corpus else ListedDocuments(())
    return RecipeInputs(documents=documents, seeds=tuple(snapshots.rows(context.run_dir, "seeds")), topics=spec.topics,
                        language=spec.language, count=spec.preview or spec.count, seed=spec.seed)


def _providers(spec: InstructSpec, context: RunContext) -> dict[Role, Provider]:
    """By role; a model that has two roles is one provider."""
    names: dict[Role, str] = {"responder": spec.responder, "second": spec.second_responder, "judge": spec.judge}
    made: dict[str, Provider] = {}
    for name in filter(None, names.values()):
        if name not in made:
            made[name] = provider.of(name, context.project_dir, spec.allowed_host, spec.context, spec.think, spec.timeout, context.emit,
                                     spec.concurrency)
    return {role: made[name] for role, name in names.items() if name}


def _parents(spec: InstructSpec, project: Project) -> Iterator[str]:
    """The corpus, and the project's models that were asked: of a checkpoint what its run made, or what it was made from."""
    found = [spec.corpus] if spec.corpus else []
    for name in (spec.responder, spec.second_responder, spec.judge):
        kind, _, model = name.partition(":")
        if kind != "project":
            continue
        run_id, at, _ = model.strip().partition("@")
        if not at:
            found.append(model.strip())
        else:
            origin = project.runs.get(run_id)
            done = project.artifacts.made_by(origin.id, "model")
            found += [done.id] if done else list(origin.inputs.values())
    known = {a.id for a in project.artifacts.list()}
    return (id for id in dict.fromkeys(found) if id in known)
