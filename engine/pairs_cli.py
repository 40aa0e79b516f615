"""`fledge pairs`: sets of pairs listed, files of pairs taken into the library and written out of it, labels of several machines joined."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from engine.contract import units
from engine.contract.errors import FledgeError, InputError, NotFound, SettingError
from engine.contract.words import tr, trn
from engine.examples_cli import print_problems
from engine.project.ingest import ingest_runs
from engine.project.project import Project
from engine.stages.preference import pair_files
from engine.text.conversations import ROLES
from engine.text.preferences import KINDS, MEANINGS, Look, Mapping, look
from engine.text.preferences.label_file import write_labels
from engine.text.row_files.kind import Refused

COLUMNS = tuple(field.name for field in dataclasses.fields(Mapping) if field.name not in ("kind", "facts", "roles", "labels"))
ACTIONS = ("list", "import", "export", "labels", "from-examples", "from-votes")


def list_sets(project: Project, as_json: bool) -> None:
    """Every set with its counts; rows of runs are taken in first."""
    ingest_runs(project)
    sets = project.library.pairs.sets()
    if as_json:
        for one in sets:
            click.echo(json.dumps(dataclasses.asdict(one)))
        return
    table = Table(box=None, header_style="dim")
    table.add_column(tr("Set"))
    table.add_column(tr("Name"))
    for name in (tr("Pairs"), tr("Labelled"), tr("To do"), tr("Skipped"), tr("Flagged")):
        table.add_column(name, justify="right")
    for one in sets:
        table.add_row(one.id, one.title, *(units.number(n) for n in (one.count, one.labelled, one.todo, one.skipped, one.flagged)))
    Console().print(table if sets else tr("The library has no pairs yet."))


def show_file(path: Path, given: Sequence[str], as_json: bool) -> None:
    """What an import of a file would make of it."""
    found = look(path, _mapping_of(path, given))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(dataclasses.replace(found, preview=())) |
                              {"preview": [p.model_dump(mode="json") for p in found.preview]}))
        return
    _print_look(found)


def import_files(project: Project, paths: Sequence[Path], set_id: str, title: str, given: Sequence[str], as_json: bool) -> None:
    """Take files into one set, a new one unless named. Pairs that the set has already are not doubled."""
    pairs = project.library.pairs
    if not paths:
        raise SettingError(tr("Name the files to import."), tr("fledge pairs DIR import FILE ..."), field="names")
    if set_id:
        pairs.get_set(set_id)
    for path in paths:
        mapping = _mapping_of(path, given)
        with _Bar(as_json, path.name, 0 if as_json else look(path, mapping, examples=0).rows) as bar:
            done = pair_files.bring(pairs, path, mapping, set_id=set_id, title=title, tell=bar, whole=False)
        set_id = done.set
        problems = [Refused(*p) for p in done.problems]
        if as_json:
            click.echo(json.dumps({"file": str(path), "set": done.set, "added": done.added, "already": done.same, "refused": done.refused,
                                   "labels": done.labels, "problems": [dataclasses.asdict(p) for p in problems]}))
        else:
            _print_import(path, done, problems)
        if done.broken is not None:
            raise _with_map(done.broken)


def export_sets(project: Project, ids: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """Write sets to one file."""
    ingest_runs(project)
    form = options["form"]
    known = project.library.pairs.sets()
    if not ids and len(known) != 1:
        raise SettingError(tr("Name the sets to export."),
                           tr("The library has: {known}.", known=", ".join(s.id for s in known) or tr("none")), field="names")
    chosen = list(ids) or [known[0].id]
    target = (options["out"] or Path(f"{chosen[0]}.{'csv' if form == 'csv' else 'jsonl'}")).expanduser().resolve()
    _free(target, options["replace"])
    with _Bar(as_json, target.name, sum(s.count if form == "fledge" else s.labelled for s in known if s.id in chosen)) as bar:
        done = pair_files.take_out(project.library.pairs, chosen, target, form, annotators=options["annotators"],
                                   least_strength=options["least_strength"], unlabelled=options["unlabelled"], tell=bar)
    if as_json:
        click.echo(json.dumps({"sets": chosen, "to": form, "out": str(target), "rows": done.rows, "left_out": done.left_out_count}))
        return
    click.echo(trn("Wrote {count} pair to {path} ({size}).", "Wrote {count} pairs to {path} ({size}).", done.rows, path=str(target),
                   size=units.size(target.stat().st_size)))
    if not done.rows and not done.left_out_count:
        click.secho(tr("Nobody has labelled a pair of these sets."), fg="yellow", err=True)
    if done.left_out_count:
        click.secho(trn("{count} pair does not fit this form: {reason}.", "{count} pairs do not fit this form: {reason}.",
                        done.left_out_count, reason=done.left_out[0][1]), fg="yellow", err=True)


def merge_files(project: Project, paths: Sequence[Path], set_id: str, as_json: bool) -> None:
    """Take in label files of other machines."""
    if not paths:
        raise SettingError(tr("Name the label files to merge."), tr("fledge pairs DIR labels merge FILE ..."), field="names")
    for path in paths:
        with _Bar(as_json, path.name, 0) as bar:
            done = pair_files.merge(project.library.pairs, path, set_id=set_id, tell=bar)
        if as_json:
            click.echo(json.dumps({"file": str(path), **dataclasses.asdict(done)}))
            continue
        click.echo(tr("{name}: {new} new labels, {newer} newer, {same} known, {older} older ones left.", name=path.name,
                      **{name: units.number(getattr(done, name)) for name in ("new", "newer", "same", "older")}))
        if done.pairs:
            click.echo(trn("{count} pair came with them.", "{count} pairs came with them.", done.pairs))
        if done.unknown:
            click.secho(trn("{count} label waits for its pair.", "{count} labels wait for their pairs.", done.unknown), fg="yellow",
                        err=True)
        if done.damaged:
            click.secho(trn("{count} row is damaged and was passed over.", "{count} rows are damaged and were passed over.", done.damaged),
                        fg="yellow", err=True)


def export_labels(project: Project, ids: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """Write labels to a label file, of these sets or of all."""
    target = (options["out"] or Path("labels.jsonl")).expanduser().resolve()
    _free(target, options["replace"])
    if len(options["annotators"]) > 1:
        raise SettingError(tr("A label file is of one annotator, or of all."), tr("Name one with --annotator, or none."), field="annotator")
    author = next(iter(options["annotators"]), "")
    labels, pairs = write_labels(target, project.library.pairs.export_labels(ids, author))
    if as_json:
        click.echo(json.dumps({"sets": list(ids), "out": str(target), "labels": labels, "pairs": pairs}))
        return
    click.echo(trn("Wrote {count} label to {path} ({size}).", "Wrote {count} labels to {path} ({size}).", labels, path=str(target),
                   size=units.size(target.stat().st_size)))


def make_of_examples(project: Project, ids: Sequence[str], set_id: str, as_json: bool) -> None:
    """Pairs of examples that have a losing answer beside their own."""
    ingest_runs(project)
    known = project.library.examples.sets()
    if not ids and not known:
        raise InputError(tr("The library has no examples yet."), tr("Import some, or have them made, first."), code="no_examples")
    _print_made(project.library.pairs.from_examples(list(ids) or [s.id for s in known], set_id), as_json)


def _print_made(count: int, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"added": count}))
    else:
        click.echo(trn("{count} pair is new.", "{count} pairs are new.", count))


def _free(target: Path, replace: bool) -> None:
    if target.exists() and not replace:
        raise InputError(tr("{path} is there already.", path=str(target)), tr("Name another file with --out, or add --replace."),
                         code="exists")


class _Bar:
    """A bar on a terminal, nothing for programs and pipes."""

    def __init__(self, quiet: bool, name: str, total: int) -> None:
        console = Console(stderr=True)
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"), console=console,
                                  transient=True, disable=quiet or not console.is_terminal)
        self._line, self._total = self._progress.add_task(name, total=total or None, done=""), total

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int) -> None:
        self._progress.update(self._line, completed=done, total=max(self._total, done) if self._total else None, done=units.number(done))


# ---- mappings


def _mapping_of(path: Path, given: Sequence[str]) -> Mapping | None:
    """What the person said of a file's columns over what can be guessed; None where nothing was said. SettingError for a column that the
    file does not have."""
    if not given:
        return None
    found = look(path)
    made = mapping_from(given, found.mapping)
    named = [column for pair in given for name, _, column in [pair.partition("=")] if name.strip() in (*COLUMNS, "fact")]
    unknown = next((column for column in named if column and column not in found.columns), None)
    if unknown is not None and found.exact and made.kind != "argilla":  # of Argilla they are fields
        raise SettingError(tr("{name} has no column called {column}.", name=path.name, column=unknown),
                           tr("Known: {known}.", known=", ".join(found.columns) or tr("none")), field="map")
    return made


def mapping_from(given: Sequence[str], guessed: Mapping) -> Mapping:
    """The guess with the person's NAME=COLUMN over it; `kind=...` says how the file is to be read, `role:NAME=ROLE` what a role is,
    `label:VALUE=first` what a label says, `fact=COLUMN` keeps a column."""
    made, facts, roles, labels = guessed, list[str](), list[tuple[str, str]](), list[tuple[str, str]]()
    for pair in given:
        name, sign, column = pair.partition("=")
        name = name.strip()
        if not sign:
            raise SettingError(tr("{pair} is no mapping of a column.", pair=pair), tr("Write it as NAME=COLUMN."), field="map")
        if name == "kind":
            made = dataclasses.replace(made, kind=_one_of(column, KINDS, tr("There is no kind of file called {kind}.", kind=column)))
        elif name == "fact":
            facts.append(column)
        elif name.startswith("role:"):
            roles.append((name.removeprefix("role:"), _one_of(column, ROLES, tr("There is no role called {role}.", role=column))))
        elif name.startswith("label:"):
            _one_of(column.partition(":")[0], MEANINGS, tr("A label cannot say {meaning}.", meaning=column))
            labels.append((name.removeprefix("label:"), column))
        elif name in COLUMNS:
            made = dataclasses.replace(made, **{name: column})
            if name in ("first", "second") and column and made.kind != "argilla":
                made = dataclasses.replace(made, kind="columns", chosen="", rejected="")
            elif name in ("chosen", "rejected") and column and made.kind == "columns":
                made = dataclasses.replace(made, kind="chosen", first="", second="", label="")
        else:
            raise SettingError(tr("Nothing of a pair is called {name}.", name=name),
                               tr("Known: {known}.", known=", ".join((*COLUMNS, "kind", "fact", "role:NAME", "label:VALUE"))), field="map")
    return dataclasses.replace(made, facts=tuple(facts), roles=tuple(roles), labels=(*labels, *made.labels))


def _one_of(word: str, known: Any, sentence: str) -> Any:
    if word not in known:
        raise SettingError(sentence, tr("Known: {known}.", known=", ".join(known)), field="map")
    return word


def _with_map(wrong: FledgeError) -> FledgeError:
    """How a terminal says which columns are which."""
    if wrong.code != "which_column":
        return wrong
    how = tr("In a terminal: --map prompt=COLUMN, and --map chosen=COLUMN --map rejected=COLUMN or the same with first, second and label.")
    return InputError(wrong.sentence, f"{wrong.remedy} {how}", code=wrong.code, field=wrong.field)


# ---- for people


def _print_import(path: Path, done: pair_files.Brought, problems: Sequence[Refused]) -> None:
    if done.taken:
        click.echo(trn("{name}: {count} pair added to {set}.", "{name}: {count} pairs added to {set}.", done.added, name=path.name,
                       set=done.set))
    if done.same:
        click.echo(trn("{count} was there already.", "{count} were there already.", done.same))
    if done.labels:
        click.echo(trn("{count} label came with them.", "{count} labels came with them.", done.labels))
    if done.refused:
        click.secho(trn("{count} row is no pair:", "{count} rows are no pairs:", done.refused), fg="yellow", err=True)
        print_problems(problems, done.refused)


def _print_look(found: Look) -> None:
    if found.problem:
        raise InputError(found.problem, found.remedy)
    mapping: Mapping = found.mapping
    named = {name: getattr(mapping, name) for name in COLUMNS if getattr(mapping, name)}
    click.echo(tr("{name}: {kind}, about {rows} rows.", name=found.name, kind=KINDS[mapping.kind], rows=units.number(found.rows)))
    click.echo(tr("Columns: {columns}.", columns=", ".join(found.columns) or tr("none")))
    if mapping.kind not in ("fledge", "argilla"):
        click.echo(tr("Read as: {mapping}.",
                      mapping=", ".join(f"{name}={column}" for name, column in named.items()) or tr("not clear; use --map")))
    for pair in found.preview:
        click.echo("")
        for message in pair.prompt:
            click.echo(f"{click.style(message.role, dim=True)}  {message.content[:500]}")
        for name, answer in (("first", pair.first), ("second", pair.second)):
            better = pair.facts.get("best") == name
            click.echo(f"{click.style('+' if better else '-', fg='green' if better else None)}  {answer.text[:500]}")
    if found.bad:
        click.secho(trn("{count} row is no pair:", "{count} rows are no pairs:", found.bad), fg="yellow", err=True)
        print_problems(found.problems, found.bad)


def run(project_dir: Path, action: str, names: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """One call of the command."""
    project = Project.open(project_dir)
    if action in ("list", "from-votes") and names:
        raise SettingError(tr("{action} takes no further names.", action=action), tr("Known: {known}.", known=", ".join(ACTIONS)))
    if action == "list":
        list_sets(project, as_json)
    elif action == "import" and options["look"]:
        for name in names:
            show_file(Path(name), options["mapping"], as_json)
    elif action == "import":
        import_files(project, _there(names), options["set"], options["title"], options["mapping"], as_json)
    elif action == "export":
        export_sets(project, names, options, as_json)
    elif action == "from-examples":
        make_of_examples(project, names, options["set"], as_json)
    elif action == "from-votes":
        _print_made(project.library.pairs.from_votes(), as_json)
    else:
        assert action == "labels", action
        if names[:1] == ("merge",):
            merge_files(project, _there(names[1:]), options["set"], as_json)
        elif names[:1] == ("export",):
            export_labels(project, names[1:], options, as_json)
        else:
            raise SettingError(tr("What shall be done with the labels?"),
                               tr("fledge pairs DIR labels merge FILE ..., or fledge pairs DIR labels export [SET ...]."), field="names")


def _there(names: Sequence[str]) -> list[Path]:
    """The files, all of which must be there before anything is taken."""
    missing = next((name for name in names if not Path(name).expanduser().exists()), None)
    if missing is not None:
        raise NotFound(tr("{path} does not exist.", path=missing), tr("Choose another file."))
    return [Path(name) for name in names]
