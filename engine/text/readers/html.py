"""Web pages: the article without menus and footers (trafilatura), or in words all of the page's text where no article is found, or where
the page has nothing but text: an extractor made for web sites loses headings and lists of plain pages.

Pages are flattened before anything else sees them: tags nested deeper than DEEPEST are left out, their text stays. Nothing is fetched.
"""

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from engine.contract.errors import FormatError
from engine.contract.units import size as shown_size
from engine.contract.words import tr
from engine.text.readers.cutting import storable
from engine.text.readers.encoding import Decoded

if TYPE_CHECKING:
    from engine.text.readers.reader import Pieces, Reader

DEEPEST, DEEP = 500, 200
LARGEST_PAGE = 50_000_000
"""Bytes; nobody reads such a page, and its tree would take gigabytes."""

_TAG = re.compile(r"<(?:(!--|script\b|style\b)|(/?)([a-zA-Z][^\s/<>]*)[^>]{0,500}>)", re.IGNORECASE)
_ENDS = {"!--": re.compile("-->"), "script": re.compile(r"</script", re.I), "style": re.compile(r"</style", re.I)}
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr", "basefont", "frame"}
_CLOSED_BY_NEXT = {"p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody", "tfoot"}
_DECLARED = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{2,40})|<\?xml[^>]{0,100}?encoding\s*=\s*["']([\w.:-]{2,40})""",
                       re.IGNORECASE)

_HIDDEN = {"script", "style", "noscript", "template", "head", "svg", "math", "object", "iframe", "select", "button", "textarea"}
_PARAGRAPHS = {"p", "div", "section", "article", "main", "header", "footer", "aside", "nav", "blockquote", "pre", "figure", "figcaption",
               "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "form", "body", "address", "hr", "fieldset"}
_LINES = {"br", "li", "tr", "dt", "dd", "caption", "option"}


def pieces(reader: "Reader") -> "Pieces":
    with reader.opened() as stream:
        source = Decoded(stream, reader.options.encoding, LARGEST_PAGE + 1, reader.tick, declared)
        reader.encoding = source.encoding
        page = "".join(source)
        reader.replaced = source.replaced
        reader.at(stream, source.bytes)
    if source.bytes > LARGEST_PAGE:
        raise FormatError(tr("{name} is a page of more than {size}.", name=reader.file.name, size=shown_size(LARGEST_PAGE)),
                          tr("Split it, or save its text as .txt."))
    text = text_of_page(reader, page)
    if not text:
        raise FormatError(tr("{name} is a page without text.", name=reader.file.name), tr("Leave it out."), code="no_text")
    yield text, True


def declared(start: bytes) -> str:
    """The encoding that a page says it has, or ""."""
    found = _DECLARED.search(start[:4096])
    return (found[1] or found[2]).decode("ascii").lower() if found else ""


def text_of_page(reader: "Reader", page: str) -> str:
    """The article of a page, else all of its text (noted), else ""."""
    import trafilatura

    from engine.text.readers.reader import foreign

    with foreign(reader.file.name, "HTML"):
        tree, depth = tree_of(page)
        if tree is None:
            return ""
        whole = block_text(tree)  # first: trafilatura changes the tree
        if depth > DEEPEST and whole:
            reader.note(tr("The page is nested too deeply to find an article: all of its text was taken."))
            return whole
        if whole and is_plain(tree):
            return whole
        heading = _heading(tree)
        stand_ins = _shield(tree, whole)
        # On deep trees the second and third opinion that it asks for (jusText, readability) take minutes.
        found = trafilatura.extract(tree, include_comments=False, include_tables=True, fast=depth > DEEP) if whole else ""
    if found and not found.isspace():
        text = str(found).strip().translate(stand_ins)
        return text if heading in text else f"{heading}\n{text}"
    if whole:
        reader.note(tr("No article was found on the page: all of its text was taken."))
    return whole


def is_plain(tree: Any) -> bool:
    """Whether a page has no menus, footers, forms and the like, by its tags, roles and names, and is not made of links."""
    linked = total = 0
    for element in tree.iter():
        name = element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""
        marks = f"{element.get('class') or ''} {element.get('id') or ''} {element.get('role') or ''}" if name else ""
        if name in _FURNITURE or (marks != "  " and _FURNITURE_NAME.search(marks)):
            return False
        if name not in _HIDDEN:
            total += len(element.text or "")
        total += len(element.tail or "")
        if name == "a":
            linked += sum(map(len, element.itertext()))
    return linked * 10 <= total


def _heading(tree: Any) -> str:
    """The page's one main heading, where it is not part of a menu or a link home; "" else."""
    found = [e for e in tree.iter("h1")]
    if len(found) != 1 or any(e.tag in ("a", *_FURNITURE) for e in (*found[0].iterancestors(), *found[0].iterdescendants())):
        return ""
    return " ".join("".join(found[0].itertext()).split())


_FURNITURE = {"nav", "header", "footer", "aside", "form", "menu", "dialog"}
_FURNITURE_NAME = re.compile(r"(?i)(?:\b|_)(?:nav\w*|menu\w*|side-?bar\w*|footer\w*|header\w*|breadcrumbs?|cookies?\w*|comments?|related|"
                             r"share|social|advert\w*|ads?|banner|promo\w*|widgets?|search|contentinfo|complementary|toolbar|pagination|newsletter)"
                             r"(?:\b|_)")
_UNSEEN = re.compile("[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ue000-\uf8ff\ufeff\ufff9-\ufffb"
                     "\U000e0000-\U000e01ef\U000f0000-\U0010fffd]")
"""Joiners and other marks without a shape of their own: Persian, the scripts of India and many emoji cannot be written without them."""


def _shield(tree: Any, text: str) -> dict[int, str]:
    """Put stand-ins for what trafilatura would drop as unprintable or compose; the table that puts it back. Stand-ins are
    hieroglyphs that the page does not hold."""
    unseen = set(_UNSEEN.findall(text))
    if not unicodedata.is_normalized("NFC", text):  # it would be normalised; whether to do so is the person's choice (cleaning)
        unseen |= {c for c in set(text) if unicodedata.combining(c) or "\u1160" <= c <= "\u11ff" or not unicodedata.is_normalized("NFC", c)}
    free = (c for c in range(0x13000, 0x13430) if chr(c) not in text)
    table = {ord(mark): chr(c) for mark, c in zip(sorted(unseen), free, strict=False)}
    if table:
        for element in tree.iter():
            if element.text and not element.text.isascii():
                element.text = element.text.translate(table)
            if element.tail and not element.tail.isascii():
                element.tail = element.tail.translate(table)
    return {ord(stand_in): chr(mark) for mark, stand_in in table.items()}


def tree_of(page: str) -> tuple[Any, int]:
    """The page's tree (None for a page without any element), at most some levels deeper than DEEPEST, and how deep it was. No DTD is
    loaded, nothing fetched."""
    import lxml.etree
    import lxml.html

    flat, depth = flattened(storable(page.replace("\0", "")))
    raw = flat.encode("utf-8")
    if not raw.strip():
        return None, 0
    parser = lxml.html.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True, no_network=True,
                                  collect_ids=False, default_doctype=False)
    try:
        return lxml.html.document_fromstring(raw, parser=parser), depth
    except lxml.etree.ParserError:  # nothing but comments
        return None, 0


