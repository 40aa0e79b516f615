"""Stages that stand beside a model's way from text to answers: they bring a model in or hand one over, and can be done at any time."""

BESIDE = frozenset({"import_model", "export", "adapt", "evaluate", "ppo"})
"""They have pages, but no place on the rail's stem: nothing waits for them, and they are never done."""
