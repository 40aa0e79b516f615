"""How good a model is: suites of questions, losses and comparisons, the same for every stage that asks."""
