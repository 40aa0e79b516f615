"""`fledge`: the same stages without a window. Thin: each command reads its arguments, calls the engine, prints for people or --json.

Exit codes: 0 done (also stopped as asked), 2 a setting, 3 an input, 4 the project, 5 the machine, 6 training, 70 our fault.
"""

import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from engine import __version__
from engine.contract import units
from engine.contract.errors import FledgeError, InputError, ProjectError, SettingError
from engine.contract.words import tr

PROJECT = click.argument("project", metavar="DIR", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help=tr("Print one JSON object a line, for other programs."))

REFUSALS = {getattr(errno, name) for name in ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "ENOENT", "ENOTDIR", "EISDIR")
            if hasattr(errno, name)}
"""What an operating system says of a folder that a person can mend; Windows knows fewer."""


def boundary(command: Callable[..., Any]) -> Callable[..., Any]:
    """A typed error becomes its sentence, its remedy and its exit code; with --json an object on the last line. A folder that cannot be
    written is one too; any other exception is our fault, and its traceback is shown."""
    @wraps(command)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except FledgeError as wrong:
            told = wrong
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except OSError as wrong:
            if wrong.errno not in REFUSALS or not wrong.filename:
                told = our_fault(wrong)
            else:
                told = ProjectError(tr("{path} cannot be used: {reason}.", path=str(wrong.filename), reason=wrong.strerror),
                                    tr("Check that the folder is there, that you may write to it, and that its disk has space."),
                                    code="folder")
        except Exception as wrong:  # the boundary
            told = our_fault(wrong)
        if kwargs.get("as_json"):
            click.echo(json.dumps({"error": told.code, "sentence": told.sentence, "remedy": told.remedy, "field": told.field}))
        click.secho(told.sentence, fg="red", err=True)
        if told.remedy:
            click.echo(told.remedy, err=True)
        sys.exit(told.exit_code)
    return call


def our_fault(wrong: Exception) -> FledgeError:
    """What is said of an exception nobody expected."""
    traceback.print_exception(wrong)
    told = FledgeError(tr("Fledge made a mistake: {what}.", what=f"{type(wrong).__name__}: {wrong}"),
                       tr("The lines above have the details; please report it."), code="internal")
    told.exit_code = 70
    return told


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="fledge")
@click.pass_context
def cli(context: click.Context) -> None:
    """Raise a language model on this machine: from a folder of text to a model you chat with. Nothing leaves the machine.

    Without a command, the window opens.
    """
    if context.invoked_subcommand is None:
        context.invoke(window)


@cli.command("app")
@click.argument("project", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@boundary
def window(project: Path | None = None) -> None:
    """Open the window, with the project in DIR if one is named."""
    from desktop.main import main as open_window
    sys.exit(open_window([str(project)] if project else []))


@cli.command()
@PROJECT
@click.option("--name", default="", help=tr("The project's name; the folder's unless given."))
@JSON
@boundary
def new(project: Path, name: str, as_json: bool) -> None:
    """Make a new project in the folder DIR."""
    from engine.project.project import Project
    from engine.project.recent import remember
    made = Project.create(project, name)
    remember(made.dir, made.name)
    if as_json:
        click.echo(json.dumps({"project": str(made.dir), "name": made.name}))
        return
    click.echo(tr("Made the project {name} in {folder}.", name=made.name, folder=str(made.dir)))
    if made.warning():
        click.secho(made.warning(), fg="yellow")


@cli.command()
@PROJECT
@click.argument("stage", metavar="[STAGE]", required=False)
@click.option("--recipe", metavar="FILE", type=click.Path(path_type=Path),
              help=tr("Replay a recipe.toml instead of a STAGE: each of its runs that is not there yet."))
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=tr("A setting; `fledge settings STAGE` lists them."))
@click.option("--input", "inputs", multiple=True, metavar="ID",
              help=tr("What goes in, by its id: an artifact, a checkpoint, a set of examples, pairs or problems, a version of a verifier; "
                      "its kind decides where."))
@click.option("--source", "sources", multiple=True, metavar="PATH", type=click.Path(path_type=Path),
              help=tr("A file or folder to import; with --recipe NAME=PATH, where a source lies here."))
@click.option("--executor", default="", metavar="NAME",
              help=tr("What runs a corpus: local, or datatrove (writes a pipeline for clusters)."))
