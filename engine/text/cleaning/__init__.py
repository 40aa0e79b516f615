"""Cleaning steps of a corpus: each a small file with one class that looks at one document. What runs them: clean.py."""
