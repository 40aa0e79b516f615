"""Collects every sentence marked by tr() and trn() into resources/translations/fledge.pot, for translators.

It reads the source without importing it. What it does not do: keep line numbers, which would change the file at every edit.
`python packaging/messages.py` writes the file; `--check` only tells whether it is current (exit code 1: it is not).
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("engine", "desktop", "packaging")
TARGET = ROOT / "resources" / "translations" / "fledge.pot"

HEADER = """\
# Sentences of Fledge, collected by packaging/messages.py. Words in braces are filled in and stay as they are.
msgid ""
msgstr ""
"Project-Id-Version: fledge\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"""


@dataclass
class Sentence:
    """A template, its plural ("" where it has none) and the files that use it."""

    one: str
    many: str = ""
    places: set[str] = field(default_factory=set)


def marked(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """The calls of tr and trn in a file, with the name called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("tr", "trn"):
            yield node, node.func.id


def literal(node: ast.expr) -> str | None:
    """The text of a string literal; None for anything else. Adjacent literals are one to Python already."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def collect(root: Path = ROOT) -> dict[tuple[str, str], Sentence]:
    """All templates by (one, many). A call whose template is no literal is left out here; a test refuses it."""
    found: dict[tuple[str, str], Sentence] = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            for call, name in marked(ast.parse(path.read_text(encoding="utf-8"), str(path))):
                texts = [literal(argument) for argument in call.args[:2 if name == "trn" else 1]]
                if not texts or None in texts or not texts[0]:
                    continue
                key = (texts[0], (texts[1] or "") if name == "trn" else "")
                found.setdefault(key, Sentence(*key)).places.add(path.relative_to(root).as_posix())
    return found


def quoted(text: str) -> str:
    """A PO string: one line, or a line a line of text after an empty one."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    lines = escaped.split("\n")
    if len(lines) == 1:
        return f'"{escaped}"'
    parts = [line + "\\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return '""\n' + "\n".join(f'"{part}"' for part in parts)


def template(sentences: dict[tuple[str, str], Sentence]) -> str:
    """The .pot file, in alphabetical order."""
    blocks = [HEADER]
    for _, sentence in sorted(sentences.items()):
        lines = [f"#: {place}" for place in sorted(sentence.places)]
        if "{" in sentence.one + sentence.many:
            lines.append("#, python-brace-format")
        lines.append(f"msgid {quoted(sentence.one)}")
        if sentence.many:
            lines += [f"msgid_plural {quoted(sentence.many)}", 'msgstr[0] ""', 'msgstr[1] ""']
        else:
            lines.append('msgstr ""')
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def main(arguments: list[str]) -> int:
    sentences = collect()
    text = template(sentences)
    current = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text
    if arguments == ["--check"]:
        return 0 if current else 1
    if arguments:
        print(__doc__)
        return 2
    if not current:
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_text(text, encoding="utf-8", newline="\n")
    print(f"{TARGET.relative_to(ROOT)}: {len(sentences)} sentences")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
