"""Problems made by generators: Python sources with a function `generate(random, level)`, run only inside the sandbox.

    with Pool() as pool:
        problems = make("arithmetic", pool, level=2, count=200, seed=7)

`generate` gives {"prompt": text or messages, "answer": text or JSON}; `solution`, `difficulty` and `held_out` where it knows them; what it
gives beyond these is kept as facts. The nth draw of a level gets a `random` of its own, seeded by seed, level and n, so the same call makes
the same problems on every machine; `import random` in the source is seeded alike. Every prompt comes once. Where a generator has no more
different ones, fewer come.

Generators that come with Fledge lie in resources/problems; others are the person's. Nothing of a source is run or imported outside of the
sandbox: what is told of it (`look`) is read from its syntax tree.
"""

import ast
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError, FormatError, InputError, MachineError, NotFound, SettingError
from engine.contract.rows import Message, Problem, problem_id
from engine.contract.words import tr
from engine.verifiers.api import Check, never
from engine.verifiers.pool import Pool
from engine.verifiers.programs import Input, Output, run_programs
from engine.verifiers.values import decode

FOLDER = Path(__file__).resolve().parents[2] / "resources" / "problems"
STARTERS: dict[str, tuple[str, str]] = {
    "arithmetic": (tr("Arithmetic"), tr("Sums of whole numbers, from one small operation to four with parentheses.")),
    "sorting": (tr("Sorting"), tr("Numbers and words to put in order.")),
    "unit_conversion": (tr("Unit conversion"), tr("Lengths, masses, volumes, times, speeds and areas.")),
    "logic_puzzles": (tr("Logic puzzles"), tr("Who is the tallest, and who lies among knights and knaves.")),
    "sequences": (tr("Number sequences"), tr("Which number comes next.")),
    "equations": (tr("Equations"), tr("Solve for x, from one step to quadratic equations.")),
}
"""Title and what it makes, of each generator in FOLDER."""

DRAWS = (200, 10, 1)
"""Problems drawn in one call of the sandbox: fewer, where so many take too long."""
BARREN = 2_000
"""Draws without a new prompt after which a generator is taken to have no more."""
LONGEST_SOURCE, LONGEST_PROMPT, LONGEST_REST = 200_000, 100_000, 200_000
OWN = ("prompt", "answer", "solution", "difficulty", "held_out", "facts")
_DRAW = '''


def __fledge_draw(seed, level, first, count):
    import random
    if not callable(globals().get("generate")):
        return "missing"
    made = []
    for number in range(first, first + count):
        random.seed(f"{seed}/{level}/{number}/global")
        made.append(generate(random.Random(f"{seed}/{level}/{number}"), level))
    return made
'''


@dataclass(frozen=True)
class Generator:
    """What can be told of one without running it. `levels`: 1 to so many. `name` is that of a starter, else of the person's file."""

    name: str
    title: str
    help: str
    levels: int
    source: str


def starters() -> list[Generator]:
    """Those that come with Fledge."""
    return [starter(name) for name in STARTERS]


def starter(name: str) -> Generator:
    if name not in STARTERS:
        raise NotFound(tr("There is no generator called {name}.", name=name), tr("Known: {known}.", known=", ".join(STARTERS)))
    found = look((FOLDER / f"{name}.py").read_text("utf-8"), name)
    return Generator(name, *STARTERS[name], found.levels, found.source)


def look(source: str, name: str = "generator") -> Generator:
    """What a source says of itself: the first line of its docstring, the rest of it, and LEVELS. FormatError, with the line, where it is no
    Python or has no `generate(random, level)`."""
    if len(source) > LONGEST_SOURCE:
        raise FormatError(tr("The generator is longer than {count} characters.", count=f"{LONGEST_SOURCE:,}"), code="generator_source")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as wrong:
        line = getattr(wrong, "lineno", None)
        raise _at(line, getattr(wrong, "msg", "") or str(wrong) or type(wrong).__name__) from None
    found = next((one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "generate"), None)
    if found is None:
        if not any("generate" in names for names in map(_names, tree.body)):
            raise FormatError(tr("There is no function `generate`."), tr("Write def generate(random, level): …"), code="generator_source",
                              field="source")
    elif not _takes_two(found.args):
        raise _at(found.lineno, tr("`generate` must take random and level."))
    said = (ast.get_docstring(tree) or "").strip()
    title, _, rest = said.partition("\n")
    return Generator(name, title.strip().rstrip(".") or name, " ".join(rest.split()), _levels(tree), source)


