"""The demo's steps from a base model to one that answers: questions for the library, a run of generation, fine-tuning, evaluation.

What a model this small writes before it is tuned is hardly ever true. It is asked all the same, so that the way from a model of the project
to the library is walked; each answer is held against the world, and what is not true is set aside as rejected. Training takes the world's
own questions.
"""

from typing import Any

from engine.contract.words import tr
from engine.demo import questions, settings
from engine.demo.walk import Demo, Step, stage
from engine.evaluation.graders import exact
from engine.evaluation.journal import read
from engine.project import files, layout
from engine.project.ingest import ingest_run
from engine.project.project import Project
from engine.stages.evaluate.spec import EvaluateSpec
from engine.stages.instruct.spec import InstructSpec
from engine.world import World

REASON = tr("it is about the people of the generated world, whom your text does not have.")
RECIPE = """# The questions of the world, put to a model of this project as they are.

format = 1
id = "world_answers"
kind = "answers"
title = "Answers of a model of this project"
sentence = "The prompts of the examples you have, asked without a system prompt: a small model has no room for one."

[options]
turns = 1
"""
GENERATED = 16
LONGEST_ANSWER = 24
HELD_OUT_TEXT = "held_out_text"
TEXT_BYTES = 100_000
SHOWN = 6


def _questions(demo: Demo) -> dict[str, Any]:
    """The training questions as a set of the library, the held-out ones as suites of the project."""
    project, world = demo.project, demo.world()
    id, sums = questions.training_set(project, world), questions.sums_set(project, world, *settings.sums(demo.quick))
    held_out = questions.write_suites(project, world)
    library = project.library.examples
    return {"set": id, "sums": sums, "examples": library.get_set(id).count + library.get_set(sums).count,
            "held_out": sum(held_out.values()), **held_out}


def _generation(demo: Demo) -> dict[str, Any]:
    """Some of the questions asked of the base model by the instruct stage; what it wrote, held against the world."""
    project, world = demo.project, demo.world()
    recipe = layout.recipes(project.dir) / "world_answers.toml"
    if not recipe.exists():
        files.write_bytes(recipe, RECIPE.encode())
    base = demo.made["pretrain"].id
    spec = InstructSpec(
        title=tr("Answers of the base model"), responder=f"project:{base}", recipe=str(recipe), seeds=(demo.results["questions"]["set"],),
        count=GENERATED, temperature=0.0, max_tokens=LONGEST_ANSWER, concurrency=4, check_language=False, shortest=1, seed=demo.seed,
        held_out=tuple(str(layout.suites(project.dir) / f"{name}.jsonl") for name in questions.SUITES))
    state, artifact = stage(demo, spec)
    run = project.runs.get(artifact.run)
    ingest_run(project, run.id)
    true = judge(project, world, run.id)
    return {"asked": GENERATED, "true": true, "written": int(artifact.facts.get("rows", 0) or 0), "artifact": artifact.id}


def judge(project: Project, world: World, run_id: str) -> int:
    """Accept the generated answers that are true in the world, reject the others; how many are true. What was judged stays as it is."""
    from engine.project.examples import ExampleFilter

    known = {question.text: question for question in world.questions("train")}
    library = project.library.examples
    made = next((one.id for one in library.sets() if one.run == run_id), None)
    if made is None:
        return 0
    rows = library.rows(ExampleFilter(sets=(made,)), count=10 * GENERATED)
    right = []
    for row in rows:
        question = known.get(row.example.messages[0].content)
        right.append(question is not None and bool(exact(row.example.messages[-1].content, questions.known_answers(question))))
    for wanted, status in ((True, "accepted"), (False, "rejected")):
        ids = [row.example.id for row, is_right in zip(rows, right, strict=True) if is_right is wanted and row.status != status]
        if ids:
            library.set_status(ids, status, questions.AUTHOR)
    return sum(right)


def _sft(demo: Demo) -> dict[str, Any]:
    """Fine-tuning on the training questions and sums, with documents of the corpus replayed in each step."""
    asked = demo.results["questions"]
    spec = settings.sft_spec(demo.quick).model_copy(update={
        "model": demo.made["pretrain"].id, "examples": (asked["set"], asked["sums"]), "replay": demo.made["corpus"].id,
        "seed": demo.seed, "title": tr("Demo model that answers"), "sample_prompts": prompts(demo.world())})
    state, artifact = stage(demo, spec)
    facts = {key: artifact.facts[key] for key in ("examples", "epochs") if key in artifact.facts}
    return {**facts, "steps": state.step, "replayed_documents": spec.replay_documents,
            "training_seconds": round(state.metrics.last("elapsed") or 0.0, 2), "artifact": artifact.id}


