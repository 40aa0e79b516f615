"""The training engine: everything Fledge does without a window. It never imports Qt or `desktop`; see README.md for the map."""

__version__ = "0.1.0"
