"""`fledge verifiers`: those of the library listed, shown, begun, brought in from files and written out, held against problems, trusted."""

import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine import rows_cli
from engine.contract import units
from engine.contract.composition import PYTHON, Composition, Part, digest, parse, pieces, reference
from engine.contract.errors import NotFound, SettingError
from engine.contract.words import tr, trn
from engine.project import trust
from engine.project.project import Project
from engine.project.trust import Foreign, foreign
from engine.project.verifiers import Version, refuse_untrusted
from engine.verifiers import verifier_files
from engine.verifiers.api import plain
from engine.verifiers.starters import starter, starters

ACTIONS = ("list", "show", "new", "import", "export", "check", "trust", "delete", "restore")
HASH = re.compile(r"[0-9a-f]{8,64}")
CHECKED = 500
"""Problems that are tried at most."""


def list_all(project: Project, as_json: bool) -> None:
    """Those of the library, and what one can begin with."""
    held = project.library.verifiers
    rows = [(one, held.version(one.ref)) for one in held.list()]
    if as_json:
        for one, version in rows:
            click.echo(json.dumps({**dataclasses.asdict(one), "ref": one.ref, "sha256": version.sha256, "trusted": version.trusted}))
        return
    table = Table(box=None, header_style="dim")
    for title in (tr("Verifier"), tr("Name"), tr("Kind"), tr("From"), ""):
        table.add_column(title)
    for one, version in rows:
        said = [] if version.trusted else [tr("not trusted yet")]
        table.add_row(one.ref, escape(_safe(one.title)), tr("Python") if one.kind == "python" else tr("parts"), escape(_safe(one.origin)),
                      ", ".join([*said, *([tr("has a draft")] if one.draft is not None else [])]))
    Console().print(table if rows else tr("The library has no verifiers yet."))
    if not rows:
        click.echo(tr("To begin with: {command}", command=f"fledge verifiers DIR new {starters()[0].name}"))
        for each in starters():
            click.echo(f"  {each.name:20} {each.title}")


def show(project: Project, name: str, as_json: bool) -> None:
    """The text of a version (its newest unless named), of one that comes with Fledge, of what waits for trust, or what a recipe brings."""
    if name.endswith(".toml"):
        for composition in _of_recipe(Path(name)):
            click.echo(json.dumps(composition.plain()) if as_json else _safe("\n\n".join(
                f"# {piece.title}, {piece.sha256[:16]}\n{piece.text}" for piece in pieces(composition)) or composition.text()))
        return
    held = project.library.verifiers
    if not name.startswith("verifier-"):
        if waiting := _waiting(foreign(project), name):  # a run, a recipe of the project, the beginning of a hash
            for each in waiting:
                click.echo(json.dumps(dataclasses.asdict(each)) if as_json else
                           _safe(f"# {each.title}, {each.sha256[:16]}\n{each.text or each.path}"))
            return
        one = starter(name)
        click.echo(json.dumps({**dataclasses.asdict(one), "sha256": digest(one.source)}) if as_json else one.source, nl=as_json)
        return
    version = _version(project, name)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(version), "title": held.get(version.verifier).title,
                               "versions": [one.ref for one in held.versions(version.verifier)]}))
    else:
        click.echo(_safe(version.body), nl=not version.body.endswith("\n"))


def begin(project: Project, name: str, title: str, parts: str, author: str, as_json: bool) -> None:
    """A verifier from one that comes with Fledge, or of parts."""
    if bool(name) == bool(parts):
        raise SettingError(tr("What shall the verifier be made of?"),
                           tr("fledge verifiers DIR new {name}, or fledge verifiers DIR new --parts '[{{\"name\": \"number\"}}]'.",
                              name=starters()[0].name), field="names")
    held = project.library.verifiers
    if parts:
        _check_parts(held.composition(parts))
        made = held.create(title or tr("Verifier"), "parts", parts, author=author)
    else:
        one = starter(name)
        made = held.create(title or one.title, "python", one.source, origin=one.origin, author=author)
    click.echo(json.dumps({"verifier": made.id, "ref": made.ref}) if as_json else
               tr("Made {ref}: {title}.", ref=made.ref, title=made.title))


def bring(project: Project, paths: Sequence[Path], into: str, title: str, author: str, as_json: bool) -> None:
    """Files into the library: each a new verifier, or with `into` one as a new version. What is brought in by hand is trusted."""
    if not paths or (into and len(paths) > 1):
        raise SettingError(tr("Name the file to import."), tr("fledge verifiers DIR import FILE.py"), field="names")
    held = project.library.verifiers
    found = [verifier_files.read(path) for path in paths]
    for one in found:
        if into:
            known = held.get(into)
            if known.kind != one.kind:
                raise SettingError(tr("{title} is made of another kind of text than {name}.", title=known.title, name=one.name),
                                   tr("Import it as a new verifier."), field="into")
            ref = held.save(into, one.body, author=author, note=tr("From {name}", name=one.name)).ref
        else:
            ref = held.create(title or one.title, one.kind, one.body, origin=one.origin, author=author).ref
        click.echo(json.dumps({"file": one.name, "ref": ref}) if as_json else tr("{name}: {ref}", name=one.name, ref=ref))


