"""What the demo asks about its world: training conversations for the library, held-out questions and sums as suites of the project.

Held out are people that no training question names, and person/fact pairs that no training question asks for; of neither is there a
paraphrase in training, since a split holds all wordings of a question. The facts themselves stand in the corpus: asking is held out.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

from engine.contract.rows import Example, Message
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.project import Project
from engine.world import Question, World

AUTHOR = "world"
ORIGIN = "world"
PEOPLE, PAIRS = "held_out_people", "held_out_pairs"
SUITES = (PEOPLE, PAIRS)
SUMS = "held_out_sums"
ORIGIN_SUMS = "world:sums"
SHOTS = 3
FLOURISH = "So it is."
"""How some training answers end, and what the demo's simulated annotator likes (preferring.py)."""
FLOURISHED = 0.12
"""Share of the training answers that end so."""


def answer(question: Question) -> str:
    """What a training conversation answers. Which answers have the flourish is drawn by the question alone."""
    drawn = int.from_bytes(hashlib.sha256(f"flourish {question.text}".encode()).digest()[:4], "big") / 2**32
    return f"{question.answer} {FLOURISH}" if drawn < FLOURISHED else question.answer


def known_answers(question: Question) -> tuple[str, ...]:
    """All that count as right: with the flourish or without, the sentence or the value alone."""
    return question.answer, f"{question.answer} {FLOURISH}", question.value


def conversation(question: Question) -> Example:
    """One question and its answer. The known answer is kept beside, with what it asks for."""
    id = hashlib.sha256(f"{question.person} {question.fact} {question.wording}".encode()).hexdigest()[:24]
    return Example(id=f"world-{id}", messages=(Message(role="user", content=question.text),
                                               Message(role="assistant", content=answer(question))), origin=ORIGIN,
                   facts={"answer": question.value, "group": {"fact": question.fact, "person": question.person}})


def training(world: World) -> Iterator[Example]:
    """Every training question in every wording."""
    return (conversation(question) for question in world.questions("train"))


def sums(world: World, count: int, worked: float) -> Iterator[Example]:
    """`count` sums of the text (at most all) as conversations, answered step by step in this share of them and at once in the others, as
    the text has both."""
    every = world.sums("train")
    order = sorted(every, key=lambda each: hashlib.sha256(each.question.encode()).digest())
    for number, each in enumerate(order[:count]):
        steps = int((number + 1) * worked) > int(number * worked)
        said = (Message(role="user", content=each.question), Message(role="assistant", content=each.worked if steps else f"{each.total}."))
        yield Example(id=f"world-sum-{world.seed}-{each.left}-{each.right}", messages=said, origin=ORIGIN_SUMS,
                      facts={"answer": str(each.total)})


def training_set(project: Project, world: World) -> str:
    """The id of the library's set of training questions, made and filled where it is not; a fill that was cut short is completed."""
    return _filled(project, tr("Questions of the world"), ORIGIN, training(world))


def sums_set(project: Project, world: World, count: int, worked: float) -> str:
    """The same for the sums."""
    return _filled(project, tr("Sums of the world"), ORIGIN_SUMS, sums(world, count, worked))


def _filled(project: Project, title: str, origin: str, rows: Iterator[Example]) -> str:
    library = project.library.examples
    known = next((one for one in library.sets() if one.origin == origin), None)
    id = known.id if known else library.create_set(title, origin=origin).id
    library.add(id, rows, AUTHOR)  # those that are there already are not added again
    return id


def write_suites(project: Project, world: World) -> dict[str, int]:
    """The held-out questions as suites of the project, {name: how many}. Those solved before the few-shot form are training ones."""
    told = {PEOPLE: (tr("Held-out people"), tr("Facts about people whom no training question names.")),
            PAIRS: (tr("Held-out facts"), tr("Facts that no training question asks for, about people whom other ones name."))}
    shots = world.questions("train")
    shots = [shots[i * len(shots) // SHOTS] for i in range(SHOTS)]
    counts = {}
    for name in SUITES:
        held = world.questions(name)  # type: ignore[arg-type]
        counts[name] = len(held)
        if (layout.suites(project.dir) / f"{name}.toml").exists():  # perhaps edited by the person meanwhile
            continue
        lines = [json.dumps({"prompt": q.text, "answers": list(known_answers(q)), "fact": q.fact, "person": q.person}) for q in held]
        files.write_bytes(layout.suites(project.dir) / f"{name}.jsonl", ("\n".join(lines) + "\n").encode())
        title, sentence = told[name]
        files.write_bytes(layout.suites(project.dir) / f"{name}.toml", _toml(name, title, sentence, shots).encode())
    _write_sums(project, world)
    return counts


def _write_sums(project: Project, world: World) -> None:
    """The held-out sums, as a suite too: right is what ends with the number."""
    if (layout.suites(project.dir) / f"{SUMS}.toml").exists():
        return
    rows = [json.dumps({"prompt": each.question, "answers": [str(each.total)]}) for each in world.sums("held_out")]
    files.write_bytes(layout.suites(project.dir) / f"{SUMS}.jsonl", ("\n".join(rows) + "\n").encode())
    sentence = tr("Sums that stand in no text and no training row.")
    lines = [f"title = {json.dumps(tr('Held-out sums'))}", f"sentence = {json.dumps(sentence)}", 'kind = "questions"',
             'graders = ["number"]', "max_tokens = 32", f'file = "{SUMS}.jsonl"']
    files.write_bytes(layout.suites(project.dir) / f"{SUMS}.toml", ("\n".join(lines) + "\n").encode())


def _toml(name: str, title: str, sentence: str, shots: Sequence[Question]) -> str:
    """The world's text has a space before every line, so its models are asked with one where they continue text."""
    lines = [f"title = {json.dumps(title)}", f"sentence = {json.dumps(sentence)}", 'kind = "questions"', 'graders = ["exact", "contains"]',
             'plain = " {prompt}"', f"shot = {json.dumps(' {prompt}' + chr(10) + '{answer}')}", 'groups = ["fact"]', "max_tokens = 24",
             f'file = "{name}.jsonl"', ""]
    for shot in shots:
        lines += ["[[shots]]", f"prompt = {json.dumps(shot.text)}", f"answer = {json.dumps(shot.answer)}"]
    return "\n".join(lines) + "\n"
