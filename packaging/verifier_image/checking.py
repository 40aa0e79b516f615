"""Reads a verifier's source without running it: is there a `verify` that can be called, and may one instance serve many calls?

An instance is used again only where a completion is mere text to the verifier: it cannot run it, nor change anything that outlives the
call. Everything else gets a fresh instance for each call, so that no completion can pay the next one.
"""

import ast
from typing import Any

EXTRAS = ("messages", "facts")
PURE_MODULES = {"re", "math", "cmath", "json", "fractions", "decimal", "numbers", "string", "collections", "collections.abc", "itertools",
                "functools", "statistics", "unicodedata", "datetime", "difflib", "textwrap", "heapq", "bisect", "random", "typing",
                "dataclasses", "enum", "html", "calendar", "ast", "operator", "__future__"}
RUNNING = {"exec", "eval", "compile", "globals", "locals", "vars", "getattr", "setattr", "delattr", "open", "input", "breakpoint", "super"}
CHANGING = {"register", "seed", "setstate", "setcontext", "getcontext", "purge", "attrgetter", "methodcaller", "setitem", "delitem"}


def check(source: str) -> dict[str, Any]:
    """{"problems": [{"kind", "line", "column", "message"}], "takes": names of EXTRAS that verify wants, "reuse": bool, "why": {"line",
    "what"} of the first thing that forbids it}. Runs nothing of the source."""
    try:
        tree = ast.parse(source, "<verifier>")
        compile(tree, "<verifier>", "exec", dont_inherit=True)
    except SyntaxError as wrong:
        return _problem("syntax", wrong.lineno, wrong.offset, str(wrong.msg))
    except (ValueError, MemoryError, RecursionError) as wrong:
        return _problem("syntax", None, None, str(wrong) or type(wrong).__name__)
    found = _verify_of(tree)
    if isinstance(found, dict):
        return found
    why = _first_reason(tree)
    return {"problems": [], "takes": found, "reuse": why is None, "why": why}


def _problem(kind: str, line: int | None, column: int | None, message: str = "") -> dict[str, Any]:
    return {"problems": [{"kind": kind, "line": line, "column": column, "message": message}], "takes": [], "reuse": False, "why": None}


def _verify_of(tree: ast.Module) -> dict[str, Any] | list[str]:
    """The extras that `verify` takes, or the problem with it."""
    function: Any = None
    bound = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "verify":
            bound = True
        if isinstance(node, (ast.ImportFrom, ast.Import)) and any((name.asname or name.name) == "verify" for name in node.names):
            bound = True
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == "verify":
            function = node
    if function is None:
        return [] if bound else _problem("missing", None, None)
    if isinstance(function, ast.AsyncFunctionDef) or _yields(function):
        return _problem("not_plain", function.lineno, function.col_offset + 1)
    if function.decorator_list:
        return []
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    needed = len(positional) - len(given.defaults)
    rest = [argument.arg for argument in positional[3:]]
    unknown = [name for name in positional[3:needed] if name.arg not in EXTRAS]
    unknown += [name for name, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
                if default is None and name.arg not in EXTRAS]
    if (len(positional) < 3 and not given.vararg) or unknown or any(name.arg in EXTRAS for name in given.posonlyargs[3:]):
        return _problem("signature", function.lineno, function.col_offset + 1, ", ".join(name.arg for name in [*positional, *unknown]))
    names = {*rest, *(argument.arg for argument in given.kwonlyargs)}
    return [name for name in EXTRAS if name in names or given.kwarg]


def _yields(function: ast.FunctionDef) -> bool:
    """Whether it is a generator: a yield of its own, not of a function inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.GeneratorExp)):
            waiting.extend(ast.iter_child_nodes(node))
    return False


def _first_reason(tree: ast.Module) -> dict[str, Any] | None:
    reasons = [(getattr(node, "lineno", 1), what) for node in ast.walk(tree) if (what := _forbids(node))]
    return {"line": min(reasons)[0], "what": min(reasons)[1]} if reasons else None


def _forbids(node: ast.AST) -> str:
    """What of this node could let a completion run, or outlive the call; "" for nothing."""
    match node:
        case ast.Import(names=names):
            return next((f"import {name.name}" for name in names if name.name not in PURE_MODULES), "")
        case ast.ImportFrom(module=module, names=names):
            bad = module not in PURE_MODULES or node.level or any(name.name == "*" or name.name in CHANGING for name in names)
            return f"from {module} import" if bad else ""
        case ast.Name(id=name):
            return name if name in RUNNING or (name.startswith("__") and name != "__name__") else ""
        case ast.Attribute(attr=name, ctx=context):
            if name.startswith("_") or name in CHANGING:
                return f".{name}"
            stored = isinstance(context, (ast.Store, ast.Del))
            return f".{name} =" if stored and not (isinstance(node.value, ast.Name) and node.value.id == "self") else ""
    return ""
