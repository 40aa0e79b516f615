"""Books: the chapters of an .epub in reading order, as plain text. A book under copy protection is refused in words."""

import posixpath
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from engine.contract.errors import FormatError
from engine.contract.words import tr
from engine.text.readers.encoding import detect_encoding
from engine.text.readers.html import block_text, declared, tree_of
from engine.text.readers.reader import foreign
from engine.text.readers.zipped import entry

if TYPE_CHECKING:
    from engine.text.readers.reader import Reader

LONGEST_CHAPTER = 20_000_000
"""Bytes of one chapter's file; a longer one is left out and listed."""


def chapters(reader: "Reader", archive: zipfile.ZipFile) -> Iterator[str]:
    name = reader.file.name
    container = _xml(archive, "META-INF/container.xml", name)
    package = next((e.get("full-path") for e in container.iter("{*}rootfile") if e.get("full-path")), None)
    if package is None:
        raise FormatError(tr("{name} lacks {part}, as if it were of another kind.", name=name, part="rootfile"),
                          tr("Make or download it again."))
    opf = _xml(archive, package, name)
    manifest = {e.get("id"): e for e in opf.iter("{*}item")}
    spine = [manifest[e.get("idref")] for e in opf.iter("{*}itemref") if e.get("idref") in manifest and e.get("linear") != "no"]
    paths = [posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(e.get("href", "")).partition("#")[0])) for e in spine
             if "nav" not in (e.get("properties") or "").split() and "html" in (e.get("media-type") or "html")]
    if set(paths) & _encrypted(archive, name):
        raise FormatError(tr("{name} is under copy protection (DRM).", name=name), tr("Use a copy without it."), code="password")
    known = set(archive.namelist())
    begun = False
    for number, path in enumerate(dict.fromkeys(paths), 1):
        if path not in known:
            reader.note_bad(number, tr("the chapter {path} is missing", path=path))
            continue
        with foreign(name, "EPUB"), entry(archive, path, name) as file:
            raw = file.read(LONGEST_CHAPTER + 1)
        if len(raw) > LONGEST_CHAPTER:
            reader.note_bad(number, tr("the chapter {path} is too long", path=path))
            continue
        with foreign(name, "EPUB"):
            tree, _ = tree_of(raw.decode(detect_encoding(raw[:256_000], declared=declared(raw)), "replace"))
            text = block_text(tree) if tree is not None else ""
        if text:
            yield ("\n\n" if begun else "") + text
            begun = True
        reader.tick()


def _encrypted(archive: zipfile.ZipFile, name: str) -> set[str]:
    """The files that are encrypted; scrambled fonts are no matter."""
    if "META-INF/encryption.xml" not in archive.namelist():
        return set()
    record = _xml(archive, "META-INF/encryption.xml", name)
    return {unquote(e.get("URI", "")) for e in record.iter("{*}CipherReference")}


def _xml(archive: zipfile.ZipFile, path: str, name: str) -> Any:
    """The tree of one of the book's small records. A DTD is refused, but for the bare name of a known one."""
    import lxml.etree

    with foreign(name, "EPUB"):
        with entry(archive, path, name) as file:
            raw = file.read(5_000_000)
        parser = lxml.etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False)
        root = lxml.etree.fromstring(raw, parser)
        about = root.getroottree().docinfo.internalDTD
        if about is not None and any(True for _ in about.iterentities()):
            raise FormatError(tr("{name} holds a DTD, which no {kind} file needs.", name=name, kind="EPUB"),
                              tr("Leave it out: it may be a trap."), code="dtd")
        return root