@click.option("--device", default="auto", help=tr("auto, cpu, cuda, cuda:1 or mps."))
@click.option("--processes", default=1, type=click.IntRange(1, 1024), help=tr("Train on this many devices of this machine (torchrun)."))
@click.option("--detach", is_flag=True, help=tr("Queue the run and return at once."))
@JSON
@boundary
def run(project: Path, stage: str | None, recipe: Path | None, settings: tuple[str, ...], inputs: tuple[str, ...],
        sources: tuple[Path, ...], executor: str, device: str, processes: int, detach: bool, as_json: bool) -> None:
    """Run a STAGE of the project in DIR and wait for its end, or replay a recipe. Stages: corpus, tokenizer, pretrain, instruct, sft,
    adapt, preference, reward, dpo, ppo, evaluate and more; `fledge settings STAGE` lists what can be set.

    Ctrl-C stops with a checkpoint; a second one returns at once, and the run saves and stops by itself.
    """
    from engine import pipeline
    from engine.project.project import Project
    if recipe is not None:
        if stage or settings or inputs or executor or detach or processes != 1:
            raise SettingError(tr("A recipe names its stages and settings itself."),
                               tr("Beside --recipe only --source, --device and --json can be given."), code="recipe_only")
        replay_recipe(Project.open(project), recipe, sources, device, as_json)
        return
    if not stage:
        raise SettingError(tr("Name a stage, or a recipe with --recipe."), tr("Stages: {known}.", known=", ".join(pipeline.STAGES)),
                           code="unknown_stage")
    kind = pipeline.stage(stage)
    opened = Project.open(project)
    values = kind.spec.parse_settings(settings)
    if sources:
        if "sources" not in kind.spec.model_fields:
            raise SettingError(tr("{stage} takes no --source.", stage=stage), tr("Use --input with an artifact's id."))
        values["sources"] = tuple(str(s.expanduser().resolve()) for s in sources)
    if executor:
        if "executor" not in kind.spec.model_fields:
            raise SettingError(tr("{stage} takes no --executor.", stage=stage), tr("Leave it away; every stage but the corpus runs here."))
        values["executor"] = executor
    values = with_inputs(opened, kind, values, inputs, say=lambda words: click.echo(words, err=True))
    spec = kind.spec.check(values)
    problems = spec.problems()
    if problems:
        raise SettingError(problems[0].sentence, problems[0].remedy, field=problems[0].field)
    look_up_models(opened, spec)
    if "verifier" in values:
        from engine.project.verifiers import trust_typed
        trust_typed(str(values["verifier"]))
    made = opened.runs.create(spec)
    if detach:
        from engine.project import launch, queue
        started = queue.submit(opened.dir, made.id, device) if kind.device else launch.start(made)
        click.echo(json.dumps({"run": made.id, "queued": not started}) if as_json else
                   (tr("Run {id} has started.", id=made.id) if started else tr("Run {id} waits in the queue.", id=made.id)))
        return
    sys.exit(watch(opened, made, device, processes, as_json))


@cli.command()
@PROJECT
@click.argument("run_id", metavar="RUN")
@click.option("--device", default="auto", help=tr("auto, cpu, cuda, cuda:1 or mps."))
@click.option("--processes", default=1, type=click.IntRange(1, 1024), help=tr("Train on this many devices of this machine (torchrun)."))
@JSON
@boundary
def resume(project: Path, run_id: str, device: str, processes: int, as_json: bool) -> None:
    """Continue a paused, stopped, interrupted or failed RUN from its last checkpoint, exactly where it was."""
    from engine.project.project import Project
    opened = Project.open(project)
    found = opened.runs.get(run_id)
    if found.state().status == "done":
        raise InputError(tr("Run {id} is done: there is nothing to continue.", id=found.id), tr("Start a new run."))
    sys.exit(watch(opened, found, device, processes, as_json))


@cli.command()
@PROJECT
@click.argument("run_id", metavar="RUN")
@click.option("--pause", "word", flag_value="pause", help=tr("Save a checkpoint and leave the device; resume later."))
@click.option("--save-only", "word", flag_value="save", help=tr("Save a checkpoint and go on."))
@click.option("--discard", "word", flag_value="stop", help=tr("Stop without saving the steps since the last checkpoint."))
@JSON
@boundary
def stop(project: Path, run_id: str, word: str | None, as_json: bool) -> None:
    """Ask a RUN under way to save a checkpoint and stop (or to pause, or only to save)."""
    from engine.project import control, queue
    from engine.project.project import Project
    opened = Project.open(project)
    found = opened.runs.get(run_id)
    queue.remove(opened.dir, found.id)
    alive = found.alive()
    if alive:
        control.send(found.dir, word or "stop_save")
    click.echo(json.dumps({"run": found.id, "asked": (word or "stop_save") if alive else None}) if as_json else
               (tr("Run {id} was asked.", id=found.id) if alive else tr("Run {id} is not under way.", id=found.id)))


@cli.command()
@PROJECT
@JSON
@boundary
def runs(project: Path, as_json: bool) -> None:
    """List the runs of the project in DIR with their state."""
    from engine.project import queue
    from engine.project.project import Project
    from engine.project.run_doctor import rules
    from engine.project.run_measures import best_words
    from engine.terminal import finding_line, tell
    opened = Project.open(project)
    queue.ensure_runner()
    rows, said, lines = [], [], []
    for found in opened.runs.list():
        state = found.state()
        status = found.status_of(state, queue.position(opened.dir, found.id) is not None)
        outcome = state.facts.get("outcome") or (state.best.values if state.best else {})
        findings = rules(state, found.stage, found.spec)
        best = outcome if outcome.get("bpb") is not None else state.best.values if state.best else {}
        rows.append({"run": found.id, "stage": found.stage, "title": found.title, "status": status, "step": state.step,
                     "steps": state.facts.get("steps"), "bpb": outcome.get("bpb"), "best": state.best.values if state.best else None,
                     "artifacts": state.artifacts, "attempt": state.attempt, "findings": [one.code for one in findings]})
        said.append(best_words(found.stage, best))
        lines += [f"{found.id}: {finding_line(one)}" for one in findings if one.level != "info"]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    from rich.console import Console
    from rich.table import Table
    table = Table(box=None, header_style="dim")
    for name in (tr("Run"), tr("State"), tr("Steps"), tr("Best"), tr("Made")):
        table.add_column(name)
    for row, best in zip(rows, said, strict=True):
        steps = f"{row['step']:,} / {row['steps']:,}" if row["steps"] else ""
        table.add_row(row["run"], row["status"], steps, best, ", ".join(row["artifacts"]))
    out = Console()
    out.print(table if rows else tr("No runs yet."))
    for line in lines:
        tell(out, line, style="yellow")


