"""Settings of making pairs: prompts, and two answers to each, for people to compare. No torch."""

from typing import ClassVar, Literal

from engine.contract.spec import Problem, Spec, option
from engine.contract.words import tr

PROMPTS, MODELS, RUN = "prompts", "models", "run"


class PreferenceSpec(Spec):
    """Makers are named as in InstructSpec: `project:MODEL` (an artifact's id or `run@step`), `ollama:NAME`, `ADDRESS NAME`, `gguf:PATH`."""

    stage: ClassVar[str] = "preference"
    rows: ClassVar[tuple[str, ...]] = ("examples",)

    title: str = option("", label=tr("Name"), help=tr("How the set of pairs is called."), group=PROMPTS)
    examples: tuple[str, ...] = option((), label=tr("Prompts of instruction data"), group=PROMPTS,
        help=tr("Sets of the library whose questions are asked; their answers are not shown to anybody."))
    turns: Literal["last", "first"] = option("last", label=tr("Of conversations"), advanced=True, group=PROMPTS,
        help=tr("How much of a conversation with several turns is the prompt."),
        choices=(("last", tr("All up to the last question")), ("first", tr("The first question alone"))))
    files: tuple[str, ...] = option((), label=tr("Prompts of files"), group=PROMPTS,
        help=tr("Text (one prompt a line), CSV or JSONL with a column of prompts."))
    prompts: tuple[str, ...] = option((), label=tr("Typed prompts"), group=PROMPTS, help=tr("One a line."))
    corpus: str = option("", label=tr("Documents"), artifact="corpus", group=PROMPTS,
        help=tr("Beginnings of documents, which the models continue or are asked about."))
    beginning: int = option(400, label=tr("Length of a beginning"), unit=tr("characters"), ge=20, le=100_000, advanced=True, group=PROMPTS,
        help=tr("It ends with a paragraph, a sentence or a word."))
    corpus_prompt: str = option(
        tr("Continue this text:\n\n{text}", text="{text}"), label=tr("Asked of documents"), advanced=True, group=PROMPTS,
        help=tr("{text} stands for the beginning of the document.", text="{text}"))
    system: str = option("", label=tr("System prompt"), advanced=True, group=PROMPTS,
        help=tr("Put before prompts that have none."))
    count: int = option(200, label=tr("Pairs"), ge=1, le=10_000_000, group=PROMPTS,
        help=tr("How many are made at most; prompts are used again, with other answers, when there are fewer."))

    first: str = option("", label=tr("First model"), group=MODELS, help=tr("A checkpoint of this project, or a local language model."))
    second: str = option("", label=tr("Second model"), group=MODELS, help=tr("Empty: the first one answers twice."))
    allowed_host: str = option("", label=tr("Confirmed address"), hidden=True, group=MODELS,
        help=tr("A host outside this machine that the person has typed and confirmed. No other one is ever asked."))
    first_temperature: float = option(0.8, label=tr("Temperature of the first"), ge=0, le=5, group=MODELS,
        help=tr("Higher is more varied; two answers must differ to be worth comparing."))
    second_temperature: float = option(1.0, label=tr("Temperature of the second"), ge=0, le=5, group=MODELS,
        help=tr("Higher is more varied; two answers must differ to be worth comparing."))
    top_p: float = option(1.0, label=tr("Top-p"), gt=0, le=1, advanced=True, group=MODELS,
        help=tr("Only the likeliest tokens that together have this probability."))
    max_tokens: int = option(256, label=tr("Longest answer"), unit=tr("tokens"), ge=1, le=131_072, group=MODELS,
        help=tr("Longer ones are cut, and marked as cut."))

    equal: int = option(4, label=tr("Tries for a different answer"), ge=1, le=64, advanced=True, group=RUN,
        help=tr("When both answers say the same, the second model is asked again this often; then the prompt is left out."))
    concurrency: int = option(4, label=tr("At once"), unit=tr("requests"), ge=1, le=256, advanced=True, group=RUN,
        help=tr("Requests under way at the same time, to local language models outside the project."))
    context: int = option(8192, label=tr("Context"), unit=tr("tokens"), ge=256, le=2**20, advanced=True, group=RUN,
        help=tr("Asked of Ollama explicitly: its own default cuts long prompts without a word."))
    timeout: float = option(300.0, label=tr("Patience"), unit=tr("seconds"), ge=1, le=86_400, advanced=True, group=RUN,
        help=tr("How long one answer may take."))

    def problems(self) -> list[Problem]:
        found = []
        if not (self.examples or self.files or self.corpus or any(p.strip() for p in self.prompts)):
            found.append(Problem("examples", tr("There are no prompts."), tr("Choose instruction data, a file or a corpus, or type some.")))
        if self.corpus and "{text}" not in self.corpus_prompt:
            found.append(Problem("corpus_prompt", tr("The place for the document is missing."),
                                 tr("Write {text} where it belongs.", text="{text}")))
        if not self.first:
            found.append(Problem("first", tr("No model was chosen to answer."), tr("Choose a checkpoint or a local model.")))
        if (not self.second or self.second == self.first) and not self.first_temperature and not self.second_temperature:
            found.append(Problem("second_temperature", tr("At temperature 0 one model gives the same answer twice."),
                                 tr("Choose a temperature above 0, or another second model.")))
        return found
