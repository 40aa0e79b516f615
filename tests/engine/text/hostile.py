"""Generators of hostile files: what an import must stand. `write_all(folder)` makes those that a reader must refuse or survive by itself;
hostile_parsers.py makes parsers that hang and crash."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SECRET = "the-secret-of-another-file"


def squeezed(block: bytes, times: int, crc: bool = True) -> tuple[bytes, int, int]:
    """(raw deflate stream, crc32, length) of `block` repeated: each repetition is a copy of the same compressed bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    one = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    sum_ = 0
    for _ in range(times if crc else 0):
        sum_ = zlib.crc32(block, sum_)
    return one * times + last, sum_, len(block) * times


def raw_zip(members: list[tuple[str, bytes, int, int]]) -> bytes:
    """A zip of (name, deflated bytes, crc, claimed length)."""
    out, directory = b"", b""
    for name, packed, crc, length in members:
        about = struct.pack("<HHHHHIIIHH", 20, 0x800, 8, 0, 33, crc, len(packed), length, len(name.encode()), 0)
        directory += (b"PK\x01\x02" + struct.pack("<H", 20) + about + struct.pack("<HHHII", 0, 0, 0, 0o644 << 16, len(out)) + name.encode())
        out += b"PK\x03\x04" + about + name.encode() + packed
    return out + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(out), 0)


def deflated(text: str | bytes) -> tuple[bytes, int, int]:
    raw = text.encode() if isinstance(text, str) else text
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(raw) + packer.flush(), zlib.crc32(raw), len(raw)


