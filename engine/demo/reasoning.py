"""The demo's steps from a model that tries sums to one that works them out: problems, a verifier as a person would write it, GRPO, and what
it changed.

Nobody shows the model how: fine-tuning has taught it to answer a sum at once or step by step, as the text does, and it is right about half
of the time. Whatever the verifier says is right becomes likelier. It does not learn to add here; it learns which of its ways leads to right
answers, and to go it without slips. The sums that are held out are in no text, no fine-tuning and no problem that is learned from.
"""

from collections.abc import Iterator
from typing import Any

from engine.contract.rows import Message, Problem, problem_id
from engine.contract.words import tr
from engine.demo import answering, questions, settings
from engine.demo.answering import REASON
from engine.demo.walk import Demo, Step, stage
from engine.evaluation.journal import read
from engine.project.artifacts import Artifact
from engine.stages.evaluate.spec import EvaluateSpec
from engine.verifiers.api import Attempt
from engine.verifiers.pool import Pool
from engine.verifiers.python_verifier import PythonVerifier
from engine.world import World

ORIGIN = "world"
VERIFIER = '''import re


def verify(prompt, completion, answer):
    """1 where the last number of the completion is the sum, whatever way led there."""
    numbers = re.findall(r"[0-9]+", completion)
    return 1.0 if numbers and numbers[-1] == answer else 0.0
'''
LONGEST_ANSWER = 32
SAMPLES = 4
"""Tries at each held-out sum, so that half a percent can be told from one."""
SHOWN = 5


def problems(world: World) -> Iterator[Problem]:
    """Sums to learn from, and those that only measure."""
    for split in ("train", "held_out"):
        for each in world.sums(split):  # type: ignore[arg-type]
            asked = (Message(role="user", content=each.question),)
            yield Problem(id=problem_id(asked, str(each.total)), prompt=asked, answer=str(each.total), held_out=split == "held_out",
                          difficulty=float(each.left % 10 + each.right >= 10), origin=ORIGIN)


def _problems(demo: Demo) -> dict[str, Any]:
    """Problems and verifier, in the library."""
    library = demo.project.library
    known = next((one for one in library.problems.sets() if one.origin == ORIGIN), None)
    made = known or library.problems.take(tr("Sums of the world"), problems(demo.world()), origin=ORIGIN, held_out_percent=0.0,
                                          author=questions.AUTHOR)
    written = next((one for one in library.verifiers.list() if library.verifiers.version(f"{one.id}@1").body == VERIFIER), None)
    verifier = written or library.verifiers.create(tr("The sum comes last"), "python", VERIFIER, origin="demo", author=questions.AUTHOR)
    return {"set": made.id, "problems": made.count - made.held_out, "held_out": made.held_out, "verifier": f"{verifier.id}@1"}


def _grpo(demo: Demo) -> dict[str, Any]:
    found = demo.results["problems"]
    sums = demo.world().sums("held_out")
    spec = settings.grpo_spec(demo.quick).model_copy(update={
        "model": demo.made["sft"].id, "problem_sets": (found["set"],), "verifier": found["verifier"], "seed": demo.seed,
        "title": tr("Demo model that reasons"), "sample_prompts": tuple(sums[i * len(sums) // 4].question for i in range(4))})
    state, artifact = stage(demo, spec)
    return {"steps": state.step, "training_seconds": round(state.metrics.last("elapsed") or 0.0, 2), "artifact": artifact.id}


def _reasoning(demo: Demo) -> dict[str, Any]:
    """Held-out sums to both models, tried several times and once greedily, graded by the same verifier; and what became of all else."""
    models = {when: demo.made[stage_id].id for when, stage_id in (("before", "sft"), ("after", "grpo"))}
    asked: dict[str, Any] = {"models": tuple(models.values()), "max_tokens": LONGEST_ANSWER, "seed": demo.seed}
    _, tried = stage(demo, EvaluateSpec(title=tr("Held-out sums, tried"), suites=(questions.SUMS,), temperature=1.0, samples=SAMPLES,
                                        **asked))
    _, greedy = stage(demo, EvaluateSpec(title=tr("Held-out sums and questions after reasoning"),
                                         suites=(questions.SUMS, *questions.SUITES), **asked))
    version = demo.project.library.verifiers.version(demo.results["problems"]["verifier"])
    with Pool() as pool:
        verifier = PythonVerifier(version.body, pool)
        rates, greedy_rates = graded(verifier, tried), graded(verifier, greedy)
    made: dict[str, Any] = {"sums": demo.results["problems"]["held_out"], "tries": SAMPLES, "artifact": greedy.id}
    for when, id in models.items():
        made[f"pass_at_1_{when}"], made[f"greedy_{when}"] = rates[id], greedy_rates[id]
        made[f"accuracy_{when}"] = answering.accuracy(greedy.facts["results"], id, "chat")
    made["samples"] = _side_by_side(tried, models)
    return made


def graded(verifier: PythonVerifier, evaluation: Artifact) -> dict[str, float]:
    """By model, the share of the answers to held-out sums that the verifier gives full marks."""
    rows = [row for row in read(evaluation.path / "rows.jsonl") if row["suite"] == questions.SUMS]
    verdicts = verifier.score([Attempt([{"role": "user", "content": row["prompt"]}], row["said"], row["answers"][0]) for row in rows])
    right: dict[str, list[bool]] = {}
    for row, verdict in zip(rows, verdicts, strict=True):
        right.setdefault(row["model"], []).append(verdict.score == 1.0)
    return {model: round(sum(each) / len(each), 4) for model, each in right.items()}


def _side_by_side(evaluation: Artifact, models: dict[str, str]) -> list[dict[str, str]]:
    """The first try of both models at some of the sums, evenly spread."""
    said: dict[str, dict[str, str]] = {}
    for row in read(evaluation.path / "rows.jsonl"):
        if row["suite"] == questions.SUMS and row["sample"] == 0:
            said.setdefault(row["prompt"], {"sum": row["prompt"] + row["answers"][0]})[row["model"]] = row["said"]
    picked = [said[prompt] for prompt in list(said)[:: max(1, len(said) // SHOWN)][:SHOWN]]
    return [{"sum": row["sum"], **{when: row.get(id, "") for when, id in models.items()}} for row in picked]


def conclusion(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the report says at its top: {"grpo": {"pass_at_1_before", "pass_at_1_after", ..}}; nothing where it is left out."""
    measured = results.get("reasoning")
    if not measured:
        return {}
    kept = ("pass_at_1_before", "pass_at_1_after", "greedy_before", "greedy_after", "accuracy_before", "accuracy_after", "sums", "tries")
    return {"grpo": {key: measured[key] for key in kept}}


STEPS: tuple[Step, ...] = (
    Step("problems", tr("Problems and verifier"), _problems, needs_world=True, reason=REASON),
    Step("grpo", tr("Reasoning"), _grpo, needs_world=True, reason=REASON),
    Step("reasoning", tr("Held-out sums, before and after"), _reasoning, needs_world=True, reason=REASON),
)
