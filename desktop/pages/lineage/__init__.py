"""The Lineage page: everything that was made, from what, and what is out of date because of it."""

from desktop.pages.lineage.page import LineagePage

__all__ = ["LineagePage"]
