"""`fledge pairs`: sets of pairs listed, files of pairs taken into the library and written out of it, labels of several machines joined."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from engine import rows_cli
from engine.contract import units
from engine.contract.errors import InputError, SettingError
from engine.contract.rows import Pair
from engine.contract.words import tr, trn
from engine.project.ingest import ingest_runs
from engine.project.project import Project
from engine.stages.preference import pair_files
from engine.text.preferences import KINDS, MEANINGS, Mapping, look
from engine.text.preferences.label_file import write_labels
from engine.text.row_files.kind import Refused

COLUMNS = tuple(field.name for field in dataclasses.fields(Mapping) if field.name not in ("kind", "facts", "roles", "labels"))
ACTIONS = ("list", "import", "export", "labels", "from-examples", "from-votes")


def list_sets(project: Project, as_json: bool) -> None:
    """Every set with its counts; rows of runs are taken in first."""
    ingest_runs(project)
    rows_cli.print_sets(project.library.pairs.sets(), {"count": tr("Pairs"), "labelled": tr("Labelled"), "todo": tr("To do"),
                                                       "skipped": tr("Skipped"), "flagged": tr("Flagged")},
                        tr("The library has no pairs yet."), as_json)


def show_file(path: Path, given: Sequence[str], as_json: bool) -> None:
    """What an import of a file would make of it."""
    rows_cli.print_look(look(path, _mapping_of(path, given)), as_json, COLUMNS, KINDS, _print_pair, _refused, ("fledge", "argilla"))


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
            raise rows_cli.with_map(done.broken, tr("In a terminal: --map prompt=COLUMN, and --map chosen=COLUMN --map rejected=COLUMN or "
                                                    "the same with first, second and label."))


def export_sets(project: Project, ids: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """Write sets to one file."""
    ingest_runs(project)
    form = options["form"]
    known = project.library.pairs.sets()
    chosen = rows_cli.chosen_sets(ids, known)
    target = rows_cli.target_of(options["out"], f"{chosen[0]}.{'csv' if form == 'csv' else 'jsonl'}", options["replace"])
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
    target = rows_cli.target_of(options["out"], "labels.jsonl", options["replace"])
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
    made: Mapping | None = rows_cli.mapping_of(path, given, look, mapping_from, COLUMNS, free_kinds=("argilla",))  # its are fields
    return made


def mapping_from(given: Sequence[str], guessed: Mapping) -> Mapping:
    """The guess with the person's NAME=COLUMN over it; `kind=...` says how the file is to be read, `role:NAME=ROLE` what a role is,
    `label:VALUE=first` what a label says, `fact=COLUMN` keeps a column."""
    labels = list[tuple[str, str]]()

    def settle(made: Mapping, name: str, column: str) -> Mapping:
        if name in ("first", "second") and column and made.kind != "argilla":
            return dataclasses.replace(made, kind="columns", chosen="", rejected="")
        if name in ("chosen", "rejected") and column and made.kind == "columns":
            return dataclasses.replace(made, kind="chosen", first="", second="", label="")
        return made

    def other(name: str, column: str) -> None:
        if not name.startswith("label:"):
            raise SettingError(tr("Nothing of a pair is called {name}.", name=name),
                               tr("Known: {known}.", known=", ".join((*COLUMNS, "kind", "fact", "role:NAME", "label:VALUE"))), field="map")
        rows_cli.one_of(column.partition(":")[0], MEANINGS, tr("A label cannot say {meaning}.", meaning=column))
        labels.append((name.removeprefix("label:"), column))
    made: Mapping = rows_cli.put_over(given, guessed, COLUMNS, KINDS, settle, other)
    return dataclasses.replace(made, labels=(*labels, *made.labels))


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
        click.secho(_refused(done.refused), fg="yellow", err=True)
        rows_cli.print_problems(problems, done.refused)


def _refused(count: int) -> str:
    return trn("{count} row is no pair:", "{count} rows are no pairs:", count)


def _print_pair(pair: Pair) -> None:
    rows_cli.print_messages(pair.prompt)
    for name, answer in (("first", pair.first), ("second", pair.second)):
        better = pair.facts.get("best") == name
        click.echo(f"{click.style('+' if better else '-', fg='green' if better else None)}  {answer.text[:500]}")


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
        import_files(project, rows_cli.there(names), options["set"], options["title"], options["mapping"], as_json)
    elif action == "export":
        export_sets(project, names, options, as_json)
    elif action == "from-examples":
        make_of_examples(project, names, options["set"], as_json)
    elif action == "from-votes":
        _print_made(project.library.pairs.from_votes(), as_json)
    else:
        assert action == "labels", action
        if names[:1] == ("merge",):
            merge_files(project, rows_cli.there(names[1:]), options["set"], as_json)
        elif names[:1] == ("export",):
            export_labels(project, names[1:], options, as_json)
        else:
            raise SettingError(tr("What shall be done with the labels?"),
                               tr("fledge pairs DIR labels merge FILE ..., or fledge pairs DIR labels export [SET ...]."), field="names")
