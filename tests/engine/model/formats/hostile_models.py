"""Models that were made to do harm: each function takes a copy of a sound folder and spoils it. How it must end stands in QUICK and SLOW;
GGUF files are whole, in HOSTILE_GGUF. Nothing is run by importing this file.
"""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MARK = "FLEDGE_HOSTILE_MARK"
"""The evil files would write a file at the path in this variable; none may come to be."""


class Evil:
    """Unpickling runs a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f'touch "${MARK}"',)


def config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def safetensors(folder: Path, header: Any, data: bytes = b"", length: int | None = None) -> None:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)


def no_safetensors(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def spoil_tokenizer(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


# ---- headers that lie


def header_of_eight_exabytes(folder: Path) -> None:
    safetensors(folder, {}, length=2**63 - 1)


def header_longer_than_the_file(folder: Path) -> None:
    safetensors(folder, {}, length=90_000_000)


def tensor_of_800_gigabytes(folder: Path) -> None:
    safetensors(folder, {"model.embed_tokens.weight": {"dtype": "F32", "shape": [200_000_000_000], "data_offsets": [0, 800_000_000_000]}})


def tensors_that_overlap(folder: Path) -> None:
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    safetensors(folder, {"a": entry, "b": entry}, b"\0" * 16)


def negative_offsets(folder: Path) -> None:
    safetensors(folder, {"a": {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}}, b"\0" * 16)


def deep_header(folder: Path) -> None:
    safetensors(folder, b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}")


def other_shapes_than_the_config(folder: Path) -> None:
    config(folder, hidden_size=1 << 20, head_dim=1 << 18)


def a_billion_layers(folder: Path) -> None:
    config(folder, num_hidden_layers=1_000_000_000)


def numbers_that_are_none(folder: Path) -> None:
    from safetensors.torch import load_file, save_file
    state = load_file(folder / "model.safetensors")
    state["model.norm.weight"][0] = float("nan")
    save_file(state, folder / "model.safetensors")


# ---- files that are elsewhere


def shard_outside(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "stolen.safetensors")
    index = {"weight_map": {"model.embed_tokens.weight": "../stolen.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def absolute_shard(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "/etc/passwd"}}))


def symlinked_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "model.safetensors").symlink_to(folder.parent / "outside.safetensors")


def symlinked_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("/etc/hostname")


def link_in_circles(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(folder / "config.json")


def pipe_for_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


# ---- JSON


def deep_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)


def deep_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[" * 1_000_000)


def huge_config(folder: Path) -> None:
    with open(folder / "config.json", "wb") as file:
        file.truncate(3_000_000_000)  # takes no room on disk


def config_with_nan(folder: Path) -> None:
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("{", '{"rms_norm_eps_": NaN,', 1))


def config_of_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[1]")


def config_of_huge_numbers(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama", "hidden_size": 1' + "0" * 4_000 + "}")


# ---- code


def remote_code(folder: Path) -> None:
    (folder / "evil.py").write_text("import os; os.system('touch $" + MARK + "')")
    config(folder, auto_map={"AutoModelForCausalLM": "evil.Evil"})


def remote_tokenizer_code(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}))


def evil_pickle(folder: Path) -> None:
    torch.save({"model.embed_tokens.weight": Evil()}, no_safetensors(folder))


def evil_legacy_pickle(folder: Path) -> None:
    torch.save({"a": Evil()}, no_safetensors(folder), _use_new_zipfile_serialization=False)


def plain_evil_pickle(folder: Path) -> None:
    no_safetensors(folder).write_bytes(pickle.dumps(Evil()))


def expanded_tensor(folder: Path) -> None:
    torch.save({"model.embed_tokens.weight": torch.zeros(1).expand(200_000_000_000)}, no_safetensors(folder))


def shared_storage(folder: Path) -> None:
    base = torch.zeros(1 << 20)
    torch.save({f"w{i}": base.view(1024, 1024) for i in range(500)}, no_safetensors(folder))


def _zip(path: Path, entries: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", how) as packed:
        for name, raw in entries.items():
            packed.writestr(name, raw)


def zip_bomb(folder: Path) -> None:
    path = no_safetensors(folder)
    _zip(path, {"a/data.pkl": pickle.dumps({}), "a/version": b"3", "a/data/0": b"\0" * 200_000_000}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000


def pickle_of_marks(folder: Path) -> None:
    _zip(no_safetensors(folder), {"a/data.pkl": b"\x80\x02" + b"(" * 7_000_000 + b".", "a/version": b"3", "a/byteorder": b"little"})


def pickle_of_a_huge_bytes(folder: Path) -> None:
    _zip(no_safetensors(folder), {"a/data.pkl": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.", "a/version": b"3"})


def torn_zip(folder: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(9)}, buffer)
    raw = bytearray(buffer.getvalue())
    raw[-40:-30] = b"\xff" * 10
    no_safetensors(folder).write_bytes(bytes(raw))


# ---- tokenizers and templates


def regex_bomb(folder: Path) -> None:
    spoil_tokenizer(folder, lambda raw: raw.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": r"(?:(?:a|aa|a.)+)+(?<!a)\z"},
                                                                  "behavior": "Isolated", "invert": False}))


def regex_that_grows(folder: Path) -> None:
    pattern = "a{1000}"
    for _ in range(4):
        pattern = f"(?:{pattern}){{1000}}"
    spoil_tokenizer(folder, lambda raw: raw.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
                                                                  "invert": False}))


def replacement_that_doubles(folder: Path) -> None:
    grow = {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaaaaaaaaaaaa"}
    spoil_tokenizer(folder, lambda raw: raw.update(normalizer={"type": "Sequence", "normalizers": [grow] * 9}))


def token_past_the_end(folder: Path) -> None:
    spoil_tokenizer(folder, lambda raw: raw["added_tokens"].append({**raw["added_tokens"][0], "id": 4_000_000_000, "content": "<far>"}))


def tokenizer_of_text(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": 3}')


def endless_template(folder: Path) -> None:
    loops = "".join(f"{{% for {x} in range(99999) %}}" for x in "abc")
    (folder / "chat_template.jinja").write_text(loops + "{% endfor %}" * 3)


def template_that_grows(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% set ns = namespace(t='aaaaaaaaaaaaaaaa') %}{% for a in range(60) %}"
                                                "{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}")


def template_that_looks_around(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(
        "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ cycler.__init__.__globals__.os.system('touch $" + MARK + "') }}")


# ---- GGUF: a whole file each


def gguf_file(*values: bytes, tensors: int = 0, count: int | None = None, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, len(values) if count is None else count) + b"".join(values) + rest


def gguf_string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def gguf_tensor(name: bytes, sides: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return gguf_string(name) + struct.pack("<I", len(sides)) + struct.pack(f"<{len(sides)}Q", *sides) + struct.pack("<IQ", kind, offset)


_ARCH = gguf_string(b"general.architecture") + struct.pack("<I", 8) + gguf_string(b"llama")
HOSTILE_GGUF: dict[str, bytes] = {
    "a billion billion tensors": gguf_file(tensors=2**60),
    "a billion billion values": gguf_file(count=2**60),
    "a string of 8 exabytes": gguf_file(struct.pack("<Q", 2**63 - 1), count=1, rest=b"x" * 100),
    "a value of 8 exabytes": gguf_file(gguf_string(b"k") + struct.pack("<IQ", 8, 2**62), rest=b"x" * 100),
    "an array of 2**61 strings": gguf_file(gguf_string(b"k") + struct.pack("<IIQ", 9, 8, 2**61), rest=b"x" * 100),
    "an array of 2**62 bytes": gguf_file(gguf_string(b"k") + struct.pack("<IIQ", 9, 0, 2**62), rest=b"x" * 100),
    "an array of arrays": gguf_file(gguf_string(b"k") + struct.pack("<IIQ", 9, 9, 3), rest=struct.pack("<IIQ", 9, 9, 3) * 50),
    "an unknown kind of value": gguf_file(gguf_string(b"k") + struct.pack("<I", 77), rest=b"x" * 100),
    "a tensor of 2**62 numbers": gguf_file(_ARCH, tensors=1, rest=gguf_tensor(b"token_embd.weight", (2**31 - 1, 2**31 - 1)) + b"\0" * 99),
    "a tensor of 200 sides": gguf_file(_ARCH, tensors=1, rest=gguf_string(b"t") + struct.pack("<I", 200) + b"\1" * 2000),
    "an offset past the end": gguf_file(_ARCH, tensors=1, rest=gguf_tensor(b"t", (4,), offset=2**62) + b"\0" * 99),
    "an alignment of zero": gguf_file(gguf_string(b"general.alignment") + struct.pack("<II", 4, 0), _ARCH, rest=b"\0" * 99),
    "an empty side": gguf_file(_ARCH, tensors=1, rest=gguf_tensor(b"t", (0,)) + b"\0" * 99),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "nothing after its name": b"GGUF",
}

# How each must end: the code of its error, and words of its sentence.
QUICK: dict[Callable[[Path], None], tuple[str, str]] = {
    header_of_eight_exabytes: ("corrupt", "cut off"), header_longer_than_the_file: ("corrupt", "cut off"),
    tensor_of_800_gigabytes: ("corrupt", "damaged"), tensors_that_overlap: ("corrupt", "contradicts itself"),
    negative_offsets: ("corrupt", "contradicts itself"), deep_header: ("corrupt", "cannot be read"),
    other_shapes_than_the_config: ("mismatch", "by the config"), a_billion_layers: ("mismatch", "too few"),
    numbers_that_are_none: ("corrupt", "no numbers"), shard_outside: ("leads_out", "outside of itself"),
    absolute_shard: ("corrupt", "no file of weights"), symlinked_shard: ("leads_out", "leads out"),
    symlinked_tokenizer: ("leads_out", "leads out"), link_in_circles: ("leads_out", "circles"),
    pipe_for_weights: ("leads_out", "not a file"),
    deep_config: ("format", "nested"), deep_tokenizer: ("format", "nested"), huge_config: ("too_large", "far more"),
    config_with_nan: ("format", "NaN"), config_of_a_list: ("format", "does not hold"),
    config_of_huge_numbers: ("format", "hidden_size"),
    remote_code: ("remote_code", "auto_map"), remote_tokenizer_code: ("remote_code", "auto_map"),
    evil_pickle: ("pickle", "more than weights"),
    evil_legacy_pickle: ("pickle", "old form"), plain_evil_pickle: ("pickle", "old form"),
    expanded_tensor: ("lying_tensor", "claims 800"),
    shared_storage: ("lying_tensor", "far more"), zip_bomb: ("bomb", "packed"),
    pickle_of_a_huge_bytes: ("pickle", "more than weights"),
    torn_zip: ("corrupt", "list of contents"), token_past_the_end: ("format", "other numbers"),
    tokenizer_of_text: ("format", "tokenizer.json"),
}
# Those over which the reading process is killed, or has to be able to be.
SLOW: dict[Callable[[Path], None], str] = {
    pickle_of_marks: "", regex_bomb: "tokenizer", regex_that_grows: "tokenizer", replacement_that_doubles: "tokenizer",
    endless_template: "tokenizer", template_that_grows: "tokenizer",
}
