"""Runs the guided demo: a list of steps, each a run of the project like any other, or a look at what came out. Called again on the same
folder it goes on where it was left: finished steps are kept, runs cut short are resumed, nothing is ever removed.

It trains and measures nothing itself. The steps up to the base model stand here, those that teach it to answer in answering.py,
those that teach it a taste in preferring.py, those that let it find out for itself in reasoning.py.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from engine import __version__
from engine.contract import units
from engine.contract.errors import InputError, Locked, ProjectError
from engine.contract.words import tr
from engine.demo import answering, knowledge, preferring, reasoning, report, settings
from engine.demo.walk import Demo, Reporter, Silent, Step, stage
from engine.project import files, layout
from engine.project.artifacts import Artifact
from engine.project.locks import FileLock
from engine.project.models import resolve
from engine.project.project import Project
from engine.project.run_state import RunState
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.tokenizer.spec import TokenizerSpec
from engine.world import World

ORIGIN = "demo"
SEED = 42
VALIDATION_PERCENT = 4.0
SAMPLES_KEPT = 4


def run_demo(dir: Path | str, quick: bool = False, corpus: Path | str | None = None, seed: int = SEED, report: Reporter | None = None,
             device: str = "auto") -> dict[str, Any]:
    """Run or continue the demo in `dir`; the report as a plain dict, also written to report.json and report.md there.

    {"stages": {id: {"title", "seconds", "cpu_seconds", ...}}, "seconds", "left_out": [...], ...}. `corpus` is a file or folder of the
    person's own instead of the generated world. Raises what a run fails with; Stopped when a run was stopped (call again to go on).
    """
    project, asked = _open(Path(dir).expanduser().resolve(), quick, corpus, seed)
    reporter = report or Silent()
    lock = FileLock(layout.demo_lock(project.dir))
    if not lock.acquire():
        raise Locked(tr("The demo in {folder} is under way already.", folder=str(project.dir)),
                     tr("Wait for it, or choose another folder."))
    try:
        demo = Demo(project=project, reporter=reporter, device=device, **asked)
        demo.save()
        for step in STEPS:
            if not (step.needs_world and demo.corpus):
                _take(demo, step)
        return _conclude(demo)
    finally:
        lock.release()


def _open(folder: Path, quick: bool, corpus: Path | str | None, seed: int) -> tuple[Project, dict[str, Any]]:
    """The demo's project, made if there is none. One that was begun with other settings, or is no demo, is refused: nothing is mixed."""
    source = ""
    if corpus is not None:
        found = Path(corpus).expanduser().resolve()
        if not found.exists():
            raise InputError(tr("{path} does not exist.", path=str(corpus)), tr("Choose a file or folder of text."), code="not_found")
        source = str(found)
    asked: dict[str, Any] = {"quick": quick, "corpus": source, "seed": seed}
    if not layout.project_file(folder).is_file():
        name = tr("Demo of {name}", name=Path(source).stem) if source else tr("Demo world")
        return Project.create(folder, name, origin=ORIGIN), asked
    project = Project.open(folder)
    if project.origin != ORIGIN:
        raise ProjectError(tr("{folder} holds a project of your own.", folder=str(folder)),
                           tr("Choose another folder for the demo; yours is left as it is."), code="not_a_demo")
    kept = files.read_json(layout.demo_file(folder))
    if not isinstance(kept, dict):
        return project, asked
    begun = {name: kept[name] for name in asked}
    differing = [name for name, value in asked.items() if value != begun[name] and value not in (False, "", SEED)]
    if differing:
        names = {"quick": "--quick", "corpus": "--corpus", "seed": "--seed"}
        raise ProjectError(tr("The demo in {folder} was begun with other settings ({names}).", folder=str(folder),
                              names=", ".join(names[name] for name in differing)),
                           tr("Choose another folder, or leave these settings away to go on with it."), code="other_demo")
    return project, {**begun, **{name: dict(kept.get(name, {})) for name in ("seconds", "cpu_seconds", "results")}}


