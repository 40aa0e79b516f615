"""The Verifiers page: problems on the left, a verifier in the middle, what it says on the right."""

from desktop.pages.verifiers.page import VerifiersPage

__all__ = ["VerifiersPage"]
