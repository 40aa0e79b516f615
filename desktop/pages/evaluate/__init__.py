"""The page that measures models and compares them."""

from desktop.pages.evaluate.page import EvaluatePage

__all__ = ["EvaluatePage"]
