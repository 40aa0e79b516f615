"""Preferences: pairs of answers are made or brought in, and people say which answer is better."""

from desktop.pages.preference.page import PreferencePage

__all__ = ["PreferencePage"]
