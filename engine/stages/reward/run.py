"""Training a reward model: a checkpoint with a head learns from labelled pairs which answer people like better. Ends with a `reward_model`
artifact, whose folder has a report, and with scores of the pairs that nobody has labelled.

What it does not do: label (the window), make pairs (preference), use rewards (ppo). What is read comes from
engine/training/pair_data.py, the loss and what is measured meanwhile from learning.py, what is told at the end from report.py and
estimates.py, all the rest from engine/training/tuning.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.contract.context import RunContext
from engine.contract.events import Facts, Notice, Phases
from engine.contract.machine import DeviceFacts
from engine.contract.rows import PreferencePair
from engine.contract.words import tr, trn
from engine.model import lora
from engine.model.checkpoint import load_model
from engine.model.reward_model import RewardFacts, RewardHead, RewardModel, save_facts, save_head
from engine.project import files, snapshots
from engine.project.project import Project
from engine.stages.reward import report, scoring
from engine.stages.reward.estimates import learning_curve
from engine.stages.reward.learning import HeldOut, Learning, Read, around, read, spread
from engine.stages.reward.spec import RewardSpec
from engine.training import new_tokens
from engine.training.checkpoints import resume_point
from engine.training.pair_data import PairData
from engine.training.pair_rows import EncodedPairs, encode_pairs
from engine.training.ranks import Ranks
from engine.training.tuning import Start, Tuner, Work, check_fit, opened
from engine.training.tuning_plan import evaluated_tokens, resolve

PHASES = [["load", tr("Load")], ["tokens", tr("Read the pairs")], ["prepare", tr("Prepare")], ["train", tr("Train")],
          ["evaluate", tr("Evaluate")], ["report", tr("Report")], ["save", tr("Save")], ["score", tr("Score what is not labelled")]]
REPORT = "report.json"
MOST_READ = 4000
"""Training pairs that are read once more for the report, evenly spread over the lengths."""
FEW_HELD_OUT = 30
EVERY = 2**62


def run(spec: RewardSpec, context: RunContext) -> None:
    """One attempt. Raises what its parts raise; Stopped when the person asked."""
    phases = [p for p in PHASES if p[0] != "score" or spec.score_unlabelled]
    context.emit(Phases(phases=phases))
    project = Project.open(context.project_dir)
    with opened(context, spec.method) as (ranks, facts):
        with context.phase("load", tr("Load")):
            start = Start.load(project, spec.model)
        with context.phase("tokens", tr("Read the pairs")):
            data = PairData.load(spec, start, context, keep_ties=spec.ties)
            tell(data, context)
        with context.phase("prepare", tr("Prepare")):
            tuner, work, told = prepare(spec, data, facts, context, ranks)
            parts = tuner.build(work, resume_point(context, ranks))
            context.emit(Facts(facts=told))
        tuner.compile(parts)
        with context.phase("train", tr("Train")):
            parts.trainer.train()
        with context.phase("evaluate", tr("Evaluate")):
            ending = tuner.finish(parts)
        if not context.is_main:
            return
        assert isinstance(work.head, RewardHead)
        model = RewardModel(parts.model, work.head).eval()
        with context.phase("report", tr("Report")):
            some = spread(data.train, MOST_READ)
            trained = read(model, data.train, some)
            made = full_report(spec, tuner, data, model, trained, context)
        with context.phase("save", tr("Save")):
            def also(folder: Path) -> None:
                save_head(folder, model.head)
                save_facts(folder, RewardFacts(made["rewards"]["mean"], made["rewards"]["std"], data.template.origin, spec.system,
                                               data.longest))
                files.write_json(folder / REPORT, made)
            tuner.save(project, parts, tr("{model}, reward model", model=start.ref.title),
                       (*data.parents, *snapshots.made_from(project, context.run_dir)), {
                **ending.facts(), **told, "epochs": work.source.epoch_of(ending.state.step), "sets": snapshots.sets(context.run_dir),
                "accuracy_before": ending.before.get("val_accuracy"), **report.facts(made)}, kind="reward_model", also=also)
        if spec.score_unlabelled:
            with context.phase("score", tr("Score what is not labelled")):
                doubt = scoring.doubt_of(model, trained.differences)
                scored = scoring.score(model, doubt, lambda pairs: encoded_as(data, spec, pairs), context)
                context.emit(Facts(facts={"scored": scored}))


def prepare(spec: RewardSpec, data: PairData, facts: DeviceFacts, context: RunContext, ranks: Ranks) -> tuple[Tuner, Work, dict[str, Any]]:
    """Everything up to the model itself, and facts of the data. Raises OutOfMemory, SettingError."""
    start, left = data.start, data.left_out
    rows = data.rows(spec, facts, context.rank, context.world_size)
    plan = resolve(spec, start.config, data.load_of(spec, rows, predicts=False), facts, context.world_size,
                   new_tokens.chosen(spec, start.tokenizer))
    check_fit(plan, facts)
    head = RewardHead(start.config.hidden_size, spec.seed)
    learning = Learning(spec, ranks)
    held = None
    if len(data.held_out):
        mean = float(data.held_out.sizes().mean())
        held = HeldOut(data.held_out, head, ranks, round(evaluated_tokens(EVERY, plan.load, plan.eval_every, 0) / mean))
    work = Work(rows, held, (), loss=learning,
                facts={"reward": True}, head=head, around=lambda decoder: around(head, decoder), measures=learning.measures)
    told = {"pairs": len(data.train), "held_out": len(data.held_out), "left_out": left.total, "cut": left.cut,
            "ties": int(data.train.ties.sum() + data.held_out.ties.sum()), "longest_pair": rows.longest_pair,
            "template": data.template.origin, "template_name": data.template.name}
    return Tuner(spec, plan, start, facts, context, ranks), work, told


def tell(data: PairData, context: RunContext) -> None:
    """What was left out, the template, and whether what is held out can say anything."""
    data.tell(context)
    held = int((~data.held_out.ties).sum())
    if held < FEW_HELD_OUT:
        context.emit(Notice(level="warning", code="few_held_out", title=tr("Little to measure it by"), step=0,
            text=trn("{count} pair is held out: how often the model is right will be known only roughly.",
                     "{count} pairs are held out: how often the model is right will be known only roughly.", held),
            remedy=tr("Label more pairs, or keep a larger share for validation.")))


def encoded_as(data: PairData, spec: RewardSpec, pairs: Iterator[PreferencePair]) -> EncodedPairs:
    """Other pairs in tokens, as those that were trained on."""
    return encode_pairs(data.start.tokenizer, pairs, system=spec.system, max_seq_len=data.longest, too_long=spec.too_long)


# ------------------------------------------------------------------------------------------------------------------ the report


def full_report(spec: RewardSpec, tuner: Tuner, data: PairData, model: RewardModel, trained: Read, context: RunContext) -> dict[str, Any]:
    """Everything the window shows of the finished model (report.py); `trained`: what it says of (some of) the training pairs. Where nothing
    is held out, shares are None and lists empty."""
    held = data.held_out
    made = read(model, held, range(len(held)))
    wanted = report.shown(made.rewards, held.ties)
    rows = {int(held.numbers[n]): n for n in range(len(held))}
    by, texts = [""] * len(held), dict[int, PreferencePair]()
    listed = {n for some in wanted.values() for n in some}
    for number, pair in enumerate(snapshots.pairs(context.run_dir)):
        if number in rows:
            by[rows[number]] = pair.by
            if rows[number] in listed:
                texts[rows[number]] = pair
    decided = ~held.ties
    margins = made.rewards[decided, 0] - made.rewards[decided, 1]
    fitted = trained.rewards[:, 0] - trained.rewards[:, 1]
    decided_train = ~data.train.ties[spread(data.train, MOST_READ)]
    curve = None
    if spec.learning_curve:
        curve = learning_curve(*untrained(spec, tuner, data, model), seed=spec.seed)
    return {
        "held_out": len(held), "pairs": len(data.train),
        "accuracy": report.accuracy(made.rewards, held.strengths, held.ties, by),
        "accuracy_trained": report.share(float(report.right_of(fitted[decided_train]).sum()), int(decided_train.sum())),
        "calibration": report.calibration(margins),
        "length": report.length(made.rewards[decided], held.answer_tokens()[decided]),
        "histogram": report.histogram(made.rewards[decided]),
        "rewards": {"mean": float(trained.rewards.mean()), "std": float(max(trained.rewards.std(), 1e-6))},
        "shown": {kind: [report.told(texts[n], made.rewards[n]) for n in some] for kind, some in wanted.items()},
        "curve": report.curve(curve),
        "curve_source": tr("Estimated: heads on the model as it was before training, each fitted on part of the pairs and judged on "
                           "others; the interval is that of resampled pairs."),
        "uncertainty_source": tr("How near the probability of the first answer is to one half, nearer where a pair is unlike the labelled "
                                 "ones (Laplace approximation of the last layer)."),
    }


def untrained(spec: RewardSpec, tuner: Tuner, data: PairData, model: RewardModel) -> tuple[np.ndarray, np.ndarray]:
    """(differences [P, F], keys [P]) of decided pairs, all that there are or MOST_READ of them, read by the model as it was before
    training, which has not seen their labels."""
    parts = [(pairs, spread(pairs, round(MOST_READ * len(pairs) / max(1, len(data.train) + len(data.held_out)))))
             for pairs in (data.train, data.held_out) if len(pairs)]

    def differences(reader: RewardModel) -> list[np.ndarray]:
        return [read(reader, pairs, numbers[~pairs.ties[numbers]], means=True).differences for pairs, numbers in parts]
    if tuner.uses_lora:
        with lora.without_lora(model):
            made = differences(model)
    else:
        dtype = model.decoder.compute_dtype or model.decoder.embed.weight.dtype
        made = differences(RewardModel(load_model(data.start.ref.folder, model.device, dtype), model.head))
    keys = [pairs.keys[numbers[~pairs.ties[numbers]]] for pairs, numbers in parts]
    return np.concatenate(made), np.concatenate(keys)
