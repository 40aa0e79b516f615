"""Fusion palette, the one stylesheet and the bundled fonts, all made from the tokens of palette.py. Who switches them: theme.py.

Roles, tones and kinds are dynamic properties of widgets (`role`, `tone`, `kind`), so that a change of theme is one stylesheet.
"""

import re
from functools import cache
from pathlib import Path
from string import Template

from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette

from desktop.theme.palette import MONO, SANS, TONES, TYPE, Tokens

FONTS = Path(__file__).resolve().parents[2] / "resources" / "fonts"

SHEET = Template("""
QWidget { color: $text; font-size: 13px; }
QMainWindow, QDialog, QWidget[kind="page"] { background: $page; }
QDialog { border: 1px solid $control; }
QWidget[kind="rail"] { background: $rail; border-right: 1px solid $line; }
QToolTip { background: $text; color: $surface; border: none; padding: 4px 8px; }
QLabel { background: transparent; }
$roles
$tones

QFrame[kind="panel"] { background: $surface; border: 1px solid $line; border-radius: 8px; }
QFrame[kind="chosen"] { background: $surface; border: 2px solid $accent; border-radius: 8px; }
QFrame[kind="sunken"] { background: $sunken; border: none; border-radius: 6px; }
QFrame[kind="rule"] { background: $line; border: none; max-height: 1px; min-height: 1px; }
QFrame[kind="vrule"] { background: $line; border: none; max-width: 1px; min-width: 1px; min-height: 20px; }
QFrame[kind="note-info"] { background: $accent_soft; border: none; border-radius: 8px; }
QFrame[kind="note-warn"] { background: $warn_soft; border: none; border-radius: 8px; }
QFrame[kind="note-danger"] { background: $danger_soft; border: 1px solid $danger; border-radius: 8px; }
QFrame[kind="toast"] { background: $text; border: none; border-radius: 8px; }
QFrame[kind="toast"] QLabel { color: $surface; }
QFrame[kind="toast"] QPushButton { color: $surface; font-weight: 600; background: transparent; border: none; padding: 0 12px; }
QFrame[kind="popover"] { background: $surface; border: 1px solid $control; border-radius: 8px; }
QLabel[kind="key"] { background: $surface; border: 1px solid $control; border-bottom-width: 2px; border-radius: 4px;
  color: $text2; font-size: 12px; font-weight: 500; padding: 0 5px; min-width: 10px; min-height: 18px; max-height: 18px; }
QLabel[kind="badge"] { border: 1px solid $line; border-radius: 4px; font-size: 12px; font-weight: 500; padding: 1px 6px;
  background: $surface; color: $text2; }
$badges

QPushButton { background: $surface; border: 1px solid $control; border-radius: 6px; min-height: 30px; padding: 0 12px; font-weight: 500; }
QPushButton:hover { background: $hover; }
QPushButton:pressed { background: $line; }
QPushButton:disabled { color: $text3; border-color: $line; background: $sunken; }
QPushButton[kind="primary"] { background: $accent; border: 1px solid $accent; color: $on_accent; font-weight: 600; padding: 0 16px; }
QPushButton[kind="primary"]:hover { background: $accent_hover; border-color: $accent_hover; }
QPushButton[kind="primary"]:disabled { background: $sunken; border-color: $line; color: $text3; }
QPushButton[kind="danger"] { color: $danger; }
QPushButton[kind="danger"]:hover { background: $danger_soft; border-color: $danger; }
QPushButton[kind="danger"]:disabled { color: $text3; }
QPushButton[kind="quiet"] { background: transparent; border: none; color: $accent; padding: 0 2px; min-height: 24px; }
QPushButton[kind="quiet"]:hover { color: $accent_hover; text-decoration: underline; }
QPushButton[kind="quiet"]:disabled { color: $text3; background: transparent; }
QPushButton[kind="icon"] { background: transparent; border: none; border-radius: 6px; padding: 0; min-height: 28px; min-width: 28px; }
QPushButton[kind="icon"][small="true"] { min-height: 20px; min-width: 24px; }
QPushButton[kind="icon"]:hover { background: $hover; }
QPushButton[kind="icon"]:disabled { background: transparent; }
QPushButton[kind="segment"] { border-radius: 0; border-right-width: 0; min-height: 26px; font-weight: 500; padding: 0 12px; }
QPushButton[kind="segment"][end="l"] { border-top-left-radius: 6px; border-bottom-left-radius: 6px; }
QPushButton[kind="segment"][end="r"] { border-top-right-radius: 6px; border-bottom-right-radius: 6px; border-right-width: 1px; }
QPushButton[kind="segment"][end="lr"] { border-radius: 6px; border-right-width: 1px; }
QPushButton[kind="segment"]:checked { background: $accent_soft; color: $accent; }
QPushButton[kind="segment"]:disabled { color: $text3; }

QComboBox, QLineEdit, QSpinBox, QPlainTextEdit[kind="field"], QTextEdit[kind="field"] { background: $surface; border: 1px solid $control;
  border-radius: 6px; selection-background-color: $accent; selection-color: $on_accent; placeholder-text-color: $text3; }
QComboBox, QLineEdit, QSpinBox { min-height: 30px; padding: 0 10px; }
QPlainTextEdit[kind="field"], QTextEdit[kind="field"] { padding: 6px; }
QComboBox:focus, QLineEdit:focus, QSpinBox:focus, QPlainTextEdit[kind="field"]:focus, QTextEdit[kind="field"]:focus {
  border: 2px solid $accent; }
QComboBox:focus, QLineEdit:focus, QSpinBox:focus { padding: 0 9px; min-height: 28px; }
QPlainTextEdit[kind="field"]:focus, QTextEdit[kind="field"]:focus { padding: 5px; }
QComboBox:disabled, QLineEdit:disabled, QPlainTextEdit[kind="field"]:disabled { color: $text3; background: $sunken; border-color: $line; }
QLineEdit[wrong="true"], QComboBox[wrong="true"], QPlainTextEdit[wrong="true"] { border: 1px solid $danger; }
QLineEdit[wrong="true"]:focus, QComboBox[wrong="true"]:focus, QPlainTextEdit[wrong="true"]:focus { border: 2px solid $danger; }
QComboBox::drop-down { border: none; width: 28px; } QComboBox::down-arrow { image: none; }
QComboBox QAbstractItemView { background: $surface; border: 1px solid $control; outline: none; padding: 4px;
  selection-background-color: $accent_soft; selection-color: $text; }
QComboBox QAbstractItemView::item { min-height: 28px; padding: 0 8px; border-radius: 4px; }
QSpinBox::up-button, QSpinBox::down-button { width: 0; border: none; }
QMenu { background: $surface; border: 1px solid $control; border-radius: 6px; padding: 4px; }
QMenu::item { padding: 6px 24px 6px 12px; border-radius: 4px; }
QMenu::item:selected { background: $accent_soft; color: $text; }
QMenu::item:disabled { color: $text3; }
QMenu::icon { padding-left: 8px; }
QMenu::separator { height: 1px; background: $line; margin: 4px 8px; }

QAbstractItemView { background: transparent; border: none; outline: none; selection-background-color: $accent_soft;
  selection-color: $text; }
QListView, QTreeView { background: $surface; }
QHeaderView, QHeaderView::section { background: transparent; border: none; color: $text2; font-size: 12px; }
QHeaderView::section { border-bottom: 1px solid $line; padding: 0 11px 4px 11px; }
QTableCornerButton::section { background: transparent; border: none; }
QPlainTextEdit, QTextEdit { background: transparent; border: none; selection-background-color: $accent_soft; selection-color: $text; }
QPlainTextEdit[role="mono"], QTextEdit[role="mono"] { font-family: "$mono"; font-size: 12px; }
QPlainTextEdit[role="read"], QTextEdit[role="read"] { font-size: 15px; }
QScrollArea { background: transparent; border: none; }
QScrollArea > QWidget > QWidget[kind="scrolled"] { background: transparent; }
QScrollBar:vertical { width: 10px; background: transparent; margin: 0; }
QScrollBar:horizontal { height: 10px; background: transparent; margin: 0; }
QScrollBar::handle { background: $control; border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 32px; } QScrollBar::handle:horizontal { min-width: 32px; }
QAbstractScrollArea::corner { background: transparent; border: none; }
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {
  background: none; border: none; width: 0; height: 0; }
QSplitter::handle { background: transparent; }
""")


