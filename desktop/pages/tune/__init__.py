"""The Preference tuning page: a model learns what people prefer, from their labels (stage dpo) or with a reward model (stage ppo)."""

from desktop.pages.tune.page import TunePage

__all__ = ["TunePage"]
