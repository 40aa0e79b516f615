"""The settings of an export: the model, the cards of where it can go, precision, place, licence, the check. All decided by ExportPlan."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.jobs.answer import ModelInfo
from desktop.models.export_plan import TARGETS, ExportPlan
from desktop.pages.export.target_card import TargetCard
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.facts import Facts
from desktop.widgets.fields import NumberField, TextField
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.model_picker import ModelPicker
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.spec_form import SettingRow, SpecForm
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import count, number, size
from engine.contract.words import tr
from engine.project.models import ModelRef
from engine.stages.export.spec import ExportSpec

if TYPE_CHECKING:
    from desktop.context import AppContext

CARDS = {"hf": ("folder", tr("transformers"), tr("A folder of safetensors for transformers, mlx-lm and vLLM. The one to build on.")),
         "gguf": ("file", "GGUF", tr("One file for llama.cpp, LM Studio and Jan. Runs on nearly any machine.")),
         "ollama": ("chat", "Ollama", tr("Made in the Ollama of this machine, with chat template and stop words.")),
         "lora": ("seed", "PEFT", tr("The LoRA adapter alone, small. Whoever loads it has the base model."))}
FIELDS = {"hf": ("title", "dtype", "licence"), "gguf": ("title", "quantisation", "licence"),
          "ollama": ("name", "quantisation", "licence", "host"), "lora": ("title", "base_name", "licence")}


class FormView(QWidget):
    """`changed` after every edit; `model_chosen(id)` when another model is to be looked at."""

    changed = Signal()
    model_chosen = Signal(str)

    def __init__(self, context: "AppContext", plan: ExportPlan, side: QWidget) -> None:
        super().__init__()
        self.context, self.plan, theme = context, plan, context.theme
        self.theme = theme
        self.picker = ModelPicker(theme, tr("Model"))
        self.picker.changed.connect(self._picked)
        self._model_words = small(elide=True)
        model = Panel(row(Text(tr("Model"), "section"), fixed(self.picker, theme.px(300)), (self._model_words, 1), gap=14),
                      pad=(16, 10, 16, 10))
        self.cards = {to: TargetCard(theme, *CARDS[to]) for to in TARGETS}
        for to, card in self.cards.items():
            card.clicked.connect(lambda to=to: self._target(to))
        self.out = TextField(name=tr("To"))
        self.out.changed.connect(self._out_edited)
        choose = Button(theme, tr("Choose…"), icon="folder", on_click=self._choose_place)
        self._out_row = col(row(Text(tr("To"), "medium"), gap=6), row((self.out, 1), choose), gap=6, pad=(0, 8, 0, 8))
        self._out_words = small(wrap=True)
        self._out_row.layout().addWidget(self._out_words)  # type: ignore[union-attr]
        self.forms: dict[str, SpecForm] = {}  # each made when it is first shown
        self._forms_room = col(gap=0)
        self.prompts = NumberField(int(plan.values["check_prompts"]), name=tr("Try it with"), low=0, high=500)
        self._check = SettingRow(theme, tr("Check it after the export"), "", self.prompts, tr("prompts"))
        self._check.edited.connect(self._prompts_edited)
        self.notes = NoteSlot(theme)
        settings = Panel(self._forms_room, 4, rule(), self._out_row, rule(), self._check, pad=(16, 10, 16, 8), gap=0)
        self._facts = Facts(gap=6)
        self._facts_panel = Panel(Text(tr("What goes over"), "section"), self._facts, pad=(16, 10, 16, 14), gap=8)
        main = col(model, row(*[(card, 1) for card in self.cards.values()], gap=12), self.notes, settings, "+", gap=12)
        col((Columns(theme, main, col(self._facts_panel, side, "+", gap=12), side_width=300, gap=12), 1), gap=0, host=self)
        self._loading = False
        self.refresh()

    def form(self, to: str) -> SpecForm:
        """The settings of one target."""
        if to not in self.forms:
            made = SpecForm(self.theme, ExportSpec, fields=FIELDS[to], title=tr("Settings"))
            made.changed.connect(self._form_edited)
            self._forms_room.layout().addWidget(made)  # type: ignore[union-attr]
            self.forms[to] = made
        return self.forms[to]

    # showing ----------------------------------------------------------------------------------------------------------

    def set_models(self, models: Sequence[ModelRef]) -> None:
        """The same list, headings and order as in Chat."""
        self.picker.set_models([ModelInfo(id=m.id, title=m.title, step=m.step, run=m.run, stage=m.stage) for m in models])
        self.picker.set(self.plan.values["model"])

    def refresh(self) -> None:
        plan, found = self.plan, self.plan.found
        self._loading = True
        for to, card in self.cards.items():
            card.set_chosen(to == plan.to)
            show_if(card, to != "lora" or (found is not None and "lora" in found.verdicts))
            if found is not None and to not in found.verdicts:
                continue
            if found is None:
                card.set_verdict(None, tr("being looked at") if plan.wrong is None else "")
                continue
            goes = found.verdicts[to]
            why = tr("Judged by the exporter itself, from the shape of the model and its tokenizer.")
            foot = self._size_words(to) if goes.loads else f"{goes.reason[:1].upper()}{goes.reason[1:]}. {goes.remedy}"
            card.set_verdict(goes.loads, foot, why)
        form = self.form(plan.to)
        if any(plan.values[n] != form.values()[n] for n in (*form.names, "to")):
            form.load(plan.values)
        for to, each in self.forms.items():
            show_if(each, to == plan.to)
        if "quantisation" in form.rows:
            control = form.rows["quantisation"].control
            if control._values != [v for v, _ in plan.precisions()]:
                control.set_choices(plan.precisions())
                control.set(plan.values["quantisation"])
        if "title" in form.rows:
            form.rows["title"].control.setPlaceholderText(plan.shown_title)
        if "name" in form.rows:
            form.rows["name"].control.setPlaceholderText(plan.shown_name)
        self._show_licence()
        if self.out.value() != plan.values["out"]:
            self.out.set(plan.values["out"])
        here = plan.to == "ollama" and found is not None and bool(found.ollama)
        show_if(self._out_row, not here)
        self._out_words.set(tr("No Ollama runs here: a GGUF file and a Modelfile are written into this folder.")
                            if plan.to == "ollama" and found is not None else "")
        show_if(self._out_words, bool(self._out_words.words()))
        self._show_check()
        self._show_facts()
        self._loading = False

    def _size_words(self, to: str) -> str:
        found = self.plan.found
        assert found is not None
        words = tr("{size}, loads as {architecture}", size=size(self.plan.bytes(to)), architecture=found.verdicts[to].architecture)
        if to == "ollama":
            words = tr("{size}, Ollama {version} runs here", size=size(self.plan.bytes(to)), version=found.ollama) if found.ollama else \
                tr("{size}, none runs here", size=size(self.plan.bytes(to)))
        return words

    def _show_licence(self) -> None:
        found = self.plan.found
        if found is None:
            return
        for form in self.forms.values():
            form.rows["licence"].control.setPlaceholderText(found.licence or tr("none named"))

    def _show_check(self) -> None:
        show_if(self._check, self.plan.to != "lora")
        found, runtime = self.plan.found, self.plan.runtime()
        self.prompts.setEnabled(found is None or bool(runtime))
        if self.prompts.value() != self.plan.values["check_prompts"] and not self.prompts.wrong():
            self.prompts.set(self.plan.values["check_prompts"])
        if found is None or runtime:
            self._check.help.set(tr("Runs them here and in {program}, and says whether the two agree. 0: not.",
                                    program=runtime or tr("the other program")))
        else:
            package = "transformers" if self.plan.to == "hf" else "llama-cpp-python"
            self._check.help.set(tr("No program that could load it is installed here; {package} would do.", package=package))

    def _show_facts(self) -> None:
        found = self.plan.found
        show_if(self._facts_panel, found is not None)
        if found is None:
            self._model_words.set("")
            return
        model = self.plan.model
        self._model_words.set(tr("{parameters} parameters", parameters=count(found.parameters)))
        step = "" if model is None else tr("imported") if model.stage == "import_model" else number(model.step)
        self._facts.set([(tr("Parameters"), count(found.parameters)), (tr("Step"), step),
                         (tr("Context"), tr("{count} tokens", count=number(found.context))),
                         (tr("Vocabulary"), tr("{count} tokens", count=number(found.vocab_size))),
                         (tr("Chat template"), tr("goes along") if found.template else tr("none")),
                         (tr("Licence"), str(self.plan.values["licence"]) or found.licence or tr("none named"))])

    def show_problems(self) -> bool:
        """Each beside its field; whether there are any."""
        problems = self.plan.problems()
        if words := self.prompts.wrong():
            self._check.show_problem(words)
            return True
        self._check.show_problem("")
        rest = self.form(self.plan.to).show_problems(problems)
        if rest:
            self.notes.show_error(FledgeError(rest[0].sentence, rest[0].remedy))
        return bool(problems)

    # acting -----------------------------------------------------------------------------------------------------------

    def _picked(self) -> None:
        id = self.picker.value()
        if id and id != self.plan.values["model"]:
            self.model_chosen.emit(id)

    def _target(self, to: str) -> None:
        self.notes.clear()
        self.plan.choose_target(to)
        self.refresh()
        self.changed.emit()

    def _form_edited(self) -> None:
        if not self._loading:
            form = self.form(self.plan.to)
            values: dict[str, Any] = form.values()
            self.plan.set_values({name: values[name] for name in form.names})
            self.refresh()
            self.changed.emit()

    def _prompts_edited(self) -> None:
        value = self.prompts.value()
        if isinstance(value, int) and 0 <= value <= 500:
            self._check.show_problem("")
            self.plan.set_values({"check_prompts": value})
        else:
            self._check.show_problem(tr("A number of prompts from 0 to 500."))
        self.changed.emit()

    def _out_edited(self) -> None:
        self.plan.put(self.out.value().strip())
        self.changed.emit()

    def _choose_place(self) -> None:
        now = Path(str(self.plan.values["out"]) or self.plan.folder)
        near = next((p for p in (now.parent, *now.parent.parents) if p.is_dir()), Path.home())
        if self.plan.to == "gguf":
            chosen, _ = QFileDialog.getSaveFileName(self, tr("Where the file goes"), str(near / now.name), tr("GGUF (*.gguf)"))
        else:
            folder = QFileDialog.getExistingDirectory(self, tr("The folder that the export is made in"), str(near))
            chosen = str(Path(folder) / now.name) if folder else ""
        if chosen:
            self.plan.put(chosen if self.plan.to != "gguf" or chosen.endswith(".gguf") else f"{chosen}.gguf")
            if self.plan.to == "gguf" and Path(chosen).exists():  # the dialog has asked already
                self.plan.values["overwrite"] = True
            self.refresh()
            self.changed.emit()
