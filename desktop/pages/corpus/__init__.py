"""The Corpus page: from a pile of files to training text."""

from desktop.pages.corpus.page import CorpusPage

__all__ = ["CorpusPage"]