def _take(demo: Demo, step: Step) -> None:
    """One step, timed. What it took is added to what earlier calls spent on it."""
    began, spent = time.monotonic(), _children_cpu()
    demo.reporter.say(f"{step.title} …")
    try:
        demo.results[step.id] = step.run(demo)
    finally:
        demo.seconds[step.id] = round(demo.seconds.get(step.id, 0.0) + time.monotonic() - began, 2)
        demo.cpu_seconds[step.id] = round(demo.cpu_seconds.get(step.id, 0.0) + _children_cpu() - spent, 2)
        demo.save()
    facts = {"title": step.title, "seconds": demo.seconds[step.id], **demo.results[step.id]}
    demo.reporter.say(f"{step.title}: {report.result(step.id, facts)} ({units.duration(demo.seconds[step.id])})")


def _children_cpu() -> float:
    """Processor seconds of this process and its ended children; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0.0
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _conclude(demo: Demo) -> dict[str, Any]:
    """The report, written and returned."""
    taken = [step for step in STEPS if step.id in demo.results]
    left_out = [{"stage": step.id, "title": step.title, "reason": step.reason} for step in STEPS if step.id not in demo.results]
    made = {
        "stages": {step.id: {"title": step.title, **demo.results[step.id], "seconds": demo.seconds[step.id],
                             "cpu_seconds": demo.cpu_seconds[step.id]} for step in taken},
        "seconds": round(sum(demo.seconds.values()), 2), "cpu_seconds": round(sum(demo.cpu_seconds.values()), 2), "left_out": left_out,
        "project": str(demo.project.dir), "quick": demo.quick, "seed": demo.seed, "corpus": demo.corpus, "generated": not demo.corpus,
        "people": 0 if demo.corpus else demo.size.people, "device": demo.results["pretrain"].get("device", ""),
        "engine_version": __version__}
    made |= answering.conclusion(demo.results) | preferring.conclusion(demo.results) | reasoning.conclusion(demo.results)
    files.write_json(layout.demo_report(demo.project.dir, "json"), made)
    files.write_bytes(layout.demo_report(demo.project.dir, "md"), report.page(made).encode())
    demo.reporter.say(tr("The report is in {file}.", file=str(layout.demo_report(demo.project.dir, "md"))))
    return made


# ------------------------------------------------------------------------------------------------------------------ steps


def _corpus(demo: Demo) -> dict[str, Any]:
    """Import the world's text, or the person's."""
    if demo.corpus:
        spec = CorpusSpec(sources=(demo.corpus,), title=Path(demo.corpus).stem, seed=demo.seed)
    else:
        text = layout.demo_text(demo.project.dir)
        if not text.exists():
            lines = [json.dumps({"text": document}) for document in demo.world().documents(demo.size.text_bytes)]
            files.write_bytes(text, ("\n".join(lines) + "\n").encode())
        title = tr("Generated world of {people} people", people=demo.size.people)
        spec = CorpusSpec(sources=(str(text),), title=title, validation_percent=VALIDATION_PERCENT, seed=demo.seed)
    _, artifact = stage(demo, spec)
    return {key: artifact.facts[key] for key in ("documents", "bytes") if key in artifact.facts} | {"artifact": artifact.id}


def _tokenizer(demo: Demo) -> dict[str, Any]:
    corpus = demo.made["corpus"]
    vocabulary = settings.vocabulary_for(int(corpus.facts["bytes"])) if demo.corpus else demo.size.vocab_size
    _, artifact = stage(demo, TokenizerSpec(corpus=corpus.id, title=tr("Tokenizer of the demo"), vocab_size=vocabulary, seed=demo.seed))
    facts = {key: artifact.facts[key] for key in ("bytes_per_token",) if key in artifact.facts}
    return {"vocab_size": artifact.facts.get("vocab_size", vocabulary), **facts, "artifact": artifact.id}


def _pretrain(demo: Demo) -> dict[str, Any]:
    known = next((run for run in demo.project.runs.list("pretrain")), None)
    if known is not None:  # its settings were chosen when it began; this machine may measure otherwise now
        from engine.stages.pretrain.spec import PretrainSpec
        spec = PretrainSpec.check(known.spec)
    else:
        chosen = {"corpus": demo.made["corpus"].id, "tokenizer": demo.made["tokenizer"].id, "seed": demo.seed, "title": tr("Demo model")}
        if demo.corpus:
            from engine.training.devices import choose, measure_peak
            device = choose(demo.device)
            measure_peak(device)
            spec, _ = settings.own_text_spec(int(demo.made["corpus"].facts["bytes"]), demo.size.seconds, choose(demo.device))
        else:
            spec = settings.world_spec(demo.quick)
            chosen["sample_prompts"] = _world_prompts(demo.world())
        spec = spec.model_copy(update=chosen)
    state, artifact = stage(demo, spec)
    return _learned(state, artifact)


def _world_prompts(world: World) -> tuple[str, ...]:
    """A fact, a story and a sum that the text never held."""
    person, other = world.people[0], world.people[1]
    unseen = next(each for each in world.sums("held_out") if each.left % 10 + each.right >= 10)
    return (f" {person.name} lives in", f" {other.name}'s best friend is", f" One sunny morning {person.name}", f" {unseen.question}")


def _learned(state: RunState, artifact: Artifact) -> dict[str, Any]:
    """Losses and samples before and after, from the run's events."""
    evaluations = sorted(state.evaluations, key=lambda e: e.step)
    first, last = evaluations[0], evaluations[-1]
    samples = []
    end = max((sample.step for sample in state.samples), default=0)
    for before in [sample for sample in state.samples if sample.step == 0][:SAMPLES_KEPT]:
        after = next((s for s in state.samples if s.step == end and s.prompt == before.prompt), None)
        if after:
            samples.append({"prompt": before.prompt, "before": before.text, "after": after.text})
    steps_time = state.metrics.last("elapsed") or 0.0
    return {"bpb_before": first.values.get("bpb"), "bpb_after": artifact.facts.get("bpb", last.values.get("bpb")),
            "loss_before": first.values.get("val_loss"), "loss_after": artifact.facts.get("val_loss", last.values.get("val_loss")),
            "bpb_unigram": artifact.facts.get("unigram_bpb", state.facts.get("unigram_bpb")),
            "parameters": artifact.facts.get("parameters", state.facts.get("parameters", 0)), "steps": state.step,
            "tokens": state.metrics.last("tokens"), "training_seconds": round(steps_time, 2), "device": state.device_title or state.device,
            "dtype": artifact.facts.get("dtype", state.dtype), "samples": samples, "artifact": artifact.id}


def _knowledge(demo: Demo) -> dict[str, Any]:
    """Facts and unseen sums by completion, once."""
    known = demo.results.get("knowledge")
    if known and known.get("model") == demo.made["pretrain"].id:
        return known
    from engine.training.devices import choose
    ref = resolve(demo.project, demo.made["pretrain"].id)
    found = knowledge.measure(ref.folder, demo.world(), choose(demo.device).id)
    found.pop("seconds")
    return {**found, "model": ref.id}


STEPS: tuple[Step, ...] = (
    Step("corpus", tr("Text"), _corpus),
    Step("tokenizer", tr("Tokenizer"), _tokenizer),
    Step("pretrain", tr("Pretraining"), _pretrain),
    Step("knowledge", tr("What it knows"), _knowledge, needs_world=True,
         reason=tr("it asks for the facts and sums of the generated world, which your text does not have.")),
    *answering.STEPS,
    *preferring.STEPS,
    *reasoning.STEPS,
)