@cli.command()
@PROJECT
@JSON
@boundary
def models(project: Path, as_json: bool) -> None:
    """List what can be chatted with: finished models and every checkpoint, by id; whether it answers or continues a text."""
    from engine.project.models import list_models
    from engine.project.project import Project
    for ref in list_models(Project.open(project)):
        if as_json:
            click.echo(json.dumps({"id": ref.id, "title": ref.title, "step": ref.step, "untrained": ref.untrained, "chat": ref.chat,
                                   "stage": ref.stage}))
        else:
            sort = tr("untrained") if ref.untrained else tr("answers") if ref.chat else tr("continues")
            click.echo(f"{ref.id:<24}{sort:<12}{ref.title}")


@cli.command("import-model")
@PROJECT
@click.argument("folder", metavar="SOURCE")
@click.option("--dtype", default="as_is", type=click.Choice(["as_is", "float32", "bfloat16", "float16"]),
              help=tr("The number format the weights are kept in; as_is changes nothing."))
@click.option("--title", default="", help=tr("How the model is called in the project; its folder's name unless given."))
@click.option("--base", default="", metavar="ID", help=tr("Of a folder that PEFT wrote (LoRA): the model of this project that it changes."))
@click.option("--yes", is_flag=True, help=tr("Fetch from the hub without asking."))
@JSON
@boundary
def import_model(project: Path, folder: str, dtype: str, title: str, base: str, yes: bool, as_json: bool) -> None:
    """Take a model of another program into the project in DIR: a Hugging Face folder, a GGUF file, hub:OWNER/NAME, or an adapter of PEFT.

    What cannot be computed exactly as its makers meant it is refused with the reason. No code of SOURCE is ever run.
    """
    from engine import pipeline
    from engine.project.project import Project
    from engine.stages.import_model.spec import HUB
    opened = Project.open(project)
    if folder.startswith(HUB):
        from engine.model.formats import hub
        found = hub.look(folder.removeprefix(HUB))
        for file in found.files:
            click.echo(f"{units.size(file.size):>10}  {file.name}", err=True)
        click.echo(tr("{name}: {size} in {count} files; licence: {licence}.", name=found.name, size=units.size(found.nbytes),
                      count=len(found.files), licence=found.licence or tr("not named")), err=True)
        if not yes:
            if as_json or not sys.stdin.isatty():
                raise SettingError(tr("Nothing was fetched."), tr("Add --yes to fetch these files."), code="ask")
            click.confirm(tr("Fetch these files?"), abort=True, err=True)
        folder = f"{HUB}{found.name}{'/' + found.gguf if found.gguf else ''}@{found.revision}"
    else:
        folder = str(Path(folder).expanduser().resolve())
    spec = pipeline.stage("import_model").spec.check({"folder": folder, "dtype": dtype, "title": title, "base": base})
    sys.exit(watch(opened, opened.runs.create(spec), "cpu", 1, as_json))


@cli.command()
@click.argument("word", metavar="[on|off]", required=False, type=click.Choice(["on", "off"]))
@JSON
@boundary
def network(word: str | None, as_json: bool) -> None:
    """Say whether Fledge may fetch models from the Hugging Face hub, or switch that on or off. It is off until you switch it on."""
    from engine.model.formats import hub
    if word:
        hub.allow(word == "on")
    on = hub.allowed()
    click.echo(json.dumps({"network": on}) if as_json else (tr("The network is on: models can be fetched from the hub when you ask.") if on
                                                             else tr("The network is off: Fledge contacts nobody.")))


@cli.command()
@PROJECT
@click.argument("artifact", metavar="ID")
@click.option("--to", "form", default="", metavar="FORMAT",
              help=tr("Of a model: hf, gguf, ollama, lora (its adapter, for PEFT). Of a corpus: parquet, jsonl, or html for its report."))
@click.option("--out", type=click.Path(path_type=Path), help=tr("The folder or file to write; named after ID in this folder unless given."))
@click.option("--replace", "--overwrite", is_flag=True, help=tr("Write over an export that is there."))
@click.option("--dtype", "--quantisation", "--quant", "precision", default="", metavar="TYPE", help=tr(
    "Of a model: float32, bfloat16, float16 (hf); f32, f16, bf16, q8_0, and with a binding of llama.cpp q6_k, q4_k_m (gguf, ollama)."))
@click.option("--check", default=0, type=click.IntRange(0, 500), metavar="N",
              help=tr("Of a model: run N prompts here and in the other program, and say whether they agree."))
