"""Marks every string a person reads for translation. What it does not do: formatting numbers (see units.py).

`tr("Step {step} of {total}", step=3, total=9)` looks the template up in the catalogue of the chosen language (gettext, stdlib) and
then fills it in. The first argument is always a literal, so that `packaging/messages.py` can collect it; a test holds that.
Engine and window share this one mechanism: a sentence made by a worker reads the same in the log, the terminal and the window.
"""

import gettext
import os
from functools import lru_cache
from pathlib import Path

DOMAIN = "fledge"
CATALOGUES = Path(__file__).resolve().parents[2] / "resources" / "translations"


def language() -> str:
    """The language of this process: FLEDGE_LANGUAGE (the app hands it to its workers), else English."""
    return os.environ.get("FLEDGE_LANGUAGE", "en")


@lru_cache(maxsize=4)
def _catalogue(code: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, CATALOGUES, languages=[code], fallback=True)


def tr(template: str, /, **values: object) -> str:
    """`template` in the language of this process, with `{name}` fields filled from `values`."""
    text = _catalogue(language()).gettext(template) if template else ""
    return text.format(**values) if values else text


def trn(one: str, many: str, count: int, /, **values: object) -> str:
    """The form of the sentence for `count` things; `{count}` is filled with the thousands-separated number."""
    text = _catalogue(language()).ngettext(one, many, count)
    return text.format(count=f"{count:,}", **values)
