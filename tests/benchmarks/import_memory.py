"""Peak memory of importing a 1 GB random model, above the idle reading process, in weights: aim under 1.3.

    python -m tests.benchmarks.import_memory [--gigabytes 1] [--dtype bfloat16]

The model is written in blocks by safetensors' layout, so that this program itself stays small. Linux only (VmHWM).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.model.config import ModelConfig

IDLE = ("import torch; from engine.model.formats import convert, gguf_read, hf_read, import_child, tokenizer_read\n"
        "import engine.text.read_child as r; torch.set_num_threads(1); torch.zeros(4).isfinite().all()\nimport tokenizers, jinja2\n"
        "print(r._peak())")


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--gigabytes", type=float, default=1.0)
    arguments.add_argument("--dtype", default="as_is")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "theirs"
        folder.mkdir()
        size = write(folder, asked.gigabytes)
        idle = int(subprocess.run([sys.executable, "-c", IDLE], capture_output=True, text=True, check=True).stdout)
        out = Path(place) / "ours"
        out.mkdir()
        from engine.model.formats import import_watch
        began = time.monotonic()
        facts = import_watch.read(folder, out, asked.dtype)
        seconds = time.monotonic() - began
        above = facts["peak"] - idle
        print(json.dumps({"weights": size, "written": facts["bytes"], "idle": idle, "peak": facts["peak"], "above_idle": above,
                          "share_of_weights": round(above / size, 3), "seconds": round(seconds, 1),
                          "megabytes_per_second": round(size / seconds / 1e6)}))


def write(folder: Path, gigabytes: float) -> int:
    """A Llama of about so many bytes in bfloat16, in one file; its weights' bytes."""
    import numpy as np
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    width, vocabulary, middle = 1536, 32_000, 4096
    layer = 2 * (4 * width * width + 3 * width * middle + 2 * width)
    layers = max(1, round((gigabytes * 1e9 - 2 * 2 * vocabulary * width) / layer))
    config = ModelConfig(vocab_size=vocabulary, hidden_size=width, num_layers=layers, num_heads=12, num_kv_heads=12, head_dim=128,
                         intermediate_size=middle, max_seq_len=2048, tie_embeddings=False)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width), "lm_head.weight": (vocabulary, width),
                                          "model.norm.weight": (width,)}
    for i in range(layers):
        start = f"model.layers.{i}."
        shapes |= {f"{start}self_attn.{x}_proj.weight": (width, width) for x in "qkvo"}
        shapes |= {f"{start}mlp.{x}_proj.weight": (middle, width) for x in ("gate", "up")}
        shapes |= {f"{start}mlp.down_proj.weight": (width, middle), f"{start}input_layernorm.weight": (width,),
                   f"{start}post_attention_layernorm.weight": (width,)}
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    generator = np.random.default_rng(0)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        left = offset
        while left:
            count = min(left, 32_000_000)
            # Random signs and mantissas, small exponents: any bfloat16 that is a number.
            numbers = (generator.integers(0, 1 << 16, count // 2, np.uint16) & 0x80FF) | 0x3D00
            file.write(numbers.tobytes())
            left -= count
    (folder / "config.json").write_text(json.dumps({
        "model_type": "llama", "vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 12,
        "num_key_value_heads": 12, "head_dim": 128, "intermediate_size": middle, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "tie_word_embeddings": False}))
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.save(str(folder / "tokenizer.json"))
    assert offset == 2 * config.parameters
    return offset


if __name__ == "__main__":
    main()
