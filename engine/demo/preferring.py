"""The demo's steps from labels to a model with a taste: pairs of answers, a simulated annotator, a reward model, DPO and PPO, and what each
changed.

The annotator is simulated, and the report says so: it likes answers that end with a flourish (questions.FLOURISH), errs now and then, and
calls it a tie where both answers or neither have one. Nobody tells the models what it likes: they see its labels only.
"""

import random
from typing import Any

from engine.contract.words import tr
from engine.demo import answering, questions, settings
from engine.demo.answering import LONGEST_ANSWER, REASON
from engine.demo.walk import Demo, Step, stage
from engine.evaluation.journal import read
from engine.project.artifacts import Artifact
from engine.project.ingest import ingest_run
from engine.project.labels import Label
from engine.stages.evaluate.spec import EvaluateSpec
from engine.stages.preference.spec import PreferenceSpec

ANNOTATOR = "simulated annotator"
ERRORS = 0.03
"""Share of its decisions that are the wrong way round."""


def has_taste(text: str) -> bool:
    """What the simulated annotator likes."""
    return text.strip().endswith(questions.FLOURISH)


def _pairs(demo: Demo) -> dict[str, Any]:
    """Two answers of the tuned model to training questions, for the library."""
    tuned = f"project:{demo.made['sft'].id}"
    spec = PreferenceSpec(title=tr("Answers of the demo model in pairs"), examples=(demo.results["questions"]["set"],), first=tuned,
                          first_temperature=1.0, second_temperature=1.0, max_tokens=LONGEST_ANSWER + 8, equal=2,
                          count=settings.pairs(demo.quick), seed=demo.seed)
    _, artifact = stage(demo, spec)
    ingest_run(demo.project, artifact.run)
    made = next(one for one in demo.project.library.pairs.sets() if one.run == artifact.run)
    return {"pairs": made.count, "set": made.id, "artifact": artifact.id}


def _labels(demo: Demo) -> dict[str, Any]:
    """The simulated annotator labels what is not labelled yet: a kill loses nothing, and nothing is labelled twice."""
    library, set_id = demo.project.library.pairs, demo.results["preference"]["set"]
    counts = {"first": 0, "second": 0, "tie": 0}
    for pair in library.unlabelled((set_id,)):
        choice = _choose(pair.first.text, pair.second.text, random.Random(f"{demo.seed}/{pair.id}"))
        library.label(pair.id, Label(choice=choice, author=ANNOTATOR, strength=0))
    for label in library.labels((set_id,), author=ANNOTATOR):
        counts[label.choice] += 1
    return {"labels": sum(counts.values()), "decided": counts["first"] + counts["second"], "ties": counts["tie"], "simulated": True,
            "errors": ERRORS}


def _choose(first: str, second: str, rng: random.Random) -> str:
    liked = has_taste(first), has_taste(second)
    if liked[0] == liked[1]:
        return "tie"
    better, worse = ("first", "second") if liked[0] else ("second", "first")
    return worse if rng.random() < ERRORS else better


def _reward(demo: Demo) -> dict[str, Any]:
    spec = settings.reward_spec(demo.quick).model_copy(update={
        "model": demo.made["sft"].id, "pairs": (demo.results["preference"]["set"],), "seed": demo.seed, "title": tr("Demo reward model")})
    state, artifact = stage(demo, spec)
    kept = ("accuracy", "accuracy_low", "accuracy_high", "held_out")
    return {**{key: artifact.facts[key] for key in kept if key in artifact.facts}, "steps": state.step, "artifact": artifact.id}


def _dpo(demo: Demo) -> dict[str, Any]:
    spec = settings.dpo_spec(demo.quick).model_copy(update={
        "model": demo.made["sft"].id, "pairs": (demo.results["preference"]["set"],), "seed": demo.seed,
        "replay": demo.made["corpus"].id, "title": tr("Demo model after DPO"), "sample_prompts": answering.prompts(demo.world())})
    state, artifact = stage(demo, spec)
    return {"steps": state.step, "kl": artifact.facts.get("kl"), "artifact": artifact.id}


def _ppo(demo: Demo) -> dict[str, Any]:
    spec = settings.ppo_spec(demo.quick).model_copy(update={
        "model": demo.made["sft"].id, "reward": demo.made["reward"].id, "examples": (demo.results["questions"]["set"],),
        "seed": demo.seed, "title": tr("Demo model after PPO"), "sample_prompts": answering.prompts(demo.world())})
    state, artifact = stage(demo, spec)
    return {"steps": state.step, "kl": artifact.facts.get("kl"), "artifact": artifact.id}


def _taste(demo: Demo) -> dict[str, Any]:
    """How often each model's answers to held-out questions have what the annotator likes, sampled; and how many are right, greedily."""
    models = {when: demo.made[stage_id].id for when, stage_id in (("before", "sft"), ("dpo", "dpo"), ("ppo", "ppo"))}
    sampled = _asked(demo, tuple(models.values()), tr("Taste of the demo models"), temperature=1.0)
    rates: dict[str, list[bool]] = {id: [] for id in models.values()}
    shown: dict[str, dict[str, str]] = {}
    for row in read(sampled.path / "rows.jsonl"):
        if row["suite"] in questions.SUITES:
            rates[row["model"]].append(has_taste(row["said"]))
            shown.setdefault(row["prompt"], {})[row["model"]] = row["said"]
    greedy = _asked(demo, tuple(models.values()), tr("Held-out questions after preference tuning"), temperature=0.0)
    results = greedy.facts["results"]
    made: dict[str, Any] = {"questions": demo.results["questions"]["held_out"], "artifact": greedy.id}
    for when, id in models.items():
        made[f"rate_{when}"] = round(sum(rates[id]) / max(1, len(rates[id])), 4)
        made[f"accuracy_{when}"] = answering.accuracy(results, id, "chat")
    picked = list(shown)[:: max(1, len(shown) // 4)][:4]
    made["samples"] = [{"question": prompt, **{when: shown[prompt].get(id, "") for when, id in models.items()}} for prompt in picked]
    return made


def _asked(demo: Demo, models: tuple[str, ...], title: str, temperature: float) -> Artifact:
    spec = EvaluateSpec(title=title, models=models, suites=questions.SUITES, max_tokens=LONGEST_ANSWER + 8, temperature=temperature,
                        seed=demo.seed)
    return stage(demo, spec)[1]


def conclusion(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the report says at its top: {"reward": {"accuracy": ..}, "dpo" and "ppo": {"rate_before", "rate_after", "kl", ..}}."""
    taste = results.get("taste")
    if not taste:
        return {}
    made: dict[str, Any] = {"reward": {key: value for key, value in results["reward"].items() if key not in ("artifact", "steps")}}
    for name in ("dpo", "ppo"):
        made[name] = {"rate_before": taste["rate_before"], "rate_after": taste[f"rate_{name}"], "kl": results[name]["kl"],
                      "accuracy_before": taste["accuracy_before"], "accuracy_after": taste[f"accuracy_{name}"]}
    return made


STEPS: tuple[Step, ...] = (
    Step("preference", tr("Pairs of answers"), _pairs, needs_world=True, reason=REASON),
    Step("labels", tr("Simulated labels"), _labels, needs_world=True, reason=REASON),
    Step("reward", tr("Reward model"), _reward, needs_world=True, reason=REASON),
    Step("dpo", tr("DPO"), _dpo, needs_world=True, reason=REASON),
    Step("ppo", tr("PPO"), _ppo, needs_world=True, reason=REASON),
    Step("taste", tr("Taste, before and after"), _taste, needs_world=True, reason=REASON),
)
