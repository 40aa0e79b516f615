"""The wizard of instruction data: the strip of steps, one body a step, and the draft that is kept of all of it. Decisions are
desktop/models/instruct_plan.py's; what a step shows is in its own file."""

from typing import Any

from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models import instruct_recipes
from desktop.models.instruct_plan import InstructPlan, RecipeChoice, step_title
from desktop.pages.instruct.amount_body import AmountBody
from desktop.pages.instruct.models_body import ModelsBody
from desktop.pages.instruct.preview_body import PreviewBody
from desktop.pages.instruct.recipe_body import RecipeBody
from desktop.pages.instruct.recipe_dialog import RecipeDialog
from desktop.widgets.layout import show_if
from desktop.widgets.model_wizard import ModelWizard
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project import layout, trust
from engine.stages.instruct.spec import InstructSpec

TRUSTED = "instruct.trusted"


class Wizard(ModelWizard):
    """The wizard, also its recipes and the preview."""

    draft_name = "instruct_draft"
    plan: InstructPlan

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, InstructPlan(), step_title, title=tr("Instruction data"),
                         sentence=tr("A local model writes examples; you look them through."), now=tr("Start without a preview"))

    # parts ------------------------------------------------------------------------------------------------------------

    def make_body(self, step: str) -> QWidget:
        if step == "models":
            return ModelsBody(self.context, self.plan)
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

    # what there is ----------------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Models, recipes and sets, as they are now."""
        if not self.finder.busy:
            self.look()
        self.read_recipes()
        self.read_sets()

    def look(self) -> None:
        """From the beginning, also while a look is under way."""
        self.finder.stop()
        self.plan.places = self.plan.places or None
        super().look()
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

    def _sets_read(self, sets: list[Any]) -> None:
        self.plan.set_titles = {s.id: s.title for s in sets if s.count}
        recipes = self.body("recipe")
        assert isinstance(recipes, RecipeBody)
        recipes.counts = {s.id: s.count for s in sets}
        self.refresh()

    def file_role(self) -> str:
        return "responder"

    def _fetched(self, name: str) -> None:
        self.context.toast(tr("{model} is there", model=name))
        super()._fetched(name)

    # recipes ----------------------------------------------------------------------------------------------------------

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

    # acting -----------------------------------------------------------------------------------------------------------

    def _make_preview(self) -> None:
        if not self._in_the_way():
            self.preview.make()
            self.refresh()

    def spec(self) -> InstructSpec:
        spec = self.plan.spec()
        return spec if spec.title else InstructSpec.check({**spec.model_dump(), "title": self.plan.title})

    # showing ----------------------------------------------------------------------------------------------------------

    def _show_forward(self) -> None:
        plan = self.plan
        last = not plan.following
        preview = self._built.get("preview")
        rows = isinstance(preview, PreviewBody) and bool(preview._cards)
        busy = isinstance(preview, PreviewBody) and preview.busy
        looked = rows and not plan.preview_is_stale
        show_if(self.forward, not last or looked)
        show_if(self.now, last and not looked)
        self.now.setEnabled(not busy)
        self.forward.setEnabled(not last or not busy)
        self.forward.set_words(trn("Start, {shown} row", "Start, {shown} rows", plan.rows, shown=number(plan.rows)) if last else
                               tr("Next: {step}", step=step_title(plan.following).lower()))
