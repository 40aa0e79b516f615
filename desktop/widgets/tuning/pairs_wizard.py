"""The wizard of stages that learn from labelled pairs: it also counts, in a thread, what the labels of the chosen sets come to."""

from collections.abc import Callable

from desktop.models import pairs_look
from desktop.models.pairs_choice import PairsChoice
from desktop.widgets.tuning.wizard import TuningWizard
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project.project import Project


class PairsWizard(TuningWizard):
    plan: PairsChoice
    _counting = False

    def look_at(self, project: Project) -> Callable[[], pairs_look.Found]:
        return lambda: pairs_look.look(project)

    def take_found(self, found: pairs_look.Found) -> None:
        self.plan.set_models(found.models)
        self.plan.set_sets(found.sets, found.annotators)

    def settled(self) -> None:
        self.count()

    def count(self) -> None:
        """Count the labels, where that is not known for these sets."""
        plan, project = self.plan, self.context.project
        if self._counting or project is None or not plan.count_is_due:
            return
        self._counting = True
        key, values, sets = plan.count_key(), plan.values, [s.id for s in plan.chosen_sets]

        def counted(found: pairs_look.Labelled) -> None:
            self._counting = False
            plan.take_count(key, found)
            self.refresh()
            self.count()  # the choice may have changed since

        def failed(wrong: Exception) -> None:
            self._counting = False
            plan.take_count(key, pairs_look.Labelled())
            if not isinstance(wrong, FledgeError):
                raise wrong
            self.notes.show_error(wrong)
        self.context.jobs.run(lambda: pairs_look.labelled(project, sets, values["annotators"], values["least_strength"]), then=counted,
                              failed=failed, owner=self)

    def waiting_words(self) -> str:
        return tr("Counting labels") if self.plan.count_is_due else ""

    def held(self) -> bool:
        return not self.plan.following and self.plan.count_is_due

