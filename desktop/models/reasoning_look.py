"""What of the open project reasoning can start from: models, sets of problems, verifiers with their versions, trials of the workbench; and
whether code can be verified here. Read in a thread; no Qt, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from desktop.models import finetune_look
from desktop.models.tuning_choice import StartModel
from engine.contract.composition import Composition, parse, reference
from engine.contract.errors import FledgeError, Missing, NotFound
from engine.project import layout, trials
from engine.project.problems import ProblemSet
from engine.project.project import Project
from engine.project.verifiers import Verifier, untrusted
from engine.verifiers import image, registry

ASKED = 3
"""Problems of a trial whose set is looked up."""


@dataclass(frozen=True)
class VersionChoice:
    """One version of a verifier. `composition`: with its references resolved, None where it cannot be; `untrusted`: somebody must say yes
    to its source first."""

    ref: str
    number: int
    made: float
    note: str
    composition: Composition | None = None
    untrusted: bool = False

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(registry.needs(self.composition)) if self.composition is not None else frozenset()

    @property
    def runs(self) -> bool:
        """Whether it could be begun with as it stands."""
        return not self.untrusted and (self.composition is None or not registry.problems(self.composition))


@dataclass(frozen=True)
class VerifierChoice:
    """`versions`: newest first. `draft`: something was typed since the newest and is in no version."""

    id: str
    title: str
    kind: str
    versions: tuple[VersionChoice, ...]
    draft: bool = False


@dataclass(frozen=True)
class TrialChoice:
    """Completions of `model` that the workbench has sampled, `k` to each problem; `key` names them. `sets`: where these problems are from,
    as far as the first of them tell."""

    key: str
    model: str
    sets: frozenset[str]
    k: int


@dataclass(frozen=True)
class Found:
    """`wrong`: the library could not be read, and says why. `sandbox`: why code cannot be verified here, "" where it can."""

    models: list[StartModel]
    sets: list[ProblemSet]
    verifiers: list[VerifierChoice]
    trials: list[TrialChoice]
    sandbox: str = ""
    wrong: FledgeError | None = None


def look(project: Project) -> Found:
    """Everything that can be chosen, newest first."""
    found = finetune_look.look(project)
    try:
        image.checked_image()
        sandbox = ""
    except Missing as missing:
        sandbox = f"{missing.sentence} {missing.remedy}"
    if found.wrong is not None:
        return Found(found.models, [], [], [], sandbox, found.wrong)
    try:
        library = project.library
        sets = sorted((s for s in library.problems.sets() if s.count), key=lambda s: -s.created)
        verifiers = [_verifier(project, one) for one in sorted(library.verifiers.list(), key=lambda v: -v.updated)]
        return Found(found.models, sets, verifiers, _trials(project, sets), sandbox)
    except FledgeError as wrong:
        return Found(found.models, [], [], [], sandbox, wrong)


def _verifier(project: Project, one: Verifier) -> VerifierChoice:
    versions = [VersionChoice(v.ref, v.number, v.made, v.note, *_composed(project, v.ref)) for v in
                project.library.verifiers.versions(one.id)]
    return VerifierChoice(one.id, one.title, one.kind, tuple(versions), one.draft is not None)


def _composed(project: Project, ref: str) -> tuple[Composition | None, bool]:
    try:
        made = project.library.verifiers.composition(ref)
    except FledgeError:  # it refers to what is gone: said where it is chosen
        return None, False
    return made, bool(untrusted(made))


def _trials(project: Project, sets: Sequence[ProblemSet]) -> list[TrialChoice]:
    """Whole ones, newest first."""
    folder = layout.trials(project.dir)
    whole = sorted((path for path in folder.glob("*.jsonl") if not path.name.endswith(".part.jsonl")), key=lambda p: -p.stat().st_mtime) \
        if folder.is_dir() else []
    made = []
    for path in whole:
        trial = trials.Trial(project.dir, path.name.removesuffix(".jsonl"))
        try:
            settings, problems = trials.asked(trial)
        except FledgeError:  # made by another version: the workbench samples it again
            continue
        of = frozenset(one.id for one in sets if any(_holds(project, one.id, p.id) for p in problems[:ASKED]))
        made.append(TrialChoice(trial.key, settings.model, of, settings.k))
    return made


def _holds(project: Project, set_id: str, problem: str) -> bool:
    try:
        project.library.problems.get(problem, set_id)
    except NotFound:
        return False
    return True


def composed(text: str, verifiers: Sequence[VerifierChoice]) -> Composition | None:
    """What a setting `verifier` comes to; None where that is not known, or cannot be."""
    try:
        if reference(text) is None:
            return parse(text)
    except FledgeError:
        return None
    return next((v.composition for one in verifiers for v in one.versions if v.ref == text.strip()), None)
