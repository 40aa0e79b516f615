"""Settings of an evaluation: which models, measured by which suites. No torch."""

from typing import ClassVar, Literal

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
    judge: str = option("", label=tr("Judge"), group=SUITES, 
        help=tr("A local model that says which of two answers is better, or reward:ID for a reward model of this project."))
    allowed_host: str = option("", label=tr("Confirmed address"), hidden=True, group=SUITES,
        help=tr("A host outside this machine that the person has typed and confirmed."))
    form: Literal["auto", "chat", "plain", "few_shot"] = option("auto", label=tr("Asked"), advanced=True, group=RUN,
        help=tr("As a chat, as text to continue, or as text after solved questions. Automatic: as a chat where the model was tuned to "
                "answer, else both other ways."),
        choices=(("auto", tr("Automatic")), ("chat", tr("As a chat")), ("plain", tr("Plain")), ("few_shot", tr("After solved questions"))))
    grader: Literal["", "exact", "contains", "number"] = option("", label=tr("Right is"), advanced=True, group=SUITES,
        help=tr("How answers to questions of the library are compared with the known ones."),
        choices=(("", tr("As the suite says")), ("exact", tr("The same text")), ("contains", tr("An answer that contains it")),
                 ("number", tr("An answer that ends with its number"))))
    held_out_percent: float = option(0.0, label=tr("Only what was kept for validation"), unit="%", ge=0, le=50, advanced=True, group=SUITES,
        help=tr("Of sets that a model was trained on: only the part that fine-tuning with this share for validation leaves out. 0: all."))
    text_bytes: int = option(1_000_000, label=tr("Held-out text at most"), unit=tr("bytes"), ge=1_000, le=2**31, advanced=True,
        group=SUITES, help=tr("Documents evenly spread over the validation part, of about this size together."))
    rubric: str = option("", label=tr("Rubric"), advanced=True, group=SUITES, help=tr("What the judge looks at. Empty: the suite's own."))
    margin: float = option(1.0, label=tr("Margin"), ge=0, le=10, advanced=True, group=SUITES,
        help=tr("Judged answers whose scores are nearer than this are a tie. Scores go from 1 to 10."))
    samples: int = option(1, label=tr("Tries"), unit=tr("a question"), ge=1, le=1024, advanced=True, group=RUN,
        help=tr("Several tries, with a temperature above 0, measure how often one of k answers is right (pass@k)."))
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
        if len(set(self.models)) < len(self.models) or len(set(self.suites)) < len(self.suites):
            field = "models" if len(set(self.models)) < len(self.models) else "suites"
            found.append(Problem(field, tr("One of them is named twice."), tr("Name each once.")))
        if self.samples > 1 and not self.temperature:
            found.append(Problem("temperature", tr("At temperature 0 every try gives the same answer."),
                                 tr("Choose a temperature above 0, or one try.")))
        return found
