"""STAGES: the ordered table of what Fledge can do to a model. Imports only the specs; `run` is named by string, so torch stays out.

Adding a stage is a folder, a row here, a page and two tests.
"""

from dataclasses import dataclass
from importlib import import_module

from engine.contract.errors import SettingError
from engine.contract.spec import Spec
from engine.contract.words import tr
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.dpo.spec import DpoSpec
from engine.stages.evaluate.spec import EvaluateSpec
from engine.stages.export.spec import ExportSpec
from engine.stages.grpo.spec import GrpoSpec
from engine.stages.import_model.spec import ImportModelSpec
from engine.stages.instruct.spec import InstructSpec
from engine.stages.ppo.spec import PpoSpec
from engine.stages.preference.spec import PreferenceSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.reward.spec import RewardSpec
from engine.stages.sft.spec import SftSpec
from engine.stages.tokenizer.spec import TokenizerSpec


@dataclass(frozen=True)
class Stage:
    """`needs` and `makes` are kinds of artifacts; `device` says whether the run holds a device (one such run a device at a time)."""

    id: str
    title: str
    verb: str
    spec: type[Spec]
    entry: str
    needs: tuple[str, ...]
    makes: str
    device: bool = False

    def run(self):
        """The stage's `run(spec, context)`; importing it may load torch, so only workers call this."""
        module, _, name = self.entry.partition(":")
        return getattr(import_module(module), name)


STAGES: dict[str, Stage] = {stage.id: stage for stage in (
    Stage("corpus", tr("Corpus"), tr("Import"), CorpusSpec, "engine.stages.corpus.run:run", (), "corpus"),
    Stage("tokenizer", tr("Tokenizer"), tr("Train the tokenizer"), TokenizerSpec, "engine.stages.tokenizer.run:run", ("corpus",),
          "tokenizer"),
    Stage("pretrain", tr("Pretrain"), tr("Pretrain"), PretrainSpec, "engine.stages.pretrain.run:run", ("corpus", "tokenizer"), "model",
          device=True),
    Stage("adapt", tr("Domain"), tr("Train on the domain"), AdaptSpec, "engine.stages.adapt.run:run", ("corpus", "model"), "model",
          device=True),
    Stage("instruct", tr("Instruction data"), tr("Generate"), InstructSpec, "engine.stages.instruct.run:run", (), "examples"),
    Stage("sft", tr("Fine-tune"), tr("Fine-tune"), SftSpec, "engine.stages.sft.run:run", ("model",), "model", device=True),
    Stage("preference", tr("Preferences"), tr("Make pairs"), PreferenceSpec, "engine.stages.preference.run:run", (), "pairs", device=True),
    Stage("reward", tr("Reward model"), tr("Train the reward model"), RewardSpec, "engine.stages.reward.run:run", ("model",),
          "reward_model", device=True),
    Stage("dpo", tr("Preference tuning"), tr("Tune by DPO"), DpoSpec, "engine.stages.dpo.run:run", ("model",), "model", device=True),
    Stage("ppo", "PPO", tr("Tune by PPO"), PpoSpec, "engine.stages.ppo.run:run", ("model", "reward_model"), "model", device=True),
    Stage("grpo", tr("Reasoning"), tr("Train on problems"), GrpoSpec, "engine.stages.grpo.run:run", ("model",), "model", device=True),
    Stage("evaluate", tr("Evaluate"), tr("Evaluate"), EvaluateSpec, "engine.stages.evaluate.run:run", ("model",), "evaluation",
          device=True),
    Stage("import_model", tr("Import a model"), tr("Import"), ImportModelSpec, "engine.stages.import_model.run:run", (), "model"),
    Stage("export", tr("Export"), tr("Export"), ExportSpec, "engine.stages.export.run:run", (), "export"),
)}


def stage(id: str) -> Stage:
    if id not in STAGES:
        raise SettingError(tr("There is no stage called {id}.", id=id), tr("Stages: {known}.", known=", ".join(STAGES)),
                           code="unknown_stage")
    return STAGES[id]
