"""The page that takes an open model into the project."""

from desktop.pages.import_model.page import ImportModelPage

__all__ = ["ImportModelPage"]
