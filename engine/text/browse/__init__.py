"""The browser of a corpus: an index of its documents, kept and removed, beside the artifact (prepare.py), and the questions asked of it
(query.py)."""

from engine.text.browse.prepare import build, building, place, ready

__all__ = ["build", "building", "place", "ready"]
