"""The Runs page: every run of the project, their curves on one chart, what two of them differ in, and the queue."""

from desktop.pages.runs.page import RunsPage

__all__ = ["RunsPage"]