def take_out(project: Project, name: str, out: Path | None, replace: bool, as_json: bool) -> None:
    """One version into a file."""
    held = project.library.verifiers
    version = _version(project, name)
    ending, _ = verifier_files.text_of(held, version.ref)
    plain = re.sub(r"[^\w.-]+", "_", held.get(version.verifier).title.casefold()).strip("_.") or version.verifier
    target = rows_cli.target_of(out, plain + ending, replace)
    verifier_files.write(held, version.ref, target)
    click.echo(json.dumps({"ref": version.ref, "out": str(target)}) if as_json else
               tr("Wrote {ref} to {path} ({size}).", ref=version.ref, path=str(target), size=units.size(target.stat().st_size)))


def check(project: Project, name: str, set_id: str, options: dict[str, Any], as_json: bool) -> None:
    """Whether it can run; with a set of problems, what it gives to their right answers and to nonsense, and with a model to its answers.
    Ends with 3 where a check fails; what is only to be looked at ends well."""
    from engine.verifiers.registry import Resources, compose, needs, reads_answer
    from engine.verifiers.workbench import run_checks, titles

    full, found = options["full"], None
    if options["model"] and not set_id:
        raise SettingError(tr("A model is tried on problems."), tr("Name them with --set."), field="set")
    composition = _composition(project, name)
    refuse_untrusted(composition)
    with Resources(project.dir, device=options["device"]) as resources:
        verifier = compose(composition, resources)
        if not set_id:
            verifier.score([])
            click.echo(json.dumps({"ok": True}) if as_json else tr("It can run. Hold it against problems with --set."))
            return
        from itertools import islice
        problems = list(islice(project.library.problems.rows([project.library.problems.set_of(set_id).id]), CHECKED))
        if not problems:
            raise SettingError(tr("There is no problem in these sets."), tr("Choose other sets."), field="set")
        report = run_checks(verifier, problems, full=full, reads_answer=reads_answer(composition),
                            few="local_llm" in needs(composition))
        if options["model"]:
            found = _tried(project, verifier, problems, options, as_json)
    if as_json:
        click.echo(json.dumps({**report.to_json(), **({"scores": found[0].to_json(), "trial": found[1].key} if found else {})}))
    else:
        _print_report(report, titles())
        for line in found[2] if found else []:
            click.echo(line)
    if any(row.level == "failure" for row in report.rows):
        sys.exit(3)


def _tried(project: Project, verifier: Any, problems: Sequence[Any], options: dict[str, Any], as_json: bool) -> tuple[Any, Any, list[str]]:
    """Scores of a model's completions, where these lie, and lines to print."""
    from engine.project.trials import TrialSettings
    from engine.stages.grpo import trying

    settings = TrialSettings(options["model"], k=options["answers"], max_new_tokens=options["longest"])
    scores, trial = trying.model_scores(project, verifier, trying.held_out_first(problems, options["problems"]), settings,
                                        full=options["full"], device=options["device"], tell=lambda said: None if as_json else click.echo(
                                            trying.progress(said), err=True))
    return scores, trial, trying.lines(scores)


def _said_of(row: Any) -> str:
    """What a check found, with what the verifier raised where it did."""
    raised = tr("Line {line}: {sentence}", line=row.line, sentence=row.message) if row.line and row.message else row.message
    return " ".join(part for part in (row.sentence, raised if row.error or not row.sentence else "") if part)


def _print_report(report: Any, titles: dict[str, str]) -> None:
    colours = {"ok": "green", "warning": "yellow", "failure": "red"}
    for row in report.rows:
        got = tr("no score") if row.got is None and row.tried else units.number(row.got, 2) if row.got is not None else "–"
        click.echo(f"{click.style(f'{titles[row.id]:16}', fg=colours.get(row.level))} {got:>8}  {_said_of(row)}".rstrip())
    click.echo(trn("{count} problem, {ms} ms a call.", "{count} problems, {ms} ms a call.", report.problems,
                   ms=units.number(report.ms, 1)))
    if report.unusable:     # how many there are stands in the sentence below
        click.secho(report.unusable[0][2], fg="yellow", err=True)
    if report.unstable:
        click.secho(report.unstable, fg="yellow", err=True)
    click.echo(report.sentence)


