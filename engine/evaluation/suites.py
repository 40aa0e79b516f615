"""Suites: what is measured, by name. A suite is data, a TOML file in resources/suites or in the project's own `suites` folder, which people
copy and edit. The project's own win over shipped ones of the same name. No torch; nothing is asked here.

    title = "Held-out people"              kind = "questions"
    sentence = "Facts nobody asked ..."    graders = ["exact", "contains"]     the first one counts
    forms = ["chat"]                       left out: by the model (chat for tuned ones; plain and few_shot for base models)
    samples = 4, temperature = 0.8         for pass@k; left out: the run's settings
    plain = " {prompt}", shot = "...", system = "...", [[shots]] prompt, answer
    file = "people.jsonl", [columns] prompt = "question", answer = "solution"
    [[questions]] id, prompt (or messages), answer (or answers), choices, checks, schema, pattern; other columns are groups of the results

Kinds: questions (asked and graded), choices (the likeliest of several answers by its probability), text_loss, example_loss, win_rate
(judged by a local model), blind (judged by people who do not see whose answer is whose).
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.contract.errors import FormatError, NotFound, SettingError
from engine.contract.words import tr
from engine.evaluation import graders
from engine.evaluation.questions import FORMS, Asking, Question, of_table, read_file
from engine.project import layout

SHIPPED = Path(__file__).resolve().parents[2] / "resources" / "suites"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}")
KINDS: dict[str, tuple[str, ...]] = {
    "questions": (), "choices": (), "text_loss": ("corpus",), "example_loss": ("examples",), "win_rate": ("two_models", "judge"),
    "blind": ("two_models",)}
"""What each kind needs of a run: a corpus, sets of examples, a judge, two models."""
KEYS = {"title", "sentence", "kind", "graders", "forms", "samples", "temperature", "max_tokens", "tolerance", "plain", "shot", "system",
        "shots", "few_shot", "file", "columns", "questions", "groups", "rubric", "library"}


@dataclass(frozen=True)
class Suite:
    """One suite. `needs` is what a run must name: "examples", "corpus", "judge", "two_models". `questions` are its own; with `library`
    those of the run's sets. None in samples, temperature, max_tokens: as the run says. `few_shot`: solved questions before one, at most."""

    id: str
    title: str
    sentence: str
    kind: str = "questions"
    needs: tuple[str, ...] = ()
    graders: tuple[str, ...] = ("exact", "contains")
    forms: tuple[str, ...] = ()
    samples: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    tolerance: float = 1e-6
    asking: Asking = field(default_factory=Asking)
    few_shot: int = 3
    questions: tuple[Question, ...] = ()
    groups: tuple[str, ...] = ()
    rubric: str = ""
    library: bool = False
    path: Path = Path()
    own: bool = False

    @property
    def asks(self) -> bool:
        """Whether models write answers for it."""
        return self.kind in ("questions", "win_rate", "blind")


def list_suites(project_dir: Path | None = None) -> list[Suite]:
    """Every suite there is: the project's own first, then the shipped ones, by title. One that cannot be read is left out here; `load` says
    what is wrong with it."""
    found = []
    for name in names(project_dir):
        try:
            found.append(load(name, project_dir))
        except (FormatError, SettingError, NotFound):
            continue
    return sorted(found, key=lambda s: (not s.own, s.title.casefold()))


def names(project_dir: Path | None = None) -> list[str]:
    folders = [SHIPPED] + ([layout.suites(project_dir)] if project_dir else [])
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.toml") if NAME.fullmatch(path.stem)})


def load(name: str, project_dir: Path | None = None) -> Suite:
    """The suite of a name. Raises NotFound (with the names there are), FormatError, SettingError (what is wrong in its file)."""
    for folder, own in ((layout.suites(project_dir) if project_dir else None, True), (SHIPPED, False)):
        if folder is not None and NAME.fullmatch(name) and (folder / f"{name}.toml").is_file():
            return read(folder / f"{name}.toml", own)
    raise NotFound(tr("There is no suite called {name}.", name=name), tr("Suites: {known}.", known=", ".join(names(project_dir))),
                   code="unknown_suite")


