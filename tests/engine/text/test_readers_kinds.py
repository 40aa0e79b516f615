"""Every kind of file, made here: what is read out of it, in which order, and what is left out in words."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from engine.contract.errors import FormatError
from engine.text.readers import Reader, ReadOptions, list_files, preview

TEXTS = ["El niño comió piñones; ¿y tú?", "Coração, ação e pão.", "Țară, școală, înger — „ghilimele”.", "L’été où l’œuvre naquit…",
         "我能吞下玻璃而不伤身体。", "أنا قادر على أكل الزجاج", "עברית, ไทย, 한국어, 🙂👩‍👩‍👧", "می‌خواهم", "क्‍ष", "é Å"]


def read(path, **options):
    files, skipped = list_files([path])
    assert len(files) == 1, skipped
    reader = Reader(files[0], ReadOptions(**options))
    return reader, list(reader)


def texts(path, **options):
    return [part.text for part in read(path, **options)[1]]


# ---- made by hand


def pdf_bytes(*pages):
    """A minimal PDF, a page for each list of lines (Latin-1)."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"",
               b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"]
    kids = []
    for lines in pages:
        shown = b"\n".join(b"(" + line.encode("cp1252").replace(b"(", b"\\(").replace(b")", b"\\)") + b") Tj 0 -20 Td" for line in lines)
        stream = b"BT /F1 12 Tf 50 700 Td\n" + shown + b"\nET" if lines else b"0 0 100 100 re f"
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        objects.append(b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >> /Contents %d 0 R >>"
                       % len(objects))
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, table, len(objects) + 1, len(out))


W = 'xmlns:w="urn:word" xmlns:mc="urn:compatibility"'


def docx_bytes(body, start='<?xml version="1.0" encoding="UTF-8"?>'):
    return zip_bytes({"[Content_Types].xml": "<Types/>",
                      "word/document.xml": f"{start}<w:document {W}><w:body>{body}</w:body></w:document>"})


def zip_bytes(members, compression=zipfile.ZIP_DEFLATED):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def tar_bytes(members, mode="w"):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        for name, content in members.items():
            raw = content.encode() if isinstance(content, str) else content
            about = tarfile.TarInfo(name)
            about.size = len(raw)
            archive.addfile(about, io.BytesIO(raw))
    return made.getvalue()


def paragraph(text):
    return f"<w:p><w:r><w:t xml:space='preserve'>{text}</w:t></w:r></w:p>"


# ---- web pages

ARTICLE = """<!DOCTYPE html><html><head><title>News</title><style>p {color: red}</style><script>var x = "<p>no</p>";</script></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/a">About us</a></li></ul></nav>
<article><h1>The harbour at night</h1>
<p>Ships came in from the north, and their lamps were seen long before their sails. The men on the quay counted them one by one, as they
had done every autumn since the war.</p>
<p>Nobody spoke. The wind had turned, and what it carried was salt, tar and the smell of wet rope, which is the smell of coming home to
those who were born here, and of nothing at all to the others.</p>
<p>By morning the harbour was full, and the market opened an hour early.</p></article>
<footer><p>Copyright 2020 Example Ltd. All rights reserved. <a href="/privacy">Privacy</a></p></footer></body></html>"""


def test_a_web_page_gives_its_article(tmp_path):
    (tmp_path / "a.html").write_text(ARTICLE)
    reader, parts = read(tmp_path / "a.html")
    (part,) = parts
    assert "Ships came in" in part.text and "market opened" in part.text and part.last
    assert "About us" not in part.text and "Copyright" not in part.text and "<" not in part.text and "var x" not in part.text
    assert reader.encoding == "utf-8" and not reader.notes


def test_a_page_without_an_article_gives_all_its_text_and_says_so(tmp_path, monkeypatch):
    import trafilatura

    monkeypatch.setattr(trafilatura, "extract", lambda *given, **named: None)
    (tmp_path / "a.htm").write_text("<html><body><h1>Title</h1><p>One <b>bold</b>\n word</p><ul><li>a</li><li>b</li></ul>"
                                    "<pre>x  =\n  1</pre><table><tr><td>1</td><td>2</td></tr></table>tail<script>no</script><nav></nav>"
                                    "</body></html>")
    reader, parts = read(tmp_path / "a.htm")
    assert parts[0].text == "Title\n\nOne bold word\n\na\nb\n\nx  =\n  1\n\n1\t2\n\ntail"
    assert list(reader.notes) == ["No article was found on the page: all of its text was taken."]


