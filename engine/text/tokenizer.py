"""Text to token ids and back. Byte-exact: whatever goes in comes out of `decode_bytes(encode(..))` again.

A tokenizer is a `tokenizer.json` of `tokenizers` (the format of record) with a `tokenizer_config.json` beside it. Tokenizers of our own
shape (byte-level BPE, Llama 3's split, one merge a token) are encoded by tiktoken, several times faster with identical ids; everything
else runs in `tokenizers`. It does not train (see bpe.py) and knows no torch.

Rules
- Special tokens are never made from ordinary text unless `allow_special=True`.
- A `str` is encoded as its UTF-8 bytes; a lone surrogate, which UTF-8 lacks, as the three bytes of "surrogatepass". `decode` shows what is
  not UTF-8 as U+FFFD.
- `encode_bytes` takes any bytes: stretches of valid UTF-8 as text, each other byte as its own token.
- Runs of white space too long for tiktoken's regex engine are encoded by `tokenizers`: same ids, slower.
"""

import codecs
import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from engine.contract.errors import FormatError, Mismatch, NotFound
from engine.contract.words import tr
from engine.text import chat_template as chat
from engine.text import specials, split

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"


class Tokenizer:
    """`load` one, or make one by bpe.train. Safe to share between threads.

    vocab_size    highest id + 1, special tokens included: the rows an embedding needs
    special       name -> id of the special tokens
    backend       "tiktoken" or "tokenizers"
    """

    def __init__(self, record: str, config: Mapping[str, Any] | None = None) -> None:
        import tokenizers

        self.record = record
        self.config: dict[str, Any] = dict(config or {})
        try:
            self._raw: dict[str, Any] = json.loads(record)
            self._plain = tokenizers.Tokenizer.from_str(record)
        except Exception as wrong:  # tokenizers raises bare Exception for every defect of the file
            raise FormatError(tr("This is not a tokenizer.json that can be read: {reason}", reason=str(wrong)),
                              tr("Choose a tokenizer.json written by the tokenizers library.")) from wrong
        self._plain.encode_special_tokens = True
        self._plain.no_padding()
        self._plain.no_truncation()
        added = self._raw.get("added_tokens") or []
        self.special: dict[str, int] = {str(t["content"]): int(t["id"]) for t in added if t.get("special")}
        self._special_names = {id: name for name, id in self.special.items()}
        vocabulary = self._plain.get_vocab(with_added_tokens=True)
        self.vocab_size = 1 + max(vocabulary.values(), default=-1)
        self._names = {id: name for name, id in vocabulary.items()}
        self._ranks = _ranks_of(self._raw)
        self.backend = "tokenizers" if self._ranks is None else "tiktoken"
        self.bos_id = self._role("bos_token", specials.KNOWN_BEGIN)
        self.eos_id = self._role("eos_token", specials.KNOWN_END_OF_TEXT)
        self.pad_id = self._role("pad_token", specials.KNOWN_PAD)
        self.end_id = self._role("end_token", specials.KNOWN_END)

    # ---- files

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Tokenizer":
        """From a folder that holds tokenizer.json, or from the file itself; what stands beside it (config, chat template) is read too."""
        path = Path(path)
        file = path / TOKENIZER_FILE if path.is_dir() else path
        try:
            record = file.read_text("utf-8")
        except FileNotFoundError as wrong:
            raise NotFound(tr("There is no tokenizer in {place}.", place=str(path)),
                           tr("Choose a folder with a tokenizer.json.")) from wrong
        except UnicodeDecodeError as wrong:
            raise FormatError(tr("{file} is not a tokenizer.json.", file=str(file)), tr("Choose another file.")) from wrong
        config = _read_config(file.parent / CONFIG_FILE)
        template = file.parent / TEMPLATE_FILE
        if template.is_file() and not config.get("chat_template"):
            config["chat_template"] = template.read_text("utf-8", errors="replace")
        return cls(record, config)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json and tokenizer_config.json (special tokens, chat template): transformers opens the folder as it is."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TOKENIZER_FILE).write_text(self.record, "utf-8")
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **self.config}
        for key, id in (("bos_token", self.bos_id), ("eos_token", self.eos_id), ("pad_token", self.pad_id)):
            if id is not None:
                config[key] = self._names[id]
        if self.chat_template:
            config["chat_template"] = self.chat_template
        (folder / CONFIG_FILE).write_text(json.dumps(config, ensure_ascii=False, indent=1), "utf-8")

    # ---- encoding

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Ids of `text`. With `allow_special`, names of special tokens in it become those tokens (chat templates need that)."""
        if allow_special and self.special:
            if self._ranks is None:
                return self._with_special.encode(_utf8(text), add_special_tokens=False).ids
            ids: list[int] = []
            for part in self._special_border.split(text):
                if part in self.special:
                    ids.append(self.special[part])
                elif part:
                    ids += self.encode(part)
            return ids
        return self.encode_array(text).tolist()

    def encode_array(self, text: str) -> np.ndarray:
        """Ids of `text` as uint32, without special tokens."""
        if not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                return self.encode_bytes(text.encode("utf-8", "surrogatepass"))
        return self._encode_text(text)

    def encode_bytes(self, raw: bytes) -> np.ndarray:
        """Ids of any bytes as uint32: valid UTF-8 as text, every other byte as its own token. Needs a tokenizer with all 256 bytes."""
        # "surrogateescape" turns exactly the bytes that are no UTF-8 into U+DC80..U+DCFF, and nothing else does.
        parts = []
        for number, stretch in enumerate(_NOT_UTF8.split(raw.decode("utf-8", "surrogateescape"))):
            if number % 2:
                parts.append(np.array([self._byte_id(ord(c) - 0xDC00) for c in stretch], np.uint32))
            elif stretch:
                parts.append(self._encode_text(stretch))
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32)

    def encode_batch(self, texts: Sequence[str], threads: int | None = None) -> list[np.ndarray]:
        """Ids of each text as uint32, on up to `threads` threads (all cores unless said)."""
        if self._ranks is None:
            made = self._plain.encode_batch_fast([_utf8(t) for t in texts], add_special_tokens=False)
            return [np.array(e.ids, np.uint32) for e in made]
        threads = min(threads or os.cpu_count() or 1, len(texts))
        if threads <= 1 or sum(map(len, texts)) < 1_000 * len(texts):  # for short texts the threads only wait for one another
            return [self.encode_array(t) for t in texts]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self.encode_array, texts, chunksize=max(1, len(texts) // (threads * 16))))

    def _encode_text(self, text: str) -> np.ndarray:
        if self._ranks is None:
            return np.array(self._plain.encode(text, add_special_tokens=False).ids, np.uint32)
        if len(text) <= split.CHUNK:
            return self._encode_part(text)
        return np.concatenate([self._encode_part(part) for part in split.cut(text)])

    def _encode_part(self, text: str) -> np.ndarray:
        if split.has_long_blank(text):
            return np.array(self._plain.encode(text, add_special_tokens=False).ids, np.uint32)
        return np.frombuffer(self._fast._core_bpe.encode_to_tiktoken_buffer(text, _NOTHING), np.uint32)

    # ---- decoding

    def decode(self, ids: Sequence[int] | np.ndarray, skip_special: bool = False) -> str:
        """Text of `ids`; bytes that are no UTF-8 (a character cut in half) show as U+FFFD."""
        ids = [int(i) for i in ids]
        if skip_special:
            ids = [i for i in ids if i not in self._special_names]
        if self.is_byte_level:
            return self.decode_bytes(ids).decode("utf-8", "replace")
        self._check(ids)
        return self._plain.decode(ids, skip_special_tokens=False)

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """Bytes of `ids`, exactly (tokenizers that are not byte-level: the UTF-8 of `decode`)."""
        ids = [int(i) for i in ids]
        self._check(ids)
        if self.is_byte_level:
            table = self._bytes
            return b"".join([table[i] for i in ids])
        return self._plain.decode(ids, skip_special_tokens=False).encode("utf-8", "surrogatepass")

    def token_bytes(self, id: int) -> bytes:
        """Bytes that a token stands for inside a text; of a special token its name."""
        self._check((id,))
        return self._bytes[id]

    def token_text(self, id: int) -> str:
        """A token for display: its text, or `<0xE2><0x82>` where its bytes are part of a character."""
        raw = self.token_bytes(id)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return "".join(f"<0x{b:02X}>" for b in raw)

    def pieces(self, text: str, allow_special: bool = False) -> list[tuple[int, bytes]]:
        """(id, bytes of the text it covers) in order; joined, the bytes are the text. Bytes that no token covers (white space that an
        imported tokenizer drops) come with id -1; tokens that share characters with the one before them come with no bytes."""
        if self._ranks is not None:
            return [(id, self._bytes[id]) for id in self.encode(text, allow_special)]
        text = _utf8(text)
        made = (self._with_special if allow_special else self._plain).encode(text, add_special_tokens=False)
        found: list[tuple[int, bytes]] = []
        covered = 0
        for id, (start, end) in zip(made.ids, made.offsets, strict=True):
            if start > covered:
                found.append((-1, text[covered:start].encode("utf-8")))
                covered = start
            found.append((id, text[covered:end].encode("utf-8")))
            covered = max(covered, end)
        if covered < len(text):
            found.append((-1, text[covered:].encode("utf-8")))
        return found

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Byte range (start, end) in the text's UTF-8 of each token of `encode(text)`."""
        found, at = [], 0
        for id, raw in self.pieces(text):
            if id >= 0:
                found.append((at, at + len(raw)))
            at += len(raw)
        return found

    # ---- what it is

    @cached_property
    def is_byte_level(self) -> bool:
        """Whether every token is a fixed string of bytes and decoding is their concatenation."""
        if self._ranks is not None:
            return True
        decoder = self._raw.get("decoder") or {}
        parts = decoder.get("decoders") if decoder.get("type") == "Sequence" else [decoder]
        return [p.get("type") for p in parts or []] == ["ByteLevel"] and not self._raw.get("normalizer")

    @property
    def merges(self) -> int:
        """Learned tokens, or merges of an imported BPE; 0 for other models."""
        return len((self._raw.get("model") or {}).get("merges") or ())

    @property
    def chat_template(self) -> str:
        """The template beside the tokenizer; ours where it has our special tokens and no template; else ""."""
        template = self.config.get("chat_template") or ""
        if isinstance(template, list):  # transformers also writes a list of named templates
            named = {str(t.get("name")): str(t.get("template", "")) for t in template if isinstance(t, dict)}
            template = named.get("default") or next(iter(named.values()), "")
        if not template and all(name in self.special for name in (specials.USER, specials.ASSISTANT, specials.END)):
            return chat.DEFAULT_TEMPLATE
        return str(template)

    def render_chat(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True) -> str:
        """A conversation as text, by the chat template; a tokenizer without one is a Mismatch."""
        template = self.chat_template
        if not template:
            raise Mismatch(tr("This tokenizer has no chat template."), tr("Complete text instead, or choose a model that chats."))
        return chat.render(template, messages, bos_token=self._name(self.bos_id), eos_token=self._name(self.eos_id),
                           add_generation_prompt=add_generation_prompt)

    def encode_chat(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True,
                    trusted: Sequence[str] = ("assistant",)) -> list[int]:
        """Ids of a conversation. Names of special tokens inside a content become tokens only where the role is `trusted` (the model's own
        `<think>`); a person's stay ordinary text, so that nobody forges a turn."""
        contents = "".join(str(m.get("content")) for m in messages)
        mark = next(c for c in map(chr, range(0xF0000, 0x110000)) if c not in contents)
        armed = [m if m.get("role") in trusted else {**m, "content": self._disarm(m.get("content"), mark)} for m in messages]
        text = self.render_chat(armed, add_generation_prompt)
        if self._ranks is None and mark not in text:  # in one piece: rules of such tokenizers reach across special tokens
            return self.encode(text, allow_special=True)
        names = list(self.special)
        ids: list[int] = []
        for part in self._special_border.split(text) if self.special else [text]:
            if part in self.special:
                ids.append(self.special[part])
            elif part:
                ids += self.encode(re.sub(f"{mark}([0-9]+){mark}", lambda m: names[int(m.group(1))], part))
        return ids

    def _disarm(self, content: Any, mark: str) -> Any:
        """`content` with every name of a special token replaced by its number between marks; what is no text stays as it is."""
        if not self.special or not isinstance(content, str):
            return content
        numbers = {name: i for i, name in enumerate(self.special)}
        return self._special_border.sub(lambda m: f"{mark}{numbers[m.group(0)]}{mark}", content)

    # ---- inside

    def _role(self, key: str, known: Sequence[str]) -> int | None:
        """The id the config names for a role, else the first known name this vocabulary has as a special token."""
        named = self.config.get(key)
        if named is None and key in self.config:  # it says that it has none
            return None
        if isinstance(named, dict):
            named = named.get("content")
        if isinstance(named, str) and named:
            return self._plain.token_to_id(named)
        return next((self.special[name] for name in known if name in self.special), None)

    def _name(self, id: int | None) -> str:
        return "" if id is None else self._names[id]

    def _check(self, ids: Sequence[int]) -> None:
        for id in ids:
            if not 0 <= id < self.vocab_size:
                raise Mismatch(tr("Token {id} is not in this tokenizer, which has {size} tokens.", id=id, size=f"{self.vocab_size:,}"),
                               tr("Use the tokenizer that the tokens were made with."))

    def _byte_id(self, byte: int) -> int:
        if self._ranks is not None:
            return self._ranks[bytes([byte])]
        for name in (_ALPHABET[byte], f"<0x{byte:02X}>"):
            id = self._plain.token_to_id(name)
            if id is not None:
                return id
        raise Mismatch(tr("This tokenizer has no token for the byte {byte}.", byte=f"0x{byte:02X}"), tr("Use text that is valid UTF-8."))

    @cached_property
    def _fast(self) -> Any:
        import tiktoken

        assert self._ranks is not None
        return tiktoken.Encoding("fledge", pat_str=split.LLAMA3, mergeable_ranks=self._ranks, special_tokens={})

    @cached_property
    def _with_special(self) -> Any:
        import tokenizers

        return tokenizers.Tokenizer.from_str(self.record)

    @cached_property
    def _special_border(self) -> re.Pattern[str]:
        """Splits at special tokens, the longest first where one begins another."""
        return re.compile("(" + "|".join(re.escape(name) for name in sorted(self.special, key=len, reverse=True)) + ")")

    @cached_property
    def token_widths(self) -> np.ndarray:
        """int64 [vocab_size]: bytes that each token stands for."""
        return np.array([len(raw) for raw in self._bytes], np.int64)

    @cached_property
    def _bytes(self) -> list[bytes]:
        """Bytes of every id; of ids that no token has, none."""
        added = {int(t["id"]) for t in self._raw.get("added_tokens") or ()}
        text = json.dumps([self._raw.get("pre_tokenizer"), self._raw.get("decoder")])
        alphabet = "ByteLevel" in text
        continuing = ((self._raw.get("model") or {}).get("continuing_subword_prefix") or "") if not alphabet else ""
        table = []
        for id in range(self.vocab_size):
            name = self._names.get(id, "")
            if id in added:
                table.append(name.encode("utf-8"))
            elif alphabet:
                table.append(b"".join(_BYTE_OF[c] if c in _BYTE_OF else c.encode("utf-8") for c in name))
            elif re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", name):
                table.append(bytes([int(name[3:5], 16)]))
            else:
                table.append(name.removeprefix(continuing).replace("\u2581", " ").encode("utf-8"))
        return table


