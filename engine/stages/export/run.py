"""Exports one model: a folder for transformers, a GGUF file, a model in Ollama, or the adapter of one for PEFT. The `export` artifact it
makes is a receipt: what went where, with hashes, the verdicts and the round trip. The files themselves are the person's.

What can go where is decided by engine/model/exportability.py alone; the formats are those of engine/model/formats.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.contract.context import RunContext
from engine.contract.errors import FormatError, Mismatch, SettingError, Stopped
from engine.contract.events import ArtifactMade, Facts, Notice, Phase, Phases
from engine.contract.words import tr
from engine.model.adapter_files import open_adapter
from engine.model.decoder import Decoder
from engine.model.exportability import verdicts
from engine.model.formats import gguf_file, hf_folder_write, ollama, peft_write, quantize, round_trip
from engine.model.formats.card import IMPORT, lineage, model_card, raised_here
from engine.model.formats.go_template import go_template
from engine.model.formats.tokenizer_out import Words
from engine.model.formats.weights import Weights
from engine.project import files, layout
from engine.project.models import ModelRef, parents_of, resolve
from engine.project.project import Project
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.stages.export.place import Place
from engine.stages.export.spec import TARGETS, ExportSpec
from engine.text.corpus import Corpus
from engine.text.tokenizer import Tokenizer

TOLD_SECONDS = 0.25
GGUF_NAME = "model.gguf"


@dataclass
class Job:
    """One export under way."""

    spec: ExportSpec
    context: RunContext
    project: Project
    ref: ModelRef
    words: Words
    title: str
    licence: str
    facts: dict[str, Any]
    done: int = 0
    total: int = 0
    told_at: float = 0.0
    began: float = 0.0

    def phase(self, id: str, title: str, total: int = 0) -> None:
        self.done, self.total, self.began = 0, total, time.monotonic()
        self.context.emit(Phase(id=id, title=title))

    def told(self, count: int) -> None:
        """So many bytes more are done; a stop is heard."""
        self.done += count
        now = time.monotonic()
        if now - self.told_at > TOLD_SECONDS or self.done >= self.total:
            self.told_at = now
            rate = self.done / max(now - self.began, 1e-6)
            self.context.progress(min(self.done, self.total), self.total, "B", rate, max(0.0, self.total - self.done) / max(rate, 1.0))
            self.heed()

    def heed(self) -> None:
        command = self.context.command()
        if command and command.word in ("stop", "stop_save", "pause"):
            raise Stopped(tr("The export was stopped; nothing was written under its name."), paused=command.word == "pause")


def run(spec: ExportSpec, context: RunContext) -> None:
    """Judge, write aside, try it if asked, put it in its place, keep the receipt."""
    for problem in spec.problems():
        raise SettingError(problem.sentence, problem.remedy, field=problem.field)
    project = Project.open(context.project_dir)
    if before := project.artifacts.made_by(context.run_id, "export"):  # killed right after it had finished
        context.emit(Facts(facts=before.facts))
        context.emit(ArtifactMade(id=before.id, kind="export"))
        return
    check = [["check", tr("Trying it")]] if spec.check_prompts else []
    context.emit(Phases(phases=[["load", tr("Looking")], ["write", tr("Writing")], *check, ["save", tr("Putting it in place")]]))
    context.emit(Phase(id="load", title=tr("Looking")))
    ref = resolve(project, spec.model)
    with Weights(ref.folder) as weights:
        job = prepare(spec, context, project, ref, weights)
        work = layout.work(context.run_dir)
        work.mkdir(parents=True, exist_ok=True)
        written = {"hf": _hf, "gguf": _gguf, "ollama": _ollama, "lora": _lora}[spec.to](job, weights, work)
    with project.artifacts.create("export", title=job.title, parents=parents_of(project, ref), run=context.run_id,
                                  spec=spec.model_dump(mode="json")) as writer:
        files.write_json(writer.path / "receipt.json", {**job.facts, **written})
        made = writer.finish(**job.facts, **written)
    files.remove_tree(work)
    context.emit(Facts(facts=made.facts))
    context.emit(ArtifactMade(id=made.id, kind="export"))


def prepare(spec: ExportSpec, context: RunContext, project: Project, ref: ModelRef, weights: Weights) -> Job:
    """The job, or a Mismatch where exportability.py says that the other program cannot load this model."""
    words = Words(Tokenizer.load(ref.folder), raised_here(project, ref), _ends(ref))
    every = verdicts(weights.config, words.facts)
    wanted = next(v for v in every if v.target == TARGETS.get(spec.to, TARGETS["hf"]))
    if not wanted.loads:
        raise Mismatch(tr("{program} cannot load this model: {reason}.", program=wanted.title, reason=wanted.reason), wanted.remedy,
                       code="not_exportable", field="to")
    if spec.to in ("gguf", "ollama") and spec.quantisation in gguf_file.K_QUANTS:
        quantize.check()
    imported = next((a for a in lineage(project, ref) if a.run.endswith("-" + IMPORT)), None)
    licence = spec.licence or str((imported.facts.get("licence") if imported else "") or "")
    if imported and not spec.licence and licence:
        context.emit(Notice(level="info", code="licence", title=tr("Licence"), text=tr(
            "The card names the licence of the imported model: {licence}.", licence=licence)))
    title = spec.title or ref.title
    facts = {"model": ref.id, "to": spec.to, "architecture": wanted.architecture, "parameters": weights.config.parameters,
             "licence": licence, "chat": bool(ref.chat),
             "verdicts": {v.target: {"loads": v.loads, "architecture": v.architecture, "reason": v.reason} for v in every}}
    return Job(spec, context, project, ref, words, title, licence, facts)


def _hf(job: Job, weights: Weights, work: Path) -> dict[str, Any]:
    spec = job.spec
    place = _place(job, Path(spec.out), folder=True, work=work)
    if place is None:
        return files.read_json(work / "placed.json")
    size = hf_folder_write.output_bytes(weights, spec.dtype)
    place.need(size)
    job.phase("write", tr("Writing"), size)
    try:
        card = model_card(job.project, job.ref, weights.config, licence=job.licence, dtype=spec.dtype,
                          architecture=job.facts["architecture"], chat=bool(job.words.tokenizer.chat_template))
        hf_folder_write.write_folder(place.begin(), weights, job.words, spec.dtype, card, _generation(job.ref), job.told)
        return _finish(job, place, spec.dtype, work, place.aside)
    finally:
        place.drop()


def _lora(job: Job, weights: Weights, work: Path) -> dict[str, Any]:
    """The adapter alone; whoever loads it has the base."""
    spec, config = job.spec, weights.config
    adapter = open_adapter(job.ref.folder, config)
    if adapter is None:
        raise Mismatch(tr("{model} was not trained with LoRA, so it has no adapter.", model=job.ref.id),
                       tr("Export the whole model: hf, gguf or ollama."), code="not_exportable", field="to")
    place = _place(job, Path(spec.out), folder=True, work=work)
    if place is None:
        return files.read_json(work / "placed.json")
    place.need(peft_write.output_bytes(config, adapter.settings))
    job.phase("write", tr("Writing"))
    try:
        card = model_card(job.project, job.ref, config, licence=job.licence, library="peft",
                          use=peft_write.how_to_use(job.facts["architecture"], adapter.base, spec.base_name))
        folder = place.begin()
        peft_write.write_adapter(folder, config, adapter.settings, adapter.tensors, spec.base_name, card)
        job.words.write(folder, config.max_seq_len)
        job.facts |= {"base": adapter.base, "lora": asdict(adapter.settings)}
        return _finish(job, place, "float32", work, folder)
    finally:
        place.drop()


def _gguf(job: Job, weights: Weights, work: Path) -> dict[str, Any]:
    final = Path(job.spec.out)
    if final.is_dir():
        final /= f"{ollama.slug(job.title)}-{job.spec.quantisation}.gguf"
    place = _place(job, final, folder=False, work=work)
    if place is None:
        return files.read_json(work / "placed.json")
    place.need(_gguf_bytes(job, weights))
    try:
        _write_gguf(job, weights, place.begin())
        return _finish(job, place, job.spec.quantisation, work, place.aside)
    finally:
        place.drop()


def _ollama(job: Job, weights: Weights, work: Path) -> dict[str, Any]:
    """Into a running Ollama; where none runs, GGUF and Modelfile in a folder."""
    spec, template = job.spec, go_template(job.words)
    name = spec.name or ollama.slug(job.title)
    ollama.check_name(name)
    how = ollama.recipe(job.words, template, weights.config.max_seq_len, job.licence, _generation(job.ref))
    _tell_template(job, template)
    server = ollama.Ollama(spec.host)
    try:
        version = server.version()
        if version:
            return _into_ollama(job, weights, work, server, version, name, how)
    finally:
        server.close()
    if not spec.out:
        raise SettingError(tr("No Ollama runs at {url}.", url=server.url),
                           tr("Start it, or name a folder for the GGUF file and its Modelfile (--out)."), code="no_ollama", field="out")
    job.context.emit(Notice(level="info", code="no_ollama", title=tr("No Ollama runs here"), text=tr(
        "None answered at {url}, so a GGUF file and a Modelfile are written.", url=server.url),
        remedy=tr("When it runs: ollama create {name} -f {file}", name=name, file=str(Path(spec.out) / "Modelfile"))))
    place = _place(job, Path(spec.out), folder=True, work=work)
    if place is None:
        return files.read_json(work / "placed.json")
    place.need(_gguf_bytes(job, weights))
    try:
        folder = place.begin()
        _write_gguf(job, weights, folder / GGUF_NAME)
        files.write_bytes(folder / "Modelfile", how.modelfile(GGUF_NAME).encode("utf-8"))
        job.facts |= {"name": name, "created": False, "template_exact": template.exact}
        return _finish(job, place, spec.quantisation, work, folder / GGUF_NAME)
    finally:
        place.drop()


def _into_ollama(job: Job, weights: Weights, work: Path, server: ollama.Ollama, version: str, name: str,
                 how: ollama.Recipe) -> dict[str, Any]:
    """Upload the file under its hash, create the model of it, and look whether Ollama has it as it was meant."""
    if not ollama.is_loopback(server.url):
        job.context.emit(Notice(level="warning", code="elsewhere", title=tr("Another machine"), text=tr(
            "The model goes to the Ollama at {url}, as asked.", url=server.url)))
    if job.context.attempt == 1 and not job.spec.overwrite and server.has(name):
        raise SettingError(tr("Ollama has a model called {name} already.", name=name),
                           tr("Name another one, or let it be replaced (--replace)."), code="exists", field="name")
    file = work / GGUF_NAME
    _write_gguf(job, weights, file)
    sha, size = files.hash_file(file), file.stat().st_size
    report = _check(job, file, job.spec.quantisation, work)
    job.phase("save", tr("Handing it to Ollama"), size)
    uploaded = server.upload(file, sha, job.told)
    server.create(name, {GGUF_NAME: sha}, how, job.heed)
    shown = server.show(name)
    if how.template.text and str(shown.get("template", "")).strip() != how.template.text.strip():
        job.context.emit(Notice(level="warning", code="template", title=tr("Ollama changed the chat template"),
                                text=tr("What it shows is not what it was given."), remedy=tr("Try a conversation, and compare.")))
    told = {"round_trip": report.as_facts()} if report else {}
    if job.spec.check_prompts:
        equal, every = round_trip.same_texts(job.ref.folder, job.words, prompts(job), continue_greedily,
                                             lambda text, count: server.generate(name, text, count))
        told["ollama_greedy"] = {"prompts": every, "equal": equal}
        job.context.emit(Notice(level="info", code="ollama_greedy", title=tr("In Ollama"), text=tr(
            "Ollama continues {equal} of {every} prompts with the same text.", equal=equal, every=every)))
    return {"path": f"{server.url}/{name}", "name": name, "created": True, "ollama_version": version, "uploaded": uploaded,
            "precision": job.spec.quantisation, "template_exact": how.template.exact,
            "files": {GGUF_NAME: {"sha256": sha, "size": size}}, "bytes": size, **told}


def _place(job: Job, final: Path, folder: bool, work: Path) -> Place | None:
    """Where it goes; None if an attempt before this one had put it there, whole, and was killed then."""
    noted = files.read_json(work / "placed.json")
    if isinstance(noted, dict) and noted.get("path") == str(final):
        there = Place(final, job.project, job.context.run_id, True, folder)
        if there.hashes(aside=False) == noted["files"]:
            there.drop()
            return None
    return Place(final, job.project, job.context.run_id, job.spec.overwrite, folder)


def _finish(job: Job, place: Place, precision: str, work: Path, written: Path) -> dict[str, Any]:
    """Try it, note its hashes, rename it. What is tried is what is put in place."""
    report = _check(job, written, precision, work)
    job.phase("save", tr("Putting it in place"))
    hashes = place.hashes()
    told = {"round_trip": report.as_facts()} if report else {}
    made = {"path": str(place.final), "precision": precision, "files": hashes,
            "bytes": sum(int(str(entry["size"])) for entry in hashes.values()), **told}
    files.write_json(work / "placed.json", made)
    job.heed()
    place.put()
    return made


def _gguf_bytes(job: Job, weights: Weights) -> int:
    kind = job.spec.quantisation
    if kind in gguf_file.K_QUANTS:  # the file it is made of stands beside it meanwhile
        return round(gguf_file.output_bytes(weights, _between(weights)) * 1.6)
    return gguf_file.output_bytes(weights, kind)


def _between(weights: Weights) -> str:
    """What a K-quant is made of: no less than the weights have."""
    return {"BF16": "bf16", "F16": "f16"}.get(weights.code, "f32")


def _write_gguf(job: Job, weights: Weights, path: Path) -> None:
    kind = job.spec.quantisation
    direct = kind if kind in gguf_file.PRECISIONS else _between(weights)
    target = path if direct == kind else path.with_name(path.name + ".whole")
    job.phase("write", tr("Writing"), gguf_file.output_bytes(weights, direct))
    try:
        gguf_file.write_gguf(target, weights, job.words, direct, name=job.title, licence=job.licence,
                             description=f"{job.ref.id}, exported from Fledge", told=job.told)
        if target != path:
            quantize.quantize(target, path, kind, round_trip.threads(), job.heed)
    finally:
        if target != path:
            target.unlink(missing_ok=True)


def _check(job: Job, path: Path, precision: str, work: Path) -> round_trip.Report | None:
    if not job.spec.check_prompts:
        return None
    job.phase("check", tr("Trying it"))
    report = round_trip.compare(job.ref.folder, job.spec.to, path, precision, job.words, prompts(job), work, continue_greedily,
                                threads=round_trip.threads(), heed=job.heed)
    level = "info" if report.faithful else "warning"
    job.context.emit(Notice(level=level, code="round_trip", title=tr("The round trip"), text=report.sentence))
    return report


def prompts(job: Job) -> list[str]:
    """What the model is asked: texts held out from its corpus, or common beginnings where there are none."""
    wanted = job.spec.check_prompts
    corpus = next((a for a in lineage(job.project, job.ref) if a.kind == "corpus"), None)
    found: list[str] = []
    if corpus is not None:
        try:
            for part in Corpus.open(job.project.artifacts.get(corpus.id).path).texts("validation", 0, wanted):
                found += [text[:2_000] for text in part if text.strip()]
        except FormatError:
            found = []
    beginnings = [*round_trip.PROMPTS] * (1 + wanted // len(round_trip.PROMPTS))
    return [*found[:wanted], *beginnings[:max(0, wanted - len(found))]]


def continue_greedily(model: Decoder, given: Sequence[Sequence[int]], count: int, stops: Sequence[int]) -> list[list[int]]:
    """The likeliest continuations, without what ended them."""
    made = generate(model, given, Sampling(temperature=0, max_new_tokens=count, stop_ids=tuple(stops)), logprobs=False)
    return [one.ids[:-1] if one.finish_reason == "stop" else one.ids for one in made]


def _generation(ref: ModelRef) -> dict[str, Any]:
    """The generation config that came with an imported model, if one did."""
    found = files.read_json(ref.folder / "generation_config.json", {})
    return found if isinstance(found, dict) else {}


def _ends(ref: ModelRef) -> tuple[int, ...]:
    """The tokens that it names as ends."""
    listed = _generation(ref).get("eos_token_id")
    return tuple(id for id in (listed if isinstance(listed, list) else [listed]) if isinstance(id, int) and not isinstance(id, bool))


def _tell_template(job: Job, template: Any) -> None:
    if not template.text:
        text = tr("This model's chat template cannot be told in Ollama's language, so none goes along: it will continue text.")
    elif not template.exact:
        text = tr("Ollama's template is the nearest one to this model's; conversations with tools or without a system prompt may differ.")
    elif template.trims:
        text = tr("The chat template trims each message, which Ollama's cannot: blanks at its ends stay.")
    else:
        return
    job.context.emit(Notice(level="info" if template.exact else "warning", code="chat_template", title=tr("Chat template"), text=text))