@click.option("--licence", "--license", default="", metavar="TEXT", help=tr("Of a model: the licence its card names."))
@click.option("--name", default="", help=tr("How Ollama shall call the model."))
@click.option("--host", default="", metavar="URL", help=tr("Where Ollama listens, if not on this machine."))
@click.option("--title", default="", help=tr("How the exported model is called; as in the project unless given."))
@JSON
@boundary
def export(project: Path, artifact: str, form: str, out: Path | None, replace: bool, precision: str, check: int, licence: str, name: str,
           host: str, title: str, as_json: bool) -> None:
    """Write what ID names for other programs: a model (a finished one's id, or run@step) for transformers, llama.cpp or Ollama; a corpus's
    kept documents, or its report."""
    from engine.project.models import list_models, list_reward_models, resolve
    from engine.project.project import Project
    opened = Project.open(project)
    if "@" in artifact or any(ref.id == artifact for ref in (*list_models(opened), *list_reward_models(opened))):
        from engine.stages.export.spec import TARGETS, ExportSpec
        if form and form not in (*TARGETS, "lora"):
            raise SettingError(tr("A model cannot be exported to {form}.", form=form), tr("Known: {known}.", known=", ".join(TARGETS)),
                               field="to")
        ref = resolve(opened, artifact)
        rest = {"check_prompts": check, "licence": licence, "name": name, "host": host, "title": title, "overwrite": replace}
        spec = ExportSpec.asked(ref.id, title or ref.title, form or "hf", out, precision, **rest)
        if problems := spec.problems():
            raise SettingError(problems[0].sentence, problems[0].remedy, field=problems[0].field)
        sys.exit(watch(opened, opened.runs.create(spec), "cpu", 1, as_json))
    form = form or "parquet"
    from engine.stages.corpus.export import FORMATS
    from engine.stages.corpus.export import export as write
    from engine.terminal import ExportProgress
    found = opened.artifacts.get(artifact)
    if found.kind != "corpus":
        raise InputError(tr("{id} is of the kind {kind}, which this version cannot export.", id=found.id, kind=found.kind),
                         tr("Models and corpora can be exported."), code="not_exportable")
    if form not in FORMATS:
        raise SettingError(tr("A corpus cannot be exported to {form}.", form=form), tr("Known: {known}.", known=", ".join(FORMATS)),
                           field="to")
    target = (out or Path(f"{found.id}.{form}")).expanduser().resolve()
    if target.exists() and not replace:
        raise InputError(tr("{path} is there already.", path=str(target)), tr("Name another file with --out, or add --replace."),
                         code="exists")
    with ExportProgress(quiet=as_json) as progress:
        rows = write(found, form, target, progress)
    size = target.stat().st_size
    if as_json:
        click.echo(json.dumps({"artifact": found.id, "to": form, "out": str(target), "rows": rows, "bytes": size}))
    else:
        click.echo(tr("Wrote {path} ({size}).", path=str(target), size=units.size(size)))


@cli.command()
@PROJECT
@click.argument("action", metavar="[list|import|export]", default="list", type=click.Choice(["list", "import", "export"]))
@click.argument("names", metavar="[FILE|SET]...", nargs=-1)
@click.option("--set", "set_id", metavar="SET", default="", help=tr("Import into this set instead of a new one."))
@click.option("--title", default="", help=tr("How the new set is called; the file's name unless given."))
@click.option("--map", "mapping", multiple=True, metavar="NAME=COLUMN",
              help=tr("Which column is what (prompt=q, answer=a, known=result, role:narrator=system); guessed unless given."))
@click.option("--look", is_flag=True, help=tr("Only show how the file would be read, and its first rows."))
@click.option("--out", type=click.Path(path_type=Path), help=tr("The file to write (.jsonl, .json, .csv, .tsv, .parquet)."))
@click.option("--to", "form", default="messages", metavar="FORM",
              help=tr("messages (OpenAI), sharegpt, alpaca, trl, preferences, csv, or fledge (everything an example has)."))
@click.option("--only-accepted", is_flag=True, help=tr("Export only what was accepted; what is rejected never goes."))
@click.option("--replace", is_flag=True, help=tr("Write over a file that is there."))
@JSON
@boundary
def examples(project: Path, action: str, names: tuple[str, ...], set_id: str, title: str, mapping: tuple[str, ...], look: bool,
             out: Path | None, form: str, only_accepted: bool, replace: bool, as_json: bool) -> None:
    """List the sets of instruction data in the project in DIR, import files of conversations (Alpaca, ShareGPT, OpenAI, TRL, questions with
    answers, any table), or export sets."""
    from engine.examples_cli import run as run_examples
    run_examples(project, action, names, {"set": set_id, "title": title, "mapping": mapping, "look": look, "out": out, "form": form,
                                          "only_accepted": only_accepted, "replace": replace}, as_json)


@cli.command()
@PROJECT
@click.argument("action", metavar="[list|import|export|labels|from-examples|from-votes]", default="list",
                type=click.Choice(["list", "import", "export", "labels", "from-examples", "from-votes"]))
@click.argument("names", metavar="[FILE|SET|merge FILE|export SET]...", nargs=-1)
@click.option("--set", "set_id", metavar="SET", default="", help=tr("Put pairs into this set instead of a new one."))
@click.option("--title", default="", help=tr("How the new set is called; the file's name unless given."))
@click.option("--map", "mapping", multiple=True, metavar="NAME=COLUMN",
              help=tr("Which column is what (prompt=q, chosen=a, rejected=b; or first=a, second=b, label=l, label:1=first); guessed unless "
                      "given."))
@click.option("--look", is_flag=True, help=tr("Only show how the file would be read, and its first rows."))
@click.option("--out", type=click.Path(path_type=Path), help=tr("The file to write (.jsonl, .json, .csv, .tsv, .parquet)."))
@click.option("--to", "form", default="trl", metavar="FORM",
              help=tr("trl (messages), trl_text (texts), argilla, csv, hh (transcripts), or fledge (everything, with all labels)."))
