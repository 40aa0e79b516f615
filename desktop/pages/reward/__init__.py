"""The Reward model page: labels become a model that scores answers (stage reward)."""

from desktop.pages.reward.page import RewardPage

__all__ = ["RewardPage"]
