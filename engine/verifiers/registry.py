"""Every kind of part a verifier can have, by name: what it is called, what settings it takes, what it needs; and how a composition becomes
one verifier that scores. Importing this loads neither torch nor the sandbox: what a part needs is loaded when the first part needs it.

    with Resources(project.dir, device="cpu") as resources:
        verifier = compose(parse('[{"name": "number"}, {"name": "tags", "weight": 0.2}]'), resources)
        verdicts = verifier.score(attempts)

What a composition is: engine/contract/composition.py. Adding a kind: its settings and a function here, a test.
"""

import importlib
import json
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from engine.contract.composition import GROUP, JUDGE, PYTHON, Composition, Part, Together
from engine.contract.errors import FledgeError, SettingError
from engine.contract.spec import Problem, Settings, option
from engine.contract.words import tr
from engine.verifiers.api import Verifier

if TYPE_CHECKING:
    from engine.generators.provider import Provider
    from engine.model.scorer import Scorer
    from engine.verifiers.pool import Pool

Need = Literal["sandbox", "reward_model", "local_llm"]
SECONDS = 2.0
FEWEST, MOST = 2, 8
"""Sandbox processes: a quarter of the cores, since whoever samples wants the rest."""


class Resources:
    """What parts of a verifier share: processes of the sandbox, reward models, local models. Each is made when it is first asked for, and
    ended with this. Safe to use from several threads.

    project_dir   whose models may be asked; None where there is no project
    device        where a reward model computes
    workers       processes of the sandbox, 0 for as many as suit this machine
    """

    def __init__(self, project_dir: Path | None = None, *, device: str = "cpu", workers: int = 0) -> None:
        self.project_dir, self.device = project_dir, device
        self.workers = workers or max(FEWEST, min(MOST, (os.cpu_count() or 1) // 4))
        self._stack, self._lock = ExitStack(), threading.RLock()
        self._pool: Pool | None = None
        self._scorers: dict[str, Scorer] = {}
        self._providers: dict[tuple[str, str, float], Provider] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._stack.close()
            self._pool, self._scorers, self._providers = None, {}, {}

    @property
    def pool(self) -> "Pool":
        """Of the sandbox. Raises Missing once it is used, where no sandbox can be trusted."""
        from engine.verifiers.pool import Pool

        with self._lock:
            if self._pool is None:
                self._pool = self._stack.enter_context(Pool(self.workers))
            return self._pool

    def scorer(self, model: str) -> "Scorer":
        """A reward model of the project, on the device. Raises NotFound, InputError, and what loading raises."""
        with self._lock:
            if model not in self._scorers:
                load = importlib.import_module("engine.verifiers.reward").load  # by name: the window reads this file, and has no torch
                self._scorers[model] = load(self._project(), model, self.device)
            return self._scorers[model]

    def provider(self, model: str, allowed_host: str = "", timeout: float = 300.0) -> "Provider":
        """A local model that answers. It is asked nothing yet. Raises SettingError for a name that is none."""
        from engine.generators import provider

        with self._lock:
            key = model, allowed_host, timeout
            if key not in self._providers:
                made = provider.of(model, self.project_dir, allowed_host, timeout=timeout)
                self._stack.callback(made.close)
                self._providers[key] = made
            return self._providers[key]

    @property
    def device_bytes(self) -> int:
        """What the reward models that are loaded now hold."""
        return sum(p.nbytes for scorer in self._scorers.values() for p in scorer.model.parameters())

    def _project(self) -> Path:
        if self.project_dir is None:
            raise SettingError(tr("A reward model belongs to a project, and there is no project here."), tr("Open the project."))
        return self.project_dir


# ---- the settings of each kind


class PythonSettings(Settings):
    source: str = option("", label=tr("Source"), hidden=True, help=tr("A function verify(prompt, completion, answer)."))
    verifier: str = option("", label=tr("Verifier"), hidden=True, help=tr("A version in the library, in place of a source."))
    seconds: float = option(SECONDS, label=tr("Longest call"), unit=tr("s"), gt=0, le=60, advanced=True,
        help=tr("A call that takes longer is ended, and counts as 0."))
    fresh: bool = option(False, label=tr("A new interpreter each call"), advanced=True,
        help=tr("Slower. Sources that could carry something from one call to the next get one anyway."))


class TextSettings(Settings):
    form: Literal["exact", "normalised"] = option("exact", label=tr("Compare"), help=tr("Letter by letter, or without regard to case, "
        "blanks, quotes and a full stop."), choices=(("exact", tr("Exactly")), ("normalised", tr("Normalised"))))
    part: Literal["whole", "answer"] = option("whole", label=tr("Part"), help=tr("All of the completion, or what it gives as its answer."),
        choices=(("whole", tr("All of it")), ("answer", tr("Its answer"))))


class NumberSettings(Settings):
    tolerance: float = option(0.0, label=tr("Tolerance"), ge=0, le=1e12, help=tr("How far the number may be off."))
    relative: bool = option(False, label=tr("Relative tolerance"), help=tr("Take the tolerance as a share of the right number."))


class ChoiceSettings(Settings):
    count: int = option(10, label=tr("Choices"), ge=2, le=26, help=tr("Letters from A on that may be chosen."))


class TagsSettings(Settings):
    tags: tuple[str, ...] = option(("think", "answer"), label=tr("Tags"),
        help=tr("Names in their order, each to stand once with something in it, nothing around them."))
    partial: bool = option(False, label=tr("Partial score"), help=tr("Half of the score for the share of tags that stand right."))

    def problems(self) -> list[Problem]:
        good = self.tags and len(set(self.tags)) == len(self.tags) and all(t and not set(t) & set("<>/ \t\n") for t in self.tags)
        return [] if good else [Problem("tags", tr("These are no names of tags."), tr("Give one or more, each once, without < and >."))]


class LengthSettings(Settings):
    least: int = option(0, label=tr("At least"), ge=0, le=10_000_000, help=tr("Shorter completions lose."))
    most: int = option(200, label=tr("At most"), ge=0, le=10_000_000, help=tr("Longer completions lose."))
    slope: int = option(0, label=tr("Falls to 0 over"), ge=0, le=10_000_000, help=tr("Beyond the bounds. 0: at once."))
    unit: Literal["words", "characters"] = option("words", label=tr("Counted in"), help=tr("What the bounds count."),
        choices=(("words", tr("Words")), ("characters", tr("Characters"))))

    def problems(self) -> list[Problem]:
        return [] if self.least <= self.most else [Problem("most", tr("No length is between {least} and {most}.", least=self.least,
                                                                      most=self.most), tr("Raise the upper bound."))]


class SchemaSettings(Settings):
    json_schema: str = option('{"type": "object"}', label=tr("JSON schema"),
        help=tr("What the completion, or its last block between fences, must follow. References to other files are not followed."))


class PatternSettings(Settings):
    pattern: str = option("{answer}", label=tr("Pattern"), help=tr("A regular expression of Python; {answer} stands for the right answer.",
                                                                  answer="{answer}"))
    whole: bool = option(False, label=tr("All of the completion"), help=tr("The pattern must cover all of it, not just be found in it."))
    ignore_case: bool = option(False, label=tr("Ignore case"), help=tr("Take a and A as the same."))


class MathSettings(Settings):
    digits: int = option(6, label=tr("Decimal places"), ge=0, le=50,
        help=tr("That must agree where a number stands against an expression."))
    strict: bool = option(True, label=tr("Strict"), advanced=True,
        help=tr("Tell variables from one another, and intervals from tuples."))
    seconds: float = option(SECONDS, label=tr("Longest call"), unit=tr("s"), gt=0, le=60, advanced=True,
        help=tr("A call that takes longer is ended, and counts as 0."))


class ProgramsSettings(Settings):
    partial: bool = option(False, label=tr("Partial score"), help=tr("The share of tests that pass, instead of all or nothing."))
    tolerance: float = option(0.0, label=tr("Tolerance"), ge=0, le=1, help=tr("How far decimal numbers may be off."))
    tuples_as_lists: bool = option(True, label=tr("Tuples count as lists"), advanced=True, help=tr("JSON knows no tuples."))
    seconds: float = option(3 * SECONDS, label=tr("Longest run"), unit=tr("s"), gt=0, le=600, advanced=True,
        help=tr("Of one program over all its tests. One that takes longer scores 0."))


class RewardModelSettings(Settings):
    model: str = option("", label=tr("Reward model"), artifact="reward_model", help=tr("Scores prompt and completion together."))
    form: Literal["sigmoid", "normalised", "raw"] = option("sigmoid", label=tr("Score"),
        help=tr("Between 0 and 1; or as it is, less the mean of the answers it was trained on and over their spread; or as it comes."),
        choices=(("sigmoid", tr("Between 0 and 1")), ("normalised", tr("Normalised")), ("raw", tr("As it comes"))))
    limit: float = option(5.0, label=tr("Cut at"), gt=0, le=1e6, advanced=True,
        help=tr("Scores are kept between minus this and this, so that one answer cannot drown the others. Not for scores of 0 to 1."))

    def problems(self) -> list[Problem]:
        return [] if self.model else [Problem("model", tr("There is no reward model chosen."), tr("Choose one."))]


class JudgeSettings(Settings):
    model: str = option("", label=tr("Judge"), help=tr("A local model: project:MODEL, ollama:NAME, gguf:FILE, or an address and a model."))
    rubric: str = option("", label=tr("Rubric"), help=tr("What a good answer is, in a few sentences. Empty: correct, complete, clear."))
    show_answer: bool = option(True, label=tr("Show the right answer"),
        help=tr("The judge reads the problem's answer beside the completion."))
    part: Literal["whole", "answer"] = option("whole", label=tr("Part"), help=tr("All of the completion, or what it gives as its answer."),
        choices=(("whole", tr("All of it")), ("answer", tr("Its answer"))))
    allowed_host: str = option("", label=tr("Host outside this machine"), advanced=True,
        help=tr("Only this one may be asked. What is judged goes there."))
    at_once: int = option(4, label=tr("At once"), ge=1, le=64, advanced=True, help=tr("So many answers are judged at the same time."))
    timeout: float = option(120.0, label=tr("Patience"), unit=tr("s"), ge=1, le=3600, advanced=True,
        help=tr("For one answer of the judge."))

    def problems(self) -> list[Problem]:
        if not self.model:
            return [Problem("model", tr("There is no judge chosen."), tr("Choose a local model."))]
        try:
            _named(self)
        except FledgeError as wrong:
            return [Problem("model", wrong.sentence, wrong.remedy)]
        return []


class LanguageSettings(Settings):
    language: str = option("en", label=tr("Language"), help=tr("Its code: en, de, fr, zh …"))
    part: Literal["whole", "answer"] = option("whole", label=tr("Part"), help=tr("All of the completion, or what it gives as its answer."),
        choices=(("whole", tr("All of it")), ("answer", tr("Its answer"))))
    unclear: float = option(0.0, label=tr("Where nothing can be told"), ge=0, le=1,
        help=tr("The score of completions with too few words to tell a language, such as a number alone."))

    def problems(self) -> list[Problem]:
        from engine.text.cleaning import language

        known = language.known()
        return [] if self.language in known else [Problem("language", tr("The language {code} is not known.", code=self.language),
                                                          tr("Known: {known}.", known=", ".join(sorted(known))))]


class GroupSettings(Settings):
    """Of a group; its parts are a composition of their own."""

    together: Together = option("sum", label=tr("Together"), help=tr("The sum of weight times score, or the product of score to the power "
        "of weight."), choices=(("sum", tr("Sum")), ("product", tr("Product"))))
    parts: tuple[dict[str, Any], ...] = option((), label=tr("Parts"), hidden=True, help=tr("Of the group."))
    verifier: str = option("", label=tr("Verifier"), hidden=True, help=tr("A version in the library, in place of parts."))


# ---- how each is made


def _python(given: PythonSettings, resources: Resources) -> Verifier:
    from engine.verifiers.python_verifier import PythonVerifier

    assert not given.verifier, "references are resolved before"
    return PythonVerifier(given.source, resources.pool, seconds=given.seconds, fresh=given.fresh)


def _text(given: TextSettings, resources: Resources) -> Verifier:
    from engine.verifiers.builtin import TextVerifier

    return TextVerifier(given.form, given.part)


def _number(given: NumberSettings, resources: Resources) -> Verifier:
    from engine.verifiers.builtin import NumberVerifier

    return NumberVerifier(given.tolerance, given.relative)


def _choice(given: ChoiceSettings, resources: Resources) -> Verifier:
    from engine.verifiers.builtin import ChoiceVerifier

    return ChoiceVerifier(given.count)


def _tags(given: TagsSettings, resources: Resources) -> Verifier:
    from engine.verifiers.builtin import TagsVerifier

    return TagsVerifier(given.tags, given.partial)


def _length(given: LengthSettings, resources: Resources) -> Verifier:
    from engine.verifiers.builtin import LengthVerifier

    return LengthVerifier(given.least, given.most, given.slope, given.unit)


def _schema(given: SchemaSettings, resources: Resources) -> Verifier:
    from engine.verifiers.builtin import SchemaVerifier

    try:
        schema = json.loads(given.json_schema)
    except (ValueError, RecursionError) as wrong:
        raise SettingError(tr("The JSON schema cannot be used: {reason}", reason=str(wrong)[:300]), tr("Correct the schema."),
                           field="json_schema") from None
    return SchemaVerifier(schema)


def _pattern(given: PatternSettings, resources: Resources) -> Verifier:
    from engine.verifiers.builtin import PatternVerifier

    return PatternVerifier(resources.pool, given.pattern, whole=given.whole, ignore_case=given.ignore_case)


def _math(given: MathSettings, resources: Resources) -> Verifier:
    from engine.verifiers.builtin import MathVerifier

    return MathVerifier(resources.pool, digits=given.digits, strict=given.strict, seconds=given.seconds)


def _programs(given: ProgramsSettings, resources: Resources) -> Verifier:
    from engine.verifiers.programs import ProgramVerifier

    return ProgramVerifier(resources.pool, seconds=given.seconds, partial=given.partial, tolerance=given.tolerance,
                           tuples_as_lists=given.tuples_as_lists)


def _reward_model(given: RewardModelSettings, resources: Resources) -> Verifier:
    made = importlib.import_module("engine.verifiers.reward").RewardVerifier
    verifier: Verifier = made(resources.scorer(given.model), form=given.form, limit=given.limit)
    return verifier


def _judge(given: JudgeSettings, resources: Resources) -> Verifier:
    from engine.verifiers.judge import JudgeVerifier

    return JudgeVerifier(resources.provider(given.model, given.allowed_host, given.timeout), rubric=given.rubric,
                         show_answer=given.show_answer, part=given.part, at_once=given.at_once)


def _language(given: LanguageSettings, resources: Resources) -> Verifier:
    from engine.verifiers.language import LanguageVerifier

    return LanguageVerifier(given.language, given.part, given.unclear)


def _group(given: GroupSettings, resources: Resources) -> Verifier:
    raise AssertionError("a group is composed, not made")


def _named(given: JudgeSettings) -> None:
    """Whether a judge's name is one, and its address may be asked. Raises SettingError."""
    from engine.generators import provider

    provider.of(given.model, Path(), given.allowed_host).close()


@dataclass(frozen=True)
class Kind:
    """reads_answer: whether it compares with the problem's answer; a verifier of parts that do not scores what no answer is known to."""

    name: str
    title: str
    help: str
    settings: type[Settings]
    make: Callable[[Any, Resources], Verifier] = field(repr=False)
    needs: frozenset[Need] = frozenset()
    reads_answer: bool = True


_SANDBOX: frozenset[Need] = frozenset({"sandbox"})
KINDS: dict[str, Kind] = {kind.name: kind for kind in (
    Kind("number", tr("Number"), tr("The last number, or the one given as the answer, is the right one."), NumberSettings, _number),
    Kind("math", tr("Mathematics"), tr("The answer is mathematically the right one: 1/2 is 0.5."), MathSettings, _math, _SANDBOX),
    Kind("text", tr("Text"), tr("The completion, or its answer, is the right text."), TextSettings, _text),
    Kind("choice", tr("Multiple choice"), tr("The letter chosen is the right one."), ChoiceSettings, _choice),
    Kind("pattern", tr("Pattern"), tr("A regular expression is found in the completion."), PatternSettings, _pattern, _SANDBOX),
    Kind("schema", tr("JSON"), tr("The completion is JSON that follows a schema."), SchemaSettings, _schema, frozenset(), False),
    Kind("tags", tr("Format tags"), tr("The completion is <think>…</think><answer>…</answer>, or other tags, and nothing else."),
         TagsSettings, _tags, frozenset(), False),
    Kind("length", tr("Length"), tr("The completion is neither too short nor too long."), LengthSettings, _length, frozenset(), False),
    Kind("language", tr("Language"), tr("The share of the completion that is in a language."), LanguageSettings, _language, frozenset(),
         False),
    Kind("programs", tr("Programs"), tr("The program in the completion passes the tests of its problem."), ProgramsSettings, _programs,
         _SANDBOX),
    Kind("reward_model", tr("Reward model"), tr("A reward model of this project scores prompt and completion."), RewardModelSettings,
         _reward_model, frozenset({"reward_model"}), False),
    Kind(JUDGE, tr("Judge"), tr("A local language model scores the completion by a rubric."), JudgeSettings, _judge,
         frozenset({"local_llm"})),
    Kind(PYTHON, tr("Python"), tr("A function of your own, in a sandbox."), PythonSettings, _python, _SANDBOX),
    Kind(GROUP, tr("Group"), tr("Several parts as one, added or multiplied."), GroupSettings, _group),
)}


# ---- compositions


def problems(composition: Composition) -> list[Problem]:
    """Why a composition cannot run as it stands: unknown parts and settings, values out of range. Nothing is loaded or asked. `field` is
    "verifier"; the sentence names the part."""
    found = []
    for part in composition.walk():
        try:
            given = _settings(part)
        except SettingError as wrong:
            found.append(Problem("verifier", wrong.sentence, wrong.remedy))
            continue
        found += [Problem("verifier", tr("{part}: {sentence}", part=_title(part), sentence=one.sentence), one.remedy)
                  for one in given.problems()]
    return found


def needs(composition: Composition) -> frozenset[Need]:
    """What it must have to run."""
    return frozenset(need for part in composition.walk() if part.name in KINDS for need in KINDS[part.name].needs)


def reads_answer(composition: Composition) -> bool:
    """Whether any part compares with a problem's answer."""
    return any(KINDS[part.name].reads_answer for part in composition.walk() if part.name in KINDS and part.name != GROUP)


def reward_models(composition: Composition) -> list[str]:
    """Ids of the reward models it asks, each once."""
    return list(dict.fromkeys(str(part.settings.get("model", "")) for part in composition.walk() if part.name == "reward_model"))


def compose(composition: Composition, resources: Resources) -> Verifier:
    """The verifier of a composition without references. One part alone with weight 1 is that part, with the parts it tells itself; several
    are named by their titles. Raises SettingError, FormatError (a source), Missing (no sandbox), NotFound (a model), and what loading it
    raises."""
    from engine.verifiers.builtin import Weighted

    if wrong := problems(composition):
        raise SettingError(wrong[0].sentence, wrong[0].remedy, field="verifier")
    named: list[tuple[str, float, Verifier]] = []
    for part in composition.parts:
        made = compose(part.group, resources) if part.name == GROUP else KINDS[part.name].make(_settings(part), resources)
        title = part.title or part.name  # the names that rollouts keep
        again = sum(known.partition(" #")[0] == title for known, _, _ in named)
        named.append((f"{title} #{again + 1}" if again else title, part.weight, made))
    if len(named) == 1 and named[0][1] == 1.0:
        return named[0][2]
    return Weighted(named, product=composition.together == "product")


def _title(part: Part) -> str:
    """What a person calls a part: its own title, or that of its kind."""
    return part.title or (KINDS[part.name].title if part.name in KINDS else part.name)


def _settings(part: Part) -> Settings:
    kind = KINDS.get(part.name)
    if kind is None:
        raise SettingError(tr("There is no verifier called {name}.", name=part.name), tr("Known: {known}.", known=", ".join(KINDS)),
                           field="verifier")
    try:
        return kind.settings.check(dict(part.settings))
    except SettingError as wrong:
        raise SettingError(tr("{part}: {sentence}", part=_title(part), sentence=wrong.sentence), wrong.remedy, code=wrong.code,
                           field="verifier") from None
