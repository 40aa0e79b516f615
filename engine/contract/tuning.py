"""Settings shared by every stage that goes on training a model that exists: what of it is trained, how fast, how it is looked after.
No torch, no stage.
"""

from typing import Literal

from engine.contract.spec import Problem, Spec, option
from engine.contract.words import tr

MODEL, METHOD, SCHEDULE, RUN = "model", "method", "schedule", "run"
TARGETS = ("q", "k", "v", "o", "gate", "up", "down")
"""Projections that LoRA can be added to. Of GPT-2's shape: q, k, v, o, up, down."""


class TuningSpec(Spec):
    """Base of sft, adapt and later stages. None means that the stage decides from model and data, and says what it took."""

    model: str = option("", label=tr("Model"), help=tr("What training starts from: a finished model or a checkpoint."), group=MODEL)
    title: str = option("", label=tr("Name"), help=tr("How the new model is called in the project."), group=MODEL)

    method: Literal["full", "lora", "qlora"] = option("full", label=tr("Method"), group=METHOD,
        help=tr("Full changes every weight. LoRA trains small matrices beside frozen weights: far less memory. QLoRA keeps the frozen "
                "weights in 4 bits (NVIDIA only)."),
        choices=(("full", tr("Full")), ("lora", "LoRA"), ("qlora", "QLoRA")))
    lora_rank: int = option(16, label=tr("LoRA rank"), ge=1, le=1024, group=METHOD,
        help=tr("Width of the small matrices: what they can learn, and their memory."))
    lora_alpha: float = option(32.0, label=tr("LoRA alpha"), gt=0, le=8192, advanced=True, group=METHOD,
        help=tr("How strongly the small matrices count: alpha / rank."))
    lora_dropout: float = option(0.0, label=tr("LoRA dropout"), ge=0, le=0.9, advanced=True, group=METHOD,
        help=tr("Zeroes this share of what goes into the small matrices in training."))
    lora_targets: tuple[str, ...] = option(TARGETS, label=tr("LoRA layers"), advanced=True, group=METHOD,
        help=tr("Which projections get small matrices: q, k, v, o, gate, up, down."))
    rslora: bool = option(False, label=tr("rsLoRA"), advanced=True, group=METHOD,
        help=tr("Scales by alpha / √rank, which keeps high ranks useful (Kalajdzievski, 2023)."))
    lora_tokens: tuple[str, ...] | None = option(None, label=tr("Trained tokens"), advanced=True, group=METHOD,
        help=tr("Tokens whose rows of the table are trained where the table is not: with LoRA, and with frozen embeddings. "
                "Automatic: those of the conversations that the model has never met, without which it would not learn to end an answer."))
    frozen_layers: int = option(0, label=tr("Frozen layers"), ge=0, le=1000, advanced=True, group=METHOD,
        help=tr("The first layers of the model that stay as they are. With full training only."), visible_if=("method", "full"))
    freeze_embeddings: bool = option(False, label=tr("Frozen embeddings"), advanced=True, group=METHOD,
        help=tr("The table of tokens stays as it is, but for tokens that are new to the model. With full training only."),
        visible_if=("method", "full"))

    learning_rate: float | None = option(None, label=tr("Learning rate"), gt=0, le=10, group=SCHEDULE,
        help=tr("From the method and the model's width unless set; LoRA takes about ten times that of full training."))
    weight_decay: float = option(0.0, label=tr("Weight decay"), ge=0, le=10, advanced=True, group=SCHEDULE,
        help=tr("Pulls matrices towards zero a little each step."))
    beta1: float = option(0.9, label=tr("AdamW beta 1"), ge=0, lt=1, advanced=True, group=SCHEDULE,
                          help=tr("Memory of the gradient's mean."))
    beta2: float = option(0.95, label=tr("AdamW beta 2"), ge=0, lt=1, advanced=True, group=SCHEDULE,
                          help=tr("Memory of the gradient's spread."))
    grad_clip: float = option(1.0, label=tr("Gradient clipping"), ge=0, advanced=True, group=SCHEDULE,
        help=tr("Longest gradient allowed; longer ones are scaled down. 0: never."))
    warmup_share: float = option(0.03, label=tr("Warm-up"), ge=0, le=1, advanced=True, group=SCHEDULE,
        help=tr("Share of the steps in which the learning rate rises from zero."))
    decay: Literal["linear", "cosine", "constant"] = option("linear", label=tr("Decay"), advanced=True, group=SCHEDULE,
        help=tr("How the learning rate falls after the warm-up."),
        choices=(("linear", tr("Linear")), ("cosine", tr("Cosine")), ("constant", tr("None"))))
    final_lr_share: float = option(0.0, label=tr("Final learning rate"), ge=0, le=1, advanced=True, group=SCHEDULE,
        help=tr("Where the decay ends, as a share of the peak."))

    micro_batch_size: int | None = option(None, label=tr("Micro batch"), ge=1, le=4096, advanced=True, group=RUN,
        help=tr("Examples or rows at once on the device; the rest of the batch is accumulated."))
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", label=tr("Precision"), advanced=True, group=RUN,
        help=tr("bfloat16 where the device has it; trained weights are kept in float32."),
        choices=(("auto", tr("Automatic")), ("float32", "float32"), ("bfloat16", "bfloat16")))
    compile: Literal["auto", "on", "off"] = option("auto", label="torch.compile", advanced=True, group=RUN,
        help=tr("Faster steps after a start-up of up to a minute. Automatic: where it pays."),
        choices=(("auto", tr("Automatic")), ("on", tr("On")), ("off", tr("Off"))))
    activation_checkpointing: Literal["auto", "on", "off"] = option("auto", label=tr("Activation checkpointing"), advanced=True, group=RUN,
        help=tr("Computes activations twice instead of keeping them: less memory, about a third slower."),
        choices=(("auto", tr("When memory asks")), ("on", tr("On")), ("off", tr("Off"))))
    eval_every: int | None = option(None, label=tr("Validate"), unit=tr("steps"), ge=0, advanced=True, group=RUN,
        help=tr("Measures the loss on what was kept for validation. 0: only at the end."))
    patience: int = option(0, label=tr("Early stopping"), unit=tr("validations"), ge=0, le=1000, advanced=True, group=RUN,
        help=tr("Stops after this many validations without a new best, and keeps the best. 0: never."))
    keep_best: bool = option(True, label=tr("Keep the best"), advanced=True, group=RUN,
        help=tr("The finished model has the weights of the best validation, not of the last step."))
    sample_every: int | None = option(None, label=tr("Samples"), unit=tr("steps"), ge=0, advanced=True, group=RUN,
        help=tr("Fixed prompts, answered before, while and after it trains. 0: only before and after."))
    sample_prompts: tuple[str, ...] = option((), label=tr("Sample prompts"), advanced=True, group=RUN,
        help=tr("One a line. Empty: some of what was kept for validation."))
    sample_tokens: int = option(96, label=tr("Sample length"), unit=tr("tokens"), ge=1, le=4096, advanced=True, group=RUN,
        help=tr("Tokens written for each prompt at most."))
    checkpoint_every_steps: int | None = option(None, label=tr("Checkpoint every"), unit=tr("steps"), ge=0, advanced=True, group=RUN,
        help=tr("What a crash can cost at most. 0: not by steps."))
    checkpoint_every_minutes: float = option(10.0, label=tr("and every"), unit=tr("minutes"), ge=0, le=100_000, advanced=True, group=RUN,
        help=tr("Whichever comes first. 0: not by time."))
    keep_checkpoints: int = option(3, label=tr("Keep the last"), unit=tr("checkpoints"), ge=1, le=1000, advanced=True, group=RUN,
        help=tr("The best one is kept besides."))

    def problems(self) -> list[Problem]:
        found = []
        if not self.model:
            found.append(Problem("model", tr("There is no model to start from."), tr("Choose a model or a checkpoint of this project.")))
        unknown = [name for name in self.lora_targets if name not in TARGETS]
        if unknown:
            found.append(Problem("lora_targets", tr("LoRA knows no layer called {name}.", name=unknown[0]),
                                 tr("Choose among: {names}.", names=", ".join(TARGETS))))
        elif self.method != "full" and not self.lora_targets:
            found.append(Problem("lora_targets", tr("LoRA needs at least one layer."),
                                 tr("Choose among: {names}.", names=", ".join(TARGETS))))
        return found