SENTENCES = "<p>" + "The river was wide and the bridge was long, so nobody hurried to cross it in the morning. " * 5 + "</p>"


def test_a_plain_page_keeps_its_headings_lists_and_programs(tmp_path):
    (tmp_path / "a.html").write_text(f"<html><body><h1>The Great Heading</h1>{SENTENCES}<h2>Second part</h2>{SENTENCES}<ul><li>"
                                     "one item here</li><li>two items</li></ul><pre>code  x = 1</pre></body></html>")
    text = texts(tmp_path / "a.html")[0]
    assert text.startswith("The Great Heading\n") and "\none item here\ntwo items\n" in text and text.endswith("code  x = 1")


def test_a_page_with_a_menu_keeps_its_heading_and_not_the_menu(tmp_path):
    (tmp_path / "a.html").write_text(f"<html><body><nav><a href='/'>Home</a> <a href='/a'>About us</a></nav>"
                                     f"<h1>The <i>Great</i>\nHeading</h1>{SENTENCES}{SENTENCES}<footer>Copyright</footer></body></html>")
    text = texts(tmp_path / "a.html")[0]
    assert text.startswith("The Great Heading\nThe river") and "About us" not in text and "Copyright" not in text


def test_the_name_of_a_site_that_links_home_is_no_heading(tmp_path):
    (tmp_path / "a.html").write_text(f"<html><body><h1><a href='/'>The Site</a></h1><nav>Menu</nav>{SENTENCES}{SENTENCES}</body></html>")
    assert texts(tmp_path / "a.html")[0].startswith("The river")


def test_a_page_says_its_encoding_and_the_person_overrides_it(tmp_path):
    page = ARTICLE.replace("<head>", '<head><meta charset="windows-1251">').replace("Nobody spoke.", "Никто не сказал ни слова.")
    (tmp_path / "a.html").write_bytes(page.encode("cp1251"))
    reader, parts = read(tmp_path / "a.html")
    assert "Никто не сказал" in parts[0].text and reader.encoding == "windows-1251"
    assert "Никто" not in texts(tmp_path / "a.html", encoding="latin-1")[0]


def test_a_page_without_text_is_a_problem(tmp_path):
    for i, page in enumerate(("<html><body><img src='x'></body></html>", "<!-- nothing -->", "<html><script>x</script></html>")):
        (tmp_path / f"{i}.html").write_text(page)
        with pytest.raises(FormatError, match="without text"):
            texts(tmp_path / f"{i}.html")


@pytest.mark.parametrize("text", TEXTS)
def test_pages_keep_their_letters(tmp_path, text):
    (tmp_path / "a.xhtml").write_text(f"<html><body><p>{text * 12}</p></body></html>", "utf-8")
    assert texts(tmp_path / "a.xhtml")[0].strip() == (text * 12).strip()


# ---- documents


def test_pdf_pages_in_order(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf_bytes(["First line of page one", "second: été (Größe)"], [], ["Page three"]))
    reader, parts = read(tmp_path / "a.pdf")
    assert [p.text for p in parts] == ["First line of page one\nsecond: été (Größe)\nPage three"]
    assert reader.done == reader.file.size


def test_a_pdf_without_text_is_a_scan(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf_bytes([], []))
    with pytest.raises(FormatError, match="a scan without text") as caught:
        texts(tmp_path / "a.pdf")
    assert caught.value.code == "scan"


def test_pypdf_takes_over_where_pdfium_cannot_open(tmp_path, monkeypatch):
    import pypdfium2

    def fails(*given):
        raise pypdfium2.PdfiumError("Failed to load document (PDFium: Data format error).")
    monkeypatch.setattr(pypdfium2, "PdfDocument", fails)
    (tmp_path / "a.pdf").write_bytes(pdf_bytes(["By the other one"]))
    reader, parts = read(tmp_path / "a.pdf")
    assert parts[0].text == "By the other one" and "pypdf" in next(iter(reader.notes))