def prompts(world: World) -> tuple[str, ...]:
    """Held-out questions, as samples before and after; nothing is chosen by them."""
    people, pairs = world.questions(questions.PEOPLE), world.questions(questions.PAIRS)  # type: ignore[arg-type]
    return (people[0].text, people[len(people) // 2].text, pairs[0].text, pairs[len(pairs) // 2].text)


def _evaluation(demo: Demo) -> dict[str, Any]:
    """Base and tuned model asked the same held-out questions, greedily; and the loss of both on held-out text."""
    base, tuned = demo.made["pretrain"].id, demo.made["sft"].id
    spec = EvaluateSpec(title=tr("Held-out questions of the world"), models=(base, tuned), suites=(*questions.SUITES, HELD_OUT_TEXT),
                        corpus=demo.made["corpus"].id, max_tokens=LONGEST_ANSWER, text_bytes=TEXT_BYTES, seed=demo.seed)
    _, artifact = stage(demo, spec)
    results = artifact.facts["results"]
    before, form = _before(results, base)
    made: dict[str, Any] = {
        "accuracy_before": before, "accuracy_after": accuracy(results, tuned, "chat"), "form_before": form,
        "contains_before": accuracy(results, base, form, "contains"), "questions": demo.results["questions"]["held_out"],
        "artifact": artifact.id, "side_by_side": _side_by_side(artifact.path / "rows.jsonl", base, form, tuned)}
    for name in questions.SUITES:
        short = name.removeprefix("held_out_")
        made |= {f"{short}_before": accuracy(results, base, form, suites=(name,)),
                 f"{short}_after": accuracy(results, tuned, "chat", suites=(name,))}
    for model, when in ((base, "before"), (tuned, "after")):
        made[f"text_bpb_{when}"] = round(next(r["value"] for r in results if r["suite"] == HELD_OUT_TEXT and r["model"] == model), 4)
    return made


def accuracy(results: list[dict[str, Any]], model: str, form: str, grader: str = "exact",
              suites: tuple[str, ...] = questions.SUITES) -> float:
    """The share of all questions of these suites."""
    rows = [r for r in results if r["model"] == model and r["form"] == form and r["suite"] in suites]
    return round(sum(r["graders"][grader] * r["n"] for r in rows) / max(1, sum(r["n"] for r in rows)), 4)


def _before(results: list[dict[str, Any]], base: str) -> tuple[float, str]:
    """The base model's share in the form it does best in, and which that is."""
    forms = sorted({r["form"] for r in results if r["model"] == base and r["suite"] in questions.SUITES})
    return max((accuracy(results, base, form), form) for form in forms)


def _side_by_side(rows: Any, base: str, form: str, tuned: str) -> list[dict[str, str]]:
    """The same questions to both, evenly spread over the suites."""
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for row in read(rows):
        if row["suite"] in questions.SUITES and (row["model"], row["form"]) in ((base, form), (tuned, "chat")):
            said[row["id"], row["model"]] = row
    asked = [id for id, model in said if model == tuned and (id, base) in said]
    # Neighbours are wordings of one question: an odd stride goes through wordings and facts alike.
    picked = [asked[(i * len(asked) // SHOWN + i) % len(asked)] for i in range(min(SHOWN, len(asked)))]
    return [{"question": said[id, tuned]["prompt"], "answer": said[id, tuned]["answers"][0], "before": said[id, base]["said"],
             "after": said[id, tuned]["said"]} for id in picked]


def conclusion(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the report says of fine-tuning at its top: {"sft": {"accuracy_before", "accuracy_after", ..}}; nothing where it is left out."""
    measured = results.get("evaluate")
    if not measured:
        return {}
    kept = ("accuracy_before", "accuracy_after", "people_after", "pairs_after", "questions")
    return {"sft": {key: measured[key] for key in kept}}


STEPS: tuple[Step, ...] = (
    Step("questions", tr("Questions"), _questions, needs_world=True, reason=REASON),
    Step("instruct", tr("Generated answers"), _generation, needs_world=True, reason=REASON),
    Step("sft", tr("Fine-tuning"), _sft, needs_world=True, reason=REASON),
    Step("evaluate", tr("Held-out questions"), _evaluation, needs_world=True, reason=REASON),
)
