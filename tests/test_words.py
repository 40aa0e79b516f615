"""Every sentence a person reads is marked for translation, by one mechanism, and collected; the project's own words are kept.

These tests read the source, they do not run it. What counts as "a person reads it": settings of specs, errors, notices and problems, titles
of stages and phases, help of commands, and text given to Qt widgets."""

import ast
import importlib.util
import re
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

spec = importlib.util.spec_from_file_location("messages", ROOT / "packaging" / "messages.py")
assert spec and spec.loader
messages = importlib.util.module_from_spec(spec)
sys.modules["messages"] = messages
spec.loader.exec_module(messages)

# Names, not sentences: the same in every language.
NAMES = {"torch.compile", "UTF-8", "UTF-16", "Latin-1", "Windows-1252", "Llama", "GPT-2", "LoRA", "QLoRA", "PEFT",
         "Muon + AdamW", "AdamW", "float32", "bfloat16",
         "PPO", "IPO", "SimPO", "KTO", "Beta", "Gamma", "Lambda", "float16", "Fledge", "CUDA", "MPS", "CPU", "PNG", "CSV", "MFU", "Top-k",
         "Top-p", "min", "kB", "MB", "GB", "Ctrl"}
WORD = re.compile(r"[A-Za-z]{2,}")

# Which arguments a person reads: positions and keywords, by what is called.
READ: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "option": ((), ("label", "help", "unit")),
    "Stage": ((1, 2), ("title", "verb")),
    "Problem": ((1, 2), ("sentence", "remedy")),
    "Notice": ((), ("title", "text", "remedy")),
    "Waiting": ((), ("text",)),
    "Phase": ((), ("title",)),
    "phase": ((1,), ("title",)),
    "progress": ((2,), ("unit", "detail")),
}
ERRORS = {node.name for node in ast.parse((ROOT / "engine/contract/errors.py").read_text()).body if isinstance(node, ast.ClassDef)}
READ.update({name: ((0, 1), ("sentence", "remedy")) for name in ERRORS})

QT_CALLS = {"setText", "setToolTip", "setPlaceholderText", "setWindowTitle", "setTitle", "setAccessibleName", "setAccessibleDescription",
            "setStatusTip", "setWhatsThis", "setInformativeText", "setPlainText", "setSuffix", "setPrefix", "setHeaderLabels",
            "setLabelText", "setHorizontalHeaderLabels", "addAction", "addMenu", "addButton", "addRow", "showMessage", "setLabel",
            "QLabel", "QPushButton", "QToolButton", "QAction", "QCheckBox", "QRadioButton", "QGroupBox", "QMenu"}
QT_SECOND = {"addTab", "information", "warning", "critical", "question", "getOpenFileName", "getSaveFileName", "getExistingDirectory"}
QT_KEYWORDS = ("title", "text", "label", "hint", "sentence", "remedy", "placeholder", "tooltip", "caption", "subtitle", "description",
               "help")


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


def called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""


def untranslated(node: ast.expr | None) -> str:
    """The words a reader would see untranslated in an expression; "" where there are none, or where they went through tr()."""
    if node is None:
        return ""
    if isinstance(node, ast.Constant):
        text = node.value if isinstance(node.value, str) else ""
        return text if WORD.search(text) and text.strip(" :…") not in NAMES and not re.fullmatch(r"\.\w+", text) else ""
    if isinstance(node, ast.JoinedStr):
        literal = " ".join(part.value for part in node.values if isinstance(part, ast.Constant))
        return literal if any(word not in NAMES for word in WORD.findall(re.sub(r"<[^>]*>|&\w+;|\.[a-z]{2,5}$", " ", literal))) else ""
    if isinstance(node, ast.BinOp):
        return untranslated(node.left) or (untranslated(node.right) if isinstance(node.op, ast.Add) else "")
    if isinstance(node, ast.IfExp):
        return untranslated(node.body) or untranslated(node.orelse)
    if isinstance(node, ast.BoolOp):
        return next((found for value in node.values if (found := untranslated(value))), "")
    if isinstance(node, (ast.List, ast.Tuple)):
        return next((found for value in node.elts if (found := untranslated(value))), "")
    return ""