@click.option("--annotator", "annotators", multiple=True, metavar="NAME", help=tr("Only labels of this person; several times for several."))
@click.option("--least-strength", default=0, type=click.IntRange(0, 3), help=tr("Leave out labels that say less."))
@click.option("--unlabelled", is_flag=True, help=tr("Export pairs that nobody has compared as well, where the form holds such."))
@click.option("--replace", is_flag=True, help=tr("Write over a file that is there."))
@JSON
@boundary
def pairs(project: Path, action: str, names: tuple[str, ...], set_id: str, title: str, mapping: tuple[str, ...], look: bool,
          out: Path | None, form: str, annotators: tuple[str, ...], least_strength: int, unlabelled: bool, replace: bool,
          as_json: bool) -> None:
    """List the sets of pairs in the project in DIR, import files of pairs (TRL, Anthropic's transcripts, Argilla, any table), export sets,
    or join labels of several machines (labels merge FILE ..., labels export)."""
    from engine.pairs_cli import run as run_pairs
    run_pairs(project, action, names, {"set": set_id, "title": title, "mapping": mapping, "look": look, "out": out, "form": form,
                                       "annotators": annotators, "least_strength": least_strength, "unlabelled": unlabelled,
                                       "replace": replace}, as_json)


@cli.command()
@PROJECT
@click.argument("action", metavar="[list|import|generate|from-examples|check|export|rename|delete]", default="list",
                type=click.Choice(["list", "import", "generate", "from-examples", "check", "export", "rename", "delete"]))
@click.argument("names", metavar="[FILE|GENERATOR|SET]...", nargs=-1)
@click.option("--set", "set_id", metavar="SET", default="", help=tr("Put problems into this set instead of a new one."))
@click.option("--title", default="", help=tr("How the set is called."))
@click.option("--map", "mapping", multiple=True, metavar="NAME=COLUMN",
              help=tr("Which column is what (prompt=q, answer=a, difficulty=level, held_out=split, held=test, fact=topic, rest=yes); "
                      "guessed unless given."))
@click.option("--look", is_flag=True, help=tr("Only show how the file would be read, and its first rows."))
@click.option("--held-out", type=click.FloatRange(0, 100), metavar="PERCENT",
              help=tr("Share of the prompts that are only measured with: 10, or as the file says."))
@click.option("--level", "levels", multiple=True, type=click.IntRange(1), help=tr("A generator's level; several times for several."))
@click.option("--count", default=200, type=click.IntRange(1), help=tr("How many problems a generator makes of each level."))
@click.option("--seed", default=0, type=int, help=tr("The same seed makes the same problems."))
@click.option("--last-answers", is_flag=True, help=tr("Take short last answers of examples, too, where no answer is known."))
@click.option("--corpus", "corpora", multiple=True, metavar="ID", help=tr("Look for the problems in this corpus (check)."))
@click.option("--examples", "examples_in", multiple=True, metavar="SET", help=tr("Look for them in this set of examples (check)."))
@click.option("--model", default="", metavar="ID", help=tr("Look for them in all that this model learned from (check)."))
@click.option("--only-held-out", is_flag=True, help=tr("Only problems that are held out (check, export)."))
@click.option("--out", type=click.Path(path_type=Path), help=tr("The file to write (.jsonl, .json, .csv, .tsv, .parquet)."))
@click.option("--to", "form", default="fledge", metavar="FORM", help=tr("fledge (everything), messages, or csv."))
@click.option("--replace", is_flag=True, help=tr("Write over a file that is there."))
@click.option("--yes", is_flag=True, help=tr("Delete without asking."))
@JSON
@boundary
def problems(project: Path, action: str, names: tuple[str, ...], set_id: str, title: str, mapping: tuple[str, ...], look: bool,
             held_out: float | None, levels: tuple[int, ...], count: int, seed: int, last_answers: bool, corpora: tuple[str, ...],
             examples_in: tuple[str, ...], model: str, only_held_out: bool, out: Path | None, form: str, replace: bool, yes: bool,
             as_json: bool) -> None:
    """List the sets of problems in the project in DIR, import files of problems (GSM8K, MATH, any table), have generators make some (a
    starter's name or a .py file, run in the sandbox), take them from examples, check whether they stand in what models learned from,
    export, rename, or delete sets."""
    from engine.problems_cli import run as run_problems
    run_problems(project, action, names, {"set": set_id, "title": title, "mapping": mapping, "look": look, "held_out": held_out,
                                          "levels": levels, "count": count, "seed": seed, "last_answers": last_answers,
                                          "corpora": corpora, "examples": examples_in, "model": model, "only_held_out": only_held_out,
                                          "out": out, "form": form, "replace": replace, "yes": yes}, as_json)


@cli.command()
@PROJECT
@click.argument("action", metavar="[list|show|new|import|export|check|trust|delete|restore]", default="list",
                type=click.Choice(["list", "show", "new", "import", "export", "check", "trust", "delete", "restore"]))
@click.argument("names", metavar="[VERIFIER|STARTER|FILE]...", nargs=-1)
@click.option("--title", default="", help=tr("How the new verifier is called."))
@click.option("--parts", default="", metavar="JSON", help=tr("Make a verifier of parts with weights, instead of a source."))
@click.option("--into", default="", metavar="VERIFIER", help=tr("Import as a new version of this one."))
@click.option("--author", default="", help=tr("Who wrote it."))
@click.option("--set", "set_id", metavar="SET", default="", help=tr("Check against the right answers of these problems, and nonsense."))
@click.option("--full", default=1.0, help=tr("Check: what a right answer must get."))
@click.option("--device", default="cpu", help=tr("Check: where a model computes."))
@click.option("--model", default="", metavar="ID", help=tr("Check: sample this model's answers to the problems, and score them."))
@click.option("--answers", default=8, type=click.IntRange(1, 4096), help=tr("Check: so many answers of the model to each problem."))
@click.option("--problems", "count", default=60, type=click.IntRange(1), help=tr("Check: so many problems for the model, held-out first."))
@click.option("--longest", default=128, type=click.IntRange(1, 131_072), help=tr("Check: tokens of the model's longest answer."))
@click.option("--out", type=click.Path(path_type=Path), help=tr("The file to write."))
@click.option("--replace", is_flag=True, help=tr("Write over a file that is there."))
@click.option("--all", "everything", is_flag=True, help=tr("Trust all that came with the project."))
@JSON
@boundary
def verifiers(project: Path, action: str, names: tuple[str, ...], title: str, parts: str, into: str, author: str, set_id: str, full: float,
              device: str, model: str, answers: int, count: int, longest: int, out: Path | None, replace: bool, everything: bool,
              as_json: bool) -> None:
    """List the verifiers in the project in DIR, begin one from those that come with Fledge, import and export .py files, check one against
    problems, or trust what came with somebody else's project."""
    from engine.verifiers_cli import run as run_verifiers
    run_verifiers(project, action, names, {"title": title, "parts": parts, "into": into, "author": author, "set": set_id, "full": full,
                                           "device": device, "model": model, "answers": answers, "problems": count, "longest": longest,
                                           "out": out, "replace": replace, "everything": everything}, as_json)