class StreamDecoder:
    """Text of tokens as they come, never half a character: bytes wait until their character is whole. `finish` gives what is left."""

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = True) -> None:
        self._tokenizer, self._skip = tokenizer, skip_special
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._ids: list[int] = []
        self._from = self._shown = 0

    def push(self, id: int) -> str:
        """The text that has become certain with this token, "" mostly for half characters."""
        if self._skip and id in self._tokenizer._special_names:
            return ""
        if self._tokenizer.is_byte_level:
            return self._bytes.decode(self._tokenizer.token_bytes(id))
        # Other decoders join by rules of their own (a space before a word): what is new is the difference that a token makes after those
        # of the last piece shown.
        self._ids.append(int(id))
        before = self._tokenizer.decode(self._ids[self._from:self._shown])
        after = self._tokenizer.decode(self._ids[self._from:])
        if len(after) <= len(before) or after.endswith("\ufffd"):
            return ""
        self._from, self._shown = self._shown, len(self._ids)
        return after[len(before):]

    def finish(self) -> str:
        """What was held back, with U+FFFD for an incomplete character."""
        if self._tokenizer.is_byte_level:
            return self._bytes.decode(b"", True)
        before = self._tokenizer.decode(self._ids[self._from:self._shown])
        after = self._tokenizer.decode(self._ids[self._from:])
        self._from = self._shown = len(self._ids)
        return after[len(before):]