def test_a_pdf_with_a_password_says_so(tmp_path):
    import pypdf

    (tmp_path / "a.pdf").write_bytes(pdf_bytes(["secret"]))
    writer = pypdf.PdfWriter(clone_from=str(tmp_path / "a.pdf"))
    writer.encrypt("word", algorithm="RC4-128")
    writer.write(tmp_path / "b.pdf")
    with pytest.raises(FormatError, match="password"):
        texts(tmp_path / "b.pdf")


def test_docx(tmp_path):
    body = (paragraph(TEXTS[0]) + "<w:p><w:pPr><w:tabs><w:tab w:pos='9'/></w:tabs></w:pPr><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/>"
            "<w:t>c</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
            "<w:tbl><w:tr><w:tc>" + paragraph("1") + paragraph("one") + "</w:tc><w:tc>" + paragraph("2") + "</w:tc></w:tr><w:tr><w:tc>"
            + paragraph("3") + "</w:tc><w:tc>" + paragraph("4") + "</w:tc></w:tr></w:tbl>"
            "<w:p><w:r><mc:AlternateContent><mc:Choice><w:t>new</w:t></mc:Choice><mc:Fallback><w:t>old</w:t></mc:Fallback>"
            "</mc:AlternateContent></w:r></w:p>" + "".join(map(paragraph, TEXTS)))
    (tmp_path / "a.docx").write_bytes(docx_bytes(body))
    (text,) = texts(tmp_path / "a.docx")
    assert text == "\n".join([TEXTS[0], "a\tb\nc", "1 one \t2 ", "3 \t4 ", "new", *TEXTS])
    (tmp_path / "b.docx").write_bytes(zip_bytes({"x": "y"}))
    with pytest.raises(FormatError, match="lacks word/document.xml"):
        texts(tmp_path / "b.docx")


def test_a_long_docx_comes_in_parts(tmp_path):
    (tmp_path / "a.docx").write_bytes(docx_bytes("".join(paragraph(f"{i} is a number of words") for i in range(30_000))))
    parts = read(tmp_path / "a.docx", max_document_bytes=100_000)[1]
    assert len(parts) > 5 and {p.document for p in parts} == {0}
    assert "".join(p.text for p in parts) == "\n".join(f"{i} is a number of words" for i in range(30_000))


ODT = ('<office:document-content xmlns:office="urn:o" xmlns:text="urn:t" xmlns:table="urn:b"><office:body><office:text>'
       '<text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:h>{}</text:h><text:p>a<text:s text:c="3"/>b<text:tab/>'
       '<text:span>c <text:a>d</text:a> e</text:span> f<office:annotation><text:p>remark</text:p></office:annotation>'
       'g<text:line-break/>h</text:p>'
       '<table:table><table:table-row><table:table-cell><text:p>1</text:p></table:table-cell><table:table-cell><text:p>2</text:p>'
       '</table:table-cell></table:table-row></table:table><text:p>{}</text:p></office:text></office:body></office:document-content>')


def test_odt(tmp_path):
    kind = "application/vnd.oasis.opendocument.text"
    (tmp_path / "a.odt").write_bytes(zip_bytes({"mimetype": kind, "content.xml": ODT.format(*TEXTS[4:6])}))
    assert texts(tmp_path / "a.odt") == [f"{TEXTS[4]}\na   b\tc d e fg\nh\n1 \t2 \n{TEXTS[5]}"]


def test_rtf(tmp_path):
    (tmp_path / "a.rtf").write_bytes(b"{\\rtf1\\ansi\\ansicpg1251{\\fonttbl{\\f0 Arial;}}{\\pict " + b"00ff" * 1000 + b"}"
                                     b"\\f0 \\'cf\\'f0\\'e8\\'e2\\'e5\\'f2 \\u20320?\\u22909? caf\\u233\\'e9.\\par Next\\tab line.\\par}")
    assert texts(tmp_path / "a.rtf") == ["Привет 你好 café.\nNext\tline."]


def epub_bytes(chapters, extra=None):
    items = "".join(f'<item id="c{i}" href="text/{i}.xhtml" media-type="application/xhtml+xml"/>' for i in chapters)
    order = "".join(f'<itemref idref="c{i}"/>' for i in chapters)
    head = '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd">'
    return zip_bytes({
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:c"><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        "OPS/book.opf": f'<package xmlns="urn:p"><manifest><item id="n" href="nav.xhtml" properties="nav"/>{items}</manifest>'
                        f'<spine><itemref idref="n"/>{order}</spine></package>',
        "OPS/nav.xhtml": "<html><body>Contents</body></html>",
        **{f"OPS/text/{i}.xhtml": f"{head}<html><head><title>t</title></head><body><h2>{i}</h2><p>{text}</p></body></html>"
           for i, text in chapters.items()}, **(extra or {})})


