"""Takes an adapter of PEFT into the project: added to its base, kept as a model with the adapter beside it.

Only numbers and settings are read, by this program's own reader of safetensors, so no process apart is needed.
"""

import shutil
from pathlib import Path

import torch

from engine.contract.context import RunContext
from engine.contract.errors import SettingError
from engine.contract.events import ArtifactMade, Facts, Phase, Phases
from engine.contract.words import tr
from engine.model.adapter_files import save_adapter, weights_sha256
from engine.model.checkpoint import GENERATION, load_config, load_model, save_weights
from engine.model.formats.peft_read import read_adapter
from engine.model.lora import add_lora, load_lora, lora_state, merge_lora
from engine.project.models import parents_of, resolve
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
        model = load_model(ref.folder)
        add_lora(model, settings, seed=0)
        load_lora(model, {**{name: t for name, t in lora_state(model).items() if name.startswith("tokens.")}, **tensors})
        with project.artifacts.create("model", title=spec.title or folder.resolve().name, parents=parents_of(project, ref),
                                      run=context.run_id, spec=spec.model_dump(mode="json")) as writer:
            save_adapter(writer.path, model, base=ref.id, base_sha256=weights_sha256(ref.folder), merged=True)
            merge_lora(model)
            context.emit(Phase(id="save", title=tr("Saving")))
            save_weights(writer.path, model)
            Tokenizer.load(ref.folder).save(writer.path)
            if (ref.folder / GENERATION).is_file():
                shutil.copyfile(ref.folder / GENERATION, writer.path / GENERATION)
            made = writer.finish(format="peft", model=ref.id, method="lora", parameters=model.config.parameters,
                                 trainable=sum(t.numel() for t in tensors.values()), dtype=str(torch.float32).removeprefix("torch."),
                                 chat=ref.chat)
    context.emit(Facts(facts=made.facts))
    context.emit(ArtifactMade(id=made.id, kind="model"))
