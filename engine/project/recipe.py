"""Recipes: how an artifact was made, as a file that makes it again. Written from the chain of runs that led to it; replayed run by run.

    write(project, "model-1", Path("recipe.toml"), STAGES)
    outcome = replay(project, read(Path("recipe.toml")), STAGES, {"text": Path("/my/text")})

A recipe.toml holds

    [recipe]   format, title, makes (the last step), engine_version, created
    [[source]] a file or folder from outside: name, path, kind, bytes, and sha256 where it is not too large to be read for it
    [[examples]] a set of examples that went in: name, and the file of its rows beside the recipe, with its hash
    [[pairs]]  the same of a set of pairs: a line is what was learned of a labelled pair, or a pair whose prompt alone was asked
    [[problems]] the same of a set of problems, held-out ones too
    [[step]]   a run: name, stage, what it ran on, settings that differ from their defaults and the seed, inputs by the name of an earlier
               step, rows of the library that went into it, and of each result the hashes of those files that come out the same each time

A setting that names a source reads "{source:NAME}", one that names a set "{examples:NAME}", "{pairs:NAME}" or "{problems:NAME}". A model
that was tuned takes its examples, labelled pairs and problems along as they were, whoever wrote them: making them again is a step only in
the recipe of generated examples or pairs themselves, and gives others each time. Of labels goes along what was learned of them, not each
one with its history: those travel in label files. What a person has confirmed (an address beyond this machine, a recipe that is a program)
is confirmed anew. A verifier goes along with all its sources, in the setting; what is not trusted here (trust.py) is refused before
anything runs.

`replay` takes a finished artifact with the same settings and inputs for a step that is done, goes on with a run that was stopped or killed,
and starts the rest. It changes nothing that is there, and downloads nothing.

Results are the same bit for bit for corpora, tokenizers and tokens; for weights where they were trained on a CPU, with the same versions
and the same number of threads. Weights of a GPU are not compared: their sums come out in another order each time.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Protocol

import orjson
import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine import __version__
from engine.contract.composition import Composition, parse, pieces
from engine.contract.errors import FledgeError, FormatError, InputError, Mismatch, NotFound, SettingError, Stopped, TooNew
from engine.contract.events import Started
from engine.contract.rows import Answer, Example, Pair, PreferencePair, Problem, pair_id
from engine.contract.spec import Spec
from engine.contract.units import size
from engine.contract.words import tr
from engine.project import files, launch, layout, taken_sets, trust
from engine.project.artifacts import NAME as ARTIFACT_NAME
from engine.project.artifacts import Artifact
from engine.project.event_log import read_events
from engine.project.examples import ExampleFilter
from engine.project.follow import follow
from engine.project.lineage import MODEL_ID, WORDS
from engine.project.models import prefix_of
from engine.project.project import Project
from engine.project.run_state import RunState
from engine.project.runs import Run
from engine.project.verifiers import refuse_untrusted

FORMAT = 4
"""1 had no examples, 2 no pairs, 3 no problems: recipes without any are still written so, for older versions."""
LARGEST_FILE = 64_000_000
"""Bytes of a recipe.toml at most: decisions on a million documents fit."""
HASHED = 512_000_000
"""Bytes of a source up to which it is read for its hash."""
MOST_FILES = 20_000
CONFIRMED = ("recipe_hash", "allowed_host")
"""What a person confirmed on their own machine: no file brings it along."""
PLACES = ("sources", "source", "folder", "files", "held_out", "pipeline", "source_options")
"""Settings whose values (or keys) are files and folders from outside the project."""
TARGET = "out"
"""The setting that says where an export goes: a recipe keeps its name only."""
CLOCKED = {"corpus": ("report.json", "sources.json"), "model": ("source.json", "adapter.json"),
           "reward_model": ("report.json", "adapter.json")}
"""Files of a result that hold times, places of the machine, words or ids of the project: not the same twice."""
COMPARED = ("corpus", "tokenizer", "tokens", "model", "reward_model")
ADDRESS = re.compile(r"[a-z]{2,}:")
"""How something begins that is no path of this machine, as hub:owner/name. One letter is a drive of Windows."""
TOKEN = re.compile(r"\{source:([^{}]+)\}")
SETS = re.compile(r"\{(examples|pairs|problems):([^{}]+)\}")
SET = re.compile(r"(?:(?:pair-)?set|problems)-[0-9]+")
EXAMPLES, PAIRS, PROBLEMS = "examples", "pairs", "problems"
VERIFIER = "verifier"
"""The setting that says what scores answers, and a run's file with its sources. "verifier:ID" is an input: a model that it asks."""
NOWHERE = {EXAMPLES: "set-0", PAIRS: "pair-set-0", PROBLEMS: "problems-0"}
"""Ids of sets for settings that are only looked at."""

HEAD = """\
# {title}
#
# A recipe of Fledge: the runs that made it, in order, with every setting that differs from its default.
# Replay it in a new project:
#
#     fledge new again
#     fledge run again --recipe {file}
#
# Sources that lie elsewhere on your machine are named with --source NAME=PATH.

"""


