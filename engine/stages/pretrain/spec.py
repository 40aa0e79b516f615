"""Settings of pretraining. One dial, `depth`, sets the rest; None means "from the dial", and dial.py fills it in. No torch."""

from typing import ClassVar, Literal

from engine.contract.spec import Problem, Spec, option
from engine.contract.words import tr

DESIGN, DATA, SCHEDULE, RUN = "design", "data", "schedule", "run"


class PretrainSpec(Spec):
    stage: ClassVar[str] = "pretrain"

    corpus: str = option("", label=tr("Corpus"), help=tr("The text the model learns from."), artifact="corpus", group=DATA)
    tokenizer: str = option("", label=tr("Tokenizer"), help=tr("Cuts the text into tokens. The model is tied to it for life."),
        artifact="tokenizer", group=DATA)
    title: str = option("", label=tr("Name"), help=tr("How the model is called in the project."), group=DATA)

    depth: int = option(4, label=tr("Size"), help=tr("Depth sets width, heads, batch, learning rates and tokens."), ge=1, le=48,
                        group=DESIGN)
    shape: Literal["llama", "gpt2"] = option("llama", label=tr("Shape"), group=DESIGN,
        help=tr("Llama: RMSNorm, RoPE and SwiGLU. GPT-2: LayerNorm, learned positions and GELU."),
        choices=(("llama", "Llama"), ("gpt2", "GPT-2")))
    max_seq_len: int = option(512, label=tr("Context length"), unit=tr("tokens"), ge=16, le=131_072, group=DESIGN,
        help=tr("How far back the model can look."))
    tokens_per_parameter: float = option(11.0, label=tr("Tokens per parameter"), unit=tr("tokens"), gt=0, le=10_000, group=SCHEDULE,
        help=tr("Compute-optimal is near 11. Small corpora are passed over several times."))
    tokens: int | None = option(None, label=tr("Tokens to train on"), unit=tr("tokens"), ge=1, group=SCHEDULE,
        help=tr("From the size and the tokens per parameter, but at most 40 passes over the corpus, unless you say otherwise."))
    tokens_per_step: int | None = option(None, label=tr("Batch"), unit=tr("tokens"), ge=16, le=2**24, group=SCHEDULE,
        help=tr("Tokens between two updates of the weights."))
    steps: int | None = option(None, label=tr("Steps"), unit=tr("steps"), ge=1, advanced=True, group=SCHEDULE,
        help=tr("Updates of the weights. Overrides the tokens to train on."))
    tie_embeddings: bool | None = option(None, label=tr("Tied embeddings"), group=DESIGN,
        help=tr("Input and output share one table. Saves parameters, best for small models."))
    sample_every: int | None = option(None, label=tr("Samples"), unit=tr("steps"), ge=0, group=RUN,
        help=tr("Fixed prompts, continued while it trains. 0: never."))

    width: int | None = option(None, label=tr("Width"), ge=16, le=16_384, advanced=True, group=DESIGN, help=tr("Size of the hidden state."))
    num_heads: int | None = option(None, label=tr("Heads"), ge=1, le=256, advanced=True, group=DESIGN,
                                   help=tr("Attention heads; they divide the width."))
    num_kv_heads: int | None = option(None, label=tr("Key and value heads"), ge=1, le=256, advanced=True, group=DESIGN,
        help=tr("Fewer than the heads (grouped-query attention) saves memory when generating."))
    intermediate_size: int | None = option(None, label=tr("MLP size"), ge=16, le=65_536, advanced=True, group=DESIGN,
        help=tr("Width of the layer between; about 8/3 of the width for Llama, 4 times for GPT-2."))
    qk_norm: bool = option(True, label=tr("QK-norm"), advanced=True, group=DESIGN,
        help=tr("Normalises queries and keys, as Qwen3 does. Steadier training at high learning rates."))
    rope_theta: float = option(10_000.0, label=tr("RoPE base"), gt=0, advanced=True, group=DESIGN, help=tr("Larger for long contexts."))
    dropout: float = option(0.0, label=tr("Dropout"), ge=0, le=0.9, advanced=True, group=SCHEDULE,
        help=tr("Zeroes this share of activations in training. Helps when a small corpus is passed over many times."))

    optimizer: Literal["muon", "adamw"] = option("muon", label=tr("Optimizer"), advanced=True, group=SCHEDULE,
        help=tr("Muon for matrices with AdamW for the rest learns faster; plain AdamW is the classic."),
        choices=(("muon", "Muon + AdamW"), ("adamw", "AdamW")))
    learning_rate: float | None = option(None, label=tr("Learning rate"), gt=0, le=10, advanced=True, group=SCHEDULE,
        help=tr("Of AdamW. From the width unless set."))
    matrix_learning_rate: float | None = option(None, label=tr("Learning rate of matrices"), gt=0, le=10, advanced=True, group=SCHEDULE,
        help=tr("Of Muon. From the dial unless set."), visible_if=("optimizer", "muon"))
    weight_decay: float | None = option(None, label=tr("Weight decay"), ge=0, le=10, advanced=True, group=SCHEDULE,
        help=tr("Pulls matrices towards zero a little each step."))
    beta1: float = option(0.9, label=tr("AdamW beta 1"), ge=0, lt=1, advanced=True, group=SCHEDULE,
                          help=tr("Memory of the gradient's mean."))
    beta2: float = option(0.95, label=tr("AdamW beta 2"), ge=0, lt=1, advanced=True, group=SCHEDULE,
                          help=tr("Memory of the gradient's spread."))
    grad_clip: float = option(1.0, label=tr("Gradient clipping"), ge=0, advanced=True, group=SCHEDULE,
        help=tr("Longest gradient allowed; longer ones are scaled down. 0: never."))
    warmup_steps: int | None = option(None, label=tr("Warm-up"), unit=tr("steps"), ge=0, advanced=True, group=SCHEDULE,
        help=tr("Steps in which the learning rate rises from zero."))
    decay: Literal["linear", "cosine", "constant"] = option("linear", label=tr("Decay"), advanced=True, group=SCHEDULE,
        help=tr("How the learning rate falls at the end."),
        choices=(("linear", tr("Linear")), ("cosine", tr("Cosine")), ("constant", tr("None"))))
    decay_share: float = option(0.5, label=tr("Decay begins with"), ge=0, le=1, advanced=True, group=SCHEDULE,
        help=tr("Share of the steps over which the learning rate falls."))
    final_lr_share: float = option(0.0, label=tr("Final learning rate"), ge=0, le=1, advanced=True, group=SCHEDULE,
        help=tr("Where the decay ends, as a share of the peak."))

    micro_batch_size: int | None = option(None, label=tr("Micro batch"), unit=tr("sequences"), ge=1, le=4096, advanced=True, group=RUN,
        help=tr("Sequences at once on the device; the rest of the batch is accumulated."))
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", label=tr("Precision"), advanced=True, group=RUN,
        help=tr("bfloat16 where the device has it; weights are kept in float32."),
        choices=(("auto", tr("Automatic")), ("float32", "float32"), ("bfloat16", "bfloat16")))
    compile: Literal["auto", "on", "off"] = option("auto", label="torch.compile", advanced=True, group=RUN,
        help=tr("Faster steps after a start-up of up to a minute. Automatic: where it pays."),
        choices=(("auto", tr("Automatic")), ("on", tr("On")), ("off", tr("Off"))))
    activation_checkpointing: Literal["auto", "on", "off"] = option("auto", label=tr("Activation checkpointing"), advanced=True, group=RUN,
        help=tr("Computes activations twice instead of keeping them: less memory, about a third slower."),
        choices=(("auto", tr("When memory asks")), ("on", tr("On")), ("off", tr("Off"))))
    eval_every: int | None = option(None, label=tr("Validate"), unit=tr("steps"), ge=0, advanced=True, group=RUN,
        help=tr("Measures bits per byte on the validation text. 0: only at the end."))
    eval_tokens: int = option(200_000, label=tr("Validate on"), unit=tr("tokens"), ge=1_000, le=2**31, advanced=True, group=RUN,
        help=tr("At most this much of the validation text during the run; the last one takes four times as much."))
    sample_prompts: tuple[str, ...] = option((), label=tr("Sample prompts"), advanced=True, group=RUN,
        help=tr("One a line. Empty: beginnings of validation documents."))
    sample_tokens: int = option(64, label=tr("Sample length"), unit=tr("tokens"), ge=1, le=2048, advanced=True, group=RUN,
        help=tr("Tokens written for each prompt."))
    sample_temperature: float = option(0.8, label=tr("Sample temperature"), ge=0, le=5, advanced=True, group=RUN,
        help=tr("0 always takes the likeliest token."))
    checkpoint_every_steps: int | None = option(None, label=tr("Checkpoint every"), unit=tr("steps"), ge=0, advanced=True, group=RUN,
        help=tr("What a crash can cost at most. 0: not by steps."))
    checkpoint_every_minutes: float = option(10.0, label=tr("and every"), unit=tr("minutes"), ge=0, le=100_000, advanced=True, group=RUN,
        help=tr("Whichever comes first. 0: not by time."))
    keep_checkpoints: int = option(3, label=tr("Keep the last"), unit=tr("checkpoints"), ge=1, le=1000, advanced=True, group=RUN,
        help=tr("The best one and the untrained one are kept besides."))
    patience: int = option(0, label=tr("Early stopping"), unit=tr("validations"), ge=0, le=1000, advanced=True, group=RUN,
        help=tr("Stops after this many validations without a new best. 0: never."))

    def problems(self) -> list[Problem]:
        found = []
        if not self.corpus:
            found.append(Problem("corpus", tr("Pretraining needs a corpus."), tr("Import text first, or choose a corpus.")))
        if not self.tokenizer:
            found.append(Problem("tokenizer", tr("Pretraining needs a tokenizer."), tr("Train one first, or choose one.")))
        if self.width and self.num_heads and self.width % self.num_heads:
            found.append(Problem("num_heads", tr("{heads} heads do not divide a width of {width}.", heads=self.num_heads, width=self.width),
                                 tr("Choose a number of heads that divides the width.")))
        if self.num_heads and self.num_kv_heads and self.num_heads % self.num_kv_heads:
            found.append(Problem("num_kv_heads", tr("{kv} key and value heads do not divide {heads} heads.", kv=self.num_kv_heads,
                heads=self.num_heads), tr("Choose a divisor of the number of heads.")))
        if self.keep_checkpoints and self.checkpoint_every_steps == 0 and self.checkpoint_every_minutes == 0:
            found.append(Problem("checkpoint_every_steps", tr("Only the last step would be saved: a crash would cost the whole run."),
                tr("Save by steps, by minutes, or both.")))
        return found
