"""The page that hands a model over to other programs."""

from desktop.pages.export.page import ExportPage

__all__ = ["ExportPage"]
