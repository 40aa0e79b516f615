"""What a run says that did not get better: in the words of what it measured."""

import pytest

from engine.training.tuning import not_better_words


@pytest.mark.parametrize(("before", "after", "words"), [
    ({"val_loss": 0.5}, {"val_loss": 0.7}, ("loss", "0.500", "0.700")),
    ({"val_loss": -0.5, "val_reward": 0.5}, {"val_loss": -0.4, "val_reward": 0.4}, ("reward", "0.500", "0.400")),
    ({"val_loss": -0.5, "pass_at_1": 0.5, "val_reward": 0.9}, {"val_loss": -0.25, "pass_at_1": 0.25, "val_reward": 1.2},
     ("solved", "50.0", "25.0", "sampled"))])
def test_what_was_measured_is_named(before, after, words):
    said, remedy = not_better_words(before, after, "val_loss")
    assert all(word in said for word in words) and remedy.endswith(".")
    assert ("loss" in said) == (words[0] == "loss") and ("reward" in said) == (words[0] == "reward")
