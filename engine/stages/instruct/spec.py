"""Settings of generating instruction data: which local models write and judge, by which recipe, from what, how much. No torch."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from engine.contract.spec import Problem, Spec, option
from engine.contract.words import tr

MODELS, RECIPE, CHECKS, RUN = "models", "recipe", "checks", "run"


class InstructSpec(Spec):
    """Models are named as `project:MODEL` (a model id of this project), `ollama:NAME`, `ADDRESS NAME` (an OpenAI-compatible server, say
    "http://127.0.0.1:1234/v1 qwen3"), `gguf:PATH`."""

    stage: ClassVar[str] = "instruct"
    rows: ClassVar[tuple[str, ...]] = ("seeds", "held_out")

    title: str = option("", label=tr("Name"), help=tr("How the set of examples is called."), group=RECIPE)
    responder: str = option("", label=tr("Model that writes"), group=MODELS,
        help=tr("A local model: of this project, of Ollama, of a server on this machine, or a GGUF file."))
    second_responder: str = option("", label=tr("Second model"), group=MODELS,
        help=tr("Answers too; the judge keeps the better answer. The first model answers twice if you name it here again."))
    judge: str = option("", label=tr("Judge"), group=MODELS, help=tr("A local model that scores answers by the rubric."))
    allowed_host: str = option("", label=tr("Confirmed address"), hidden=True, group=MODELS,
        help=tr("A host outside this machine that the person has typed and confirmed. No other one is ever asked."))

    recipe: str = option("documents", label=tr("Recipe"), group=RECIPE,
        help=tr("What is asked: the id of a recipe, or a recipe file of your own (.toml, .py)."))
    recipe_text: str = option("", label=tr("The recipe's text"), hidden=True, group=RECIPE,
        help=tr("The recipe as it was when the run was made; filled in by itself."))
    recipe_hash: str = option("", label=tr("Trusted recipe"), hidden=True, group=RECIPE,
        help=tr("SHA-256 of a recipe in Python that the person has read and trusts; any other one is refused."))
    corpus: str = option("", label=tr("Documents"), artifact="corpus", group=RECIPE, help=tr("Passages of this corpus are asked about."))
    seeds: tuple[str, ...] = option((), label=tr("Seed examples"), group=RECIPE,
        help=tr("Sets of the library that recipes start from, rewrite or translate."))
    topics: tuple[str, ...] = option((), label=tr("Topics"), group=RECIPE, help=tr("One a line."))
    language: str = option("", label=tr("Language"), group=RECIPE,
        help=tr("Of questions and answers, in words (“Spanish”). Empty: the text's own."))
    rubric: str = option("", label=tr("Rubric"), group=RECIPE, help=tr("What the judge looks at. Empty: the recipe's own."))

    count: int = option(200, label=tr("Rows"), ge=1, le=10_000_000, group=RUN, help=tr("How many examples are asked for."))
    preview: int = option(0, label=tr("Preview"), ge=0, le=50, hidden=True, group=RUN,
        help=tr("Only this many rows, to be looked at first."))
    concurrency: int = option(4, label=tr("At once"), unit=tr("requests"), ge=1, le=256, advanced=True, group=RUN,
        help=tr("Requests under way at the same time."))
    temperature: float = option(0.7, label=tr("Temperature"), ge=0, le=5, advanced=True, group=RUN,
        help=tr("Of the models that write; the judge has 0."))
    max_tokens: int = option(512, label=tr("Longest answer"), unit=tr("tokens"), ge=1, le=131_072, advanced=True, group=RUN,
        help=tr("Longer ones are cut by the model's server, and not kept."))
    context: int = option(8192, label=tr("Context"), unit=tr("tokens"), ge=256, le=2**20, advanced=True, group=RUN,
        help=tr("Asked of Ollama explicitly: its own default cuts long prompts without a word."))
    think: Literal["off", "keep", "drop"] = option("off", label=tr("Thinking"), advanced=True, group=RUN,
        help=tr("Of models that think first: not at all, kept in the answer, or left out of it."),
        choices=(("off", tr("Off")), ("keep", tr("Keep")), ("drop", tr("Leave out"))))
    timeout: float = option(300.0, label=tr("Patience"), unit=tr("seconds"), ge=1, le=86_400, advanced=True, group=RUN,
        help=tr("How long one answer may take."))
    retries: int = option(4, label=tr("Tries"), ge=1, le=20, advanced=True, group=RUN,
        help=tr("How often a request that fails is made, each time after a longer wait."))

    margin: float = option(1.0, label=tr("Margin"), ge=0, le=10, advanced=True, group=CHECKS,
        help=tr("Judged answers whose scores are nearer than this are a tie, and the row is set aside. Scores go from 1 to 10."))
    lowest_score: float = option(0.0, label=tr("Lowest score"), ge=0, le=10, group=CHECKS,
        help=tr("Rows whose best answer scores less are set aside."))
    keep_rejected: bool = option(True, label=tr("Keep the losing answer"), advanced=True, group=CHECKS,
        help=tr("As a rejected one: a pair to learn preferences from later."))
    shortest: int = option(1, label=tr("Shortest answer"), unit=tr("characters"), ge=0, le=100_000, advanced=True, group=CHECKS,
        help=tr("Shorter answers are set aside."))
    refusals: bool = option(True, label=tr("Set refusals aside"), group=CHECKS,
        help=tr("Answers like “As an AI, I cannot”."))
    check_language: bool = option(True, label=tr("Set other languages aside"), group=CHECKS,
        help=tr("Rows whose answer is in another language than asked for."))
    duplicates: float = option(0.8, label=tr("Near duplicates from"), ge=0, le=1, group=CHECKS,
        help=tr("Questions that share this much of their word sequences with an earlier one are set aside. 0: never."))
    held_out: tuple[str, ...] = option((), label=tr("Evaluation sets"), advanced=True, group=CHECKS,
        help=tr("Files or sets whose questions must not be among the rows."))

    def frozen(self, project_dir: Path) -> Self:
        """With the recipe's text. Raises NotFound, FormatError, TooNew for a file that is no recipe; one in Python is not run."""
        if self.recipe_text:
            return self
        from engine.generators import recipe  # what is asked and judged there is not needed to read settings

        return self.model_copy(update={"recipe_text": recipe.load(self.recipe, trusted=self.recipe_hash).text})

    def problems(self) -> list[Problem]:
        found = []
        if not self.responder:
            found.append(Problem("responder", tr("No model was chosen to write."), tr("Choose a local model.")))
        if self.second_responder and not self.judge:
            found.append(Problem("judge", tr("Two answers need a judge."), tr("Choose a model that judges, or leave out the second one.")))
        return found
