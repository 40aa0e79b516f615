"""The Reasoning page: a model tries problems, a verifier says how right it was, and what was better becomes likelier (GRPO)."""

from desktop.pages.reasoning.page import ReasoningPage

__all__ = ["ReasoningPage"]
