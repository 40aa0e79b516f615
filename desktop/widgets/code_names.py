"""What can be completed in a verifier: its arguments, the modules and functions there are, the names of the file. No Qt.

The modules are those that every verifier finds in the sandbox; what they hold is read from the same modules here.
"""

import builtins
import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from engine.contract.words import tr

MODULES = ("re", "math", "json", "fractions", "decimal", "collections", "itertools", "functools", "statistics", "string", "unicodedata",
           "datetime", "difflib", "textwrap", "heapq", "bisect", "operator", "typing", "dataclasses")
HELD_BACK = {"exec", "eval", "compile", "open", "input", "breakpoint", "exit", "quit", "copyright", "credits", "license", "help"}
"""Built-in names that a verifier has no use for, or that cost it its speed."""
EXCEPTIONS = {"Exception", "ValueError", "TypeError", "KeyError", "IndexError", "ZeroDivisionError", "AttributeError", "ArithmeticError",
              "OverflowError", "AssertionError", "LookupError"}
"""Those that a verifier may want to catch; Python has seventy."""
NAME = re.compile(r"[^\W\d]\w*")
BEFORE = re.compile(r"(?:([^\W\d]\w*)\.)?([^\W\d]\w*)?$")
SHORTEST = 2
MOST = 200


@dataclass(frozen=True)
class Name:
    """One name that fits, and what it is in a word or two."""

    word: str
    about: str = ""


@cache
def _known() -> tuple[Name, ...]:
    arguments = (Name("prompt", tr("what was asked last")), Name("completion", tr("what the model wrote")),
                 Name("answer", tr("the problem's gold answer")), Name("messages", tr("the whole prompt, role and content")),
                 Name("facts", tr("the problem's own facts")))
    words = tuple(Name(w, tr("keyword")) for w in keyword.kwlist)
    built = tuple(Name(n, _kind(getattr(builtins, n))) for n in dir(builtins) if not n.startswith("_") and n not in HELD_BACK
                  and not keyword.iskeyword(n) and (n in EXCEPTIONS or not _is_exception(getattr(builtins, n))))
    modules = tuple(Name(m, tr("module")) for m in MODULES)
    return (*arguments, Name("verify", tr("the function that is called")), Name("Fraction", tr("exact number, from fractions")),
            Name("Decimal", tr("exact number, from decimal")), *modules, *built, *words)


def _is_exception(what: object) -> bool:
    return isinstance(what, type) and issubclass(what, BaseException)


def _kind(what: object) -> str:
    if _is_exception(what):
        return tr("exception")
    return tr("type") if isinstance(what, type) else tr("function") if callable(what) else tr("constant")


@cache
def _inside(module: str) -> tuple[Name, ...]:
    found = import_module(module)
    listed = list(getattr(found, "__all__", None) or [n for n in dir(found) if not n.startswith("_")])
    return tuple(Name(n, _kind(getattr(found, n, None))) for n in sorted(listed, key=lambda n: (n.isupper(), n.lower())))


def wanted(line: str) -> tuple[str, str]:
    """(what stands before the dot, the letters typed so far) at the end of a line."""
    hit = BEFORE.search(line)
    assert hit is not None
    return hit[1] or "", hit[2] or ""


def fitting(line: str, source: Callable[[], str]) -> list[Name]:
    """Names that fit what is typed at the end of `line`; the best first. `source` gives the file's text when its names are needed."""
    owner, typed = wanted(line)
    before = line[:len(line) - len(typed)]
    if owner:
        pool: tuple[Name, ...] = _inside(owner) if owner in MODULES else ()
    elif before.rstrip().endswith("."):
        return []
    elif hit := re.match(r"\s*from\s+(\w+)\s+import\s+(?:.*,\s*)?$", before):
        pool = _inside(hit[1]) if hit[1] in MODULES else ()
    elif re.match(r"\s*(?:import|from)\s+(?:[\w.]+\s*,\s*)*$", before):
        pool = tuple(Name(m, tr("module")) for m in MODULES)
    else:
        known = {n.word for n in _known()}
        own = {w for w in NAME.findall(source()) if len(w) > SHORTEST and w not in known and w != typed}
        pool = (*_known()[:5], *(Name(w, tr("in this file")) for w in sorted(own, key=str.lower)), *_known()[5:])
    lower = typed.lower()
    starts = [n for n in pool if n.word.startswith(typed)]
    others = [n for n in pool if n.word.lower().startswith(lower) and not n.word.startswith(typed)]
    found = [*starts, *others][:MOST]
    return [] if len(found) == 1 and found[0].word == typed else found
