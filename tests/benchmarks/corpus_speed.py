"""How fast plain text becomes a corpus, end to end: reading, Unicode form, white space, exact and near duplicates, writing.

    python -m tests.benchmarks.corpus_speed [--megabytes 200] [--full]

Makes a folder of JSON Lines files (about 1.2 KB a document, one in ten a near duplicate, one in twenty an exact one; the same every
time), imports it with `fledge run`, and prints megabytes of text a second with the share of each phase. `--full` adds the full recipe: all
cleaning steps, languages, quality rules, personal data, harm, boilerplate, paragraphs. Making the corpus searchable is timed apart.
"""

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.contract.events import Finished, Phase
from engine.project import layout
from engine.project.event_log import read_events

BASIC = ["identify_languages=false", "mojibake=false"]
FULL = ["quality_gopher=true", "quality_c4=true", "quality_fineweb=true", "harmful=list", "personal_data=true", "repeated_lines=true",
        "repeated_paragraphs=true", "minimum_length=50"]


def documents(megabytes: float, seed: int = 7) -> Iterator[str]:
    """Texts of about 200 words in sentences and paragraphs, from a vocabulary with the frequencies of a language (Zipf)."""
    draw = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgk"
    vocabulary = ["".join(draw.choices(letters, range(len(letters), 0, -1), k=draw.randint(2, 10))) for _ in range(30_000)]
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    chances = np.array(weights) / sum(weights)
    numbers = np.random.default_rng(seed)
    pool: list[str] = []
    made, recent = 0, []
    while made < megabytes * 1e6:
        lot = draw.random()
        if recent and lot < 0.05:
            text = draw.choice(recent)
        elif recent and lot < 0.15:
            words = draw.choice(recent).split(" ")
            for _ in range(max(1, len(words) // 100)):
                words[draw.randrange(len(words))] = draw.choice(vocabulary)
            text = " ".join(words)
        else:
            if len(pool) < 280:
                pool = [vocabulary[n] for n in numbers.choice(len(vocabulary), 1_000_000, p=chances)]
            count = draw.randint(120, 280)
            words, pool[-count:] = pool[-count:], []
            sentences = []
            while words:
                count = draw.randint(6, 18)
                sentences.append(" ".join(words[:count]).capitalize() + ".")
                words = words[count:]
            text = "\n\n".join(" ".join(sentences[i:i + 4]) for i in range(0, len(sentences), 4))
            recent.append(text)
            recent = recent[-2_000:]
        made += len(text)
        yield text


def make(folder: Path, megabytes: float) -> int:
    """Fill a folder; the bytes of its files."""
    folder.mkdir(parents=True)
    file, number = None, 0
    for count, text in enumerate(documents(megabytes)):
        if count % 20_000 == 0:
            if file:
                file.close()
            number += 1
            file = open(folder / f"texts-{number:03d}.jsonl", "w", encoding="utf-8")
        assert file is not None
        file.write(json.dumps({"text": text}) + "\n")
    assert file is not None
    file.close()
    return sum(p.stat().st_size for p in folder.iterdir())


def measure(project: Path, source: Path, settings: list[str]) -> dict:
    """One run in a fresh project: the report, with the wall-clock seconds of the whole command."""
    fledge = [sys.executable, "-m", "engine.cli"]
    subprocess.run([*fledge, "new", str(project)], check=True, capture_output=True)
    began = time.monotonic()
    done = subprocess.run([*fledge, "run", str(project), "corpus", "--source", str(source), "--json",
                           *(part for s in settings for part in ("--set", s))], capture_output=True, text=True)
    seconds = time.monotonic() - began
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert report["status"] == "done", report
    events = [e for e in read_events(layout.events_file(layout.run(project, report["run"]))) if isinstance(e, (Phase, Finished))]
    phases = {e.id: round(after.time - e.time, 2) for e, after in itertools.pairwise(events) if isinstance(e, Phase)}
    return {**report, "wall": seconds, "seconds": phases}


def show(title: str, report: dict, size: int) -> None:
    phases = report["seconds"]
    index = phases.get("index", 0.0)
    work = report["wall"] - index
    print(f"\n{title}: {size / 1e6:.0f} MB in {work:.1f} s = {size / 1e6 / work:.1f} MB/s; searchable after {index:.1f} s more")
    print(f"  {report['read']:,} documents read, {report['documents']:,} kept, removed {report['removed']}")
    for phase, seconds in phases.items():
        print(f"  {phase:10} {seconds:7.1f} s  {seconds / report['wall']:5.0%}")
    print(f"  {'start':10} {report['wall'] - sum(phases.values()):7.1f} s")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--megabytes", type=float, default=200)
    asked.add_argument("--full", action="store_true")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "source"
        size = make(source, given.megabytes)
        show("Plain import", measure(Path(place) / "basic", source, BASIC), size)
        if given.full:
            show("Full recipe", measure(Path(place) / "full", source, FULL), size)


if __name__ == "__main__":
    main()
