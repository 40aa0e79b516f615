"""What went wrong between a provider and its server, as the typed errors that asking.py acts on. No protocol is spoken here."""

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import httpx

from engine.contract.errors import FledgeError, MachineError, NotFound, OutOfMemory
from engine.contract.words import tr
from engine.generators.provider import TooLong, Unavailable
from engine.generators.reach import KEY_VARIABLE

LONGEST_WAIT = 600.0
"""Seconds a server may ask to be left alone at a time."""
QUOTED = 300
_TOO_LONG = ("context size", "context length", "context window", "context_length", "exceed_context", "maximum context", "this model sees",
             "input length exceeds", "prompt is too long", "greater than the context")
_MALFORMED = ("does not match the expected", "failed to parse")
"""llama.cpp's words for an answer that its own reader of answers refuses, half a character in a text say."""
_MEMORY = ("requires more system memory", "out of memory", "insufficient memory", "not enough memory")


def of_transport(wrong: Exception, place: str, what_to_start: str) -> Unavailable:
    """An exception of the connection itself."""
    if isinstance(wrong, (httpx.ConnectError, httpx.ConnectTimeout, ConnectionError)):
        return Unavailable("gone", tr("Nothing answers at {place}.", place=place), what_to_start)
    if isinstance(wrong, httpx.TimeoutException):
        return Unavailable("slow", tr("{place} takes too long to answer.", place=place),
                           tr("Give it more patience, a smaller model or shorter answers."))
    return Unavailable("dropped", tr("The connection to {place} broke.", place=place), tr("Look at that server's own log."))


def of_status(status: int, text: str, headers: Mapping[str, str], place: str, model: str, how_to_get: str) -> FledgeError:
    """An HTTP status that is no success. `text` is what the server said."""
    said = message_of(text)
    low = text.lower()
    if status in (400, 409, 413, 422, 500) and any(words in low for words in _TOO_LONG):
        return TooLong(tr("The question does not fit the context of {model}: {reason}", model=model, reason=said),
                       tr("Choose a longer context or a model that has one, or shorter passages."))
    if any(words in low for words in _MEMORY):
        return OutOfMemory(tr("{model} does not fit the memory of {place}: {reason}", model=model, place=place, reason=said),
                           tr("Choose a smaller model or a shorter context."))
    if status == 500 and any(words in low for words in _MALFORMED):
        return Unavailable("form", tr("{model} wrote what {place} cannot read: {reason}", model=model, place=place, reason=said),
                           tr("Choose a model that follows instructions."))
    if status in (429, 503):
        return Unavailable("busy", tr("{place} is busy.", place=place), tr("Ask it for fewer answers at once."),
                           retry_after(headers.get("retry-after", "")))
    if status in (408, 425) or status >= 500:
        return Unavailable("server", tr("{place} failed with {status}: {reason}", place=place, status=status, reason=said or "?"),
                           tr("Look at that server's own log."), retry_after(headers.get("retry-after", "")))
    if status == 404:
        return NotFound(tr("{place} has no model {model}.", place=place, model=model), how_to_get, code="no_model")
    if status in (401, 403):
        return MachineError(tr("{place} asks for a key that it was not given.", place=place),
                            tr("Set {name} to the key before Fledge starts.", name=KEY_VARIABLE), code="key")
    if 300 <= status < 400:
        return MachineError(tr("{place} sends on to another address, which is not followed.", place=place),
                            tr("Use the server's own address."), code="redirect")
    return MachineError(tr("{place} refuses: {reason}", place=place, reason=f"{status} {said}".strip()),
                        tr("Look at that server's settings, or choose another model."), code="refused")


def message_of(text: str) -> str:
    """The sentence in an error's body, whatever its form."""
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    if isinstance(found, dict):
        found = found.get("error", found.get("message", found.get("detail", text)))
    if isinstance(found, dict):
        found = found.get("message", text)
    return " ".join((found if isinstance(found, str) else text).split())[:QUOTED]


def of_form(place: str, reason: str) -> Unavailable:
    """An answer that is none of the protocol's."""
    return Unavailable("form", tr("{place} answered with something that is no answer: {reason}", place=place, reason=reason[:QUOTED]),
                       tr("Check that the address is the one of a model server."))


def retry_after(value: str) -> float | None:
    """Seconds to wait of a Retry-After header (seconds or a date), None where there is none."""
    value = value.strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None
