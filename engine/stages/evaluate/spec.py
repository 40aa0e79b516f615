"""Settings of an evaluation: which models, measured by which suites. No torch."""

from typing import ClassVar

from engine.contract.spec import Problem, Spec, option
from engine.contract.words import tr

MODELS, SUITES, RUN = "models", "suites", "run"


class EvaluateSpec(Spec):
    """Models are ids of this project: an artifact's, or `run@step`. A suite is a name of engine/evaluation/suites.py or of a suite file of
    the project."""

    stage: ClassVar[str] = "evaluate"
    rows: ClassVar[tuple[str, ...]] = ("questions",)

    title: str = option("", label=tr("Name"), help=tr("How the evaluation is called."), group=MODELS)
    models: tuple[str, ...] = option((), label=tr("Models"), group=MODELS,
        help=tr("One, or several to compare; the first is the one they are compared with."))
    suites: tuple[str, ...] = option(("questions",), label=tr("Suites"), help=tr("What is measured."), group=SUITES)
    examples: tuple[str, ...] = option((), label=tr("Questions"), group=SUITES,
        help=tr("Sets of the library with known answers."))
    corpus: str = option("", label=tr("Held-out text"), artifact="corpus", group=SUITES,
        help=tr("Its validation part is what loss is measured on."))
    judge: str = option("", label=tr("Judge"), group=SUITES, help=tr("A local model that says which of two answers is better."))
    allowed_host: str = option("", label=tr("Confirmed address"), hidden=True, group=SUITES,
        help=tr("A host outside this machine that the person has typed and confirmed."))
    limit: int = option(0, label=tr("At most"), unit=tr("questions"), ge=0, le=10_000_000, group=RUN, help=tr("0: all of them."))
    max_tokens: int = option(128, label=tr("Longest answer"), unit=tr("tokens"), ge=1, le=131_072, advanced=True, group=RUN,
        help=tr("Answers end here at the latest."))
    temperature: float = option(0.0, label=tr("Temperature"), ge=0, le=5, advanced=True, group=RUN,
        help=tr("0 always takes the likeliest token: the same answer each time."))

    def problems(self) -> list[Problem]:
        found = []
        if not self.models:
            found.append(Problem("models", tr("There is no model to measure."), tr("Choose at least one.")))
        if not self.suites:
            found.append(Problem("suites", tr("Nothing is to be measured."), tr("Choose at least one suite.")))
        return found