class StageRow(Protocol):
    """What is needed of a row of engine/pipeline.py, which lies above this file."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def spec(self) -> type[Spec]: ...
    @property
    def makes(self) -> str: ...


Stages = Mapping[str, StageRow]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """A file or folder from outside. `sha256` of a folder: over the names and hashes of its files; "" where it was too large or gone."""

    name: str = Field(pattern=r"^[^{}=]+$")
    path: str
    kind: str = ""
    bytes: int = 0
    sha256: str = ""


class RowFile(_Part):
    """Rows of a set as they went into a step: JSON lines in a file beside the recipe. `title` is how the set is called."""

    name: str = Field(pattern=r"^[^{}=]+$")
    file: str = Field(pattern=r"^[^/\\:]+\.jsonl$")
    count: int
    sha256: str
    title: str = ""
    origin: str = ""


class Result(_Part):
    """What a step made: `files` {relative name: sha256}, empty where it is not the same each time."""

    kind: str
    title: str = ""
    files: dict[str, str] = {}


class Step(_Part):
    """One run. `inputs` {setting: earlier step}, for a checkpoint "step@200". `unset`: settings that are None although their default is
    not. `rows` {name: JSON} of the library."""

    name: str
    stage: str
    engine_version: str = ""
    device: str = ""
    threads: int = 0
    settings: dict[str, Any] = {}
    unset: tuple[str, ...] = ()
    inputs: dict[str, str | tuple[str, ...]] = {}
    rows: dict[str, str] = {}
    result: tuple[Result, ...] = ()


class Head(_Part):
    format: int
    title: str = ""
    makes: str = ""
    engine_version: str = ""
    created: datetime | None = None


class Recipe(_Part):
    recipe: Head
    source: tuple[Source, ...] = ()
    examples: tuple[RowFile, ...] = ()
    pairs: tuple[RowFile, ...] = ()
    problems: tuple[RowFile, ...] = ()
    step: tuple[Step, ...] = Field(min_length=1)


# writing -------------------------------------------------------------------------------------------------------------


def make(project: Project, id: str, stages: Stages) -> Recipe:
    """The recipe of an artifact or a checkpoint (`run@step`). Raises NotFound for an unknown one, InputError where the chain is broken: a
    run and what it made were both deleted, or something was made by no run."""
    return _make(_Maker(project, stages, "recipe"), id)


def _make(made: "_Maker", id: str) -> Recipe:
    last = made.add(id)
    run = last.partition("@")[0]
    now = datetime.now().astimezone().replace(microsecond=0)
    listed = {kind: tuple(entry for (of, _), (entry, _) in made.files.items() if of == kind) for kind in NOWHERE}
    head = Head(format=FORMAT if listed[PROBLEMS] else 3 if listed[PAIRS] else 2 if listed[EXAMPLES] else 1, makes=run,
                title=made.titles.get(id, id), engine_version=__version__, created=now)
    return Recipe(recipe=head, source=tuple(made.sources.values()), examples=listed[EXAMPLES], pairs=listed[PAIRS],
                  problems=listed[PROBLEMS], step=tuple(made.steps.values()))


def write(project: Project, id: str, target: Path, stages: Stages) -> Recipe:
    """Write the recipe of `id` to a file, and the rows that went in beside it (each file replaced in one step, the recipe last)."""
    maker = _Maker(project, stages, target.stem)
    made = _make(maker, id)
    for entry, rows in maker.files.values():
        rows.copy(target.with_name(entry.file))
    files.write_bytes(target, text(made, target.name).encode())
    return made


def text(recipe: Recipe, file: str = "recipe.toml") -> str:
    """The file's content."""
    raw = recipe.model_dump(mode="python", exclude_defaults=True)
    words = " ".join(recipe.recipe.title.split()) or file
    return HEAD.format(title=words, file=file) + tomli_w.dumps(_for_toml(raw), multiline_strings=False)


def _for_toml(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _for_toml(v) for k, v in value.items() if v is not None}
    return [_for_toml(v) for v in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class _Rows:
    """Some lines of a run's copy of the library: of each file from a first line on so many."""

    places: tuple[tuple[Path, int, int], ...]

    @property
    def count(self) -> int:
        return sum(count for _, _, count in self.places)

    def lines(self) -> Iterator[bytes]:
        for path, first, count in self.places:
            with open(path, "rb") as file:
                yield from islice(file, first, first + count)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()

    def copy(self, target: Path) -> None:
        aside = target.with_name(f"{files.TEMPORARY}{target.name}")
        try:
            with open(aside, "wb") as file:
                file.writelines(self.lines())
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, target)
        except OSError as wrong:
            aside.unlink(missing_ok=True)
            raise files.disk_error(wrong, target) from wrong


