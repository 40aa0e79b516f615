"""Design tokens: colour, type, space. No Qt here; style.py turns these into a palette and a stylesheet.

Every pair of ink and ground that occurs is listed in TEXT_PAIRS and SHAPE_PAIRS; a test holds each to WCAG AA in both themes.
"""

from typing import Final

Tokens = dict[str, str]

SPACE: Final = {"xs": 4, "s": 8, "m": 16, "l": 24, "xl": 32}  # an 8-px grid; 4 only inside a component
RADIUS: Final = {"control": 6, "panel": 8}
SIZE: Final = {"control": 32, "row": 32, "row_two_lines": 62, "rail": 224, "rail_item": 30, "icon": 16}
TYPE: Final = {  # role: (px, weight); nothing is smaller than 12
    "hero": (24, 600), "title": (20, 600), "section": (14, 600), "strong": (13, 600),
    "medium": (13, 500), "body": (13, 400), "read": (15, 400), "small": (12, 400), "small_strong": (12, 500), "mono": (12, 400),
}
SANS, MONO = "Inter", "JetBrains Mono NL"
TONES: Final = ("text", "text2", "text3", "accent", "ok", "warn", "danger", "series2", "series3")

LIGHT: Final[Tokens] = {
    "name": "light",
    "rail": "#ECEFF1", "page": "#F7F8F9", "surface": "#FFFFFF", "sunken": "#F0F2F4", "hover": "#E3E7EA",
    "line": "#DDE2E6", "control": "#7E8891",
    "text": "#1A2025", "text2": "#4E5861", "text3": "#606A73",
    "accent": "#0E6780", "accent_hover": "#0A5469", "on_accent": "#FFFFFF", "accent_soft": "#DDEDF2",
    "ok": "#1B6B41", "ok_soft": "#E0F1E7", "warn": "#855000", "warn_soft": "#FAEFDA",
    "danger": "#B02A1E", "danger_soft": "#FBE7E4", "on_danger": "#FFFFFF",
    "series2": "#8B4A9C", "series3": "#A4561F", "raw": "#B4C3CA", "grid": "#EBEEF0",
}
DARK: Final[Tokens] = {
    "name": "dark",
    "rail": "#15181B", "page": "#1B1F23", "surface": "#23282D", "sunken": "#1A1D21", "hover": "#2D3339",
    "line": "#353C43", "control": "#707B85",
    "text": "#E7EAED", "text2": "#B0B9C1", "text3": "#98A2AB",
    "accent": "#62B6CF", "accent_hover": "#80C8DD", "on_accent": "#06222B", "accent_soft": "#1E3B45",
    "ok": "#6CC494", "ok_soft": "#1F3A2C", "warn": "#E2B25C", "warn_soft": "#3C301B",
    "danger": "#F4948A", "danger_soft": "#442522", "on_danger": "#2B0906",
    "series2": "#CC98DA", "series3": "#E09A66", "raw": "#4B5C65", "grid": "#2E343A",
}

TEXT_PAIRS: Final = [  # (ink, ground): 4.5 or more
    ("text", "page"), ("text", "surface"), ("text", "rail"), ("text", "hover"), ("text2", "rail"), ("text2", "page"),
    ("text2", "surface"), ("text2", "sunken"), ("text3", "page"), ("text3", "surface"), ("text3", "sunken"),
    ("accent", "surface"), ("accent", "page"), ("accent", "rail"), ("accent", "accent_soft"),
    ("text", "accent_soft"), ("text2", "accent_soft"), ("on_accent", "accent"), ("on_accent", "accent_hover"),
    ("ok", "surface"), ("ok", "page"), ("ok", "ok_soft"), ("warn", "surface"), ("warn", "page"), ("warn", "rail"), ("warn", "warn_soft"),
    ("text", "warn_soft"), ("text2", "warn_soft"), ("danger", "surface"), ("danger", "page"), ("danger", "rail"),
    ("danger", "danger_soft"), ("text", "danger_soft"), ("text2", "danger_soft"), ("on_danger", "danger"),
    ("series2", "surface"), ("series3", "surface"), ("surface", "text"),
]
SHAPE_PAIRS: Final = [  # borders and marks: 3.0 or more
    ("control", "surface"), ("control", "page"), ("control", "rail"), ("accent", "rail"), ("accent", "surface"), ("warn", "rail"),
    ("danger", "rail"),
]


def luminance(colour: str) -> float:
    """Relative luminance of "#RRGGBB", 0 to 1 (WCAG 2.2)."""
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(ink: str, ground: str) -> float:
    """WCAG 2.2 contrast ratio, 1 to 21."""
    high, low = sorted((luminance(ink), luminance(ground)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mix(over: str, under: str, share: float) -> str:
    """`share` of `over` laid on `under`, as an opaque colour."""
    pairs = [(int(over[i:i + 2], 16), int(under[i:i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02X}" for a, b in pairs)