def flattened(page: str, deepest: int = DEEPEST) -> tuple[str, int]:
    """The page without the tags that lie deeper than `deepest`, and how deep it was, roughly. Nearly all pages come back as they are."""
    depth = most = at = 0
    while found := _TAG.search(page, at):
        at = _behind(page, found)
        if found[3] and found[3].lower() not in _VOID and not found[0].endswith("/>"):
            depth += -1 if found[2] else 1
            most = max(most, depth)
    return (page if most <= deepest else _without_deep_tags(page, deepest)), most


def _behind(page: str, found: "re.Match[str]") -> int:
    """Where to look on: behind the tag, or behind the comment, script or style that begins there."""
    if not found[1]:
        return found.end()
    end = _ENDS[found[1].lower()].search(page, found.end())
    return end.end() if end else len(page)


def _without_deep_tags(page: str, deepest: int) -> str:
    kept: list[str] = []
    stack: list[str] = []
    dropped: dict[str, int] = {}
    at = copied = 0
    while found := _TAG.search(page, at):
        at = _behind(page, found)
        name = (found[3] or "").lower()
        if not name or name in _VOID or found[0].endswith("/>"):
            continue
        drop = False
        if not found[2]:
            if stack and stack[-1] == name and name in _CLOSED_BY_NEXT:
                stack.pop()
            if drop := len(stack) >= deepest:
                dropped[name] = dropped.get(name, 0) + 1
            else:
                stack.append(name)
        elif drop := dropped.get(name, 0) > 0:
            dropped[name] -= 1
        elif name in stack:
            while stack.pop() != name:
                pass
        if drop:
            kept += (page[copied:found.start()], " ")
            copied = at
    return "".join(kept) + page[copied:]


def block_text(tree: Any) -> str:
    """All text of a tree as a reader would see it: a blank line between paragraphs, spaces folded but in <pre>."""
    import lxml.etree

    lines: list[str] = []
    held: list[str] = []
    hidden = kept_space = 0

    def add(text: str | None) -> None:
        if text and not hidden:
            held.append(text if kept_space else re.sub(r"[ \t\r\n\f]+", " ", text))

    def close(blank: bool) -> None:
        line = "".join(held)
        line = line.strip("\n") if kept_space else re.sub(" {2,}", " ", line).strip(" \t")
        held.clear()
        if line:
            lines.append(line)
        if blank and lines and lines[-1]:
            lines.append("")

    for event, element in lxml.etree.iterwalk(tree, events=("start", "end")):
        name = element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""
        border = name in _PARAGRAPHS
        if event == "start":
            if border or name in _LINES - {"br"}:
                close(border)
            hidden += name in _HIDDEN
            kept_space += name == "pre"
            add(element.text)
        else:
            if name in ("td", "th"):
                held.append("\t")
            if border or name in _LINES:
                close(border)
            kept_space -= name == "pre"
            hidden -= name in _HIDDEN
            add(element.tail if element is not tree else None)
    close(False)
    return "\n".join(lines).strip("\n")