def read_by_people(call: ast.Call, qt: bool) -> Iterator[ast.expr]:
    """The arguments of a call that end before a person's eyes."""
    name = called(call)
    positions, keywords = READ.get(name, ((), ()))
    if qt and name in QT_CALLS:
        positions = tuple(range(len(call.args)))
    if qt and name in QT_SECOND:
        positions = tuple(range(1, len(call.args)))
    if qt:
        keywords = (*keywords, *QT_KEYWORDS)
    yield from (call.args[i] for i in positions if i < len(call.args) and not isinstance(call.args[i], ast.Starred))
    yield from (keyword.value for keyword in call.keywords if keyword.arg in keywords)


def offences(path: Path, qt: bool) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            for argument in read_by_people(node, qt):
                if text := untranslated(argument):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {called(node)}: {text!r}")
            if called(node) == "option":
                for keyword in node.keywords:
                    if keyword.arg == "choices" and isinstance(keyword.value, ast.Tuple):
                        found += [f"{path.relative_to(ROOT)}:{pair.lineno}: choice {text!r}" for pair in keyword.value.elts
                                  if isinstance(pair, ast.Tuple) and (text := untranslated(pair.elts[1]))]
    return found


def test_templates_are_literals_and_their_fields_are_filled() -> None:
    wrong = []
    for path in sources("engine", "desktop", "packaging"):
        for call, name in messages.marked(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}:{call.lineno}"
            templates = [messages.literal(argument) for argument in call.args[:2 if name == "trn" else 1]]
            if None in templates or len(templates) < (2 if name == "trn" else 1):
                wrong.append(f"{where}: the template is not a literal")
                continue
            given = {keyword.arg for keyword in call.keywords}
            if None in given or not (given or name == "trn"):
                continue                # filled from a dict, or not filled at all: then braces are only braces
            for template in templates:
                wanted = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
                missing = wanted - given - ({"count"} if name == "trn" else set())
                if missing or "" in wanted:
                    wrong.append(f"{where}: {template!r} is not given {sorted(missing)}")
    assert not wrong, "\n".join(wrong)


