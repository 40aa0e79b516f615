"""Settings: how the window looks, which Python has the engine, what other programs may reach."""

from desktop.pages.settings.page import SettingsPage

__all__ = ["SettingsPage"]