def _takes_two(given: ast.arguments) -> bool:
    """Whether it can be called with two values and nothing else."""
    places = len(given.posonlyargs) + len(given.args)
    return (places >= 2 or given.vararg is not None) and places - len(given.defaults) <= 2 and None not in given.kw_defaults


def _names(one: ast.stmt) -> list[str]:
    if isinstance(one, ast.Assign):
        return [target.id for target in one.targets if isinstance(target, ast.Name)]
    return [(name.asname or name.name) for name in one.names] if isinstance(one, (ast.Import, ast.ImportFrom)) else []


def _levels(tree: ast.Module) -> int:
    for one in tree.body:
        if isinstance(one, ast.Assign) and _names(one) == ["LEVELS"] and isinstance(one.value, ast.Constant):
            value = one.value.value
            if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100:
                return value
    return 1


def find(generator: str) -> Generator:
    """A starter by its name, a .py file by its path, or a source as it is."""
    if generator in STARTERS:
        return starter(generator)
    if "\n" in generator:
        return look(generator)
    path = Path(generator).expanduser()
    if path.suffix == ".py" and path.is_file():
        try:
            return look(path.read_text("utf-8"), path.stem)
        except UnicodeDecodeError:
            raise FormatError(tr("{name} is no text.", name=path.name), tr("Choose a Python file."), code="generator_source") from None
    raise NotFound(tr("There is no generator called {name}.", name=generator),
                   tr("Known: {known}; or name a .py file.", known=", ".join(STARTERS)))


def make(generator: str, pool: Pool, *, level: int = 1, count: int = 100, seed: int = 0, check: Check = never) -> list[Problem]:
    """At most `count` different problems of one level, by a starter's name, a .py file, or a source. FormatError where the source is none,
    fails (with its line) or gives what is no problem; Missing where there is no sandbox to be trusted."""
    return list(stream(find(generator), pool, levels=(level,), count=count, seed=seed, check=check))


def stream(generator: Generator, pool: Pool, *, levels: Sequence[int], count: int, seed: int = 0,
           check: Check = never) -> Iterator[Problem]:
    """At most `count` problems of each level, one level after the other, no prompt twice. As `make` otherwise."""
    for level in levels:
        if not 1 <= level <= generator.levels:
            raise SettingError(tr("{title} has no level {level}.", title=generator.title, level=level),
                               tr("Choose 1 to {most}.", most=generator.levels), field="level")
    if count < 1:
        raise SettingError(tr("At least one problem has to be made."), field="count")
    seen: set[tuple[Message, ...]] = set()
    for level in levels:
        yield from _of_level(generator, pool, level, count, seed, seen, check)


def _of_level(generator: Generator, pool: Pool, level: int, count: int, seed: int, seen: set[tuple[Message, ...]],
              check: Check) -> Iterator[Problem]:
    drawn = barren = made = 0
    size = 0
    while made < count and barren < BARREN:
        batch = DRAWS[size] if barren else min(DRAWS[size], 2 * (count - made))
        starts = [drawn, drawn + batch] if count - made > batch else [drawn]
        outputs = run_programs(pool, [(generator.source + _DRAW, [Input([seed, level, start, batch])], "__fledge_draw")
                                      for start in starts], check=check)
        if any(output.error in ("program_timeout", "program_memory", "program_crash") for [output] in outputs) and size + 1 < len(DRAWS) \
                and batch > DRAWS[size + 1]:
            size += 1
            continue
        for [output] in outputs:
            for value in _values(output, batch):
                problem = problem_of(value, level, f"generator:{generator.name}@{level}")
                if problem.prompt in seen:
                    barren += 1
                elif made < count:
                    seen.add(problem.prompt)
                    made, barren = made + 1, 0
                    yield problem
        drawn += batch * len(starts)