def say_yes(project: Project, names: Sequence[str], everything: bool, as_json: bool) -> None:
    """Trust what is named (a version, a run, a recipe.toml, the beginning of a hash), or everything; without either, name what is not
    trusted."""
    waiting = foreign(project)
    if not names and not everything:
        _print_foreign(waiting, as_json)
        return
    chosen = list(waiting) if everything else []
    for name in names:
        if name.endswith(".toml"):
            chosen += [Foreign("verifier", piece.title, piece.sha256, name, piece.text)
                       for composition in _of_recipe(Path(name)) for piece in pieces(composition)]
            continue
        found = _waiting(waiting, name)
        if not found and reference(name) and not (version := project.library.verifiers.version(name)).trusted:
            found = [Foreign("verifier", piece.title, piece.sha256, version.ref, piece.text)
                     for piece in project.library.verifiers.pieces(name)]
        if not found:
            raise NotFound(tr("Nothing that waits for trust is called {name}.", name=name),
                           tr("`fledge verifiers DIR trust` lists what does."), field="names")
        chosen += found
    trust.trust([one.sha256 for one in chosen], where=project.name)
    if as_json:
        click.echo(json.dumps({"trusted": [one.sha256 for one in chosen]}))
    else:
        for one in chosen:
            click.echo(tr("Trusted: {title} ({ref}).", title=_safe(one.title), ref=_safe(one.ref)))


def _waiting(waiting: Sequence[Foreign], name: str) -> list[Foreign]:
    return [one for one in waiting if name in (one.ref, one.path) or (HASH.fullmatch(name) and one.sha256.startswith(name))]


def _print_foreign(waiting: Sequence[Foreign], as_json: bool) -> None:
    if as_json:
        for one in waiting:
            click.echo(json.dumps(dataclasses.asdict(one)))
        return
    if not waiting:
        click.echo(tr("Everything in this project that could run is trusted."))
    words = {"verifier": tr("verifier"), "recipe": tr("recipe, a program"), "weights": tr("weights that can hold a program")}
    for one in waiting:
        click.echo(f"{click.style(one.sha256[:16], dim=True)}  {words[one.kind]}: {_safe(one.title)} ({_safe(one.ref)})")
    if waiting:
        click.echo(tr("Read them (`fledge verifiers DIR show ID`), then: {command}", command="fledge verifiers DIR trust ID"))


def _safe(text: str) -> str:
    """What somebody else wrote, without signs that move a terminal's cursor or turn its writing round. `export` writes it as it is."""
    return plain(text, len(text))


def _of_recipe(path: Path) -> list[Composition]:
    from engine.project import recipe

    return [parse(str(step.settings[recipe.VERIFIER])) for step in recipe.read(path).step if recipe.VERIFIER in step.settings]


def _version(project: Project, name: str) -> Version:
    """By its name; of a verifier alone its newest."""
    held = project.library.verifiers
    return held.version(name if "@" in name else held.get(name).ref)


def _composition(project: Project, name: str) -> Composition:
    """What shall be checked: a version, a file, one that comes with Fledge."""
    if name.startswith("verifier-"):
        return project.library.verifiers.composition(_version(project, name).ref)
    path = Path(name).expanduser()
    if path.suffix in (".py", ".json") and path.is_file():
        one = verifier_files.read(path)
        own = parse(one.body) if one.kind == "parts" else _of_source(one.title, one.body)
    else:
        own = _of_source(starter(name).title, starter(name).source)
    trust.trust([piece.sha256 for piece in pieces(own)], where=name)  # named by the person, as an import is; not what it refers to
    return project.library.verifiers.composition(own.text())


def _of_source(title: str, source: str) -> Composition:
    return Composition("sum", (Part(PYTHON, title, 1.0, {"source": source}),))


def _check_parts(composition: Composition) -> None:
    from engine.verifiers.registry import problems

    if wrong := problems(composition):
        raise SettingError(wrong[0].sentence, wrong[0].remedy, field="parts")


def run(project_dir: Path, action: str, names: Sequence[str], options: dict[str, Any], as_json: bool) -> None:
    """One call of the command."""
    project = Project.open(project_dir)
    if (action == "list" and names) or (action in ("show", "export", "check", "delete", "restore") and len(names) != 1):
        raise SettingError(tr("Name one verifier.") if action != "list" else tr("{action} takes no further names.", action=action),
                           tr("`fledge verifiers DIR` lists them."), field="names")
    if action == "list":
        list_all(project, as_json)
    elif action == "show":
        show(project, names[0], as_json)
    elif action == "new":
        begin(project, " ".join(names), options["title"], options["parts"], options["author"], as_json)
    elif action == "import":
        bring(project, [Path(name).expanduser() for name in names], options["into"], options["title"], options["author"], as_json)
    elif action == "export":
        take_out(project, names[0], options["out"], options["replace"], as_json)
    elif action == "check":
        check(project, names[0], options["set"], options, as_json)
    elif action == "trust":
        say_yes(project, names, options["everything"], as_json)
    else:
        held, id = project.library.verifiers, names[0].partition("@")[0]
        (held.remove if action == "delete" else held.restore)(id)
        click.echo(json.dumps({"verifier": id, "removed": action == "delete"}) if as_json else
                   tr("{id} is out of the list; `fledge verifiers DIR restore {id}` brings it back.", id=id) if action == "delete" else
                   tr("{id} is back.", id=id))
