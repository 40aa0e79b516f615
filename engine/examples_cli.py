"""`fledge examples`: sets of examples listed, files of conversations taken into the library and written out of it."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from engine.contract import units
from engine.contract.errors import FledgeError, InputError, NotFound, SettingError
from engine.contract.rows import Example
from engine.contract.words import tr, trn
from engine.project.ingest import ingest_runs
from engine.project.project import Project
from engine.text.conversations import KINDS, ROLES, Look, Mapping, Refused, look, read, write
from engine.text.readers.cutting import chain

SHOWN = 20
"""Refused rows that are named; the others are counted."""
COLUMNS = tuple(field.name for field in dataclasses.fields(Mapping) if field.name not in ("kind", "facts", "roles"))


def list_sets(project: Project, as_json: bool) -> None:
    """Every set with its counts; rows of runs are taken in first."""
    ingest_runs(project)
    sets = project.library.examples.sets()
    if as_json:
        for one in sets:
            click.echo(json.dumps(dataclasses.asdict(one)))
        return
    table = Table(box=None, header_style="dim")
    table.add_column(tr("Set"))
    table.add_column(tr("Name"))
    for name in (tr("Examples"), tr("Accepted"), tr("Rejected"), tr("New")):
        table.add_column(name, justify="right")
    for one in sets:
        table.add_row(one.id, one.title, *(units.number(n) for n in (one.count, one.accepted, one.rejected, one.new)))
    Console().print(table if sets else tr("The library has no examples yet."))


def show_file(path: Path, pairs: Sequence[str], as_json: bool) -> None:
    """What an import of a file would make of it."""
    mapping = _mapping_of(path, pairs)
    found = look(path, mapping)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(dataclasses.replace(found, preview=())) |
                              {"preview": [e.model_dump(mode="json") for e in found.preview]}))
        return
    _print_look(found)


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
            raise _with_map(broken[0])
        if not counts["rows"]:
            raise InputError(tr("{name} holds no examples.", name=path.name),
                             tr("Where columns or roles have other names, say which are which: --map prompt=COLUMN --map answer=COLUMN, "
                                "or --map role:NAME=assistant."), code="no_examples")


def export_sets(project: Project, ids: Sequence[str], out: Path | None, form: str, only_accepted: bool, replace: bool,
                as_json: bool) -> None:
    """Write sets to one file: what is not rejected, or only what was accepted."""
    ingest_runs(project)
    known = project.library.examples.sets()
    if not ids and len(known) != 1:
        raise SettingError(tr("Name the sets to export."),
                           tr("The library has: {known}.", known=", ".join(s.id for s in known) or tr("none")), field="names")
    chosen = list(ids) or [known[0].id]
    target = (out or Path(f"{chosen[0]}.{'csv' if form == 'csv' else 'jsonl'}")).expanduser().resolve()
    if target.exists() and not replace:
        raise InputError(tr("{path} is there already.", path=str(target)), tr("Name another file with --out, or add --replace."),
                         code="exists")
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
    """What the person said of a file's columns over what can be guessed; None where nothing was said. SettingError for a column that the
    file does not have."""
    if not pairs:
        return None
    found = look(path)
    made = mapping_from(pairs, found.mapping)
    named = [column for pair in pairs for name, _, column in [pair.partition("=")] if name.strip() in (*COLUMNS, "fact")]
    unknown = next((column for column in named if column and column not in found.columns), None)
    if unknown is not None and found.exact:
        raise SettingError(tr("{name} has no column called {column}.", name=path.name, column=unknown),
                           tr("Known: {known}.", known=", ".join(found.columns) or tr("none")), field="map")
    return made


def _with_map(wrong: FledgeError) -> FledgeError:
    """How a terminal says which columns are which."""
    if wrong.code != "which_column":
        return wrong
    return InputError(wrong.sentence, f"{wrong.remedy} {tr('In a terminal: --map prompt=COLUMN --map answer=COLUMN.')}", code=wrong.code,
                      field=wrong.field)


def mapping_from(pairs: Sequence[str], guessed: Mapping) -> Mapping:
    """The guess with the person's NAME=COLUMN over it; `kind=...` starts anew, `role:NAME=ROLE` says what a role is, `fact=COLUMN` keeps
    a column."""
    made, facts, roles = guessed, [], []
    for pair in pairs:
        name, sign, column = pair.partition("=")
        name = name.strip()
        if not sign:
            raise SettingError(tr("{pair} is no mapping of a column.", pair=pair), tr("Write it as NAME=COLUMN."), field="map")
        if name == "kind":
            if column not in KINDS:
                raise SettingError(tr("There is no kind of file called {kind}.", kind=column),
                                   tr("Known: {known}.", known=", ".join(KINDS)), field="map")
            made = dataclasses.replace(made, kind=column)
        elif name == "fact":
            facts.append(column)
        elif name.startswith("role:"):
            if column not in ROLES:
                raise SettingError(tr("There is no role called {role}.", role=column), tr("Known: {known}.", known=", ".join(ROLES)),
                                   field="map")
            roles.append((name.removeprefix("role:"), column))
        elif name in COLUMNS:
            made = dataclasses.replace(made, **{name: column})
            if name in ("prompt", "answer") and column:
                made = dataclasses.replace(made, conversation="")
        else:
            raise SettingError(tr("Nothing of a conversation is called {name}.", name=name),
                               tr("Known: {known}.", known=", ".join((*COLUMNS, "kind", "fact", "role:NAME"))), field="map")
    return dataclasses.replace(made, facts=tuple(facts), roles=tuple(roles))


def _print_import(path: Path, set_id: str, added: int, counts: dict[str, int], problems: Sequence[Refused]) -> None:
    if counts["rows"]:
        click.echo(trn("{name}: {count} example added to {set}.", "{name}: {count} examples added to {set}.", added, name=path.name,
                       set=set_id))
    if counts["rows"] > added:
        click.echo(trn("{count} was there already.", "{count} were there already.", counts["rows"] - added))
    if counts["refused"]:
        click.secho(trn("{count} row is no example:", "{count} rows are no examples:", counts["refused"]), fg="yellow", err=True)
        print_problems(problems, counts["refused"])


def print_problems(problems: Sequence[Refused], count: int) -> None:
    """Each reason once, with the lines it is about; `count` rows were refused in all."""
    lines: dict[str, list[int]] = {}
    for one in problems:
        lines.setdefault(one.reason, []).append(one.line)
    for reason, at in lines.items():
        click.echo(trn("  line {lines}: {reason}", "  lines {lines}: {reason}", len(at), reason=reason,
                       lines=", ".join(map(units.number, at))), err=True)
    if count > len(problems):
        click.echo(tr("  and {count} more", count=units.number(count - len(problems))), err=True)


def _print_look(found: Look) -> None:
    if found.problem:
        raise InputError(found.problem, found.remedy)
    named = {name: getattr(found.mapping, name) for name in COLUMNS if getattr(found.mapping, name)}
    click.echo(tr("{name}: {kind}, about {rows} rows.", name=found.name, kind=KINDS[found.mapping.kind], rows=units.number(found.rows)))
    click.echo(tr("Columns: {columns}.", columns=", ".join(found.columns) or tr("none")))
    click.echo(tr("Read as: {mapping}.",
                  mapping=", ".join(f"{name}={column}" for name, column in named.items()) or tr("not clear; use --map")))
    for example in found.preview:
        click.echo("")
        for message in example.messages:
            click.echo(f"{click.style(message.role, dim=True)}  {message.content[:500]}")
    if found.bad:
        click.secho(trn("{count} row is no example:", "{count} rows are no examples:", found.bad), fg="yellow", err=True)
        print_problems(found.problems, found.bad)


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
        missing = next((name for name in names if not Path(name).expanduser().exists()), None)
        if missing is not None:  # before anything is taken
            raise NotFound(tr("{path} does not exist.", path=missing), tr("Choose another file."))
        import_files(project, [Path(name) for name in names], options["set"], options["title"], options["mapping"], as_json)
    else:
        assert action == "export", action
        export_sets(project, names, options["out"], options["form"], options["only_accepted"], options["replace"], as_json)