@cli.command()
@click.argument("stage", metavar="STAGE")
@JSON
@boundary
def settings(stage: str, as_json: bool) -> None:
    """List the settings of a STAGE: name, default, unit and what each does."""
    from engine import pipeline
    kind = pipeline.stage(stage).spec
    for name in kind.model_fields:
        shown, default = kind.option_of(name), kind.model_fields[name].get_default()
        low, high = kind.bounds(name)
        if as_json:
            click.echo(json.dumps({"name": name, "label": shown.label, "help": shown.help, "unit": shown.unit, "default": default,
                                   "low": low, "high": high, "choices": [c[0] for c in shown.choices], "advanced": shown.advanced}))
            continue
        words = tr("from the rest") if default is None else as_written(default)
        span = "|".join(as_written(c[0]) for c in shown.choices) or ("..".join("" if n is None else as_written(n) for n in (low, high))
                                                                    if (low, high) != (None, None) else "")
        click.echo(" ".join((f"{name:<25}", f"{words:<15}", f"{shown.unit:<11}", span)).rstrip() + f"\n    {shown.label}. {shown.help}")


def as_written(value: Any) -> str:
    """A setting's value as --set takes it; a dash where there is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value)) or "–"
    return f"{value:.12g}" if isinstance(value, (int, float)) else str(value) or "–"


@cli.command()
@PROJECT
@click.option("--checkpoint", metavar="ID", default="", help=tr("A model's id, or run@step; the newest model unless given."))
@click.option("--prompt", metavar="TEXT", help=tr("Answer this and leave; without it, lines are read from the terminal."))
@click.option("--max-tokens", default=128, type=click.IntRange(1, 100_000), help=tr("Tokens to write at most."))
@click.option("--temperature", default=0.8, type=click.FloatRange(0, 5), help=tr("0 always takes the likeliest token."))
@click.option("--top-k", default=0, type=click.IntRange(0), help=tr("Choose among this many likeliest tokens; 0: all."))
@click.option("--top-p", default=1.0, type=click.FloatRange(0, 1), help=tr("Choose among the likeliest tokens of this share; 1: all."))
@click.option("--repetition-penalty", default=1.0, type=click.FloatRange(0.1, 10), help=tr("Above 1: repeats are less likely."))
@click.option("--seed", default=42, type=int, help=tr("The same seed gives the same text."))
@click.option("--device", default="auto", help=tr("auto, cpu, cuda, cuda:1 or mps."))
@JSON
@boundary
def chat(project: Path, checkpoint: str, prompt: str | None, max_tokens: int, temperature: float, top_k: int, top_p: float,
         repetition_penalty: float, seed: int, device: str, as_json: bool) -> None:
    """Let a checkpoint of the project continue or answer a text. A base model continues; a tuned one answers."""
    from engine.project.models import newest, resolve
    from engine.project.project import Project
    from engine.terminal import talk
    opened = Project.open(project)
    ref = resolve(opened, checkpoint) if checkpoint else newest(opened)
    talk(ref, prompt, {"max_new_tokens": max_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p,
                       "repetition_penalty": repetition_penalty, "seed": seed}, device, as_json)


@cli.command()
@PROJECT
@click.option("--host", default="127.0.0.1", help=tr("Address to listen on; only this machine unless changed."))
@click.option("--port", default=0, type=click.IntRange(0, 65535), help=tr("0: any free port."))
@click.option("--no-token", is_flag=True, help=tr("Ask for no token; on this machine only."))
@click.option("--keep-alive", default="10m", metavar="TIME", help=tr("How long an idle model stays in memory: 30s, 10m, 1h; -1: for good."))
@click.option("--allow-host", "allow_hosts", multiple=True, metavar="NAME", help=tr("Another name that clients call this machine by."))
@click.option("--device", default="auto", help=tr("auto, cpu, cuda, cuda:1 or mps."))
@click.option("--owner", type=int, hidden=True, help=tr("End when this process does."))
@JSON
@boundary
def serve(project: Path, host: str, port: int, no_token: bool, keep_alive: str, allow_hosts: tuple[str, ...], device: str,
          owner: int | None, as_json: bool) -> None:
    """Serve the models of the project to other programs until Ctrl-C, as OpenAI's and Ollama's servers do.

    A token is asked for unless --no-token is given; it is in the file .server.json of the project, or is what FLEDGE_SERVE_TOKEN holds.
    """
    from engine.project.project import Project
    from engine.serve.main import serve as run_server
    from engine.serve.ollama_requests import duration
    sys.exit(run_server(Project.open(project).dir, host=host, port=port, token="" if no_token else None, device=device, owner_pid=owner,
                        as_json=as_json, keep_alive=duration(keep_alive), allow_hosts=allow_hosts))


@cli.command()
@click.option("--measure/--no-measure", default=True, help=tr("Measure the speed of matrix products (a few seconds)."))
@click.option("--folder", type=click.Path(path_type=Path), default=Path.cwd(), help=tr("Judge this folder as a place for projects."))
@JSON
@boundary
def doctor(measure: bool, folder: Path, as_json: bool) -> None:
    """Look at this machine: device, precision, speed, memory, libraries, disk; what each finding means and what to do."""
    from engine.doctor import diagnose
    from engine.terminal import print_findings
    findings = diagnose(folder=folder, measure=measure)
    sys.exit(print_findings(findings, as_json))


@cli.command()
@PROJECT
@click.option("--quick", is_flag=True, help=tr("A smaller world and model: about six minutes on two cores."))
@click.option("--corpus", type=click.Path(path_type=Path), help=tr("Your own file or folder of text instead of the generated world."))
@click.option("--seed", default=42, type=int, help=tr("The same seed gives the same world and model."))
@JSON
@boundary
def demo(project: Path, quick: bool, corpus: Path | None, seed: int, as_json: bool) -> None:
    """Raise a small model from nothing, start to end, in DIR, and report what it learned.

    The text is a small generated world, made on this machine; --corpus takes your own instead.
    """
    from engine.demo import run_demo
    from engine.terminal import DemoProgress
    with DemoProgress(quiet=as_json) as progress:
        report = run_demo(project, quick=quick, corpus=corpus, seed=seed, report=progress)
    if as_json:
        click.echo(json.dumps(report))


@cli.command()
@PROJECT
@click.option("--recipe", metavar="ID", default="", help=tr("Write a recipe that makes ID again; `fledge run --recipe` replays it."))
@click.option("--out", type=click.Path(path_type=Path), default=Path("recipe.toml"),
              help=tr("The recipe's file; recipe.toml unless given."))
@click.option("--compare", nargs=2, metavar="ID ID", default=None, help=tr("Show what the settings of two artifacts or runs differ in."))
@click.option("--verify", metavar="ID", default="",
              help=tr("Read every file of an artifact or checkpoint and compare its hash; all: of all."))
@click.option("--delete", metavar="ID", default="", help=tr("Show what would go with it; with --yes, delete that."))
@click.option("--checkpoints", is_flag=True, help=tr("Delete the checkpoints of the runs that made it, too."))
@click.option("--yes", is_flag=True, help=tr("Delete without asking."))
@JSON
@boundary
def lineage(project: Path, recipe: str, out: Path, compare: tuple[str, str] | None, verify: str, delete: str, checkpoints: bool, yes: bool,
            as_json: bool) -> None:
    """Show what was made from what in the project in DIR, what is out of date because of it, and how much disk it takes.

    An ID is an artifact's, a checkpoint's (RUN@STEP) or a run's.
    """
    from engine import pipeline, terminal
    from engine.project import lineage as graph
    from engine.project import recipe as recipes
    from engine.project.project import Project
    opened = Project.open(project)
    specs = {id: stage.spec for id, stage in pipeline.STAGES.items()}
    if recipe:
        target = out.expanduser().resolve()
        made = recipes.write(opened, recipe, target, pipeline.STAGES)
        click.echo(json.dumps({"recipe": str(target), "steps": [s.name for s in made.step], "sources": [s.name for s in made.source]})
                   if as_json else tr("Wrote {path}: {steps}.", path=str(target), steps=", ".join(s.name for s in made.step)))
    elif compare:
        rows = graph.compare(*(graph.describe(opened, id) for id in compare), specs)
        terminal.print_comparison(compare, rows, as_json)
    elif verify:
        sys.exit(terminal.print_verified(graph.read(opened), verify, as_json))
    elif delete:
        plan = graph.plan_deletion(opened, delete, with_checkpoints=checkpoints)
        terminal.print_deletion(plan, as_json and not yes)
        if yes or (not as_json and sys.stdin.isatty() and not plan.used_by and click.confirm(tr("Delete it?"))):
            freed = graph.delete(opened, plan)
            click.echo(json.dumps({"deleted": [gone.id for gone in plan.goes], "bytes": freed}) if as_json else
                       tr("Deleted; {size} are free.", size=units.size(freed)))
    else:
        terminal.print_lineage(graph.read(opened), graph.disk_usage(opened), as_json)


def replay_recipe(project: Any, file: Path, sources: tuple[Path, ...], device: str, as_json: bool) -> None:
    """Replay a recipe and say which results equal the recorded ones. A difference is said, and no failure."""
    from engine import pipeline, terminal
    from engine.project import recipe as recipes
    from engine.project.follow import follow
    given: dict[str, Path] = {}
    for pair in map(str, sources):
        name, sign, path = pair.partition("=")
        if not sign:
            raise SettingError(tr("{pair} is not a source of a recipe.", pair=pair), tr("Write it as NAME=PATH."), field="source")
        given[name] = Path(path)

    def watched(made: Any, pid: int) -> Any:
        with terminal.RunProgress(made, pid, quiet=as_json) as progress:
            return follow(made, pid, progress)
    outcome = recipes.replay(project, recipes.read(file), pipeline.STAGES, given, folder=file.expanduser().resolve().parent, device=device,
                             watch=watched,
                             told=lambda step, what: None if as_json else terminal.print_step(step, what))
    terminal.print_replay(outcome, as_json)


def with_inputs(project: Any, kind: Any, values: dict[str, Any], inputs: tuple[str, ...], say: Callable[[str], None]) -> dict[str, Any]:
    """`values` with artifact fields filled: from --input by kind; where one is missing and the project has exactly one of its kind, that
    one, said aloud. Several: refused with their names, since nothing guesses. A model may be a checkpoint (RUN@STEP), a set of the library
    goes to the setting that takes sets."""
    fields: dict[str, str] = {}
    for name in kind.spec.model_fields:
        if wanted := kind.spec.option_of(name).artifact:
            fields.setdefault(wanted, name)  # the first of a kind is the one that must be there
    if "model" in kind.needs:
        fields.setdefault("model", "model" if "model" in kind.spec.model_fields else "models")
    filled = dict(values)

    def fill(name: str, id: str) -> None:
        filled[name] = (*filled.get(name, ()), id) if name in ("models", "examples", "seeds", "pairs", "problem_sets") else id
    taking = next((name for name in ("examples", "seeds") if name in kind.spec.model_fields), "")
    for id in inputs:
        if re.fullmatch(r"set-[0-9]+", id) and taking:
            fill(taking, project.library.examples.get_set(id).id)
            continue
        if re.fullmatch(r"pair-set-[0-9]+", id) and "pairs" in kind.spec.model_fields:
            fill("pairs", project.library.pairs.get_set(id).id)
            continue
        if re.fullmatch(r"problems-[0-9]+", id) and "problem_sets" in kind.spec.model_fields:
            fill("problem_sets", project.library.problems.set_of(id).id)
            continue
        if re.fullmatch(r"verifier-[0-9]+@[0-9]+", id) and "verifier" in kind.spec.model_fields:
            fill("verifier", project.library.verifiers.version(id).ref)
            continue
        if "@" in id and "model" in fields:
            from engine.project.models import list_reward_models, resolve, resolve_reward
            scores = "reward_model" in fields and any(ref.id == id for ref in list_reward_models(project))
            fill(fields["reward_model" if scores else "model"], (resolve_reward if scores else resolve)(project, id).id)
            continue
        artifact = project.artifacts.get(id)
        if artifact.kind not in fields:
            raise InputError(tr("{stage} takes no {kind}.", stage=kind.id, kind=artifact.kind),
                             tr("It takes: {kinds}.", kinds=", ".join(fields) or tr("none")))
        fill(fields[artifact.kind], artifact.id)
    for wanted, name in fields.items():
        if filled.get(name) or wanted not in kind.needs:
            continue
        known = project.artifacts.list(wanted)
        if len(known) == 1:
            fill(name, known[0].id)
            say(tr("Uses {id}, the only {kind} of this project.", id=known[0].id, kind=wanted))
        elif known:
            raise InputError(tr("This project has several of the kind {kind}: {ids}.", kind=wanted, ids=", ".join(a.id for a in known)),
                             tr("Name one with --input."))
    return filled


MAKERS = ("first", "second", "responder", "second_responder", "judge")
"""Settings that name a local language model: another program's, or one of the project."""


