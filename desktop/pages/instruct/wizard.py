"""The wizard of instruction data: the strip of steps, one body a step, and the draft that is kept of all of it. Decisions are
desktop/models/instruct_plan.py's; what a step shows is in its own file."""

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog

from desktop.context import AppContext
from desktop.models import instruct_recipes
from desktop.models.instruct_plan import STEPS, InstructPlan, RecipeChoice, step_title
from desktop.models.model_finder import ModelFinder
from desktop.pages.instruct.amount_body import AmountBody
from desktop.pages.instruct.bodies import Body
from desktop.pages.instruct.models_body import ModelsBody
from desktop.pages.instruct.preview_body import PreviewBody
from desktop.pages.instruct.recipe_body import RecipeBody
from desktop.pages.instruct.recipe_dialog import RecipeDialog
from desktop.widgets.buttons import Button
from desktop.widgets.draft_wizard import DraftWizard
from desktop.widgets.layout import show_if
from desktop.widgets.page_header import PageHeader
from desktop.widgets.server_dialog import PullDialog, ServerDialog
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project import layout, trust

TRUSTED = "instruct.trusted"


class Wizard(DraftWizard):
    """Left, its draft stays, until a run was started."""

    draft_name = "instruct_draft"
    plan: InstructPlan

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, InstructPlan(), STEPS, step_title)
        self.finder = ModelFinder(context, self)
        self.finder.found.connect(self._found)
        self.finder.failed.connect(self._not_found)
        self.frame(PageHeader(tr("Instruction data"), tr("A local model writes examples; you look them through.")),
                   Button(self.theme, tr("Start without a preview"), on_click=self._start))
        context.survey_changed.connect(self._survey_changed)
        self.restore()

    # parts ------------------------------------------------------------------------------------------------------------

    def _make(self, step: str) -> Body:
        if step == "models":
            models = ModelsBody(self.context, self.plan)
            models.look_wanted.connect(self.look)
            models.add_server_wanted.connect(self.add_server)
            models.add_file_wanted.connect(self.add_file)
            models.pull_wanted.connect(self.get_model)
            return models
        if step == "recipe":
            recipes = RecipeBody(self.context, self.plan)
            recipes.open_wanted.connect(self.open_recipe)
            recipes.copy_wanted.connect(self.copy_recipe)
            return recipes
        if step == "preview":
            preview = PreviewBody(self.context, self.plan)
            preview.ended.connect(self.refresh)
            preview.wanted.connect(self._make_preview)
            return preview
        return AmountBody(self.context, self.plan)

    @property
    def preview(self) -> PreviewBody:
        made = self.body("preview")
        assert isinstance(made, PreviewBody)
        return made

    # the draft --------------------------------------------------------------------------------------------------------

    def restore(self) -> None:
        self.plan.confirmed = self.finder.confirmed
        super().restore()

    def rest(self) -> None:
        """Nobody looks."""
        self.finder.stop()

    # what there is ----------------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Models, recipes and sets, as they are now."""
        if not self.finder.busy:
            self.look()
        self.read_recipes()
        self.read_sets()

    def look(self) -> None:
        """Look for models on this machine."""
        if self.context.project is None:
            return
        if "models" in self._built:
            models = self._built["models"]
            assert isinstance(models, ModelsBody)
            models.notes.clear()
        self.plan.places = self.plan.places or None
        self.finder.look(anew=True)
        self.refresh()

    def _found(self) -> None:
        self.plan.places = self.finder.places
        self.plan.suggest()
        self._reload_body("models")
        self.refresh()

    def _not_found(self, wrong: FledgeError) -> None:
        self.plan.places = self.finder.places
        models = self.body("models")
        assert isinstance(models, ModelsBody)
        models.show_error(wrong)
        self.refresh()

    def read_recipes(self) -> None:
        if self.context.project is not None:
            folder = layout.recipes(self.context.project.dir)
            self.context.jobs.run(lambda: instruct_recipes.choices(folder), then=self._recipes_read, owner=self)

    def _recipes_read(self, found: list[RecipeChoice]) -> None:
        self.plan.recipes = found
        recipe = self.plan.recipe
        trusted = self.context.settings.get(TRUSTED, [])
        if recipe is not None and recipe.python:
            known = instruct_recipes.text_hash(recipe.text)
            self.plan.values["recipe_hash"] = known if isinstance(trusted, list) and known in trusted else ""
        self.refresh()

    def read_sets(self) -> None:
        project = self.context.project
        if project is not None:
            self.context.jobs.run(lambda: project.library.examples.sets(), then=self._sets_read, owner=self)

    def _sets_read(self, sets: list[Any]) -> None:
        self.plan.set_titles = {s.id: s.title for s in sets if s.count}
        recipes = self.body("recipe")
        assert isinstance(recipes, RecipeBody)
        recipes.counts = {s.id: s.count for s in sets}
        self.refresh()

    def _survey_changed(self) -> None:
        corpora = self.context.choices("corpus")
        if corpora != self.plan.corpora:
            self.plan.corpora = corpora
            if not self.plan.values["corpus"] and corpora:
                self.plan.values["corpus"] = corpora[0][0]
            self.refresh()

    # adding -----------------------------------------------------------------------------------------------------------

    def add_server(self) -> None:
        dialog = ServerDialog(self.theme, self)
        dialog.found.connect(self.server_found)
        dialog.open()
        dialog.address.setFocus()

    def server_found(self, address: str, host: str, models: list[dict[str, Any]]) -> None:
        """A server that the person typed answered: it is kept among the places."""
        if host:
            self.plan.confirmed.add(host)
        self.finder.add_server(address, host, models)

    def add_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, tr("A GGUF file"), str(Path.home()), tr("GGUF (*.gguf)"))
        if name:
            self.plan.choose("responder", self.finder.add_file(name))
            self._edited()
            self._reload_body("models")

    def get_model(self) -> None:
        dialog = PullDialog(self.theme, self)
        dialog.fetched.connect(self._fetched)
        dialog.open()
        dialog.name.setFocus()

    def _fetched(self, name: str) -> None:
        self.context.toast(tr("{model} is there", model=name))
        self.look()

    def open_recipe(self, recipe: RecipeChoice) -> None:
        trusted = self.plan.values["recipe_hash"] if recipe is self.plan.recipe else ""
        dialog = RecipeDialog(self.theme, recipe, trusted, parent=self)
        dialog.saved.connect(lambda _: self.read_recipes())
        dialog.trusted.connect(self._trust)
        dialog.copy_wanted.connect(lambda: self.copy_recipe(recipe))
        dialog.open()

    def copy_recipe(self, recipe: RecipeChoice) -> None:
        """An own recipe is edited as it is; of a shipped one a copy is."""
        if recipe.path:
            self.open_recipe(recipe)
            return
        assert self.context.project is not None
        try:
            path = instruct_recipes.copy(recipe, layout.recipes(self.context.project.dir))
            made = instruct_recipes.judge(path, path.read_text("utf-8"))
        except FledgeError as wrong:
            self.notes.show_error(wrong)
            return
        self.plan.recipes = [*(self.plan.recipes or []), made]
        self.plan.choose_recipe(str(path))
        self._edited()
        self._reload_body("recipe")
        self.context.toast(tr("“{title}” is in the project's folder", title=made.title))
        self.read_recipes()
        self.open_recipe(made)

    def _trust(self, hash: str) -> None:
        kept = self.context.settings.get(TRUSTED, [])
        self.context.remember(TRUSTED, [*(h for h in kept if h != hash), hash] if isinstance(kept, list) else [hash])
        trust.trust([hash], where="instruct")
        self.plan.values["recipe_hash"] = hash
        self._edited()
        self._reload_body("recipe")

    def _reload_body(self, step: str) -> None:
        if step in self._built:
            self._built[step].load()

    # acting -----------------------------------------------------------------------------------------------------------

    def _make_preview(self) -> None:
        if not self._in_the_way():
            self.preview.make()
            self.refresh()

    def _cancel(self) -> None:
        self.keep()
        self.cancelled.emit()

    def _in_the_way(self) -> bool:
        """Go to the first step where something is wrong, and show it there."""
        for step in STEPS:
            if self.body(step).problems():
                self.plan.go(step)
                self.refresh()
                self._stopped()
                return True
        return False

    def _start(self) -> None:
        if self._in_the_way():
            return
        try:
            spec = self.plan.spec()
        except FledgeError as wrong:
            self.notes.show_error(wrong)
            return
        if not spec.title:
            spec = type(spec).check({**spec.model_dump(), "title": self.plan.title})
        self.keep()
        self.start_wanted.emit(spec)

    def _edited(self) -> None:
        self.keep()
        self._show_flow()
        self.strip.set(self.plan.step, self.plan.reachable())

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        plan, step = self.plan, self.plan.step
        body = self.body(step)
        self._bodies.setCurrentWidget(body)
        body.refresh()
        self.strip.set(step, plan.reachable())
        self._show_flow()
        last = step == STEPS[-1]
        preview = self._built.get("preview")
        rows = isinstance(preview, PreviewBody) and bool(preview._cards)
        busy = isinstance(preview, PreviewBody) and preview.busy
        show_if(self.back, step != STEPS[0])
        looked = rows and not plan.preview_is_stale
        show_if(self.forward, not last or looked)
        show_if(self.now, last and not looked)
        self.now.setEnabled(not busy)
        self.forward.setEnabled(not last or not busy)
        self.forward.set_words(trn("Start, {shown} row", "Start, {shown} rows", plan.rows, shown=number(plan.rows)) if last else
                               tr("Next: {step}", step=step_title(plan.following).lower()))

    def _show_flow(self) -> None:
        self.flow.set(self.plan.goes_in(), self.plan.will_happen(), self.plan.comes_out(), "will")
