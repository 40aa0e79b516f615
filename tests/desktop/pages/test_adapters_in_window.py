"""An adapter leaves by the Export page and comes back by the Import page, onto its base."""

from pathlib import Path

import torch
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.pages.export import ExportPage
from desktop.pages.import_model import ImportModelPage
from engine.model.adapter_files import save_adapter, weights_sha256
from engine.model.checkpoint import load_model, save_weights
from engine.model.lora import LoraSettings, add_lora, lora_parameters, merge_lora
from engine.project.project import Project
from engine.text.tokenizer import Tokenizer
from tests.serving import make_project


def tuned_project(folder: Path) -> Project:
    """model-1, and model-2 that was made of it with an adapter of rank 4."""
    project = make_project(folder)
    start = project.artifacts.get("model-1").path
    model = load_model(start)
    add_lora(model, LoraSettings(rank=4, alpha=8.0), seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, p in lora_parameters(model):
            p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    with project.artifacts.create("model", title="tuned", parents=["model-1"]) as writer:
        save_adapter(writer.path, model, base="model-1", base_sha256=weights_sha256(start), merged=True)
        merge_lora(model)
        save_weights(writer.path, model)
        Tokenizer.load(start).save(writer.path)
        writer.finish(step=9)
    return project


def test_an_adapter_is_exported_for_peft_and_imported_onto_its_base(window: MainWindow, context: AppContext, tmp_path: Path,
                                                                    qtbot: QtBot) -> None:
    project = tuned_project(tmp_path / "project")
    window.resize(1280, 800)
    context.settings.set("export.folder", str(tmp_path / "out"))
    context.open_project(project.dir)
    window.show_page("export", {"model": "model-1"})
    page = window.pages["export"]
    assert isinstance(page, ExportPage)
    qtbot.waitUntil(lambda: page.plan.found is not None, timeout=60_000)
    assert not page.form.cards["lora"].isVisible()  # a model without an adapter has nothing to give to PEFT
    page._choose_model("model-2")
    qtbot.waitUntil(lambda: page.plan.found is not None and page.plan.found.id == "model-2", timeout=60_000)
    card = page.form.cards["lora"]
    assert card.isVisible() and card.usable and "rank 4" in card._foot.words()
    card.clicked.emit()
    assert page.plan.spec().to == "lora" and page.plan.values["out"] == str(tmp_path / "out" / "tuned-lora")
    assert not page.form._check.isVisible() and 0 < page.plan.bytes("lora") < page.plan.bytes("hf")
    page._start()
    qtbot.waitUntil(lambda: page._view == "result" and page._awaited == "", timeout=90_000)
    folder = tmp_path / "out" / "tuned-lora"
    assert {f.name for f in folder.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json"}
    window.show_page("import_model", {"path": str(folder)})
    bring = window.pages["import_model"]
    assert isinstance(bring, ImportModelPage)
    qtbot.waitUntil(lambda: bring._view == "found" and bring.details.base.isEnabled(), timeout=60_000)
    assert bring.details._base.isVisible() and not bring.details.forms[False].isVisible()
    bring.details.base.set("model-1")
    bring._start()
    qtbot.waitUntil(lambda: bring._view == "done", timeout=90_000)
    QApplication.processEvents()
    made = project.artifacts.get("model-3")
    assert made.facts["method"] == "lora" and "model-1" in made.parents
    back, before = load_model(made.path), load_model(project.artifacts.get("model-2").path)
    tokens = torch.arange(3, 40)[None]
    assert torch.allclose(back.logits(back(tokens)), before.logits(before(tokens)), atol=1e-4)