class _Maker:
    """Collects the steps that lead to an artifact, parents first. `stem` is what files beside the recipe begin with."""

    def __init__(self, project: Project, stages: Stages, stem: str) -> None:
        self.project, self.stages, self.stem = project, stages, stem
        self.files: dict[tuple[str, str], tuple[RowFile, _Rows]] = {}
        self.artifacts = {a.id: a for a in project.artifacts.list()}
        self.steps: dict[str, Step] = {}
        self.sources: dict[str, Source] = {}
        self.titles: dict[str, str] = {}
        self._open: list[str] = []
        self._names: dict[str, str] = {}

    def add(self, id: str) -> str:
        """Add what made `id`; the reference to it: a step's name, with @step for a checkpoint."""
        checkpoint = MODEL_ID.fullmatch(id)
        name = checkpoint[1] if checkpoint else self._maker(id)
        run = self._run(name)
        if checkpoint:
            if run is None or int(checkpoint[2]) not in run.checkpoint_steps():
                raise NotFound(tr("There is no model called {id} in this project.", id=id))
            self.titles[id] = tr("{name}, step {step}", name=run.title or run.id, step=checkpoint[2])
        if name not in self.steps:
            if name in self._open:
                raise InputError(tr("{id} was made from itself: the project was changed by something else.", id=id), code="ring")
            self._open.append(name)
            step = self._step(name, run)
            self._open.remove(name)
            self.steps[name] = step
        return f"{name}@{checkpoint[2]}" if checkpoint else name

    def _maker(self, id: str) -> str:
        """The run that made an artifact; of a deleted one, the run whose events say so."""
        artifact = self.artifacts.get(id)
        if artifact is not None:
            self.titles[id] = artifact.title
            if not artifact.run:
                raise InputError(tr("{id} was made by no run of this project, so that no recipe can make it again.", id=id), code="no_run")
            return artifact.run
        if ARTIFACT_NAME.fullmatch(id):
            for run in self.project.runs.list():
                if id in run.state().artifacts:
                    return run.id
        raise NotFound(tr("{id} is not in this project, and neither is the run that made it.", id=id),
                       tr("A recipe needs the whole chain, from the sources on."), code="chain")

    def _run(self, id: str) -> Run | None:
        try:
            return self.project.runs.get(id)
        except NotFound:
            return None

    def _step(self, name: str, run: Run | None) -> Step:
        made = [a for a in self.artifacts.values() if a.run == name]
        stage = name.partition("-")[2]
        spec = run.spec if run is not None else next((a.spec for a in made if a.spec), {})
        if stage not in self.stages or not spec:
            raise InputError(tr("The settings of run {run} are not known any more.", run=name),
                             tr("A recipe needs the whole chain, from the sources on."), code="chain")
        row = self.stages[stage]
        settings, unset, inputs = self._settings(row.spec, spec, self._sets(name, run, row.spec, spec))
        if own := [suite for suite in spec.get("suites") or () if (layout.suites(self.project.dir) / f"{suite}.toml").is_file()]:
            raise InputError(tr("{suite} is a suite of this project: recipes do not take those along.", suite=own[0]),
                             tr("Measure with suites that come with Fledge, or copy the project's folder instead."), code="own_suite")
        started = _first_start(run)
        device = started.device if started else ""
        rows = {p.stem: json.dumps(files.read_json(p), ensure_ascii=False) for p in sorted((run.dir / "inputs").glob("*.json"))
                if p.stem != VERIFIER} if run is not None and row.spec.rows else {}
        if run is not None and (composition := _verifier_of(run)) is not None:
            settings[VERIFIER] = composition.text()
            inputs |= {f"{VERIFIER}:{id}": self.add(id) for id in composition.models()}
        return Step(name=name, stage=stage, engine_version=(started.engine_version if started else "") or
                    next((a.engine_version for a in made), ""), device=device, threads=started.threads if started else 0,
                    settings=settings, unset=unset, inputs=inputs, rows=rows,
                    result=tuple(Result(kind=a.kind, title=a.title, files=hashes(a) if _same_each_time(a, device) else {}) for a in made))

    def _sets(self, name: str, run: Run | None, kind: type[Spec], spec: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        """{setting: {set of the library: how a recipe names its rows}}."""
        found: dict[str, dict[str, str]] = {}
        for setting, streams in _streams(kind).items():
            of = _kind_of(streams[0])
            ids = [id for id in dict.fromkeys(spec.get(setting) or ()) if SET.fullmatch(id)]
            if not ids:
                continue
            rows: dict[str, list[tuple[Path, int, int]]] = {}
            known: dict[str, taken_sets.TakenSet] = {}
            for stream in streams:
                path = layout.input_rows(run.dir, stream) if run is not None else None
                if run is None or path is None or not path.is_file():
                    raise InputError(tr("The pairs that {run} was made with are not there any more.", run=name) if of == PAIRS else
                                     tr("The problems that {run} was made with are not there any more.", run=name) if of == PROBLEMS else
                                     tr("The examples that {run} was made with are not there any more.", run=name),
                                     tr("They went with the run's folder: restore it from a backup."), code="chain")
                places, sets = _whose(path, run, stream, ids)
                known |= sets
                for id, (first, count) in places.items():
                    rows.setdefault(id, []).append((path, first, count))
            found[setting] = {}
            for id, places_of in rows.items():
                title, origin = (known[id].title, known[id].origin) if id in known else (
                    tr("Pairs of run {id}", id=name) if of == PAIRS else tr("Problems of run {id}", id=name) if of == PROBLEMS else
                    tr("Examples of run {id}", id=name), "")
                found[setting][id] = self._row_file(of, title, origin, _Rows(tuple(places_of)))
        return found

    def _row_file(self, kind: str, title: str, origin: str, rows: _Rows) -> str:
        """How a recipe names these rows, new or known: equal rows of equal name are one file."""
        stem = re.sub(r"[{}=\s]+", " ", title).strip() or kind
        digest, name, n = rows.sha256(), stem, 1
        while (kind, name) in self.files and self.files[kind, name][0].sha256 != digest:
            n += 1
            name = f"{stem} {n}"
        slug = re.sub(r"[^\w.-]+", "-", name.casefold()).strip("-.") or "set"
        taken = {entry.file for key, (entry, _) in self.files.items() if key != (kind, name)}
        file, n = f"{self.stem}-{kind}-{slug[:80]}.jsonl", 1
        while file in taken:
            n += 1
            file = f"{self.stem}-{kind}-{slug[:80]}-{n}.jsonl"
        self.files[kind, name] = RowFile(name=name, file=file, count=rows.count, sha256=digest, title=title, origin=origin), rows
        return f"{{{kind}:{name}}}"

    def _settings(self, kind: type[Spec], spec: Mapping[str, Any],
                  sets: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, Any], tuple[str, ...], dict[str, Any]]:
        settings: dict[str, Any] = {}
        unset: list[str] = []
        inputs: dict[str, Any] = {}
        for name, value in spec.items():
            known = kind.model_fields.get(name)
            if known is None:
                raise InputError(tr("This Fledge does not know the setting {name} of the stage {stage}.", name=name, stage=kind.stage),
                                 code="unknown_setting")
            default = None if known.is_required() else json.loads(json.dumps(known.get_default(call_default_factory=True), default=_plain))
            if name in CONFIRMED:
                continue
            if name in sets:
                rest = [v for v in value if not SET.fullmatch(v)]
                settings[name] = [sets[name][v] for v in dict.fromkeys(value) if v in sets[name]] + self._placed(rest)
            elif isinstance(value, str) and (before := prefix_of(value)):
                inputs[name] = before + self.add(value.removeprefix(before).strip())
            elif name == "recipe" and spec.get("recipe_text"):  # a file whose text goes along: its place is no matter
                settings[name] = PureWindowsPath(value).name if "\\" in value else PurePosixPath(value).name
            elif self._refers(kind, name, value):
                inputs[name] = self.add(value) if isinstance(value, str) else tuple(self.add(v) for v in value)
            elif name == TARGET and isinstance(value, str) and value:
                settings[name] = PureWindowsPath(value).name if "\\" in value else PurePosixPath(value).name
            elif value == default and name != "seed":
                continue
            elif value is None:
                unset.append(name)
            else:
                settings[name] = self._placed(value) if name in PLACES else value
        return _for_toml(settings), tuple(unset), inputs

    def _refers(self, kind: type[Spec], name: str, value: Any) -> bool:
        """Whether a setting's value names something of the project. Not every such setting says so: a model may be a checkpoint."""
        values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        if not values or not all(isinstance(v, str) and v for v in values) or name in (*PLACES, *WORDS):
            return False
        return bool(kind.option_of(name).artifact) or all(v in self.artifacts or MODEL_ID.fullmatch(v) for v in values)

    def _placed(self, value: Any) -> Any:
        """A setting with its paths replaced by references to sources."""
        if isinstance(value, str):
            return value if not value or ADDRESS.match(value) else self._reference(value)
        if isinstance(value, Mapping):
            return {self._reference(k): v for k, v in value.items()}
        return [self._placed(v) for v in value]

    def _reference(self, path: str) -> str:
        if path not in self._names:
            stem = re.sub(r"[{}=\s]+", "-", Path(path).name) or "source"
            name, n = stem, 1
            while name in self.sources:
                n += 1
                name = f"{stem}-{n}"
            self._names[path] = name
            kind, total, digest = look_at(Path(path))
            self.sources[name] = Source(name=name, path=path, kind=kind, bytes=total, sha256=digest)
        return f"{{source:{self._names[path]}}}"


