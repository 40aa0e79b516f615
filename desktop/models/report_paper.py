"""The report of a corpus on paper: rich text as Qt's documents take it, printed as a PDF. For the screen of a browser the engine writes
HTML of its own (engine/stages/corpus/report_page.py)."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from PySide6.QtCore import QMarginsF, QSizeF
from PySide6.QtGui import QFont, QPageLayout, QPageSize, QPdfWriter, QTextDocument

from desktop.models.corpus_report import Pair, Report, kind_words
from desktop.models.languages import language_name
from desktop.theme.palette import LIGHT, SANS
from engine.contract.units import MINUS, number, percent, size
from engine.contract.words import tr

BAR = 160
LISTED = 40


def html(report: Report) -> str:
    """Qt's rich text: tables, no CSS boxes."""
    t = LIGHT
    style = (f"body {{ color: {t['text']}; font-size: 10pt; }} h1 {{ font-size: 18pt; margin-bottom: 2px; }} h2 {{ font-size: 12pt; "
             f"margin-top: 16px; margin-bottom: 4px; }} p {{ color: {t['text2']}; }} td {{ padding: 2px 10px 2px 0; }} "
             f".quiet {{ color: {t['text2']}; }}")
    about = " · ".join((report.goes_in()[0], report.happened()[1], report.came_out()[1]))
    parts = [f"<h1>{escape(report.made.title)}</h1><p>{escape(about)}</p>"]
    rows = report.funnel()
    if rows:
        first = max(1, rows[0].left)
        body = "".join(
            f"<tr><td>{_bold(r.title, r.strong)}</td><td>{_bar(r.left / first)}</td>"
            f"<td align='right'>{_bold(number(r.left), r.strong)}</td>"
            f"<td align='right'>{MINUS + number(r.removed) if r.removed else ''}</td><td class='quiet'>{escape(r.note)}</td></tr>"
            for r in rows)
        parts.append(f"<h2>{escape(tr('What was removed, and why'))}</h2><table>{body}</table>")
    parts.append(_pairs(tr("What is left"), report.left()))
    unit, bars = report.lengths()
    if bars:
        most = max(amount for _, amount, _ in bars) or 1
        body = "".join(f"<tr><td align='right'>{escape(name)}</td><td>{_bar(amount / most)}</td><td align='right'>{escape(words)}</td></tr>"
                       for name, amount, words in bars)
        parts.append(f"<h2>{escape(tr('Length'))}</h2><p>{escape(unit)}</p><table>{body}</table>")
    languages = report.languages()
    if languages:
        total = max(1, sum(b for _, _, b in languages))
        body = "".join(f"<tr><td>{escape(language_name(c))}</td><td>{_bar(b / total)}</td><td align='right'>{percent(b / total, 1)}</td>"
                       f"<td align='right'>{number(d)}</td></tr>" for c, d, b in languages[:LISTED])
        parts.append(f"<h2>{escape(tr('Languages'))}</h2><table>{body}</table>")
    parts.append(_pairs(tr("Changed by"), [(c["title"], number(c["documents"])) for c in report.changes()]))
    parts.append(_pairs(tr("Duplicates"), report.duplicates()))
    parts.append(_pairs(tr("Most frequent boilerplate"), [(str(x["line"])[:90], number(int(x["documents"])))
                                                          for x in list(report.facts.get("boilerplate") or ())[:LISTED]]))
    first_words, second = report.big()
    parts.append(f"<h2>{escape(tr('How big is that?'))}</h2><p>{escape(first_words)}</p><p>{escape(second)}</p>")
    parts.append(_pairs(tr("Sources"), [(f"{s.get('name', '')} ({kind_words(str(s.get('kind', '')))})",
                                         f"{number(int(s.get('documents', 0)))}, {size(float(s.get('bytes', 0)))}")
                                        for s in report.sources[:LISTED]]))
    parts.append(_pairs(tr("Left out"), [(str(s.get("name", "")), str(s.get("reason", ""))) for s in report.skipped[:LISTED]]))
    return f"<html><head><style>{style}</style></head><body>{''.join(parts)}</body></html>"


def write_pdf(report: Report, target: Path) -> None:
    """A4, with page numbers left out: a report is a few pages. OSError when the file cannot be written."""
    aside = target.with_name(f".tmp-{target.name}")
    writer = QPdfWriter(str(aside))
    writer.setResolution(96)
    writer.setTitle(report.made.title)
    writer.setCreator("Fledge")
    writer.setPageLayout(QPageLayout(QPageSize(QPageSize.PageSizeId.A4), QPageLayout.Orientation.Portrait, QMarginsF(18, 16, 18, 16),
                                     QPageLayout.Unit.Millimeter))
    document = QTextDocument()
    font = QFont(SANS, 10)
    font.setHintingPreference(QFont.HintingPreference.PreferNoHinting)  # letters stand where they belong, not on pixels
    document.setDefaultFont(font)
    document.setHtml(html(report))
    document.setPageSize(QSizeF(writer.width(), writer.height()))
    document.print_(writer)
    del writer
    if not aside.exists():
        raise OSError(tr("{path} cannot be written.", path=str(target)))
    aside.replace(target)


def _pairs(title: str, pairs: Sequence[Pair]) -> str:
    if not pairs:
        return ""
    body = "".join(f"<tr><td>{escape(name)}</td><td align='right'>{escape(value)}</td></tr>" for name, value in pairs)
    return f"<h2>{escape(title)}</h2><table>{body}</table>"


def _bold(words: str, strong: bool) -> str:
    return f"<b>{escape(words)}</b>" if strong else escape(words)


def _bar(share: float) -> str:
    """A bar as a table of two cells: rich text has no boxes."""
    full = max(1, min(BAR, round(BAR * share)))
    bare = "style='padding: 0px'"  # else the padding of table cells makes the shortest bars ten pixels long
    rest = f"<td {bare} bgcolor='{LIGHT['sunken']}' width='{BAR - full}'></td>" if full < BAR else ""
    return (f"<table cellspacing='0' cellpadding='0'><tr><td {bare} bgcolor='{LIGHT['accent']}' width='{full}' height='8'></td>{rest}</tr>"
            "</table>")
