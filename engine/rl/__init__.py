"""The mathematics of learning from preferences and rewards: pure functions on log-probabilities, rewards and masks. No model, no loop."""