def _verifier_of(run: Run) -> Composition | None:
    """What a run's answers were scored by, whoever trusts it."""
    raw = files.read_json(layout.input_file(run.dir, VERIFIER))
    return parse(raw["composition"]).bare() if isinstance(raw, dict) and "composition" in raw else None


def _streams(kind: type[Spec]) -> dict[str, list[str]]:
    """{setting that names sets: streams of rows that go along with it}. Pairs that are only scored afterwards stay behind."""
    found: dict[str, list[str]] = {}
    for stream in kind.rows:
        if stream in taken_sets.FIELDS and not (stream == "unlabelled" and "score_unlabelled" in kind.model_fields):
            found.setdefault(taken_sets.FIELDS[stream], []).append(stream)
    return found


def _kind_of(stream: str) -> str:
    return PAIRS if stream in taken_sets.OF_PAIRS else PROBLEMS if stream in taken_sets.OF_PROBLEMS else EXAMPLES


def _whose(path: Path, run: Run, stream: str, ids: Sequence[str]) -> tuple[dict[str, tuple[int, int]], dict[str, taken_sets.TakenSet]]:
    """({set: (first line, lines)}, {set: what the run says of it}); all are the first's where the run does not say which are whose."""
    with open(path, "rb") as file:
        total = sum(1 for _ in file)
    known = {one.id: one for one in taken_sets.taken(run) if one.stream == stream}
    places = taken_sets.split(run.dir, known.values(), stream)
    if sum(count for _, count in places.values()) != total or set(known) - set(ids):
        return {ids[0]: (0, total)}, {}
    return places, known


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json")


def _first_start(run: Run | None) -> Started | None:
    if run is None:
        return None
    return next((e for e in read_events(layout.events_file(run.dir)) if isinstance(e, Started)), None)


def _same_each_time(artifact: Artifact, device: str) -> bool:
    trained = artifact.kind in ("model", "reward_model") and artifact.run.partition("-")[2] != "import_model"
    return artifact.kind in COMPARED and (not trained or device == "cpu")


def hashes(artifact: Artifact) -> dict[str, str]:
    """{relative name: sha256} of the files that come out the same each time."""
    return {name: str(entry["sha256"]) for name, entry in sorted(artifact.files.items()) if name not in CLOCKED.get(artifact.kind, ())}


def look_at(path: Path) -> tuple[str, int, str]:
    """(file or folder, bytes, sha256) of a source; ("", 0, "") where there is none, no hash where it is large."""
    if path.is_file():
        total = path.stat().st_size
        return "file", total, files.hash_file(path) if total <= HASHED else ""
    if not path.is_dir():
        return "", 0, ""
    listed: list[tuple[str, Path]] = []
    for root, _, names in os.walk(path):
        listed += [((Path(root) / n).relative_to(path).as_posix(), Path(root) / n) for n in names if (Path(root) / n).is_file()]
    total = sum(file.stat().st_size for _, file in listed)
    if total > HASHED or len(listed) > MOST_FILES:
        return "folder", total, ""
    digest = hashlib.sha256()
    for name, file in sorted(listed):
        digest.update(f"{name}\0{files.hash_file(file)}\n".encode("utf-8", "surrogateescape"))
    return "folder", total, digest.hexdigest()


# reading -------------------------------------------------------------------------------------------------------------


