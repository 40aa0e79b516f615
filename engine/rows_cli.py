"""What `fledge examples` and `fledge pairs` have in common: sets in a table, `--map`, a look into a file, refused rows, files that must
be there or must not. It knows no kind of rows: each command hands in its columns, its kinds of file and its sentences."""

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from engine.contract import units
from engine.contract.errors import FledgeError, InputError, NotFound, SettingError
from engine.contract.words import tr, trn
from engine.text.conversations import ROLES
from engine.text.row_files.kind import Look, Refused


def print_sets(sets: Sequence[Any], counts: Mapping[str, str], nothing: str, as_json: bool) -> None:
    """Every set with its counts: `counts` gives the title of every count that a set has, `nothing` is said where there is no set."""
    if as_json:
        for one in sets:
            click.echo(json.dumps(dataclasses.asdict(one)))
        return
    table = Table(box=None, header_style="dim")
    table.add_column(tr("Set"))
    table.add_column(tr("Name"))
    for title in counts.values():
        table.add_column(title, justify="right")
    for one in sets:
        table.add_row(one.id, one.title, *(units.number(getattr(one, name)) for name in counts))
    Console().print(table if sets else nothing)


def chosen_sets(ids: Sequence[str], known: Sequence[Any]) -> list[str]:
    """The sets that were named, or the only one there is; SettingError where that is not clear."""
    if not ids and len(known) != 1:
        raise SettingError(tr("Name the sets to export."),
                           tr("The library has: {known}.", known=", ".join(s.id for s in known) or tr("none")), field="names")
    return list(ids) or [known[0].id]


# ---- files


def there(names: Sequence[str]) -> list[Path]:
    """The files, all of which must be there before anything is taken."""
    missing = next((name for name in names if not Path(name).expanduser().exists()), None)
    if missing is not None:
        raise NotFound(tr("{path} does not exist.", path=missing), tr("Choose another file."))
    return [Path(name) for name in names]


def target_of(out: Path | None, name: str, replace: bool) -> Path:
    """Where a file is to be written, `name` here unless the person said; InputError if one is there and may not be replaced."""
    target = (out or Path(name)).expanduser().resolve()
    if target.exists() and not replace:
        raise InputError(tr("{path} is there already.", path=str(target)), tr("Name another file with --out, or add --replace."),
                         code="exists")
    return target


# ---- mappings


def mapping_of(path: Path, given: Sequence[str], look: Callable[[Path], Look], mapping_from: Callable[[Sequence[str], Any], Any],
               columns: Collection[str], free_kinds: Collection[str] = ()) -> Any:
    """What the person said of a file's columns over what can be guessed; None where nothing was said. SettingError for a column that the
    file does not have, unless its kind is one of `free_kinds`, whose columns are not those of the file."""
    if not given:
        return None
    found = look(path)
    made = mapping_from(given, found.mapping)
    named = [column for pair in given for name, _, column in [pair.partition("=")] if name.strip() in (*columns, "fact")]
    unknown = next((column for column in named if column and column not in found.columns), None)
    if unknown is not None and found.exact and made.kind not in free_kinds:
        raise SettingError(tr("{name} has no column called {column}.", name=path.name, column=unknown),
                           tr("Known: {known}.", known=", ".join(found.columns) or tr("none")), field="map")
    return made


def put_over(given: Sequence[str], guessed: Any, columns: Collection[str], kinds: Collection[str],
             settle: Callable[[Any, str, str], Any], other: Callable[[str, str], None]) -> Any:
    """The guess with the person's NAME=COLUMN over it: `kind=...` says how the file is to be read, `role:NAME=ROLE` what a role is,
    `fact=COLUMN` keeps a column. `settle(mapping, name, column)` changes what a named column makes meaningless; `other(name, column)` takes
    every other name, or raises."""
    made, facts, roles = guessed, list[str](), list[tuple[str, str]]()
    for pair in given:
        name, sign, column = pair.partition("=")
        name = name.strip()
        if not sign:
            raise SettingError(tr("{pair} is no mapping of a column.", pair=pair), tr("Write it as NAME=COLUMN."), field="map")
        if name == "kind":
            made = dataclasses.replace(made, kind=one_of(column, kinds, tr("There is no kind of file called {kind}.", kind=column)))
        elif name == "fact":
            facts.append(column)
        elif name.startswith("role:"):
            roles.append((name.removeprefix("role:"), one_of(column, ROLES, tr("There is no role called {role}.", role=column))))
        elif name in columns:
            made = settle(dataclasses.replace(made, **{name: column}), name, column)
        else:
            other(name, column)
    return dataclasses.replace(made, facts=tuple(facts), roles=tuple(roles))


def one_of(word: str, known: Collection[str], sentence: str) -> str:
    """The word, or a SettingError that names those that are known."""
    if word not in known:
        raise SettingError(sentence, tr("Known: {known}.", known=", ".join(known)), field="map")
    return word


def with_map(wrong: FledgeError, how: str) -> FledgeError:
    """How a terminal says which columns are which, behind the remedy of an error about that."""
    if wrong.code != "which_column":
        return wrong
    return InputError(wrong.sentence, f"{wrong.remedy} {how}", code=wrong.code, field=wrong.field)


# ---- for people


def print_look(found: Look, as_json: bool, columns: Sequence[str], kinds: Mapping[Any, str], show: Callable[[Any], None],
               refused: Callable[[int], str], unmapped: Collection[str] = ()) -> None:
    """What an import of a file would make of it. `show` prints a row, `refused` is the sentence about so many; kinds in `unmapped` have no
    columns to be read by."""
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(dataclasses.replace(found, preview=())) |
                              {"preview": [row.model_dump(mode="json") for row in found.preview]}))
        return
    if found.problem:
        raise InputError(found.problem, found.remedy)
    named = {name: getattr(found.mapping, name) for name in columns if getattr(found.mapping, name)}
    click.echo(tr("{name}: {kind}, about {rows} rows.", name=found.name, kind=kinds[found.mapping.kind], rows=units.number(found.rows)))
    click.echo(tr("Columns: {columns}.", columns=", ".join(found.columns) or tr("none")))
    if found.mapping.kind not in unmapped:
        click.echo(tr("Read as: {mapping}.",
                      mapping=", ".join(f"{name}={column}" for name, column in named.items()) or tr("not clear; use --map")))
    for row in found.preview:
        click.echo("")
        show(row)
    if found.bad:
        click.secho(refused(found.bad), fg="yellow", err=True)
        print_problems(found.problems, found.bad)


def print_messages(messages: Sequence[Any]) -> None:
    """The beginnings of messages, each behind its role."""
    for message in messages:
        click.echo(f"{click.style(message.role, dim=True)}  {message.content[:500]}")


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
