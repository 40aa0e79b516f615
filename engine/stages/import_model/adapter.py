"""Takes an adapter of PEFT into the project: added to its base, kept as a model with the adapter beside it.

Only numbers and settings are read, by this program's own reader of safetensors, so no process apart is needed.
"""

import shutil
from pathlib import Path

import torch

from engine.contract.context import RunContext
from engine.contract.errors import FledgeError, SettingError
from engine.contract.events import ArtifactMade, Facts, Notice, Phase, Phases
from engine.contract.words import tr
from engine.model.adapter_files import save_adapter, weights_sha256
from engine.model.checkpoint import GENERATION, load_config, load_model, save_weights
from engine.model.formats.peft_read import read_adapter
from engine.model.formats.tokenizer_read import template_of
from engine.model.lora import add_lora, load_lora, lora_state, merge_lora
from engine.project.models import ModelRef, parents_of, resolve
from engine.project.project import Project
from engine.stages.import_model.spec import ImportModelSpec
from engine.text.tokenizer import Tokenizer


def import_adapter(spec: ImportModelSpec, context: RunContext, project: Project) -> None:
    """Raises SettingError (no base named), and what reading raises."""
    context.emit(Phases(phases=[["read", tr("Reading")], ["save", tr("Saving")]]))
    context.emit(Phase(id="read", title=tr("Reading")))
    made = project.artifacts.made_by(context.run_id, "model") if context.attempt > 1 else None  # killed right after it had finished
    if made is None:
        if not spec.base:
            raise SettingError(tr("This folder holds an adapter, which changes another model."),
                               tr("Name the model of this project that it changes (--base)."), code="no_base", field="base")
        folder, ref = Path(spec.folder).expanduser(), resolve(project, spec.base)
        settings, tensors = read_adapter(folder, load_config(ref.folder))
        tokenizer, chat = words_of(folder, ref, context)
        model = load_model(ref.folder)
        add_lora(model, settings, seed=0)
        load_lora(model, {**{name: t for name, t in lora_state(model).items() if name.startswith("tokens.")}, **tensors})
        with project.artifacts.create("model", title=spec.title or folder.resolve().name, parents=parents_of(project, ref),
                                      run=context.run_id, spec=spec.model_dump(mode="json")) as writer:
            save_adapter(writer.path, model, base=ref.id, base_sha256=weights_sha256(ref.folder), merged=True)
            merge_lora(model)
            context.emit(Phase(id="save", title=tr("Saving")))
            save_weights(writer.path, model)
            tokenizer.save(writer.path)
            if (ref.folder / GENERATION).is_file():
                shutil.copyfile(ref.folder / GENERATION, writer.path / GENERATION)
            made = writer.finish(format="peft", model=ref.id, method="lora", parameters=model.config.parameters,
                                 trainable=sum(t.numel() for t in tensors.values()), dtype=str(torch.float32).removeprefix("torch."),
                                 chat=chat)
    context.emit(Facts(facts=made.facts))
    context.emit(ArtifactMade(id=made.id, kind="model"))


def words_of(folder: Path, ref: ModelRef, context: RunContext) -> tuple[Tokenizer, bool]:
    """The base's tokenizer, with the chat template that lies beside the adapter where there is one: it was trained by that. And whether the
    model answers then."""
    own = Tokenizer.load(ref.folder)
    brought = template_of(folder)
    if not brought:
        return own, ref.chat
    made = Tokenizer(own.record, {**own.config, "chat_template": brought})
    try:
        made.encode_chat([{"role": "user", "content": "Hello"}])
    except FledgeError as wrong:
        context.emit(Notice(level="warning", code="chat_template", title=tr("The adapter's chat template is left out"),
                            text=wrong.sentence[:300], remedy=tr("It has the one of its base, if that has one.")))
        return own, ref.chat
    return made, True
