"""Step 3: what says how right an answer is: a version of a verifier of the library, or a built-in one; and whether the model gets anything
from it, as the workbench has measured."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QCoreApplication

from desktop.jobs.verifier_desk import VerifierDesk
from desktop.models.reasoning_look import VerifierChoice
from desktop.models.reasoning_plan import LOCAL_MODEL, QUICK, REWARD_MODEL, SANDBOX, ReasoningPlan, quick
from desktop.models.workbench_state import Scores
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts, Stat
from desktop.widgets.fields import Choice
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import clear, col, fill, row, show_if
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from desktop.widgets.tuning.choice_line import ChoiceLine
from engine.contract.errors import FledgeError
from engine.contract.units import number, percent
from engine.contract.words import tr, trn
from engine.verifiers.registry import KINDS

if TYPE_CHECKING:
    from desktop.context import AppContext

FIELDS = ("full_score", "missing_end")
WIDE = 168


class VerifierBody(WizardBody):
    plan: ReasoningPlan

    def __init__(self, context: "AppContext", plan: ReasoningPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.lines: dict[str, ChoiceLine] = {}
        self._listed: object = None
        self._room = col(gap=6)
        self.none = Text(tr("There is none yet. A verifier of your own is a short Python function; it runs in a sandbox."), tone="text2",
                         wrap=True)
        self.version = Choice(theme, (), name=tr("Version of the verifier"))
        self.version.changed.connect(lambda: self.put(verifier=self.version.value() or ""))
        self.version.setMinimumWidth(theme.px(220))
        self._version_row = row(Text(tr("Version"), "medium"), self.version, "+", gap=10)
        write = Button(theme, tr("Write one"), "quiet", icon="plus", on_click=lambda: context.navigate("verifiers"))
        library = Panel(row(Text(tr("Verifiers of this project"), "section"), "+", write, gap=10), self.none, self._room, self._version_row,
                        pad=(16, 10, 16, 12), gap=6)
        self.quick = {kind: ChoiceLine(theme, KINDS[kind].title, KINDS[kind].help, width=WIDE) for kind in QUICK}
        for kind, line in self.quick.items():
            line.clicked.connect(lambda kind=kind: self._choose(quick(kind)))
        builtin = Panel(Text(tr("Built-in"), "section"), *self.quick.values(),
                        small(tr("They can be changed and put together on the Verifiers page."), wrap=True), pad=(16, 10, 16, 12), gap=6)
        self.wrong = small(tone="danger", wrap=True)
        self.newer = Note(theme, "info", tr("There is a newer version"), "",
                          Button(theme, tr("Take the newest"), on_click=self._take_newest))
        self.form = self.make_form(list(FIELDS), title=tr("How its scores are read"), key="grpo.reward")
        self.title, self.badge, self.facts = Text(role="section", elide=True), Badge(), Facts(gap=6)
        self.open = Button(theme, tr("Open it"), on_click=self._open)
        this = Panel(row((self.title, 1), self.badge, gap=8), self.facts, self.wrong, row(self.open, "+"), pad=(16, 10, 16, 14), gap=8)
        self.stats = [Stat(words) for words in ("pass@1", "pass@k", tr("Mixed groups"))]
        self._stat_row = row(*[(s, 1) for s in self.stats], gap=12)
        self.signal, self.remedy = Text(wrap=True), small(wrap=True)
        self.measure = Button(theme, tr("Try it on the workbench"), on_click=self._open_workbench)
        signal = Panel(Text(tr("Is there a signal?"), "section"), self._stat_row, self.signal, self.remedy, row(self.measure, "+"),
                       pad=(16, 10, 16, 14), gap=8)
        main = Gutter(library, self.newer, builtin, Panel(self.form, pad=(16, 10, 16, 8), gap=4))
        col((Beside(theme, main, Gutter(this, signal), side_width=SIDE, least=300), 1), gap=0, host=self)
        self._desk: VerifierDesk | None = None
        self._asked: object = None
        self._token = 0
        self.scores: Scores | None = None
        self._refused = ""

    # choosing ---------------------------------------------------------------------------------------------------------

    def _choose(self, verifier: str) -> None:
        self.put(verifier=verifier)

    def fill(self) -> None:
        known = [(one.id, one.title, one.versions, one.kind, one.draft) for one in self.plan.verifiers or ()]
        if known != self._listed:
            self._listed = known
            box = self._room.layout()
            clear(box)
            self.lines = {one.id: ChoiceLine(self.theme, one.title, self._line_words(one), self._line_note(one), width=WIDE)
                          for one in self.plan.verifiers or ()}
            for one in self.plan.verifiers or ():
                self.lines[one.id].clicked.connect(lambda one=one: self._choose(one.versions[0].ref))
            fill(box, tuple(self.lines.values()), 6)

    def _line_words(self, one: VerifierChoice) -> str:
        newest = one.versions[0]
        if one.kind == "python":
            return newest.note or tr("A function of your own, in a sandbox.")
        made = newest.composition
        names = [part.title or (KINDS[part.name].title.lower() if part.name in KINDS else part.name) for part in made.parts] if made else []
        return ", ".join(names) or tr("Parts put together")

    def _line_note(self, one: VerifierChoice) -> str:
        return tr("not trusted") if one.versions[0].untrusted else tr("version {number}", number=one.versions[0].number)

    def _take_newest(self) -> None:
        found = self.plan.version
        if found is not None:
            self.put(verifier=found[0].versions[0].ref)

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        plan = self.plan
        chosen = plan.version
        show_if(self.none, plan.verifiers is not None and not plan.verifiers)
        for id, line in self.lines.items():
            line.set_chosen(chosen is not None and chosen[0].id == id)
        for kind, line in self.quick.items():
            line.set_chosen(kind == plan.quick_kind)
        show_if(self._version_row, chosen is not None)
        if chosen is not None:
            newest = chosen[0].versions[0].number
            self.version.set_choices([(v.ref, tr("{number}, the newest", number=v.number) if v.number == newest else
                                       f"{v.number}, {v.note}" if v.note else str(v.number)) for v in chosen[0].versions])
            self.version.set(chosen[1].ref)
            self.newer.set(tr("There is a newer version"), tr("Version {old} is chosen; version {new} was saved since.",
                                                              old=chosen[1].number, new=newest))
        show_if(self.newer, chosen is not None and chosen[1].number < chosen[0].versions[0].number)
        self.form.know({k: v for k, v in plan.values.items() if k not in self.form.names})
        problem = next((p for p in plan.problems("verifier") if p.field == "verifier"), None)
        self.wrong.set(f"{problem.sentence} {problem.remedy}".strip() if problem is not None else "")
        show_if(self.wrong, problem is not None)
        self.title.set(plan.verifier_words() or tr("No verifier chosen"))
        untrusted = chosen is not None and chosen[1].untrusted
        self.badge.set(tr("not trusted") if untrusted else "", "warn")
        self.facts.set(self._facts())
        show_if(self.open, chosen is not None)
        self._ask_scores()
        self._show_signal()

    def _facts(self) -> list[tuple[str, str]]:
        plan, made = self.plan, self.plan.composition
        if made is None:
            return []
        found = []
        if len(made.parts) > 1:
            found.append((tr("Parts"), tr("{count}, multiplied", count=len(made.parts)) if made.together == "product" else
                          tr("{count}, added", count=len(made.parts))))
        needs = plan.needs
        found.append((tr("Runs"), tr("in a sandbox") if SANDBOX in needs else tr("here, without code")))
        if REWARD_MODEL in needs:
            found.append((tr("Needs"), tr("a reward model, in memory")))
        if LOCAL_MODEL in needs:
            found.append((tr("Needs"), tr("a local model as judge")))
        found.append((tr("Right from"), f"{plan.values['full_score']:g}" if isinstance(plan.values["full_score"], (int, float)) else "–"))
        return found

    def _open(self) -> None:
        found = self.plan.version
        if found is not None:
            self.context.navigate("verifiers", verifier=found[1].ref)

    def _open_workbench(self) -> None:
        found = self.plan.version
        self.context.navigate("verifiers", **({"verifier": found[1].ref} if found is not None else {}))

    # the signal -------------------------------------------------------------------------------------------------------

    def _ask_scores(self) -> None:
        """Score what the workbench has sampled with this model, once for each verifier; nothing is sampled here."""
        plan, project = self.plan, self.context.project
        trial, made = plan.trial(), plan.composition
        version = plan.version
        ready = made is not None and not plan.problems("verifier") and not (version is not None and version[1].untrusted)
        asked = (trial.key, str(plan.values["verifier"]), plan.values["full_score"]) if trial is not None and ready else None
        if asked == self._asked or project is None:
            return
        self._asked, self.scores, self._refused = asked, None, ""
        if self._desk is not None:
            self._desk.cancel(self._token)
        if asked is None or trial is None:
            return
        if self._desk is None:
            self._desk = VerifierDesk(project.dir, self)
            QCoreApplication.instance().aboutToQuit.connect(self._desk.stop)

        def came(said: dict[str, Any]) -> None:
            self.scores = Scores.of(said)
            self._show_signal()

        def failed(wrong: FledgeError) -> None:
            self._refused = f"{wrong.sentence} {wrong.remedy}".strip()
            self._show_signal()
        self._token = self._desk.ask("score", {"composition": asked[1], "trial": trial.key, "full": float(asked[2])}, came, failed)

    def _show_signal(self) -> None:
        scores, trial = self.scores, self.plan.trial()
        show_if(self._stat_row, scores is not None)
        self.signal.set_tone("text2")
        self.remedy.set("")
        if scores is not None:
            for stat, value in zip(self.stats, (scores.pass_at_1, scores.pass_at_k, scores.mixed_share), strict=True):
                stat.set(percent(value) if value is not None else "–", "")
            self.signal.set(scores.sentence)
            self.signal.set_tone({"warning": "warn", "failure": "danger"}.get(scores.level, ""))
            self.remedy.set(scores.remedy or trn("{count} problem, {k} answers to each, sampled by this model.",
                                                 "{count} problems, {k} answers to each, sampled by this model.", scores.groups,
                                                 k=number(scores.k)))
        elif self._refused:
            self.signal.set(self._refused)
        elif trial is None:
            self.signal.set(tr("Nobody has tried it yet. The workbench lets this model answer some of these problems and says whether it "
                               "could learn from them: GRPO needs problems at which some tries are right and some are wrong."))
        elif self._asked is not None:
            self.signal.set(tr("Scoring what this model answered on the workbench …"))
        else:
            self.signal.set(tr("Choose a verifier first."))
        show_if(self.remedy, bool(self.remedy.words()))

    def rest(self) -> None:
        if self._desk is not None:
            self._desk.stop()
            self._asked = None
