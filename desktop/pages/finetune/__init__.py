"""The Fine-tune page: a model that exists learns to answer (stage sft), or the text of a domain (stage adapt)."""

from desktop.pages.finetune.page import FinetunePage

__all__ = ["FinetunePage"]
