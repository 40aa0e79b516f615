"""Measuring models: questions with known answers, forms that can be checked, held-out loss, win rates. Later stages use it, too."""