def _values(output: Output, count: int) -> list[Any]:
    """What the draws gave; raises what went wrong."""
    if output.error == "worker_death":
        raise MachineError(tr("The process around the sandbox died over this generator."), tr("Try again, or make it do less."))
    if output.error:
        kinds = {"program_timeout": tr("`generate` does not come to an end in time."),
                 "program_memory": tr("`generate` takes too much memory.")}
        raise _at(output.line, kinds.get(output.error, "") or output.message or tr("the interpreter crashed"))
    if output.value == "missing":
        raise FormatError(tr("There is no function `generate`."), tr("Write def generate(random, level): …"), code="generator_source",
                          field="source")
    try:
        values = decode(output.value)
    except (ValueError, TypeError, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != count:
        raise FormatError(tr("What came out of the sandbox is no problem."), code="generator")
    return values


def problem_of(value: Any, level: int, origin: str) -> Problem:
    """What `generate` gave as a problem; FormatError says why it is none."""
    if not isinstance(value, Mapping) or "prompt" not in value or "answer" not in value:
        raise _no_problem(tr("it is no dict with a prompt and an answer"))
    asked, answer = value["prompt"], _json(value["answer"])
    if isinstance(asked, str):
        prompt: tuple[Message, ...] = (Message(role="user", content=asked),)
    else:
        turns = asked if isinstance(asked, (list, tuple)) else ()
        if not all(isinstance(t, Mapping) and isinstance(t.get("role"), str) and isinstance(t.get("content"), str) for t in turns):
            raise _no_problem(tr("its prompt is neither a text nor a list of messages"))
        prompt = tuple(Message(role=t["role"], content=t["content"]) for t in turns)
    if not prompt or prompt[-1].role != "user" or not all(m.content.strip() for m in prompt) \
            or any(m.role not in ("system", "user", "assistant") for m in prompt):
        raise _no_problem(tr("its prompt does not end with a question"))
    if sum(len(m.content) for m in prompt) > LONGEST_PROMPT:
        raise _no_problem(tr("its prompt is too long"))
    if answer is None or answer == "":
        raise _no_problem(tr("it has no answer"))
    hard = value.get("difficulty", level)
    if isinstance(hard, bool) or not isinstance(hard, (int, float)) or not math.isfinite(hard) or abs(hard) > 1e300:
        raise _no_problem(tr("its difficulty is no number"))
    given = value.get("facts")
    facts = {**(given if isinstance(given, Mapping) else {}), **{str(k): v for k, v in value.items() if k not in OWN}}
    if isinstance(value.get("solution"), str):
        facts["solution"] = value["solution"]
    answer = answer if isinstance(answer, (str, dict, list)) else json.dumps(answer)
    try:
        "".join(m.content for m in prompt).encode()
    except UnicodeEncodeError:
        raise _no_problem(tr("it holds half a character")) from None
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer, difficulty=float(hard), origin=origin,
                   held_out=value.get("held_out") is True, facts=_json(facts))


def _json(value: Any) -> Any:
    """As JSON holds it, so that it is the same when it is read again."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, TypeError, RecursionError) as wrong:
        raise _no_problem(tr("it holds what JSON cannot hold: {reason}", reason=str(wrong)[:200])) from None
    if len(text) > LONGEST_REST:
        raise _no_problem(tr("what it holds beside its prompt is too long"))
    return json.loads(text)


def _no_problem(reason: str) -> FledgeError:
    return FormatError(tr("What `generate` gave is no problem: {reason}.", reason=reason),
                       tr("Give {example}.", example='{"prompt": "What is 2 + 2?", "answer": "4"}'), code="generator", field="source")


def _at(line: int | None, message: str) -> InputError:
    return FormatError(tr("Line {line}: {sentence}", line=line, sentence=message) if line else message, tr("Correct the generator there."),
                       code="generator_source", field="source")