_NOTHING: frozenset[str] = frozenset()
_NOT_UTF8 = re.compile("([\udc80-\udcff]+)")


def byte_alphabet() -> tuple[str, ...]:
    """The printable character that stands for each byte in a byte-level tokenizer.json (GPT-2's table)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in shown]
    table = {b: chr(b) for b in shown} | {b: chr(256 + i) for i, b in enumerate(hidden)}
    return tuple(table[b] for b in range(256))


_ALPHABET = byte_alphabet()
_BYTE_OF = {c: bytes([b]) for b, c in enumerate(_ALPHABET)}


def _ranks_of(raw: Mapping[str, Any]) -> dict[bytes, int] | None:
    """token bytes -> id where tiktoken gives the same ids as `tokenizers`: byte-level BPE with Llama 3's split and exactly one merge for
    each token, in the order of the ids. None for every other tokenizer."""
    model = raw.get("model") or {}
    if (model.get("type") != "BPE" or raw.get("normalizer") or model.get("dropout") or model.get("byte_fallback")
            or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")):
        return None
    before = raw.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers") or [] if before.get("type") == "Sequence" else [before]
    if [s.get("type") for s in steps] != ["Split", "ByteLevel"]:
        return None
    cutting, level = steps
    if (cutting.get("pattern") != {"Regex": split.LLAMA3} or cutting.get("behavior") != "Isolated" or cutting.get("invert")
            or level.get("add_prefix_space") or level.get("use_regex", True)):
        return None
    added = raw.get("added_tokens") or ()
    if not all(t.get("special") and not (t.get("lstrip") or t.get("rstrip") or t.get("single_word")) for t in added):
        return None
    special = {t["content"] for t in added}
    vocabulary = {name: id for name, id in (model.get("vocab") or {}).items() if name not in special}
    merges = model.get("merges") or []
    if sorted(vocabulary.values()) != list(range(256 + len(merges))) or any(c not in vocabulary for c in _ALPHABET):
        return None
    if sorted(vocabulary[c] for c in _ALPHABET) != list(range(256)):
        return None
    for number, merge in enumerate(merges):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        if vocabulary.get(left + right) != 256 + number:
            return None
    try:
        return {b"".join(_BYTE_OF[c] for c in name): id for name, id in vocabulary.items()}
    except KeyError:
        return None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        made = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, UnicodeDecodeError) as wrong:
        raise FormatError(tr("{file} cannot be read.", file=str(path)),
                          tr("Repair the file, or remove it: the tokenizer works without it.")) from wrong
    return made if isinstance(made, dict) else {}


def _utf8(text: str) -> str:
    """`text` as `tokenizers` can take it: a lone surrogate becomes U+FFFD (imported tokenizers only)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text
