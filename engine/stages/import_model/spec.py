"""Settings of importing a model. No torch."""

from typing import ClassVar

from engine.contract.spec import Problem, Spec, option
from engine.contract.words import tr

HUB = "hub:"


class ImportModelSpec(Spec):
    stage: ClassVar[str] = "import_model"

    folder: str = option("", label=tr("Model"), help=tr("A folder with config.json and safetensors as other programs write them, a .gguf "
        "file, or hub:OWNER/NAME for one of the Hugging Face hub (only while the network is allowed in the settings)."))
    base: str = option("", label=tr("Base model"),
        help=tr("For an adapter of PEFT (LoRA): the model of this project that it changes. A new model is made of both."))
    title: str = option("", label=tr("Name"), help=tr("How this model is called in the project; its folder's name unless given."))
    dtype: str = option("as_is", label=tr("Store as"), choices=(("as_is", tr("as it is")), ("float32", "float32"), ("bfloat16", "bfloat16"),
                                                                ("float16", "float16")),
        help=tr("The number format of the weights on disk. As it is changes nothing; bfloat16 and float16 take half of float32."))

    def problems(self) -> list[Problem]:
        if not self.folder:
            return [Problem("folder", tr("There is no model to import."), tr("Choose a folder or a GGUF file."))]
        if self.base and self.folder.startswith(HUB):
            return [Problem("folder", tr("Adapters are imported from a folder."), tr("Fetch it first, and name its folder."))]
        return []
