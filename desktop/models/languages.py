"""Names of languages by their ISO 639 codes, for people. "" is a language that was not recognised."""

from functools import lru_cache

from PySide6.QtCore import QLocale

from engine.contract.words import tr


@lru_cache(maxsize=512)
def language_name(code: str) -> str:
    """"pt" -> "Portuguese"; a code that nobody knows stays as it is."""
    if code in ("", "und", "unknown"):
        return tr("Not recognised")
    if code == "zxx":
        return tr("Source code")
    found = QLocale.codeToLanguage(code.partition("-")[0].partition("_")[0])
    return code if found in (QLocale.Language.AnyLanguage, QLocale.Language.C) else QLocale.languageToString(found)
