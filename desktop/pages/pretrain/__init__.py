"""The Pretrain page: the wizard before a run, the run while it goes, what came of it, and what went wrong."""

from desktop.pages.pretrain.page import PretrainPage

__all__ = ["PretrainPage"]
