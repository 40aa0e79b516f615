"""`fledge examples`: sets of examples listed, files of conversations taken into the library and written out of it."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from engine import rows_cli
from engine.contract import units
from engine.contract.errors import FledgeError, InputError, SettingError
from engine.contract.rows import Example
from engine.contract.words import tr, trn
from engine.project.ingest import ingest_runs
from engine.project.project import Project
from engine.text.conversations import KINDS, Mapping, Refused, look, read, write
from engine.text.readers.cutting import chain

SHOWN = 20
"""Refused rows that are named; the others are counted."""
COLUMNS = tuple(field.name for field in dataclasses.fields(Mapping) if field.name not in ("kind", "facts", "roles"))


def list_sets(project: Project, as_json: bool) -> None:
    """Every set with its counts; rows of runs are taken in first."""
    ingest_runs(project)
    rows_cli.print_sets(project.library.examples.sets(), {"count": tr("Examples"), "accepted": tr("Accepted"), "rejected": tr("Rejected"),
                                                          "new": tr("New")}, tr("The library has no examples yet."), as_json)


def show_file(path: Path, pairs: Sequence[str], as_json: bool) -> None:
    """What an import of a file would make of it."""
    rows_cli.print_look(look(path, _mapping_of(path, pairs)), as_json, COLUMNS, KINDS,
                        lambda example: rows_cli.print_messages(example.messages), _refused)


def import_files(project: Project, paths: Sequence[Path], set_id: str, title: str, pairs: Sequence[str], as_json: bool) -> None:
    """Take files into one set, a new one unless named. Rows that the set has already are not doubled."""
    examples = project.library.examples
    if not paths:
        raise SettingError(tr("Name the files to import."), tr("fledge examples DIR import FILE ..."), field="names")
    if set_id:
        examples.get_set(set_id)
    for path in paths:
        mapping = _mapping_of(path, pairs)
        counts = {"rows": 0, "refused": 0}
        problems: list[Refused] = []
        broken: list[FledgeError] = []

        def rows(path: Path = path, mapping: Mapping | None = mapping, counts: dict[str, int] = counts,
                 problems: list[Refused] = problems, broken: list[FledgeError] = broken) -> Iterator[Example]:
            try:
                for row in read(path, mapping):
                    if isinstance(row, Refused):
                        counts["refused"] += 1
                        if len(problems) < SHOWN:
                            problems.append(row)
                    else:
                        counts["rows"] += 1
                        yield row
            except InputError as wrong:  # ends the rows and nothing else: the library keeps what came before
                broken.append(wrong)

        stream, added = rows(), 0
        first = next(stream, None)
        if first is not None:
            # Made when there is something to put in: a file that cannot be read leaves no empty set.
            set_id = set_id or examples.create_set(title or path.name, origin=f"import:{path.name}").id
            added = examples.add(set_id, chain([first], stream))
        result = {"file": str(path), "set": set_id, "added": added, "already": counts["rows"] - added, "refused": counts["refused"],
                  "problems": [dataclasses.asdict(p) for p in problems]}
        if as_json:
            click.echo(json.dumps(result))
        elif counts["rows"] or counts["refused"]:
            _print_import(path, set_id, added, counts, problems)
        if broken:
            raise rows_cli.with_map(broken[0], tr("In a terminal: --map prompt=COLUMN --map answer=COLUMN."))
        if not counts["rows"]:
            raise InputError(tr("{name} holds no examples.", name=path.name),
                             tr("Where columns or roles have other names, say which are which: --map prompt=COLUMN --map answer=COLUMN, "
                                "or --map role:NAME=assistant."), code="no_examples")


def export_sets(project: Project, ids: Sequence[str], out: Path | None, form: str, only_accepted: bool, replace: bool,
                as_json: bool) -> None:
    """Write sets to one file: what is not rejected, or only what was accepted."""
    ingest_runs(project)
    known = project.library.examples.sets()
    chosen = rows_cli.chosen_sets(ids, known)
    target = rows_cli.target_of(out, f"{chosen[0]}.{'csv' if form == 'csv' else 'jsonl'}", replace)
    done = write(target, project.library.examples.for_training(chosen, only_accepted), form)
    if as_json:
        click.echo(json.dumps({"sets": chosen, "to": form, "out": str(target), "rows": done.rows, "left_out": done.left_out_count}))
        return
    click.echo(trn("Wrote {count} example to {path} ({size}).", "Wrote {count} examples to {path} ({size}).", done.rows,
                   path=str(target), size=units.size(target.stat().st_size)))
    if not done.rows and not done.left_out_count:
        why = tr("Nothing in these sets was accepted.") if only_accepted else tr("These sets hold nothing that was not rejected.")
        click.secho(why, fg="yellow", err=True)
    if done.left_out_count:
        click.secho(trn("{count} example does not fit this form: {reason}.", "{count} examples do not fit this form: {reason}.",
                        done.left_out_count, reason=done.left_out[0][1]), fg="yellow", err=True)


def _mapping_of(path: Path, pairs: Sequence[str]) -> Mapping | None:
    made: Mapping | None = rows_cli.mapping_of(path, pairs, look, mapping_from, COLUMNS)
    return made


def mapping_from(pairs: Sequence[str], guessed: Mapping) -> Mapping:
    """The guess with the person's NAME=COLUMN over it; `kind=...` starts anew, `role:NAME=ROLE` says what a role is, `fact=COLUMN` keeps
    a column."""
    def settle(made: Mapping, name: str, column: str) -> Mapping:
        return dataclasses.replace(made, conversation="") if name in ("prompt", "answer") and column else made

    def other(name: str, column: str) -> None:
        raise SettingError(tr("Nothing of a conversation is called {name}.", name=name),
                           tr("Known: {known}.", known=", ".join((*COLUMNS, "kind", "fact", "role:NAME"))), field="map")
    made: Mapping = rows_cli.put_over(pairs, guessed, COLUMNS, KINDS, settle, other)
    return made


def _print_import(path: Path, set_id: str, added: int, counts: dict[str, int], problems: Sequence[Refused]) -> None:
    if counts["rows"]:
        click.echo(trn("{name}: {count} example added to {set}.", "{name}: {count} examples added to {set}.", added, name=path.name,
                       set=set_id))
    if counts["rows"] > added:
        click.echo(trn("{count} was there already.", "{count} were there already.", counts["rows"] - added))
    if counts["refused"]:
        click.secho(_refused(counts["refused"]), fg="yellow", err=True)
        rows_cli.print_problems(problems, counts["refused"])


def _refused(count: int) -> str:
    return trn("{count} row is no example:", "{count} rows are no examples:", count)


def run(project_dir: Path, action: str, names: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """One call of the command."""
    project = Project.open(project_dir)
    if action == "list":
        if names:
            raise SettingError(tr("list takes no further names."), tr("Known: list, import FILE ..., export SET ..."))
        list_sets(project, as_json)
    elif action == "import" and options["look"]:
        for name in names:
            show_file(Path(name), options["mapping"], as_json)
    elif action == "import":
        import_files(project, rows_cli.there(names), options["set"], options["title"], options["mapping"], as_json)
    else:
        assert action == "export", action
        export_sets(project, names, options["out"], options["form"], options["only_accepted"], options["replace"], as_json)