def test_no_template_field_is_left_unfilled() -> None:
    wrong = []
    for path in sources("engine", "desktop", "packaging"):
        for call, name in messages.marked(ast.parse(path.read_text(encoding="utf-8"))):
            template = messages.literal(call.args[0]) if call.args else None
            if name == "tr" and template and not call.keywords and re.search(r"\{[a-z_]+\}", template):
                wrong.append(f"{path.relative_to(ROOT)}:{call.lineno}: {template!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("folder", "qt"), [("engine", False), ("desktop", True)])
def test_what_a_person_reads_goes_through_tr(folder: str, qt: bool) -> None:
    wrong = [line for path in sources(folder) for line in offences(path, qt)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("code", "qt"), [
    ('button.setText("Start now")', True),
    ('QLabel(f"Step {step} of")', True),
    ('QLabel("Loss" if done else tr("Wait"))', True),
    ('Card(widget, title="What goes in")', True),
    ('raise NotFound("It is gone.", tr("Look again."))', False),
    ('option(1, label=tr("Size"), help="How big")', False),
    ('option("a", label=tr("Size"), help=tr("x"), choices=(("a", "first of all"),))', False),
    ('context.emit(Notice(title="Disk full"))', False),
])
def test_the_scan_finds_what_it_looks_for(code: str, qt: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.py").write_text(code)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert len(offences(tmp_path / "page.py", qt)) == 1


def test_the_scan_lets_marked_text_and_names_pass(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text('QLabel(tr("Start")); QLabel(name); QLabel(f"{step:,}"); '
                                      'button.setObjectName("start"); QLabel("GPT-2")')
    assert offences(tmp_path / "page.py", True) == []


# --- the collected file ----------------------------------------------------------------------------------------------------------


def read_pot(text: str) -> set[tuple[str, str]]:
    """(msgid, msgid_plural) of a .pot file, read independently of what writes it."""
    found, entry, key = set(), {}, ""
    for line in [*text.splitlines(), ""]:
        if line.startswith(("msgid_plural ", "msgid ", "msgstr")):
            key, _, line = line.partition(" ")
            entry[key] = ""
        if line.startswith('"'):
            entry[key] += ast.literal_eval(line)
        elif not line and entry:
            found.add((entry["msgid"], entry.get("msgid_plural", "")))
            entry = {}
    return found - {("", "")}


def test_the_collected_file_is_complete_and_reproducible() -> None:
    first, second = messages.template(messages.collect()), messages.template(messages.collect())
    assert first == second
    every = set()
    for path in sources("engine", "desktop", "packaging"):
        for call, name in messages.marked(ast.parse(path.read_text(encoding="utf-8"))):
            texts = [argument.value for argument in call.args[:2] if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]
            if texts and texts[0]:
                every.add((texts[0], texts[1] if name == "trn" else ""))
    assert len(every) > 100
    assert read_pot(first) == every


@pytest.mark.parametrize("program", ["packaging/messages.py", "packaging/tree.py"])
def test_what_is_written_from_the_source_is_current(program: str) -> None:
    assert subprocess.run([sys.executable, ROOT / program, "--check"]).returncode == 0, f"run: python {program}"


def test_every_file_says_what_it_is() -> None:
    silent = [str(path.relative_to(ROOT)) for path in [*sources("engine", "desktop", "packaging"), *(ROOT / "tests").rglob("*.py")]
              if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert not silent, "begin these with a docstring"


@pytest.mark.parametrize("text", ["plain", 'with "quotes" and \\ backslash', "two\nlines", "ends with a break\n", "a\ttab", "an – em dash"])
def test_sentences_survive_the_file_format(text: str) -> None:
    assert read_pot(messages.template({(text, ""): messages.Sentence(text)})) == {(text, "")}


# --- the project's own words -----------------------------------------------------------------------------------------------------

# Put together here, so that this file does not hold what it forbids.
MACHINE_PATHS = re.compile("|".join(f"/{place}/" for place in ("work", "root", "opt/wheels", "opt/pypi", "home/[a-z]+", "Users/[a-z]+")))
HOSTS = {"download.pytorch.org", "pypi.org", "www.apache.org", "www.w3.org", "keepachangelog.com", "semver.org", "arxiv.org", "github.com",
         "localhost", "127.0.0.1", "huggingface.co", "ollama.com", "example.com", "example.org", "docs.pytorch.org", "pytorch.org",
         "jinja.palletsprojects.com", "scripts.sil.org", "openfontlicense.org", "unicode.org",
         "platform.openai.com", "json-schema.org", "mypy.readthedocs.io"}


def tracked() -> list[Path]:
    """Files under version control, or all of an unpacked archive's."""
    asked = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True)
    if asked.returncode == 0:
        return [ROOT / name for name in asked.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    folders = ("engine", "desktop", "packaging", "tests", "resources")
    return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            yield path.relative_to(ROOT).as_posix(), content.decode("utf-8", errors="replace")


def test_no_path_of_one_machine_is_in_the_project() -> None:
    wrong = [f"{name}: {match.group()}" for name, text in texts() for match in MACHINE_PATHS.finditer(text)]
    assert not wrong, "\n".join(wrong)


def test_only_known_hosts_are_named() -> None:
    made_up = (".", ".example", ".invalid", ".test")
    private = re.compile(r"(10|192\.168)\.[0-9.]+")  # addresses of anybody's own network, as examples
    wrong = [f"{name}: {host}" for name, text in texts() if not name.startswith("tests/recordings/")
             for host in re.findall(r"https?://([A-Za-z0-9.-]+)", text)
             if host not in HOSTS and "." in host and not host.endswith(made_up) and not private.fullmatch(host)]
    assert not wrong, "only public addresses that the project needs belong here:\n" + "\n".join(sorted(set(wrong)))


def test_words_of_the_glossary_are_kept() -> None:
    """No module or class is called by a word that says nothing."""
    wrong = []
    for path in sources("engine", "desktop", "packaging"):
        if re.search(r"utils?|helpers?|managers?$", path.stem):
            wrong.append(str(path.relative_to(ROOT)))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and re.search(r"Utils?$|Helper|Manager$", node.name):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}")
    assert not wrong, "\n".join(wrong)
