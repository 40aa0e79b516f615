"""Makes pairs: two answers to each prompt, for people to compare. Each pair is on the disk the moment its second answer is there, in the
end an artifact of kind "pairs".

Work of a run that goes on: the prompts as they were found, and every answer of rows that are no pair yet; pairs are in rows.jsonl, from
where the library takes them. Two different models answer one after the other, so that one at a time is in memory. It compares nothing.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from engine.contract.context import RunContext
from engine.contract.errors import InputError, Mismatch, SettingError, Stopped
from engine.contract.events import ArtifactMade, Notice, Phase, Phases
from engine.contract.rows import Answer
from engine.contract.words import tr, trn
from engine.generators import provider as providers
from engine.generators.asking import Asking, Ended, Made
from engine.generators.asks import Ask, Reply, Role
from engine.generators.journal import Journal
from engine.generators.provider import Provider
from engine.project import layout, snapshots
from engine.project.models import ModelRef, parents_of, resolve
from engine.project.project import Project
from engine.sampling.sampling import Sampling
from engine.stages.preference import makers, prompts
from engine.stages.preference.makers import PROJECT, ProjectMaker
from engine.stages.preference.pairing import SIDES, Pairing
from engine.stages.preference.spec import PreferenceSpec
from engine.text.corpus import Corpus

FINISH_SECONDS = 10.0
"""How long a stop or a pause waits for answers under way outside of the project."""
RETRIES = 4
ROLES: dict[str, Role] = {"first": "responder", "second": "second"}


def run(spec: PreferenceSpec, context: RunContext) -> None:
    """Find prompts and models, ask, keep, save."""
    for problem in spec.problems():
        raise SettingError(problem.sentence, problem.remedy, field=problem.field)
    if not context.is_main:
        return
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request would fill the log
    project = Project.open(context.project_dir)
    made = project.artifacts.made_by(context.run_id, "pairs") if context.attempt > 1 else None  # killed right after it had finished
    if made is None:
        first, second = spec.first.strip(), (spec.second or spec.first).strip()
        passes = [(first, SIDES)] if first == second else [(first, SIDES[:1]), (second, SIDES[1:])]
        refs = {name: resolve(project, name.removeprefix(PROJECT).strip()) for name, _ in passes if name.startswith(PROJECT)}
        outside = {name: _provider(spec, context, name) for name, _ in passes if name not in refs}
        context.emit(Phases(phases=[["prompts", tr("Finding prompts")], *([f"answers-{n}", _phase(name, refs, len(passes))]
                                                                         for n, (name, _) in enumerate(passes)), ["save", tr("Saving")]]))
        with context.phase("prompts", tr("Finding prompts")):
            corpus = Corpus.open(project.artifacts.get(spec.corpus).path) if spec.corpus else None
            found = prompts.gather(spec, context.run_dir, corpus)
            _tell_prompts(spec, context, found)
        pairing = Pairing(spec, context, found, (first, second))
        try:
            for number, (name, sides) in enumerate(passes):
                with context.phase(f"answers-{number}", _phase(name, refs, len(passes))):
                    pairing.begin(sides)
                    if name in refs:
                        _sample(pairing, name, refs[name], sides)
                    else:
                        _ask(pairing, outside[name], number, sides)
            pairing.sum_up()
            if not pairing.made:
                raise Mismatch(tr("No pair came out: every prompt was left out."),
                               tr("Raise a temperature, take another second model, or other prompts."), code="no_pairs")
            context.emit(Phase(id="save", title=tr("Saving")))
            parents = [*([spec.corpus] if spec.corpus else []), *(id for ref in refs.values() for id in parents_of(project, ref)),
                       *snapshots.made_from(project, context.run_dir)]
            with project.artifacts.create("pairs", title=spec.title or tr("Pairs of {models}", models=_names(refs, passes)),
                                          parents=tuple(dict.fromkeys(parents)), run=context.run_id,
                                          spec=spec.model_dump(mode="json")) as writer:
                pairing.save(writer.path)
                made = writer.finish(**pairing.facts(), sets=snapshots.sets(context.run_dir))
        finally:
            pairing.tell(now=True)
            pairing.close()
    context.emit(ArtifactMade(id=made.id, kind="pairs"))
    shutil.rmtree(layout.work(context.run_dir), ignore_errors=True)


# --------------------------------------------------------------------------------------------------------- models of the project


def _sample(pairing: Pairing, name: str, ref: ModelRef, sides: Sequence[str]) -> None:
    """All rows that need an answer of this model, some hundreds at a time, longest prompts first."""
    context, spec = pairing.context, pairing.spec
    rows = pairing.open_rows(sides)
    some = list(islice(rows, 1))
    if not some:
        return
    maker = ProjectMaker.load(name, ref, context.device)
    try:
        if maker.plain:
            context.emit(Notice(level="info", code=f"plain-{ref.id}", title=tr("It continues texts"), text=tr(
                "{model} was not tuned to answer: it is given the prompt as the beginning of a text, and goes on with it.",
                model=ref.title)))
        while some := [*some, *islice(rows, maker.at_once - len(some))]:
            ids = _ids(pairing, maker, some)
            while waiting := [row for row in some if row in ids and pairing.needs(row, sides)]:
                for side in sides:
                    asked = [row for row in waiting if pairing.needs(row, sides) == side]
                    if asked:
                        maker.answer([ids[row] for row in asked], [pairing.seed(row, side, pairing.tried(row, side)) for row in asked],
                                     Sampling(temperature=pairing.temperature(side), top_p=spec.top_p, max_new_tokens=spec.max_tokens),
                                     _teller(pairing, asked, side), lambda: makers.heed(context))
            some = []
    finally:
        maker.close()


def _teller(pairing: Pairing, rows: Sequence[int], side: str) -> Callable[[int, Answer], None]:
    return lambda place, answer: pairing.take(rows[place], side, answer)


def _ids(pairing: Pairing, maker: ProjectMaker, rows: Sequence[int]) -> dict[int, list[int]]:
    """By row what its answer follows; rows that cannot be asked are left out."""
    found: dict[int, list[int]] = {}
    for row in rows:
        try:
            made = maker.ids(pairing.prompt(row), pairing.spec.max_tokens)
        except InputError:  # its template cannot show this conversation
            pairing.leave_out(row, "template")
            continue
        if made is None:
            pairing.leave_out(row, "too_long")
        else:
            found[row] = made
    return found


# ------------------------------------------------------------------------------------------------------------- models outside of it


@dataclass(frozen=True)
class _Row:
    number: int

    @property
    def id(self) -> str:
        return str(self.number)

    @property
    def wanted(self) -> int:
        return 1


@dataclass(frozen=True)
class _Said:
    """An answer to a row of this side; what a step hands back."""

    row: int
    side: str
    answer: Answer


def _ask(pairing: Pairing, provider: Provider, number: int, sides: Sequence[str]) -> None:
    """All rows that need an answer of this model, several at once; nothing that is in the journal is asked again."""
    spec, context = pairing.spec, pairing.context
    if next(pairing.open_rows(sides), None) is None:
        return
    journal = Journal(layout.work(context.run_dir) / f"replies-{number}.jsonl")
    asking = Asking(dict.fromkeys(ROLES.values(), provider), journal, recipe="pairs", concurrency=min(spec.concurrency, pairing.total),
                    retries=RETRIES, tell=context.emit)
    ended: list[Ended] = []

    def take(event: object) -> None:
        if isinstance(event, Made):
            said = event.example
            pairing.take(said.row, said.side, said.answer)
        elif isinstance(event, Ended):
            row = int(event.row)
            if event.reason == "too_long":
                pairing.leave_out(row, event.reason)
            elif event.reason:
                pairing.give_up(row, event.reason)
            elif pairing.needs(row, sides):  # another row came to the same pair meanwhile
                pairing.leave_out(row, "same")
            ended.append(event)
        pairing.tell()

    def forget() -> None:
        """Replies of rows whose answers are on the disk here need not be held any longer."""
        pairing.sync()
        for event in ended:
            journal.finish(event.row, event.reason or "done", 1, event.reason in ("", "too_long"))
        ended.clear()

    try:
        makers.check(provider, context)
        for event in asking.drive(map(_Row, pairing.open_rows(sides)), lambda row, ask: _steps(pairing, row.number, sides, ask)):
            take(event)
            if len(ended) >= 4 * spec.concurrency:
                forget()
            try:
                makers.heed(context)
            except Stopped:
                for late in asking.end(min(FINISH_SECONDS, spec.timeout)):
                    take(late)
                raise
        provider.finished()
    finally:
        asking.close()
        forget()
        journal.close()


def _steps(pairing: Pairing, row: int, sides: Sequence[str], ask: Callable[[Ask, Role], Reply]) -> Iterator[_Said]:
    """What one row still needs of these sides. Runs in a thread of its own."""
    spec, prompt, first = pairing.spec, pairing.prompt(row), pairing.kept.first(row)
    for side in sides:
        if side == "first" and first is not None:
            continue
        if side == "second" and first is None:
            return
        for number in range(pairing.tried(row, side), pairing.tries(side)):
            seed, temperature = pairing.seed(row, side, number), pairing.temperature(side)
            answer = makers.answer_of(ask(Ask(prompt.messages, spec.max_tokens, temperature, seed, top_p=spec.top_p), ROLES[side]),
                                      temperature, seed)
            yield _Said(row, side, answer)
            if side == "first" and answer.text:
                first = answer
                break
            if side == "second" and first is not None and answer.text and pairing.different(prompt, first, answer):
                return


def _provider(spec: PreferenceSpec, context: RunContext, name: str) -> Provider:
    return providers.of(name, context.project_dir, spec.allowed_host, spec.context, "off", spec.timeout, context.emit, spec.concurrency)


# ------------------------------------------------------------------------------------------------------------------------ words


def _phase(name: str, refs: dict[str, ModelRef], passes: int) -> str:
    return tr("{model} answers", model=refs[name].title if name in refs else name) if passes > 1 else tr("Answers")


def _names(refs: dict[str, ModelRef], passes: Sequence[tuple[str, Sequence[str]]]) -> str:
    return tr(" and ").join(refs[name].title if name in refs else name for name, _ in passes)


def _tell_prompts(spec: PreferenceSpec, context: RunContext, found: prompts.Prompts) -> None:
    if len(found) < spec.count:
        context.emit(Notice(level="info", code="fewer_prompts", title=tr("Fewer prompts than pairs"), text=trn(
            "There is {count} different prompt for {pairs} pairs: it is used again, with other answers.",
            "There are {count} different prompts for {pairs} pairs: they are used again, with other answers.", len(found),
            pairs=f"{spec.count:,}")))
    if unread := found.passed["unread"]:
        context.emit(Notice(level="warning", code="unread_rows", title=tr("Rows that hold no prompt"), text=trn(
            "{count} row of the files could not be read as a prompt.", "{count} rows of the files could not be read as prompts.", unread)))