def look_up_models(project: Any, spec: Any) -> None:
    """Refuse models that are not there, or are of another kind, before a run is made of them."""
    from engine.project.models import PREFIXES, resolve, resolve_reward
    of_model, of_reward = PREFIXES
    for name, value in spec:
        for one in (value if isinstance(value, (list, tuple)) else [value]):
            if not isinstance(one, str) or not one:
                continue
            if name in ("model", "models") or name in MAKERS and one.startswith(of_model):
                resolve(project, one.removeprefix(of_model))
            elif name == "reward" or name == "judge" and one.startswith(of_reward):
                resolve_reward(project, one.removeprefix(of_reward))


def watch(project: Any, made: Any, device: str, processes: int, as_json: bool) -> int:
    """Start a run, show it, and give its exit code."""
    from engine.project import launch, layout
    from engine.project.follow import follow
    from engine.terminal import RunProgress
    pid = launch.start(made, device, wait_for_device=True, processes=processes)
    with RunProgress(made, pid, quiet=as_json) as progress:
        state = follow(made, pid, progress)
    facts = project.artifacts.get(state.artifacts[-1]).facts if state.artifacts else {}
    result: dict[str, Any] = {"run": made.id, "status": state.status, "artifact": state.artifacts[-1] if state.artifacts else None, **facts}
    code = 0
    if state.status == "failed" and state.finished:
        result |= {"error": state.finished.code, "sentence": state.finished.sentence, "remedy": state.finished.remedy}
        code = state.finished.exit_code
    elif state.status == "crashed":
        result |= {"error": "crashed", "sentence": tr("The worker died without a last word."), "log": made.log_tail(20)}
        code = 70
    if layout.rows_file(made.dir).exists():  # examples or pairs: into the library, whichever way the run ended
        from engine.project.ingest import ingest_run
        of_pairs = made.stage == "preference"
        result["pairs_added" if of_pairs else "examples_added"] = ingest_run(project, made.id)
        kept = project.library.pairs.sets() if of_pairs else project.library.examples.sets()
        result["set"] = next((one.id for one in kept if one.run == made.id), "")
    if as_json:
        click.echo(json.dumps(result))
    else:
        progress.conclude(result, state)
    return code


def main() -> None:
    """The command `fledge`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    cli(prog_name="fledge")


if __name__ == "__main__":
    main()
