"""The verifier of a run, from what its settings compose."""

import atexit
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from engine.contract.errors import SettingError
from engine.contract.words import tr
from engine.stages.grpo.spec import GrpoSpec
from engine.verifiers.api import Verifier
from engine.verifiers.builtin import ChoiceVerifier, LengthVerifier, NumberVerifier, SchemaVerifier, TagsVerifier, TextVerifier, Weighted
from engine.verifiers.pool import Pool
from engine.verifiers.python_verifier import PythonVerifier

PLAIN: dict[str, Callable[..., Verifier]] = {"text": TextVerifier, "number": NumberVerifier, "choice": ChoiceVerifier, "tags": TagsVerifier,
                                             "length": LengthVerifier, "schema": SchemaVerifier}
PYTHON = "python"


@contextmanager
def opened(spec: GrpoSpec) -> Iterator[Verifier]:
    """What the settings compose, its processes ended afterwards. Raises SettingError, FormatError (a source), Missing (no sandbox)."""
    with ExitStack() as stack:
        pool: Pool | None = None
        parts: list[tuple[str, float, Verifier]] = []
        for part in spec.parts():
            name, settings = part["name"], dict(part["settings"])
            title = str(settings.pop("title", name))
            if name == PYTHON:
                pool = pool or stack.enter_context(Pool())
                made: Verifier = _made(name, PythonVerifier, settings.pop("source", ""), pool, **settings)
            elif name in PLAIN:
                made = _made(name, PLAIN[name], **settings)
            else:
                raise SettingError(tr("There is no verifier called {name}.", name=name), tr("Choose another one."), field="verifier")
            again = sum(known.partition(" #")[0] == title for known, _, _ in parts)
            parts.append((f"{title} #{again + 1}" if again else title, float(part["weight"]), made))
        yield Weighted(parts)


def _made(name: str, kind: Callable[..., Verifier], *given: Any, **settings: Any) -> Verifier:
    try:
        return kind(*given, **settings)
    except TypeError as wrong:
        raise SettingError(tr("The verifier {name} does not know these settings: {reason}", name=name, reason=str(wrong)),
                           tr("Correct them."), field="verifier") from None


def until_the_end(spec: GrpoSpec) -> Verifier:
    """The same, for a process that does nothing else: its verifier's processes end with it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(opened(spec))
