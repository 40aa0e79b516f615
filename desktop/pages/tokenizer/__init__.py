"""The Tokenizer page: train or import one, and the lab that shows what it does."""

from desktop.pages.tokenizer.page import TokenizerPage

__all__ = ["TokenizerPage"]