def sheet(t: Tokens, scale: float = 1.0) -> str:
    """The stylesheet of a theme; `scale` is the person's text size, which type and controls follow and hairlines do not."""
    roles = "\n".join(f'QLabel[role="{name}"] {{ font-size: {px}px; font-weight: {weight}; '
                      + (f'font-family: "{MONO}"; ' if name == "mono" else "") + "}" for name, (px, weight) in TYPE.items())
    tones = "\n".join(f'QLabel[tone="{tone}"] {{ color: {t[tone]}; }}' for tone in (*TONES, "on_accent"))
    badges = "\n".join(f'QLabel[kind="badge"][tone="{tone}"] {{ background: {t[tone + "_soft"]}; color: {t[tone]}; '
                       f'border-color: {t[tone + "_soft"]}; }}' for tone in ("accent", "ok", "warn", "danger"))
    made = SHEET.substitute(t, roles=roles, tones=tones, badges=badges, mono=MONO)
    if scale == 1.0:
        return made
    return re.sub(r"\b(\d+)px", lambda hit: f"{int(hit[1]) if int(hit[1]) <= 2 else round(int(hit[1]) * scale)}px", made)


def palette(t: Tokens) -> QPalette:
    """Fusion's colours, for what the stylesheet does not reach (file dialogs, native parts)."""
    made, role = QPalette(), QPalette.ColorRole
    for key, name in ((role.Window, "page"), (role.Base, "surface"), (role.AlternateBase, "sunken"), (role.Button, "surface"),
                      (role.Text, "text"), (role.WindowText, "text"), (role.ButtonText, "text"), (role.PlaceholderText, "text3"),
                      (role.Highlight, "accent"), (role.HighlightedText, "on_accent"), (role.Link, "accent"), (role.LinkVisited, "accent"),
                      (role.ToolTipBase, "text"), (role.ToolTipText, "surface"), (role.Mid, "line"), (role.Light, "surface"),
                      (role.BrightText, "danger")):
        made.setColor(key, QColor(t[name]))
    for key in (role.Text, role.WindowText, role.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, key, QColor(t["text3"]))
    return made


@cache
def load_fonts() -> None:
    """Register the bundled fonts, once a process; without any font a bare machine shows boxes."""
    for file in sorted(FONTS.glob("*.ttf")):
        if QFontDatabase.addApplicationFont(str(file)) < 0:
            raise AssertionError(f"the bundled font {file.name} cannot be loaded")


def base_font(scale: float = 1.0) -> QFont:
    """The application font. Tabular figures are a feature of it, and survive the stylesheet in every label."""
    font = QFont(SANS)
    font.setPixelSize(round(TYPE["body"][0] * scale))
    font.setFeature(QFont.Tag("tnum"), 1)
    font.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    return font
