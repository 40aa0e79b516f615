"""What to do about a check that missed: a sentence with the line it is about and, where a small change of the source is known to help, the
source with it.

    notes = suggest(source, report_rows, problems, pool)

The source is read by a program in the sandbox (never here): it looks for a few ways of writing that the misses come from, and writes
changes down. A change is offered only where it was tried: the mended source is a verifier, gold answers score as before, the check it is
for passes, and no other became worse. Otherwise there is the sentence alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.contract.errors import FledgeError
from engine.contract.rows import Problem
from engine.contract.words import tr
from engine.verifiers.api import Check, never
from engine.verifiers.pool import Pool
from engine.verifiers.programs import Input, run_program
from engine.verifiers.python_verifier import LONGEST_SOURCE, PythonVerifier
from engine.verifiers.values import decode
from engine.verifiers.workbench import CheckRow, Report, run_checks, titles

TRIED = 6
"""Problems a change is tried on."""
NOTES = 3
LEVELS = {"ok": 0, "skipped": 0, "warning": 1, "failure": 2}

READER = r'''
import ast

SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Return)


def look(source, misses):
    """[[check, kind, line, what, mended source or ""]] for misses [[check, line, error type]]."""
    tree = ast.parse(source)
    verify = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "verify"]
    if not verify:
        return []
    reading = Reading(source, verify[-1])
    found = []
    for check, line, kind in misses:
        if kind in ("timeout", "memory"):
            found.append([check, "long", reading.verify.lineno, "", reading.shortened()])
        elif kind:
            found += [[check, *one] for one in reading.raising(line, kind)]
        elif check == "gold_in_prose":
            found += [[check, *one] for one in reading.fallbacks()]
    return found


class Reading:
    def __init__(self, source, verify):
        self.source, self.verify = source, verify
        self.lines = source.splitlines(keepends=True)
        given = [*verify.args.posonlyargs, *verify.args.args]
        self.answer, self.completion = given[2].arg, given[1].arg
        matches = ("search", "match", "fullmatch")
        self.matches = {node.targets[0].id for node in ast.walk(verify) if isinstance(node, ast.Assign) and len(node.targets) == 1
                        and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call)
                        and isinstance(node.value.func, ast.Attribute) and node.value.func.attr in matches}
        self.statements = [node for node in ast.walk(verify) if isinstance(node, SIMPLE)]

    def text(self, node):
        return ast.get_source_segment(self.source, node) or ""

    def alone(self, node):
        """Whether a statement has its lines for itself, and no text that goes over lines."""
        first, last = self.lines[node.lineno - 1], self.lines[node.end_lineno - 1]
        before = first.encode()[:node.col_offset].decode()
        after = last.encode()[node.end_col_offset:].decode().strip()
        long = any(isinstance(one, (ast.Constant, ast.JoinedStr)) and one.end_lineno > one.lineno for one in ast.walk(node))
        return not before.strip() and (not after or after.startswith("#")) and not long

    def replaced(self, node, lines):
        before = self.lines[node.lineno - 1].encode()[:node.col_offset].decode()
        made = "".join(before + line + "\n" for line in lines)
        return "".join(self.lines[:node.lineno - 1]) + made + "".join(self.lines[node.end_lineno:])

    def own(self, node):
        """The lines of a statement, without their common indent."""
        before = len(self.lines[node.lineno - 1].encode()[:node.col_offset].decode())
        return [line.rstrip("\n")[before:] if line[:before].strip() == "" else line.strip()
                for line in self.lines[node.lineno - 1:node.end_lineno]]

    def raising(self, line, kind):
        at = [node for node in self.statements if node.lineno <= line <= node.end_lineno]
        node = at[-1] if at else None
        if node is None or not self.alone(node):
            return [["raises", line, kind, ""]]
        if kind in ("TypeError", "AttributeError"):
            for part in ast.walk(node):
                if isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.value, ast.Name) and part.value.id in self.matches:
                    name = part.value.id
                    return [["nothing_found", line, name, self.replaced(node, ["if " + name + " is None:", "    return 0.0",
                                                                              *self.own(node)])]]
        if kind not in ("ValueError", "IndexError", "KeyError", "ZeroDivisionError", "OverflowError", "TypeError", "AttributeError"):
            return [["raises", line, kind, ""]]
        wrapped = ["try:", *("    " + one for one in self.own(node)), "except " + kind + ":", "    return 0.0"]
        return [["raises", line, kind, self.replaced(node, wrapped)]]

    def fallbacks(self):
        """Where all of the completion is taken when nothing was found; else where the answer need only be somewhere in it."""
        found = []
        for node in self.statements:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                target, value = node.targets[0].id, node.value
                guard, kept = self.guard(value)
                if guard:
                    lines = ["if " + guard + ":", "    return 0.0", target + " = " + kept]
                    found.append(["fallback", node.lineno, target, self.replaced(node, lines) if self.alone(node) else ""])
        for node in ast.walk(self.verify):
            if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.In) \
                    and isinstance(node.comparators[0], ast.Name) and node.comparators[0].id == self.completion \
                    and any(isinstance(one, ast.Name) and one.id == self.answer for one in ast.walk(node.left)):
                found.append(["contains", node.lineno, self.completion, ""])
        return found

    def is_completion(self, node):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("strip", "lower") and not node.args:
            node = node.func.value
        return isinstance(node, ast.Name) and node.id == self.completion

    def guard(self, value):
        """(condition to give up on, what is taken otherwise) of `a if c else completion`, `completion if c else a`, `a or completion`."""
        if isinstance(value, ast.IfExp) and self.is_completion(value.orelse):
            return self.negated(value.test), self.text(value.body)
        if isinstance(value, ast.IfExp) and self.is_completion(value.body):
            return self.text(value.test), self.text(value.orelse)
        if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or) and len(value.values) == 2 \
                and self.is_completion(value.values[1]):
            return self.negated(value.values[0]), self.text(value.values[0])
        return "", ""

    def negated(self, test):
        if isinstance(test, ast.Name):
            return test.id + " is None" if test.id in self.matches else "not " + test.id
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.IsNot):
            return self.text(test.left) + " is " + self.text(test.comparators[0])
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return self.text(test.operand)
        return "not (" + self.text(test) + ")"

    def shortened(self):
        """With a first line that looks at the end of a completion alone."""
        body = self.verify.body
        text = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str)
        first = body[1] if text and len(body) > 1 else body[0]
        if first.lineno == self.verify.lineno or self.lines[first.lineno - 1].encode()[:first.col_offset].decode().strip():
            return ""
        before = self.lines[first.lineno - 1].encode()[:first.col_offset].decode()
        cut = before + self.completion + " = " + self.completion + "[-20_000:]\n"
        return "".join(self.lines[:first.lineno - 1]) + cut + "".join(self.lines[first.lineno - 1:])
'''


@dataclass(frozen=True)
class Note:
    """`source`: mended, "" where that has to be done by hand. `check`: the probe it is about."""

    sentence: str
    line: int | None
    source: str
    check: str


def suggest(source: str, rows: Sequence[Mapping[str, Any]], problems: Sequence[Problem], pool: Pool, *, full: float = 1.0,
            check: Check = never) -> list[Note]:
    """Most pressing first, NOTES at most. rows: of a report as JSON (id, level, line, error, message). problems: some where a check missed;
    the changes are tried on them."""
    missed = sorted((row for row in rows if row["level"] in ("warning", "failure") and row["id"] != "gold"),
                    key=lambda row: -LEVELS[str(row["level"])])
    if not missed or not problems or len(source) > LONGEST_SOURCE:
        return []
    misses = [[str(row["id"]), row["line"] if type(row["line"]) is int else 0, _kind(row)] for row in missed]
    long = int(any(row["id"] == "megabyte" for row in missed))
    before: Report | None = None
    notes: dict[tuple[str, int], Note] = {}
    for id, kind, line, what, mended in _read(source, misses, pool, check):
        if len(notes) == NOTES:
            break
        if (kind, line) in notes:
            continue
        if mended:
            before = before or _tried(source, problems, pool, full, long, check)
            after = _tried(mended, problems, pool, full, long, check)
            mended = mended if before is not None and after is not None and _better(before, after, id) else ""
        notes[kind, line] = Note(_sentence(kind, line, what, id), line or None, mended, id)
    return list(notes.values())


def _kind(row: Mapping[str, Any]) -> str:
    """"" where it only scored; "timeout", "memory", or the type of what it raised."""
    error = str(row.get("error") or "")
    if error == "raised":
        name = str(row.get("message", "")).partition(":")[0].strip()
        return name if name.isidentifier() else "Exception"
    return error if error in ("timeout", "memory") else ""


def _read(source: str, misses: list[list[Any]], pool: Pool, check: Check) -> list[tuple[str, str, int, str, str]]:
    """What the program in the sandbox found; nothing where it says anything else than it should."""
    [output] = run_program(pool, READER, [Input((source, misses))], entry="look", check=check)
    if output.error:
        return []
    try:
        found = decode(output.value)
    except ValueError:
        return []
    if not isinstance(found, list):
        return []
    return [(one[0], one[1], one[2], one[3], one[4]) for one in found if isinstance(one, list) and len(one) == 5
            and all(type(part) is kind for part, kind in zip(one, (str, str, int, str, str), strict=True))]


def _tried(source: str, problems: Sequence[Problem], pool: Pool, full: float, long: int, check: Check) -> Report | None:
    try:
        return run_checks(PythonVerifier(source, pool), problems[:TRIED], full=full, long=long, check=check)
    except FledgeError:
        return None


def _better(before: Report, after: Report, id: str) -> bool:
    """The check passes now, gold is as good as it was, and nothing is worse."""
    old, new = {row.id: row for row in before.rows}, {row.id: row for row in after.rows}
    fine = all(LEVELS[new[name].level] <= LEVELS[row.level] and new[name].missed <= row.missed for name, row in old.items())
    return fine and _passes(new[id]) and not _passes(old[id]) and after.stable >= before.stable


def _passes(row: CheckRow) -> bool:
    return row.level in ("ok", "skipped")


def _sentence(kind: str, line: int, what: str, id: str) -> str:
    probe = titles()[id]
    return {
        "fallback": tr("Line {line}: where nothing is found all of the completion is taken, so any prose with the right answer scores. "
                       "Return 0.0 when nothing is found.", line=line),
        "contains": tr("Line {line}: it is enough that the answer stands somewhere in the completion, so any prose with it scores. "
                       "Compare the part that is given as the answer.", line=line),
        "nothing_found": tr("Line {line}: `{name}` may be None, which raises an error (“{probe}”). Return 0.0 when nothing is found.",
                            line=line, name=what, probe=probe),
        "raises": tr("Line {line} raises {error} (“{probe}”); a run would pause over this. Return 0.0 where it cannot go on.", line=line,
                     error=what, probe=probe),
        "long": tr("A very long completion takes too much time. Look at its end alone: that is where an answer stands."),
    }.get(kind, tr("Line {line}: look at “{probe}”.", line=line, probe=probe))