def zipped(members: dict[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


# ---- archives


def zip_slip() -> bytes:
    return zipped({"../../outside.txt": "x", "/etc/absolute.txt": "x", "C:\\windows.txt": "x", "a/..\\..\\b.txt": "x", "good.txt": "good"})


def zip_links() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("good.txt", "good")
    return made.getvalue()


def zip_locked() -> bytes:
    raw = bytearray(zipped({"locked.txt": "x" * 100}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(mark) + at] |= 1
    return bytes(raw)


def zip_bomb(megabytes: int = 300) -> bytes:
    return raw_zip([("zeros.txt", *squeezed(bytes(1_000_000), megabytes))])


def zip_with_a_bomb_inside() -> bytes:
    """The archive as a whole keeps to the ratio, one member does not."""
    import random

    noise = random.Random(0).randbytes(600_000).hex()
    return raw_zip([("zeros.txt", *squeezed(bytes(1_000_000), 60)), ("good.txt", *deflated("good")), ("noise.txt", *deflated(noise))])


def zip_that_lies() -> bytes:
    """Claims 100 bytes, holds 50 million."""
    packed, crc, _ = squeezed(bytes(1_000_000), 50)
    return raw_zip([("small.txt", packed, crc, 100), ("good.txt", *deflated("good"))])


def zip_of_many(count: int = 10_001) -> bytes:
    return raw_zip([(f"{i}.txt", *deflated("x")) for i in range(count)])


def zip_overlapping() -> bytes:
    """Every entry is the same compressed bytes: 2,000 times a megabyte out of one."""
    packed, crc, length = squeezed(b"a" * 10_000 + bytes(990_000), 1)
    one = raw_zip([("a.txt", packed, crc, length)])
    body, directory = one[:one.index(b"PK\x01\x02")], one[one.index(b"PK\x01\x02"):one.index(b"PK\x05\x06")]
    return body + directory * 2000 + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 2000, 2000, len(directory) * 2000, len(body), 0)


def tar_of_links() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, kind, target in (("../../outside.txt", tarfile.REGTYPE, ""), ("/absolute.txt", tarfile.REGTYPE, ""),
                                   ("soft.txt", tarfile.SYMTYPE, "/etc/passwd"), ("hard.txt", tarfile.LNKTYPE, "../outside.txt"),
                                   ("device.txt", tarfile.CHRTYPE, ""), ("pipe.txt", tarfile.FIFOTYPE, "")):
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, target
            archive.addfile(about)
        about = tarfile.TarInfo("good.txt")
        about.size = 4
        archive.addfile(about, io.BytesIO(b"good"))
    return made.getvalue()


def tar_of_five_gigabytes(path: Path) -> None:
    """Sparse on the disk."""
    about = tarfile.TarInfo("large.txt")
    about.size = 5_000_000_000
    with open(path, "wb") as file:
        file.write(about.tobuf())
        file.truncate(5_000_001_024)


def tar_bomb_gz() -> bytes:
    about = tarfile.TarInfo("zeros.txt")
    about.size = 400_000_000
    return gzip_of(about.tobuf(), *squeezed(bytes(1_000_000), 400))


def gzip_of(start: bytes, packed: bytes, crc: int, length: int) -> bytes:
    """A gzip file of `start` and of a squeezed stream."""
    first = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = first.compress(start) + first.flush(zlib.Z_FULL_FLUSH)
    # The checksum is wrong: what has unpacked so much has been refused long before its end.
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + head + packed + struct.pack("<II", crc, (length + len(start)) & 0xFFFFFFFF)


# ---- documents

WORD = 'xmlns:w="urn:word"'


def docx(document: str) -> bytes:
    return zipped({"[Content_Types].xml": "<Types/>", "word/document.xml": document})


def docx_xxe(secret: Path) -> bytes:
    return docx(f'<?xml version="1.0"?><!DOCTYPE w [<!ENTITY x SYSTEM "{secret.as_uri()}">]><w:document {WORD}><w:body><w:p><w:r><w:t>&x;'
                "</w:t></w:r></w:p></w:body></w:document>")


LAUGHS = "<!DOCTYPE w [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 10)) + "]>"


def docx_laughs() -> bytes:
    return docx(f'<?xml version="1.0"?>{LAUGHS}<w:document {WORD}><w:body><w:p><w:r><w:t>&a9;</w:t></w:r></w:p></w:body></w:document>')


def docx_of_much(megabytes: int = 1500) -> bytes:
    """1.5 GB in 1.5 MB."""
    text = b"<w:p><w:r><w:t>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</w:t></w:r></w:p>"
    return raw_zip([("word/document.xml", *squeezed(text * (1_000_000 // len(text)), megabytes))])


def docx_deep() -> bytes:
    return docx(f"<w:document {WORD}>" + "<w:p>" * 200_000)


def epub_xxe(secret: Path) -> bytes:
    return zipped({"META-INF/container.xml": f'<!DOCTYPE c [<!ENTITY x SYSTEM "{secret.as_uri()}">]><container><rootfiles>'
                                             '<rootfile full-path="&x;"/></rootfiles></container>'})


def odt_laughs() -> bytes:
    return zipped({"content.xml": f"{LAUGHS}<text>&a9;</text>"})


def rtf_deep() -> bytes:
    return b"{\\rtf1 " + b"{" * 500_000 + b"deep" + b"}" * 500_000 + b"}"


# ---- PDF


def pdf(objects: list[bytes]) -> bytes:
    out, places = b"%PDF-1.5\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, table, len(objects) + 1, len(out))


def _page_of(stream: bytes, about: bytes) -> bytes:
    return pdf([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 5 0 R >> >> /Contents 4 0 R >>",
                b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(stream), about, stream),
                b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"])


def pdf_bomb(gigabytes: int = 3) -> bytes:
    """A page whose contents unpack to gigabytes, packed twice."""
    once = b"\x78\x9c" + squeezed(b"q 0 0 1 1 re f Q\n" * 60_000, gigabytes * 1000, crc=False)[0] + b"\0\0\0\0"
    return _page_of(zlib.compress(once, 9), b"/Filter [/FlateDecode /FlateDecode]")


def pdf_of_letters() -> bytes:
    """A page of tens of millions of letters."""
    packed = b"\x78\x9c" + squeezed(b"BT /F1 9 Tf 0 0 Td " + b"(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) Tj " * 20_000 + b"ET\n", 60)[0]
    return _page_of(packed + b"\0\0\0\0", b"/Filter /FlateDecode")


def pdf_loop() -> bytes:
    return pdf([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 99999999 >>",
                b"<< /Type /Pages /Kids [2 0 R] /Parent 3 0 R /Count 5 >>"])


def pdf_deep() -> bytes:
    return pdf([b"<< /Type /Catalog /Pages 2 0 R /X " + b"[" * 60_000 + b"]" * 60_000 + b" >>", b"<< /Type /Pages /Kids [] /Count 0 >>"])


# ---- pages, text, tables


def html_deep(bytes_: int = 1_500_000) -> bytes:
    count = bytes_ // 11
    return b"<html><body>" + b"<div>" * count + b"<p>" + b"the words at the bottom of it all " * 10 + b"</p>" + b"</div>" * count


def html_deep_mixed() -> bytes:
    return b"<html><body>" + b"<table><tr><td><b><ul><li>" * 60_000 + b"the words at the bottom of it all"


def html_unclosed() -> bytes:
    return b"<html><body><p>words before</p>" + b"<!-- " * 300_000 + b"<a " * 100_000 + b"<" * 300_000


def long_line(path: Path, start: bytes, end: bytes, length: int = 400_000_000) -> None:
    """A line of so many bytes, sparse on the disk (NUL bytes)."""
    with open(path, "wb") as file:
        file.write(start)
        file.seek(length)
        file.write(end)


def parquet_that_lies() -> bytes:
    """The first page claims to unpack to 2 GB."""
    made = io.BytesIO()
    pq.write_table(pa.table({"text": [f"some text {i}" for i in range(2000)]}), made, use_dictionary=False, compression="snappy")
    raw = made.getvalue()
    assert raw[4:6] == b"\x15\x00" and raw[6] == 0x15, raw[:12]
    end = 7
    while raw[end] & 0x80:
        end += 1
    return raw[:7] + b"\xfe\xff\xff\xff\x0f" + raw[end + 1:]


def parquet_damaged(seed: int) -> bytes:
    """Some bytes changed, most of them in the footer."""
    import random

    rng = random.Random(seed)
    made = io.BytesIO()
    pq.write_table(pa.table({"text": [f"some text {i}" for i in range(500)], "n": list(range(500))}), made, row_group_size=100)
    raw = bytearray(made.getvalue())
    for _ in range(rng.randint(1, 6)):
        raw[rng.randrange(len(raw) // 2, len(raw) - 8) if rng.random() < 0.8 else rng.randrange(4, len(raw))] = rng.randrange(256)
    return bytes(raw)


def arrow_damaged(seed: int) -> bytes:
    import random

    rng = random.Random(seed)
    table = pa.table({"text": [f"some text {i}" for i in range(500)]})
    made = io.BytesIO()
    with pa.ipc.new_file(made, table.schema) as writer:
        writer.write_table(table)
    raw = bytearray(made.getvalue())
    for _ in range(rng.randint(1, 6)):
        raw[rng.randrange(8, len(raw) - 10)] = rng.randrange(256)
    return bytes(raw)


def write_all(folder: Path, secret: Path) -> None:
    """Everything above, and one good file at the end."""
    secret.write_text(SECRET)
    for name, raw in {
            "archives/slip.zip": zip_slip(), "archives/links.zip": zip_links(), "archives/locked.zip": zip_locked(),
            "archives/bomb.zip": zip_bomb(), "archives/inside.zip": zip_with_a_bomb_inside(), "archives/lies.zip": zip_that_lies(),
            "archives/many.zip": zip_of_many(), "archives/overlap.zip": zip_overlapping(), "archives/links.tar": tar_of_links(),
            "archives/nested.zip": zipped({"inner.zip": zipped({"x.txt": "x"}), "inner.tar.gz": gzip.compress(b"x"), "good.txt": "good"}),
            "archives/bomb.tar.gz": tar_bomb_gz(), "archives/noise.zip": b"PK\x03\x04" + bytes(range(256)) * 40,
            "packed/bomb.txt.gz": gzip_of(b"words\n", *squeezed(bytes(1_000_000), 400)),
            "packed/line.jsonl.gz": gzip_of(b'{"text": "', *squeezed(b"a" * 1_000_000, 400)),
            "packed/bomb.txt.xz": lzma.compress(bytes(60_000_000), preset=0), "packed/bomb.txt.bz2": bz2.compress(bytes(60_000_000)),
            "packed/bomb.txt.zst": pa.compress(bytes(200_000_000), codec="zstd", asbytes=True),
            "packed/bomb.parquet.gz": gzip_of(b"PAR1", *squeezed(bytes(1_000_000), 400)),
            "documents/xxe.docx": docx_xxe(secret), "documents/laughs.docx": docx_laughs(), "documents/much.docx": docx_of_much(),
            "documents/deep.docx": docx_deep(), "documents/xxe.epub": epub_xxe(secret), "documents/laughs.odt": odt_laughs(),
            "documents/deep.rtf": rtf_deep(), "documents/letters.pdf": pdf_of_letters(),
            "documents/bomb.pdf": pdf_bomb(), "documents/loop.pdf": pdf_loop(),
            "documents/deep.pdf": pdf_deep(), "pages/deep.html": html_deep(), "pages/mixed.html": html_deep_mixed(),
            "pages/unclosed.html": html_unclosed(),
            "text/invalid.txt": b"good words " * 20 + b"\xff\xfe\xfd\xc3 " * 5 + b"more good words " * 20,
            "text/wide.txt": ("Words in sixteen bits, without a mark. " * 20).encode("utf-16-le"),
            "text/nul.txt": b"a" + bytes(5000), "tables/deep.jsonl": b'{"text": "one"}\n' + b'{"a":' * 300_000 + b'\n{"text": "two"}\n',
            "tables/deep.json": b'[{"text": "one"}, ' + b"[" * 1_000_000, "tables/object.json": b'{"a":' * 300_000,
            "tables/nan.jsonl": b'{"text": "one", "x": NaN}\n{"text": "two", "x": -Infinity}\n',
            "tables/nan.json": b'[{"text": "one", "x": NaN}]', "tables/quote.csv": b'n,text\n1,"never closed\n' + b"2,words\n" * 200_000,
            "tables/lies.parquet": parquet_that_lies(),
            **{f"tables/damaged-{i:02}.parquet": parquet_damaged(i) for i in range(15)},
            **{f"tables/damaged-{i:02}.arrow": arrow_damaged(i) for i in range(15)},
            "zz-good.txt": b"the last one is good"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    tar_of_five_gigabytes(folder / "archives/five.tar")
    long_line(folder / "text/line.txt", b"begin " * 1000, b"\nend")
    long_line(folder / "tables/line.jsonl", b'{"text": "first", "more": "' + b"a" * 5000 + b'"}\n{"text": "',
              b'"}\n{"text": "after the long line"}\n')
    long_line(folder / "tables/line.json", b'[{"text": "first", "more": "' + b"a" * 5000 + b'"}, {"text": "', b'"}]')
    long_line(folder / "tables/line.csv", b"n,text\n1,first" + b" words" * 1000 + b"\n2,", b"\n3,after the long line\n")
    (folder / "tables" / "saved").mkdir()
    (folder / "tables/saved/dataset_info.json").write_text("{}")
    (folder / "tables/saved/state.json").write_text(json.dumps({"_data_files": [{"filename": "../../../secret.txt"}]}))
    (folder / "text" / "stolen.txt").symlink_to(secret)
