"""`fledge problems`: sets of problems listed, made from files, generators and examples, searched for in what models learned from, exported
and deleted."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from engine import rows_cli
from engine.contract import units
from engine.contract.errors import InputError, SettingError
from engine.contract.rows import Problem
from engine.contract.words import tr, trn
from engine.project.ingest import ingest_runs
from engine.project.problems import HELD_OUT_PERCENT
from engine.project.project import Project
from engine.stages.grpo import problem_files, problems_process, seen
from engine.text.problem_files import KINDS, Mapping, look
from engine.text.row_files.kind import Look, Refused
from engine.verifiers import making
from engine.verifiers.pool import Pool

COLUMNS = tuple(field.name for field in dataclasses.fields(Mapping) if field.name not in ("kind", "facts", "roles", "rest",
                                                                                          "held_out_values"))
ACTIONS = ("list", "import", "generate", "from-examples", "check", "export", "rename", "delete")


def list_sets(project: Project, as_json: bool) -> None:
    """Every set with its counts."""
    rows_cli.print_sets(project.library.problems.sets(), {"count": tr("Problems"), "held_out": tr("Held out")},
                        tr("The library has no problems yet."), as_json)


def show_file(path: Path, given: Sequence[str], as_json: bool) -> None:
    """What an import of a file would make of it."""
    rows_cli.print_look(look(path, _mapping_of(path, given)), as_json, COLUMNS, KINDS, _print_problem, _refused, ("fledge",))


def import_files(project: Project, paths: Sequence[Path], options: dict[str, Any], as_json: bool) -> None:
    """Take files into one set, a new one unless named: a file whole, or not at all."""
    if not paths:
        raise SettingError(tr("Name the files to import."), tr("fledge problems DIR import FILE ..."), field="names")
    library, into = project.library.problems, options["set"]
    if into:
        library.set_of(into)
    for path in paths:
        found = look(path)
        mapping = _mapping_of(path, options["mapping"], found) or found.mapping
        try:
            with _Bar(as_json, path.name, found.rows) as bar:
                done = problem_files.bring(library, path, mapping, title=options["title"], into=into,
                                           held_out_percent=options["held_out"], tell=bar)
        except InputError as wrong:
            raise rows_cli.with_map(problem_files.unreadable(wrong),
                                    tr("In a terminal: --map prompt=COLUMN --map answer=COLUMN.")) from wrong
        assert done.set is not None
        into, problems = done.set.id, [Refused(*one) for one in done.problems]
        if as_json:
            click.echo(json.dumps({"file": str(path), "set": into, "added": done.added, "already": done.same, "refused": done.refused,
                                   "held_out": done.set.held_out, "problems": [dataclasses.asdict(p) for p in problems]}))
            continue
        click.echo(trn("{name}: {count} problem added to {set}.", "{name}: {count} problems added to {set}.", done.added, name=path.name,
                       set=into))
        if done.same:
            click.echo(trn("{count} was there already.", "{count} were there already.", done.same))
        if done.refused:
            click.secho(_refused(done.refused), fg="yellow", err=True)
            rows_cli.print_problems(problems, done.refused)


def generate(project: Project, names: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """Have a generator make problems; without one, say which there are."""
    if not names:
        _print_generators(as_json)
        return
    if len(names) > 1:
        raise SettingError(tr("Name one generator."), tr("fledge problems DIR generate GENERATOR"), field="names")
    held_out = HELD_OUT_PERCENT if options["held_out"] is None else options["held_out"]
    asked = {"levels": list(options["levels"]), "count": options["count"], "seed": options["seed"], "title": options["title"],
             "into": options["set"], "held_out_percent": held_out}
    with Pool() as pool, _Bar(as_json, names[0], 0) as bar:
        made = problems_process.generated(project, pool, names[0], asked, bar)
    if as_json:
        click.echo(json.dumps(made))
        return
    click.echo(trn("{count} problem added to {set}.", "{count} problems added to {set}.", made["added"], set=made["set"]))
    if made["added"] < made["asked"]:
        click.secho(tr("{asked} were asked for: there are no more different ones.", asked=units.number(made["asked"])), fg="yellow",
                    err=True)


def from_examples(project: Project, ids: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """Problems of examples with a known answer; generated ones are taken in first."""
    ingest_runs(project)
    known = project.library.examples.sets()
    if not ids and not known:
        raise InputError(tr("The library has no examples yet."), tr("Import some, or have them made, first."), code="no_examples")
    library, into = project.library.problems, options["set"]
    before = library.set_of(into).count if into else 0
    made = library.from_examples(list(ids) or [s.id for s in known], options["title"], last_answers=options["last_answers"], into=into,
                                 held_out_percent=HELD_OUT_PERCENT if options["held_out"] is None else options["held_out"])
    if as_json:
        click.echo(json.dumps({"set": made.id, "added": made.count - before}))
    else:
        click.echo(trn("{count} problem added to {set}.", "{count} problems added to {set}.", made.count - before, set=made.id))


def check(project: Project, ids: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """Search what models learned from for the problems; every corpus and no set of examples unless named."""
    corpora, sets = tuple(options["corpora"]), tuple(options["examples"])
    if options["model"]:
        of_model = seen.sources_of(project, options["model"])
        corpora, sets = (*corpora, *of_model[0]), (*sets, *of_model[1])
    elif not (corpora or sets):
        corpora = tuple(artifact.id for artifact in project.artifacts.list("corpus"))
    asked = list(ids) or [one.id for one in project.library.problems.sets()]
    with _Bar(as_json, tr("Search"), 1000, False) as bar:
        found = seen.look(project, asked, corpora, sets, held_out=True if options["only_held_out"] else None,
                          tell=lambda share, what: bar(round(1000 * share)))
    if as_json:
        for line in seen.plain(found):
            click.echo(json.dumps(line))
        return
    for one in found:
        click.echo(tr("{source}, {title}: {found} of {count} problems stand there; {held} of them are held out.", source=one.source,
                      title=one.title, found=units.number(one.found), count=units.number(one.problems),
                      held=units.number(one.found_held_out)))
    if short := max((one.short for one in found), default=0):
        click.echo(trn("{count} problem is too short to be looked for in a corpus.",
                       "{count} problems are too short to be looked for in a corpus.", short))
    shown = project.library.problems.page(asked, count=10, seen=True)
    quotes = project.library.problems.seen(row.id for row in shown)
    for row in shown:
        click.echo(f"\n{row.prompt[-1].content[:300]}")
        for mark in quotes[row.id]:
            if mark.quote:
                click.echo(f"{click.style(mark.source, dim=True)}  {mark.quote}")


def export_sets(project: Project, ids: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """Write sets to one file."""
    form, library = options["form"], project.library.problems
    chosen = rows_cli.chosen_sets(ids, library.sets())
    target = rows_cli.target_of(options["out"], f"{chosen[0]}.{'csv' if form == 'csv' else 'jsonl'}", options["replace"])
    with _Bar(as_json, target.name, sum(library.set_of(id).count for id in chosen)) as bar:
        done = problem_files.take_out(library, chosen, target, form, held_out=True if options["only_held_out"] else None, tell=bar)
    if as_json:
        click.echo(json.dumps({"sets": chosen, "to": form, "out": str(target), "rows": done.rows}))
        return
    click.echo(trn("Wrote {count} problem to {path} ({size}).", "Wrote {count} problems to {path} ({size}).", done.rows, path=str(target),
                   size=units.size(target.stat().st_size)))


def rename_set(project: Project, names: Sequence[str], title: str, as_json: bool) -> None:
    if len(names) != 1 or not title.strip():
        raise SettingError(tr("Name one set, and what it is to be called."), tr("fledge problems DIR rename SET --title NAME"),
                           field="names")
    project.library.problems.rename(names[0], title)
    _print_set(project, names[0], as_json)


def delete_sets(project: Project, ids: Sequence[str], yes: bool, as_json: bool) -> None:
    """Delete sets for good, after asking."""
    library = project.library.problems
    sets = [library.set_of(id) for id in dict.fromkeys(ids)]
    if not sets:
        raise SettingError(tr("Name the sets to delete."), tr("fledge problems DIR delete SET ..."), field="names")
    if not yes:
        for one in sets:
            click.echo(trn("{title} ({id}) has {count} problem.", "{title} ({id}) has {count} problems.", one.count, title=one.title,
                           id=one.id), err=True)
        if as_json or not sys.stdin.isatty():
            raise SettingError(tr("Nothing was deleted."), tr("Add --yes to delete these sets for good."), code="ask")
        click.confirm(tr("Delete for good?"), abort=True, err=True)
    for one in sets:
        library.delete_set(one.id)
    click.echo(json.dumps({"deleted": [one.id for one in sets]}) if as_json else
               trn("{count} set was deleted.", "{count} sets were deleted.", len(sets)))


# ---- mappings


def _mapping_of(path: Path, given: Sequence[str], known: Look | None = None) -> Mapping | None:
    """`known`: what a look into the file found."""
    made: Mapping | None = rows_cli.mapping_of(path, given, look if known is None else lambda path: known, mapping_from, COLUMNS)
    return made


def mapping_from(given: Sequence[str], guessed: Mapping) -> Mapping:
    """The guess with the person's NAME=COLUMN over it: `kind=...` says how the file is to be read, `role:NAME=ROLE` what a role is,
    `fact=COLUMN` keeps a column and `rest=yes` all of them, `held=VALUE` is a value of the column held_out that says so."""
    values = list[str]()
    rest = [guessed.rest]

    def settle(made: Mapping, name: str, column: str) -> Mapping:
        return dataclasses.replace(made, kind="columns") if name == "answer" and made.kind in ("prompts", "fledge") and column else made

    def other(name: str, column: str) -> None:
        if name == "held":
            values.append(column)
        elif name == "rest":
            rest[0] = rows_cli.one_of(column, ("yes", "no"), tr("“rest” is yes or no.")) == "yes"
        else:
            raise SettingError(tr("Nothing of a problem is called {name}.", name=name),
                               tr("Known: {known}.", known=", ".join((*COLUMNS, "kind", "fact", "rest", "held", "role:NAME"))), field="map")
    made: Mapping = rows_cli.put_over(given, guessed, COLUMNS, KINDS, settle, other)
    return dataclasses.replace(made, rest=rest[0], held_out_values=(*values, *made.held_out_values))


# ---- for people


def _refused(count: int) -> str:
    return trn("{count} row is no problem:", "{count} rows are no problems:", count)


def _print_problem(problem: Problem) -> None:
    rows_cli.print_messages(problem.prompt)
    answer = problem.answer if isinstance(problem.answer, str) else json.dumps(problem.answer, ensure_ascii=False)
    click.echo(f"{click.style('=', dim=True)}  {answer[:500]}")


def _print_set(project: Project, id: str, as_json: bool) -> None:
    made = project.library.problems.set_of(id)
    click.echo(json.dumps(dataclasses.asdict(made)) if as_json else f"{made.id}  {made.title}")


def _print_generators(as_json: bool) -> None:
    table = Table(box=None, header_style="dim")
    for title in (tr("Generator"), tr("Levels"), tr("What it makes")):
        table.add_column(title)
    for one in making.starters():
        if as_json:
            click.echo(json.dumps({"name": one.name, "title": one.title, "help": one.help, "levels": one.levels}))
        table.add_row(one.name, str(one.levels), one.help)
    if not as_json:
        Console().print(table)


class _Bar:
    """A bar on a terminal, nothing for programs and pipes."""

    def __init__(self, quiet: bool, name: str, total: int, counted: bool = True) -> None:
        console = Console(stderr=True)
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"), console=console,
                                  transient=True, disable=quiet or not console.is_terminal)
        self._line, self._total, self._counted = self._progress.add_task(name, total=total or None, done=""), total, counted

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int) -> None:
        self._progress.update(self._line, completed=done, total=max(self._total, done) if self._total else None,
                              done=units.number(done) if self._counted else "")


def run(project_dir: Path, action: str, names: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """One call of the command."""
    project = Project.open(project_dir)
    if action == "list":
        if names:
            raise SettingError(tr("{action} takes no further names.", action=action), tr("Known: {known}.", known=", ".join(ACTIONS)))
        list_sets(project, as_json)
    elif action == "import" and options["look"]:
        for name in names:
            show_file(Path(name), options["mapping"], as_json)
    elif action == "import":
        import_files(project, rows_cli.there(names), options, as_json)
    elif action == "generate":
        generate(project, names, options, as_json)
    elif action == "from-examples":
        from_examples(project, names, options, as_json)
    elif action == "check":
        check(project, names, options, as_json)
    elif action == "export":
        export_sets(project, names, options, as_json)
    elif action == "rename":
        rename_set(project, names, options["title"], as_json)
    else:
        assert action == "delete", action
        delete_sets(project, names, options["yes"], as_json)