def test_epub_chapters_in_reading_order(tmp_path):
    (tmp_path / "a.epub").write_bytes(epub_bytes({2: TEXTS[0], 1: TEXTS[5]}))
    assert texts(tmp_path / "a.epub") == [f"2\n\n{TEXTS[0]}\n\n1\n\n{TEXTS[5]}"]
    locked = ('<encryption xmlns="urn:e"><EncryptedData><CipherData><CipherReference URI="OPS/text/1.xhtml"/></CipherData></EncryptedData>'
              '</encryption>')
    (tmp_path / "b.epub").write_bytes(epub_bytes({1: "x"}, {"META-INF/encryption.xml": locked}))
    with pytest.raises(FormatError, match="copy protection"):
        texts(tmp_path / "b.epub")


# ---- tables


@pytest.mark.parametrize("data", [
    [{"id": i, "text": t} for i, t in enumerate(TEXTS)], TEXTS, {"text": TEXTS, "id": list(range(len(TEXTS)))},
    {"text": {str(i): t for i, t in enumerate(TEXTS)}}, {"version": "1.1", "data": [{"text": t} for t in TEXTS]}])
@pytest.mark.parametrize("indent", [None, 2])
def test_json(tmp_path, data, indent):
    (tmp_path / "a.json").write_text(json.dumps(data, indent=indent, ensure_ascii=indent is None), "utf-8")
    reader, parts = read(tmp_path / "a.json")
    assert [p.text for p in parts] == TEXTS and reader.done == reader.file.size
    assert reader.column == ("" if data is TEXTS else "text")


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_a_json_array_is_the_same_whatever_the_chunks(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr("engine.text.readers.base.CHUNK", chunk)
    rows = [{"n": NAN, "text": t, "deep": [[1, {"a": [2.5, None, True]}]]} for t in TEXTS] + ["x", 5, 12345, {"text": 7}, [1]]
    (tmp_path / "a.json").write_text("\n " + json.dumps(rows, indent=1))
    reader, parts = read(tmp_path / "a.json")
    assert [p.text for p in parts] == [*TEXTS, "x"]
    assert sorted(reader.bad) == [(12, "no object"), (13, "no object"), (14, "text is no text"), (15, "no object")]


NAN = float("nan")


def test_json_lines_under_the_wrong_name_and_no_documents(tmp_path):
    (tmp_path / "a.json").write_text('{"text": "one"}\n{"text": "two"}\n')
    reader, parts = read(tmp_path / "a.json")
    assert [p.text for p in parts] == ["one", "two"] and "JSON lines" in next(iter(reader.notes))
    for content in ('{"a": 1, "b": [1, 2]}', "17", '"alone"'):
        (tmp_path / "b.json").write_text(content)
        with pytest.raises(FormatError, match="no documents"):
            texts(tmp_path / "b.json")


def test_a_json_array_that_breaks_off_keeps_what_stands_before(tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "one"}, {"text": "two"}, {"text": "thr')
    reader = Reader(list_files([tmp_path / "a.json"])[0][0])
    got = []
    with pytest.raises(FormatError, match="from its element 3 on"):
        for part in reader:
            got.append(part.text)
    assert got == ["one", "two"]


@pytest.mark.parametrize("form", ["file", "stream", "feather"])
def test_arrow(tmp_path, form):
    table = pa.table({"id": range(len(TEXTS)), "text": pa.array(TEXTS).dictionary_encode() if form == "file" else TEXTS})
    path = tmp_path / ("a.feather" if form == "feather" else "a.arrow")
    if form == "feather":
        pa.feather.write_feather(table, path, compression="lz4")
    else:
        with (pa.ipc.new_file if form == "file" else pa.ipc.new_stream)(str(path), table.schema) as writer:
            for batch in table.to_batches(max_chunksize=2):
                writer.write_batch(batch)
    reader, parts = read(path)
    assert [p.text for p in parts] == TEXTS and reader.columns == ("id", "text") and reader.column == "text"
    with pytest.raises(FormatError, match="id, text"):
        texts(path, text_column="body")


def test_saved_datasets_are_one_source(tmp_path):
    from datasets import Dataset, DatasetDict

    train = Dataset.from_dict({"text": TEXTS, "n": list(range(len(TEXTS)))})
    train.save_to_disk(str(tmp_path / "in" / "plain"), num_shards=2)
    DatasetDict({"train": train, "test": Dataset.from_dict({"text": ["last"], "n": [0]})}).save_to_disk(str(tmp_path / "both"))
    (tmp_path / "in" / "x.txt").write_text("beside")
    files, skipped = list_files([tmp_path / "in", tmp_path / "both"])
    assert [(f.name, f.kind, f.root) for f in files] == [("in/plain", "hf", 0), ("in/x.txt", "text", 0), ("both", "hf", 1)] and not skipped
    assert [p.text for p in Reader(files[0])] == TEXTS and [p.text for p in Reader(files[2])] == [*TEXTS, "last"]
    row = preview([tmp_path / "both"]).files[0]
    assert row.kind == "hf" and row.column == "text" and row.columns == ("text", "n") and row.documents == len(TEXTS) + 1 and row.exact


# ---- web archives


def warc_bytes(*records, packed=False):
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    made = io.BytesIO()
    writer = WARCWriter(made, gzip=packed)
    for kind, mime, body in records:
        status = StatusAndHeaders("200 OK", [("Content-Type", mime)], protocol="HTTP/1.1") if kind == "response" else None
        writer.write_record(writer.create_warc_record("http://example.com/", kind, payload=io.BytesIO(body), http_headers=status,
                                                      warc_content_type=mime))
    return made.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_warc_and_wet(tmp_path, packed):
    end = ".gz" if packed else ""
    (tmp_path / f"a.warc{end}").write_bytes(warc_bytes(
        ("response", "text/html; charset=utf-8", ARTICLE.encode()), ("response", "image/png", b"\x89PNG"),
        ("response", "text/plain; charset=iso-8859-1", "Größe".encode("latin-1")), ("warcinfo", "application/warc-fields", b"a: b"),
        ("response", "text/html", b"<html></html>"), packed=packed))
    reader, parts = read(tmp_path / f"a.warc{end}")
    assert len(parts) == 2 and parts[0].text.startswith("The harbour") and parts[1].text == "Größe" and reader.empty == 1
    (tmp_path / f"a.wet{end}").write_bytes(warc_bytes(*(("conversion", "text/plain", t.encode()) for t in TEXTS), packed=packed))
    reader, parts = read(tmp_path / f"a.wet{end}")
    assert [p.text for p in parts] == TEXTS and reader.done == reader.file.size


# ---- compressed files and archives


def zstd(raw):
    return pa.compress(raw, codec="zstd", asbytes=True)


@pytest.mark.parametrize(("end", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)])
def test_single_compressed_files_of_every_kind(tmp_path, end, pack):
    lines = "".join(json.dumps({"text": t}) + "\n" for t in TEXTS * 50).encode()
    (tmp_path / f"a.jsonl.{end}").write_bytes(pack(lines[:777]) + pack(lines[777:]))
    reader, parts = read(tmp_path / f"a.jsonl.{end}")
    assert [p.text for p in parts] == TEXTS * 50 and (reader.file.kind, reader.file.packing) == ("jsonl", end)
    assert reader.done == reader.file.size
    (tmp_path / f"b.docx.{end}").write_bytes(pack(docx_bytes(paragraph("inside"))))
    assert texts(tmp_path / f"b.docx.{end}") == ["inside"]
    (tmp_path / f"c.tar.{end}").write_bytes(pack(tar_bytes({"d/x.txt": "x", "d/y.md": TEXTS[0]})))
    _, parts = read(tmp_path / f"c.tar.{end}")
    assert [(p.document, p.text, p.source) for p in parts] == [(0, "x", f"c.tar.{end}/d/x.txt"), (1, TEXTS[0], f"c.tar.{end}/d/y.md")]
    (tmp_path / f"d.txt.{end}").write_bytes(pack(b"some words " * 3000)[:-20])
    with pytest.raises(FormatError, match="damaged"):
        texts(tmp_path / f"d.txt.{end}")


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_archives_of_every_kind(tmp_path, kind):
    members = {
        "docs/a.txt": TEXTS[0], "docs/b.jsonl": "".join(json.dumps({"text": t}) + "\n" for t in TEXTS[1:3]) + "broken\n",
        "c.docx": docx_bytes(paragraph(TEXTS[3])), "d.pdf": pdf_bytes(["a page"]), "e.html": ARTICLE, "bad.pdf": b"%PDF-1.4 nothing",
        "f.parquet": parquet_bytes({"text": TEXTS[4:6]}), "g.png": b"\x89PNG", "inner.zip": zip_bytes({"x.txt": "x"}),
        "h.txt.gz": gzip.compress(b"x"), ".hidden.txt": "x", "__MACOSX/._a.txt": "x", "node_modules/m/index.js": "x",
        "名前/最後.txt": TEXTS[6], "empty.txt": ""}
    path = tmp_path / f"old.{kind}"
    path.write_bytes(zip_bytes(members) if kind == "zip" else tar_bytes(members, "w" if kind == "tar" else "w:gz"))
    reader, parts = read(path)
    assert [p.source.removeprefix(f"old.{kind}/") for p in parts] == [
        "docs/a.txt", "docs/b.jsonl", "docs/b.jsonl", "c.docx", "d.pdf", "e.html", "f.parquet", "f.parquet", "名前/最後.txt"]
    assert [p.document for p in parts] == list(range(9)) and all(p.last for p in parts)
    assert [p.text for p in parts[:4]] == TEXTS[:4] and [p.text for p in parts[6:]] == TEXTS[4:7]
    problems = {m["name"]: m["problem"] for m in reader.members if m["problem"]}
    assert problems.pop("bad.pdf").startswith(f"old.{kind}/bad.pdf is a damaged PDF file")
    assert problems == {"g.png": ".png files are not read", "inner.zip": "an archive in an archive", "h.txt.gz": "an archive in an archive",
                        "node_modules": "a folder of installed or cached code", "empty.txt": "empty"}
    assert reader.bad == [(3, "docs/b.jsonl: not JSON")] and reader.done == reader.file.size
    assert {m["name"]: m["documents"] for m in reader.members if m["documents"]}["docs/b.jsonl"] == 2


def parquet_bytes(columns):
    made = io.BytesIO()
    pq.write_table(pa.table(columns), made)
    return made.getvalue()


# ---- source code


def test_source_code_without_what_programs_made(tmp_path):
    for name, content in {
            "app/package.json": '{"name": "app"}', "app/src/main.ts": "let a = 1\n", "app/node_modules/x/i.js": "x",
            "app/dist/main.js": "x",
            "app/package-lock.json": "{}", "app/jquery.min.js": "x", "app/big.js": "var a=1;" * 1000, "app/Makefile": "all:\n\ttrue\n",
            "app/src/dist/real.py": "# a folder called dist that is no build output\n",
            "app/api.pb.go": "// Code generated by protoc-gen-go. DO NOT EDIT.\n",
            "build/letter.txt": "not a programme's", "py/venv/pyvenv.cfg": "home = /usr", "py/venv/lib/x.py": "x",
            "py/__pycache__/a.pyc": "x",
            "py/README": "read me", "py/tool.py": "def f():\n\treturn 'é'\n\n\nprint(f())\n"}.items():
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    files, skipped = list_files([tmp_path / "top"])
    assert [(f.name.removeprefix("top/"), f.kind) for f in files] == [
        ("app/Makefile", "code"), ("app/package.json", "code"), ("app/src/main.ts", "code"), ("app/src/dist/real.py", "code"),
        ("build/letter.txt", "text"), ("py/README", "text"), ("py/tool.py", "code")]
    assert {s.name.removeprefix("top/"): s.reason for s in skipped} == {
        "app/node_modules": "a folder of installed or cached code", "app/dist": "a folder of built or copied files beside a programme",
        "app/package-lock.json": "a lock file, written by a program", "app/jquery.min.js": "minified code", "app/big.js": "minified code",
        "app/api.pb.go": "generated code, by its own words", "py/venv": "a folder of installed or cached code",
        "py/__pycache__": "a folder of installed or cached code"}
    assert [p.text for p in Reader(files[-1], ReadOptions(split_by="line"))] == ["def f():\n\treturn 'é'\n\n\nprint(f())\n"]
