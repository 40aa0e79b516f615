"""The Chat page: one checkpoint, or two side by side, on the same prompt and seed."""

from desktop.pages.chat.page import ChatPage

__all__ = ["ChatPage"]
