"""Builds the image that verifiers run in: CPython as a WebAssembly component, with packaging/verifier_image inside.

    python packaging/build_verifier_image.py [--wheels DIR] [--into DIR] [--force] [--check]

componentize-py and the packages of the image come from the package index, pinned and checked by their hashes, into a folder that is
deleted afterwards: nothing of them is installed. The result is some 10 s of work; it is not in git, but in every wheel.

How it is checked: `sources` in image.json is a hash over everything that goes in (the files of verifier_image, values.py, both lists with
the hashes of the packages), and the program takes no image of other sources than engine/verifiers/image.py names; `sha256` is that of the
image's own bytes. Those bytes differ from build to build, because CPython's hash seed and the times of its files are part of what is kept.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from engine.contract.errors import Missing  # noqa: E402
from engine.contract.words import tr  # noqa: E402
from engine.verifiers.image import IMAGE, MANIFEST, SOURCES_SHA256, checked_image, digest_of, shipped  # noqa: E402

HERE = ROOT / "packaging" / "verifier_image"
SHARED = ROOT / "engine" / "verifiers" / "values.py"
PACKAGE = "fledge_guest"
DATE = 1_700_000_000


def sources() -> str:
    """The hash over all that goes in, as engine/verifiers/image.py must name it."""
    files = {path.name: path for path in sorted(HERE.iterdir()) if path.suffix in (".py", ".txt", ".wit")} | {SHARED.name: SHARED}
    return digest_of({name: path.read_bytes().replace(b"\r\n", b"\n") for name, path in files.items()})


def fetch(listed: Path, target: Path, wheels: str | None) -> None:
    """Puts the packages of a list into a folder. They must have the hashes that stand there."""
    source = ["--no-index", "--find-links", wheels] if wheels else []
    run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--no-compile",
         "--only-binary", ":all:", "--require-hashes", "--retries", "1", "--timeout", "10", *source, "--target", str(target),
         "-r", str(listed)])


def run(command: list[str], **settings: str) -> None:
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **settings})
    if done.returncode != 0:
        print(done.stdout[:2000] + done.stdout[2000:][-2000:], file=sys.stderr)
        raise SystemExit(tr("The image of the verifiers could not be built: {program} failed.", program=Path(command[2]).name))


def build(into: Path, wheels: str | None) -> None:
    """Lays the image and its manifest into a folder, the manifest last."""
    with tempfile.TemporaryDirectory(prefix="fledge-image-") as place:
        work = Path(place)
        inside = work / "inside"
        fetch(HERE / "tools.txt", work / "tools", wheels)
        fetch(HERE / "packages.txt", inside, wheels)
        (inside / PACKAGE).mkdir()
        for path in [*HERE.glob("*.py"), SHARED]:
            shutil.copy(path, inside / PACKAGE / path.name)
        for path in inside.rglob("*"):
            os.utime(path, (DATE, DATE))
        # An empty environment: otherwise the packages of whichever Python builds would be taken along.
        (work / "empty" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
        made = work / IMAGE
        run([sys.executable, "-c", "import componentize_py; componentize_py.script()", "-q", "-d", str(HERE / "verifier.wit"),
             "-w", "verifier", "componentize", "-p", str(inside), PACKAGE, "-o", str(made)],
            PYTHONPATH=str(work / "tools"), VIRTUAL_ENV=str(work / "empty"), RUST_BACKTRACE="0")
        content = made.read_bytes()
        into.mkdir(parents=True, exist_ok=True)
        (into / MANIFEST).unlink(missing_ok=True)
        (into / f"{IMAGE}.new").write_bytes(content)
        os.replace(into / f"{IMAGE}.new", into / IMAGE)
        facts = {"sources": sources(), "sha256": digest_of({IMAGE: content}), "bytes": len(content)}
        (into / f"{MANIFEST}.new").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        os.replace(into / f"{MANIFEST}.new", into / MANIFEST)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--wheels", metavar="DIR", help=tr("build offline from a folder of wheels"))
    parser.add_argument("--into", metavar="DIR", type=Path, default=shipped(), help=tr("where to lay the image"))
    parser.add_argument("--force", action="store_true", help=tr("build it although it is there"))
    parser.add_argument("--check", action="store_true", help=tr("build nothing; only tell whether the right image is there"))
    options = parser.parse_args(arguments)
    if sources() != SOURCES_SHA256:
        print(tr("The sources of the image have changed; SOURCES_SHA256 in engine/verifiers/image.py must read {digest}.",
                 digest=sources()), file=sys.stderr)
        return 1
    if not options.force:
        try:
            checked_image(options.into)
            return 0
        except Missing as wrong:
            if options.check:
                print(wrong, file=sys.stderr)
                return 1
    began = time.monotonic()
    build(options.into, options.wheels)
    print(tr("The image of the verifiers is built, in {seconds} s.", seconds=round(time.monotonic() - began)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