def read(path: Path) -> Recipe:
    """The recipe in a file; FormatError says where it is none."""
    if not path.is_file():
        raise NotFound(tr("There is no recipe called {path}.", path=str(path)))
    if path.stat().st_size > LARGEST_FILE:
        raise FormatError(tr("{path} is too large for a recipe ({size}).", path=str(path), size=size(path.stat().st_size)))
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as wrong:
        raise FormatError(tr("{path} cannot be read as a recipe: {why}.", path=str(path), why=str(wrong).rstrip(".")),
                          tr("Write it anew, or mend the line.")) from None
    head = raw.get("recipe")
    if isinstance(head, dict) and isinstance(head.get("format"), int) and head["format"] > FORMAT:
        raise TooNew(tr("This recipe was written by a later Fledge."), tr("Install the newest Fledge to replay it."))
    try:
        made = Recipe(**raw)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        place = ".".join(str(x) for x in first["loc"])
        raise FormatError(tr("{path} is not a recipe: {place}: {why}.", path=str(path), place=place, why=str(first["msg"]).rstrip(".")),
                          tr("Write it anew with `fledge lineage DIR --recipe ID`.")) from None
    seen: set[str] = set()
    for step in made.step:
        for value in step.inputs.values():
            for one in [value] if isinstance(value, str) else value:
                if one.removeprefix(prefix_of(one)).partition("@")[0] not in seen:
                    raise FormatError(tr("{path} is not a recipe: {step} needs {other}, which no step before it makes.", path=str(path),
                                         step=step.name, other=one))
        if step.name in seen:
            raise FormatError(tr("{path} is not a recipe: two steps are called {step}.", path=str(path), step=step.name))
        seen.add(step.name)
    return made


