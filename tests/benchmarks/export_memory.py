"""Peak memory of an export above the idle process, over the bytes of the weights: a random model of 1 GB, each export in a process of its
own. `python -m tests.benchmarks.export_memory [--gigabytes 1]`. Linux: it reads VmHWM, what the process held at most.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXPORTS = (("hf", "float32"), ("hf", "bfloat16"), ("gguf", "f32"), ("gguf", "f16"), ("gguf", "q8_0"))


def memory(key: str) -> int:
    """Bytes of a line of /proc/self/status."""
    found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found.group(1)) * 1024


def make(folder: Path, gigabytes: float) -> None:
    """A model of about so many bytes of float32, the embedding a quarter of it."""
    from engine.model.config import ModelConfig
    from tests.engine.model.formats import made
    layer = 4 * 1024 * 1024 * 2.5 + 3 * 1024 * 2816 * 4
    layers = max(1, round((gigabytes * 1e9 - 65_536 * 4096) / layer))
    config = ModelConfig(vocab_size=65_536, hidden_size=1024, num_layers=layers, num_heads=16, num_kv_heads=4, head_dim=64,
                         intermediate_size=2816, max_seq_len=1024)
    made.write_random(folder, config)


def one(folder: Path, target: str, precision: str, out: Path) -> dict[str, float]:
    """Idle and peak bytes of this process."""
    from engine.model.formats import gguf_file, hf_folder_write
    from engine.model.formats.tokenizer_out import Words
    from engine.model.formats.weights import Weights
    from engine.text.tokenizer import Tokenizer
    words = Words(Tokenizer.load(folder))
    idle = memory("VmRSS")
    began = time.monotonic()
    with Weights(folder) as weights:
        if target == "hf":
            out.mkdir()
            written = hf_folder_write.write_folder(out, weights, words, precision, "")
        else:
            written = gguf_file.write_gguf(out, weights, words, precision)
        return {"idle": idle, "peak": memory("VmHWM"), "weights": weights.nbytes, "written": written, "seconds": time.monotonic() - began}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--one", nargs=4)
    asked = parser.parse_args()
    if asked.one:
        folder, target, precision, out = asked.one
        print(json.dumps(one(Path(folder), target, precision, Path(out))))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        subprocess.run([sys.executable, "-c", f"from pathlib import Path; from tests.benchmarks.export_memory import make; "
                        f"make(Path({str(folder)!r}), {asked.gigabytes})"], check=True)
        for target, precision in EXPORTS:
            out = Path(place) / f"{target}-{precision}"
            command = [sys.executable, "-m", "tests.benchmarks.export_memory", "--one", str(folder), target, precision, str(out)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            m = json.loads(done.stdout)
            print(f"{target:<5}{precision:<9} weights {m['weights'] / 1e9:.2f} GB, idle {m['idle'] / 1e6:.0f} MB, "
                  f"peak {m['peak'] / 1e6:.0f} MB: {(m['peak'] - m['idle']) / 1e6:.0f} MB above idle = "
                  f"{(m['peak'] - m['idle']) / m['weights']:.2f} of the weights; "
                  f"{m['written'] / 1e6 / m['seconds']:.0f} MB/s written", flush=True)


if __name__ == "__main__":
    main()