def read(path: Path, own: bool = False) -> Suite:
    """The suite in a file."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except UnicodeDecodeError as wrong:
        raise FormatError(tr("{file} is not text in UTF-8.", file=path.name), tr("Save it as UTF-8."), code="bad_suite") from wrong
    except tomllib.TOMLDecodeError as wrong:
        raise FormatError(tr("{file} is not a suite that can be read: {why}.", file=path.name, why=str(wrong)), tr("Correct the file."),
                          code="bad_suite") from wrong
    if unknown := sorted(set(raw) - KEYS):
        raise _bad(path, tr("it has {key}, which is not known", key=unknown[0]))
    kind = str(raw.get("kind", "questions"))
    if kind not in KINDS:
        raise _bad(path, tr("there is no kind {kind}; kinds are {known}", kind=kind, known=", ".join(KINDS)))
    wanted = tuple(str(g) for g in raw.get("graders", ("exact", "contains")))
    if bad := [g for g in wanted if g not in graders.GRADERS] or ([] if wanted else ["[]"]):
        raise _bad(path, tr("there is no grader {name}; graders are {known}", name=bad[0], known=", ".join(graders.GRADERS)))
    forms = tuple(str(f) for f in raw.get("forms", ()))
    if bad := [f for f in forms if f not in FORMS]:
        raise _bad(path, tr("there is no form {name}; forms are {known}", name=bad[0], known=", ".join(FORMS)))
    try:
        made = Suite(id=path.stem, title=str(raw.get("title") or path.stem), sentence=str(raw.get("sentence", "")), kind=kind,
                     graders=wanted, forms=forms, samples=_number(raw, "samples", int, 1), tolerance=float(raw.get("tolerance", 1e-6)),
                     temperature=_number(raw, "temperature", float, 0), max_tokens=_number(raw, "max_tokens", int, 1),
                     few_shot=_number(raw, "few_shot", int, 0) or 0 if "few_shot" in raw else 3, groups=tuple(raw.get("groups", ())),
                     rubric=str(raw.get("rubric", "")), library=bool(raw.get("library")), path=path, own=own)
    except (TypeError, ValueError) as wrong:
        raise _bad(path, str(wrong)) from wrong
    return replace(made, asking=_asking(raw, path), questions=_questions(raw, path, made),
                   needs=KINDS[kind] + (("examples",) if made.library and "examples" not in KINDS[kind] else ()))


def _number(raw: Mapping[str, Any], key: str, kind: type, least: float) -> Any:
    if key not in raw:
        return None
    value = raw[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (kind is int and value != int(value)) or value < least:
        raise ValueError(tr("{key} cannot be {value}", key=key, value=repr(value)))
    return kind(value)


def _asking(raw: Mapping[str, Any], path: Path) -> Asking:
    try:
        shots = tuple((str(s["prompt"]), str(s["answer"])) for s in raw.get("shots", ()))
    except (TypeError, KeyError) as wrong:
        raise _bad(path, tr("shots are tables with prompt and answer")) from wrong
    base = Asking()
    return Asking(str(raw.get("plain", base.plain)), str(raw.get("shot", base.shot)), str(raw.get("system", "")), shots)


def _questions(raw: Mapping[str, Any], path: Path, suite: Suite) -> tuple[Question, ...]:
    found = [of_table(one, tr("Question {number} of {file}", number=number, file=path.name))
             for number, one in enumerate(raw.get("questions", ()), 1)]
    if raw.get("file"):
        place = (path.parent / str(raw["file"])).resolve()
        if not place.is_relative_to(path.parent.resolve()):  # a suite that came from somebody else reads no other file of this machine
            raise _bad(path, tr("its file does not lie beside it"))
        found += read_file(place, {str(k): str(v) for k, v in raw.get("columns", {}).items()})
    for question in found:
        check(question, suite)
    ids = [question.id for question in found]
    if len(set(ids)) < len(ids):
        raise _bad(path, tr("two of its questions are the same, or have the same id"))
    if not found and not suite.library and suite.kind in ("questions", "choices", "win_rate", "blind"):
        raise _bad(path, tr("it has no questions"))
    return tuple(found)


def check(question: Question, suite: Suite) -> None:
    """A FormatError for a question that the suite's graders cannot grade."""
    needed = {"exact": question.answers, "contains": question.answers, "number": question.answers, "checks": question.checks,
              "choice": question.choices, "regex": question.pattern, "json": True}
    if suite.kind == "questions":
        for name in suite.graders:
            if not needed[name]:
                raise _ungradable(question, name)
        if "number" in suite.graders and not any(graders.last_number(answer) is not None for answer in question.answers):
            raise FormatError(tr("The answer to “{prompt}” has no number.", prompt=question.prompt[:80]),
                              tr("Grade it another way, or correct the answer."), code="bad_question")
    elif suite.kind == "choices" and len(question.choices) < 2:
        raise _ungradable(question, "choice")


def _ungradable(question: Question, grader: str) -> FormatError:
    what = {"checks": "checks", "choice": "choices", "regex": "pattern"}.get(grader, "answer")
    return FormatError(tr("“{prompt}” has no {what}, which its suite needs.", prompt=question.prompt[:80], what=what), tr("Add it."),
                       code="bad_question")


def _bad(path: Path, why: str) -> FormatError:
    return FormatError(tr("The suite {name} cannot be used: {why}.", name=path.stem, why=why), tr("Correct {file}.", file=path.name),
                       code="bad_suite")