# replaying -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """One result beside the recorded one. `same` is None where no hashes were recorded; `different` names the files that differ, or are
    on one side only."""

    kind: str
    artifact: str
    same: bool | None
    different: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """One step of a replay: the run that stands for it ("" where the artifact's run is gone), whether it was there before, its results."""

    step: Step
    run: str
    skipped: bool
    results: tuple[Compared, ...] = ()


@dataclass
class Outcome:
    """What a replay came to. `changed` are sources that are not what the recipe was made from, and `notes` sentences about that and about
    other versions and devices."""

    steps: list[Done] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> int:
        return sum(r.same is True for s in self.steps for r in s.results)

    @property
    def different(self) -> int:
        return sum(r.same is False for s in self.steps for r in s.results)


def locate(recipe: Recipe, given: Mapping[str, Path]) -> tuple[dict[str, str], list[str]]:
    """({source: path here}, [sources with another content]). One that is not there, or that changed and was not named by the person, is
    refused: a replay that silently reads something else proves nothing."""
    known = {s.name for s in recipe.source}
    for name in given:
        if name not in known:
            raise SettingError(tr("The recipe has no source called {name}.", name=name),
                               tr("It has: {known}.", known=", ".join(sorted(known)) or tr("none")), field="source")
    found, changed = {}, []
    for source in recipe.source:
        path = Path(given[source.name]).expanduser().resolve() if source.name in given else Path(source.path)
        remedy = tr("Say where it is with --source {name}=PATH.", name=source.name)
        if not path.exists():
            raise NotFound(tr("The recipe reads {path}, which is not there.", path=str(path)), remedy, code="source")
        if source.sha256 and look_at(path)[2] != source.sha256:
            if source.name not in given:
                raise Mismatch(tr("{path} is not what it was when the recipe was written.", path=str(path)),
                               tr("To replay with it as it is, name it: --source {name}={path}.", name=source.name, path=str(path)),
                               code="source_changed")
            changed.append(source.name)
        found[source.name] = str(path)
    return found, changed


Watch = Callable[[Run, int], RunState]


def replay(project: Project, recipe: Recipe, stages: Stages, given: Mapping[str, Path] | None = None, *, folder: Path | None = None,
           device: str = "auto", watch: Watch = follow, told: Callable[[Step, str], None] = lambda step, what: None) -> Outcome:
    """Replay a recipe in `project`, step by step, and compare the results. Its rows lie in `folder`; they become sets of the library.
    `watch` follows a run to its end; `told(step, what)` hears of each step before it: "there", "resumed", "started", "followed".

    Everything that can be checked is checked before the first run. Raises what a step's run failed with; Stopped when it was stopped: the
    same call again goes on there.
    """
    places, changed = locate(recipe, given or {})
    examples = _Given(project, recipe, folder)
    outcome = Outcome(changed=changed)
    for step in recipe.step:
        if step.stage not in stages:
            raise InputError(tr("This Fledge has no stage called {stage}, which the recipe needs.", stage=step.stage), code="unknown_stage")
        row = stages[step.stage]
        for name in _wanted_rows(step):
            _check_row_name(name, row.spec)
        inputs = {name: "x" if isinstance(value, str) else ("x",) for name, value in step.inputs.items()}
        _spec(step, row, places, inputs, project, examples.nowhere)
        if VERIFIER in step.settings:
            refuse_untrusted(parse(str(step.settings[VERIFIER])))
        examples.check(step)
    made: dict[str, Done] = {}
    for step in recipe.step:
        row = stages[step.stage]
        inputs = {name: _resolve(project, stages, row.spec, name, value, made) for name, value in step.inputs.items()}
        spec = _spec(step, row, places, inputs, project, examples.nowhere).frozen(project.dir)
        if problems := spec.problems():
            raise SettingError(problems[0].sentence, problems[0].remedy, field=problems[0].field)
        if VERIFIER in step.settings:  # a judge of this project has another name here, and nothing else changed since it was looked at
            trust.trust([piece.sha256 for piece in pieces(parse(getattr(spec, VERIFIER)))], where=recipe.recipe.title)
        done = _already(project, step, row, spec, examples)
        if done is not None:
            told(step, "there")
        else:
            run = _carry_out(project, step, spec, partial(_spec, step, row, places, inputs, project), examples, device, watch, told)
            done = Done(step, run.id, False, _compare(project, step, run.id))
            if not any(r.kind == row.makes for r in done.results):
                raise InputError(tr("The run {run} ended without a result.", run=run.id), tr("Look at its log."), code="no_result")
        made[step.name] = done
        outcome.steps.append(done)
    outcome.notes = _notes(recipe, outcome)
    return outcome


_Named = tuple[str, str]
"""Rows that a recipe brings: ("examples", "pairs" or "problems", name)."""
Sets = Callable[[Sequence[_Named]], Mapping[_Named, str]]


class _Given:
    """The examples, pairs and problems that a recipe brings: files beside it, looked at before anything runs, and made sets of the library
    when a step needs them. Raises NotFound, Mismatch."""

    def __init__(self, project: Project, recipe: Recipe, folder: Path | None) -> None:
        self.project, self.files = project, dict[_Named, Path]()
        self.known = {(kind, entry.name): entry for kind, entries in ((EXAMPLES, recipe.examples), (PAIRS, recipe.pairs),
                                                                              (PROBLEMS, recipe.problems))
                      for entry in entries}
        for (kind, name), entry in self.known.items():
            path = (folder or Path()) / entry.file
            if folder is None or not path.is_file():
                raise NotFound(tr("{file}, the examples “{name}” of the recipe, is not beside it.", file=entry.file, name=name)
                               if kind == EXAMPLES else
                               tr("{file}, the problems “{name}” of the recipe, is not beside it.", file=entry.file, name=name)
                               if kind == PROBLEMS else
                               tr("{file}, the pairs “{name}” of the recipe, is not beside it.", file=entry.file, name=name),
                               tr("Take the recipe along with all files that were written with it."), code=kind)
            if files.hash_file(path) != entry.sha256:
                raise Mismatch(tr("{file} is not what it was when the recipe was written.", file=entry.file),
                               tr("Restore it, or write the recipe anew."), code=f"{kind}_changed")
            self.files[kind, name] = path

    def nowhere(self, names: Sequence[_Named]) -> dict[_Named, str]:
        """Ids for settings that are only looked at."""
        return {(kind, name): NOWHERE[kind] for kind, name in names}

    def check(self, step: Step) -> None:
        for kind, name in _named_sets(step.settings.values()):
            if (kind, name) not in self.known:
                raise FormatError(tr("The recipe names the examples {name}, but does not describe them.", name=name) if kind == EXAMPLES
                                  else tr("The recipe names the problems {name}, but does not describe them.", name=name)
                                  if kind == PROBLEMS else tr("The recipe names the pairs {name}, but does not describe them.", name=name))

    def into_library(self, names: Sequence[_Named], spec: Spec) -> dict[_Named, str]:
        """{name: set of the library}, made where there is none of these rows, so that the stage of `spec` can take them."""
        return {each: self._pairs(each, getattr(spec, "annotators", ())) if each[0] == PAIRS else
                self._problems(each) if each[0] == PROBLEMS else
                self._examples(each, bool(getattr(spec, "only_accepted", False))) for each in names}

    def _examples(self, each: _Named, accepted: bool) -> str:
        """`accepted`: the stage takes no others."""
        library, entry = self.project.library.examples, self.known[each]
        origin = f"recipe:{entry.sha256[:16]}"
        there = next((s for s in library.sets() if s.origin == origin
                      and (s.accepted if accepted else s.accepted + s.new) == entry.count), None)
        if there is None:
            there = library.create_set(entry.title or entry.name, origin=origin)
            with open(self.files[each], "rb") as file:
                library.add(there.id, (Example.model_validate_json(line) for line in file))
            if accepted:
                library.set_status(ExampleFilter(sets=(there.id,)), "accepted", "recipe")
        return there.id

    def _pairs(self, each: _Named, annotators: Sequence[str]) -> str:
        library, entry = self.project.library.pairs, self.known[each]
        origin = f"recipe:{entry.sha256[:16]}"
        there = next((s for s in library.sets() if s.origin == origin), None)
        if there is None:
            there = library.create_set(entry.title or entry.name, origin=origin)
        with open(self.files[each], "rb") as file:  # what an earlier replay was killed over comes in now, the rest is there
            library.add(there.id, (_pair_of(line, annotators) for line in file), "recipe")
        return there.id

    def _problems(self, each: _Named) -> str:
        library, entry = self.project.library.problems, self.known[each]
        origin = f"recipe:{entry.sha256[:16]}"
        there = next((s for s in library.sets() if s.origin == origin and s.count == entry.count), None)
        if there is None:
            with open(self.files[each], "rb") as file:
                there = library.take(entry.title or entry.name, (Problem.model_validate_json(line) for line in file), origin=origin,
                                     held_out_percent=0)
        return there.id

    def paths(self, step: Step, kind: type[Spec]) -> dict[str, list[Path]]:
        """{rows: files, one after another} that go into a run."""
        return {stream: [self.files[each] for each in _named_sets([step.settings[setting]])]
                for setting, streams in _streams(kind).items() if setting in step.settings for stream in streams}

    def same(self, run_dir: Path, step: Step, kind: type[Spec]) -> bool:
        """Whether a run was made with just these rows."""
        for stream, paths in self.paths(step, kind).items():
            own, wanted = hashlib.sha256(), hashlib.sha256()
            path = layout.input_rows(run_dir, stream)
            if path.is_file():
                with open(path, "rb") as file:
                    while data := file.read(1 << 20):
                        own.update(data)
            for line in _of_stream(paths, stream):
                wanted.update(line)
            if own.digest() != wanted.digest():
                return False
        return True

    def put(self, run_dir: Path, step: Step, kind: type[Spec]) -> None:
        """Into a run that has not begun: what the library gives here may have other ids."""
        for stream, paths in self.paths(step, kind).items():
            path = layout.input_rows(run_dir, stream)
            path.parent.mkdir(exist_ok=True)
            with open(path, "wb") as target:
                target.writelines(_of_stream(paths, stream))


def _of_stream(paths: Sequence[Path], stream: str) -> Iterator[bytes]:
    """The lines of these files that go into a stream: a file of pairs holds labelled ones and others."""
    for path in paths:
        with open(path, "rb") as file:
            for line in file:
                if stream not in taken_sets.OF_PAIRS or _labelled(line) == (stream == "pairs"):
                    yield line


def _labelled(line: bytes) -> bool:
    return "chosen" in orjson.loads(line)


def _pair_of(line: bytes, annotators: Sequence[str]) -> Pair:
    """A line of a recipe's pairs for the library: it comes with what was learned of it, said by whoever said so (one of `annotators`, where
    the stage listens to these alone). Its id is what it says: an edited answer makes another pair."""
    if not _labelled(line):
        row = Pair.model_validate_json(line)
        return row.model_copy(update={"id": pair_id(row.prompt, row.first.text, row.second.text)})
    said = PreferencePair.model_validate_json(line)
    best = "bad" if said.bad else "tie" if said.tie else "first"
    by = next((one for one in annotators if one in said.by), said.by)
    return Pair(id=pair_id(said.prompt, said.chosen, said.rejected), prompt=said.prompt, first=Answer(text=said.chosen),
                second=Answer(text=said.rejected), origin="recipe", facts={"best": best, "strength": said.strength, "by": by})


def _named_sets(values: Iterable[Any]) -> list[_Named]:
    """The sets that settings name, each once."""
    flat = [v for value in values for v in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(v, str)]
    return list(dict.fromkeys((found[1], found[2]) for v in flat if (found := SETS.fullmatch(v))))


def _spec(step: Step, row: StageRow, places: Mapping[str, str], inputs: Mapping[str, Any], project: Project,
          sets: Sets = lambda names: {}) -> Spec:
    """The settings of a step here. An export goes into the project's own folder. `sets` gives the library's ids of sets by name."""
    ids = sets(_named_sets(step.settings.values()))

    def put(value: Any) -> Any:
        if isinstance(value, str) and (found := SETS.fullmatch(value)):
            return ids[found[1], found[2]]
        if isinstance(value, str) and (found := TOKEN.fullmatch(value)):
            if found[1] not in places:
                raise FormatError(tr("The recipe names the source {name}, but does not describe it.", name=found[1]))
            return places[found[1]]
        if isinstance(value, Mapping):
            return {put(k): put(v) for k, v in value.items()}
        return [put(v) for v in value] if isinstance(value, list) else value
    values = {name: put(value) if name in (*PLACES, *taken_sets.FIELDS.values()) else value for name, value in step.settings.items()
              if name not in CONFIRMED}
    if TARGET in values and isinstance(values[TARGET], str):
        name = PurePosixPath(PureWindowsPath(values[TARGET]).name).name
        values[TARGET] = str(layout.exports(project.dir) / (name or step.name))
    models = {name.partition(":")[2]: str(id) for name, id in inputs.items() if name.startswith(f"{VERIFIER}:")}
    if models:
        values[VERIFIER] = parse(str(values.get(VERIFIER, ""))).with_models(models).text()
    return row.spec.check({**values, **dict.fromkeys(step.unset), **{n: v for n, v in inputs.items() if not n.startswith(f"{VERIFIER}:")}})


def _resolve(project: Project, stages: Stages, kind: type[Spec], name: str, value: str | tuple[str, ...], made: Mapping[str, Done]) -> Any:
    """The id, in this project, of what an earlier step made."""
    if isinstance(value, tuple):
        return tuple(_resolve(project, stages, kind, name, one, made) for one in value)
    if before := prefix_of(value):
        return before + str(_resolve(project, stages, kind, name, value.removeprefix(before), made))
    step, at, number = value.partition("@")
    done = made[step]
    if at:
        if not number.isdigit() or not done.run or int(number) not in project.runs.get(done.run).checkpoint_steps():
            raise InputError(tr("The run {run} kept no checkpoint of step {step}, which the recipe goes on from.", run=done.run,
                                step=number), tr("Set its keep_checkpoints higher in the recipe, and replay in a new project."),
                             code="no_checkpoint")
        return f"{done.run}@{number}"
    wanted = (kind.option_of(name).artifact if name in kind.model_fields else "") or stages[done.step.stage].makes
    found = [r.artifact for r in done.results if r.kind == wanted]
    if not found:
        raise InputError(tr("{step} made no {kind}, which the recipe goes on from.", step=step, kind=wanted), code="no_result")
    return found[-1]


def _already(project: Project, step: Step, row: StageRow, spec: Spec, examples: _Given) -> Done | None:
    """The step as something that is there: a finished artifact with the same settings, inputs, rows and examples. Its settings are what its
    run was asked for: an artifact may tell those that were worked out."""
    wanted = _nameless(json.loads(spec.model_dump_json()))
    asked = {run.id: _asked(run) for run in project.runs.list(step.stage)}
    for artifact in reversed(project.artifacts.list(row.makes)):
        if _nameless(_filled(row.spec, asked.get(artifact.run, artifact.spec))) == wanted and artifact.run.partition("-")[2] == step.stage \
                and _rows(project, artifact.run) == _wanted_rows(step) \
                and examples.same(layout.run(project.dir, artifact.run), step, row.spec):
            return Done(step, artifact.run, True, _compare(project, step, artifact.run))
    return None


def _asked(run: Run) -> dict[str, Any]:
    """A run's settings, with its verifier's sources in place of a version's name."""
    composition = _verifier_of(run)
    return run.spec if composition is None else {**run.spec, VERIFIER: composition.text()}


def _filled(kind: type[Spec], spec: Mapping[str, Any]) -> Any:
    """A recorded spec with the defaults of settings that came later; None where it does not fit any more."""
    try:
        return json.loads(kind(**spec).model_dump_json())
    except ValidationError:
        return None


def _nameless(spec: Any) -> Any:
    """Without the ids of sets: rows are compared, not what a library calls them."""
    if not isinstance(spec, dict):
        return spec
    named = set(taken_sets.FIELDS.values())
    return {k: [x for x in v if not (isinstance(x, str) and SET.fullmatch(x))] if k in named and isinstance(v, list) else v
            for k, v in spec.items() if k not in CONFIRMED}


def _rows(project: Project, run: str) -> dict[str, Any] | None:
    folder = layout.input_file(layout.run(project.dir, run), "x").parent
    return {p.stem: files.read_json(p) for p in sorted(folder.glob("*.json")) if p.stem != VERIFIER} if folder.is_dir() else {}


def _wanted_rows(step: Step) -> dict[str, Any]:
    try:
        return {name: json.loads(value) for name, value in step.rows.items()}
    except ValueError:
        raise FormatError(tr("The rows of {step} cannot be read.", step=step.name)) from None


def _carry_out(project: Project, step: Step, spec: Spec, make: Callable[[Sets], Spec],
               examples: _Given, device: str, watch: Watch, told: Callable[[Step, str], None]) -> Run:
    """Run the step to its end: a run of the same settings that did not come to one is gone on with, or watched if it is under way. `make`
    gives the settings with sets of the library."""
    wanted, kind = _nameless(json.loads(spec.model_dump_json())), type(spec)
    state: RunState | None = None
    for run in reversed(project.runs.list(step.stage)):
        if _nameless(_filled(kind, _asked(run))) == wanted and examples.same(run.dir, step, kind):
            state = run.state()
            if state.status != "done" and (state.status == "created" or _rows(project, run.id) == _wanted_rows(step)):
                break
    else:
        run, state = project.runs.create(make(partial(examples.into_library, spec=spec))), None
    if run.alive() and (pid := int(run.lock().holder().get("pid") or 0)):
        told(step, "followed")
    else:
        if state is None or state.status == "created":  # what the library holds here is another matter than what went into the recipe's run
            for path in _input_files(run):
                files.remove(path)
            for name, value in _wanted_rows(step).items():
                files.write_json(layout.input_file(run.dir, name), value)
            examples.put(run.dir, step, kind)
        told(step, "started" if state is None else "resumed")
        pid = launch.start(run, device, wait_for_device=True)
    ended = watch(run, pid)
    if ended.status in ("stopped", "paused"):
        raise Stopped(tr("The replay was stopped in {step}; the same command goes on there.", step=step.name),
                      saved=bool(ended.checkpoints))
    if ended.status != "done":
        finished = ended.finished
        if finished is not None:
            wrong = FledgeError(tr("{step} failed: {what}", step=step.name, what=finished.sentence), finished.remedy, code=finished.code)
            wrong.exit_code = finished.exit_code or wrong.exit_code
            raise wrong
        wrong = FledgeError(tr("{step} failed: the worker died without a last word.", step=step.name),
                            tr("The same command goes on there. The log of run {run} may say why.", run=run.id), code="crashed")
        wrong.exit_code = 70
        raise wrong
    return run


def _input_files(run: Run) -> Iterable[Path]:
    folder = layout.input_file(run.dir, "x").parent
    return [p for p in folder.glob("*.json") if p.stem != VERIFIER] if folder.is_dir() else []


def _check_row_name(name: str, kind: type[Spec]) -> None:
    """A recipe names no file that its stage does not read."""
    if name not in kind.rows or name == VERIFIER:
        raise FormatError(tr("The stage {stage} takes no rows called {name}.", stage=kind.stage, name=name))


def _compare(project: Project, step: Step, run: str) -> tuple[Compared, ...]:
    """What the run made beside what the recipe says; results of the recipe's kinds only, in its order, then the rest."""
    made = {a.kind: a for a in project.artifacts.list() if a.run == run}
    found = []
    for wanted in step.result:
        artifact = made.pop(wanted.kind, None)
        if artifact is None:  # tokens that were there before the replay, say: nobody made them again
            continue
        mine = hashes(artifact)
        different = tuple(n for n in sorted({*mine, *wanted.files}) if mine.get(n) != wanted.files.get(n))
        found.append(Compared(wanted.kind, artifact.id, not different if wanted.files else None, different if wanted.files else ()))
    return (*found, *(Compared(a.kind, a.id, None) for a in made.values()))


def _notes(recipe: Recipe, outcome: Outcome) -> list[str]:
    """Why results may differ."""
    found = [tr("{name} is not what the recipe was made from.", name=name) for name in outcome.changed]
    versions = {s.engine_version for s in recipe.step if s.engine_version} - {__version__}
    if versions and outcome.different:
        found.append(tr("The recipe was made by version {theirs}, this is {ours}.", theirs=", ".join(sorted(versions)), ours=__version__))
    found += [tr("{step} asked models again: what they answer comes out differently each time.", step=done.step.name)
              for done in outcome.steps if done.step.stage in ("instruct", "preference") and not done.skipped]
    for done in outcome.steps:
        if any(r.same is False and r.kind == "model" for r in done.results) and done.step.threads:
            found.append(tr("{step} was trained on {device} with {threads} threads; weights are the same only with as many, and with the "
                            "same versions of everything.", step=done.step.name, device=done.step.device, threads=done.step.threads))
    return found
