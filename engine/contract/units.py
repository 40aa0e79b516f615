"""Numbers for people: thousands separators, units, a no-break space between them. The one place that formats them."""

import math

from engine.contract.words import tr

NBSP = "\u00a0"
MINUS = "\u2212"


def number(value: float, digits: int = 0) -> str:
    """1234567.8 -> "1,234,568"; a real minus sign for negatives; "not a number" and infinities are said as such."""
    if isinstance(value, float) and not math.isfinite(value):
        return tr("not a number") if math.isnan(value) else ("∞" if value > 0 else MINUS + "∞")
    return f"{value:,.{digits}f}".replace("-", MINUS)


def significant(value: float, digits: int = 3) -> str:
    """About `digits` figures without exponents where they can be avoided: 0.01234 -> "0.0123", 1234.5 -> "1,234"."""
    if value == 0 or not math.isfinite(value):
        return number(value)
    size = math.floor(math.log10(abs(value)))
    if size < -5:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    return number(value, max(0, digits - 1 - size))


def count(value: float) -> str:
    """Parameters and tokens: 59_600_000 -> "59.6 M"; under 10,000 exact."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scaled = value / (1e3 if letter == "k" else size)
            return f"{scaled:,.{1 if abs(scaled) < 99.95 else 0}f}{NBSP}{letter}".replace(f".0{NBSP}", NBSP)
    return number(value)


def size(value: float) -> str:
    """Bytes in decimal units, as disks and drivers state them: 8_900_000_000 -> "8.9 GB"."""
    for step, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= step:
            scaled = value / step
            return f"{scaled:,.{1 if scaled < 99.95 else 0}f}{NBSP}{unit}"
    return f"{value:,.0f}{NBSP}B"


def duration(seconds: float) -> str:
    """90 -> "1 min 30 s", 5025 -> "1 h 24 min", 0.4 -> "0.4 s"."""
    if not math.isfinite(seconds):
        return tr("unknown")
    if seconds < 10:
        return f"{seconds:.1f}{NBSP}s"
    whole = round(seconds)
    days, whole = divmod(whole, 86400)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days}{NBSP}d" + (f" {hours}{NBSP}h" if hours else "")
    if hours:
        return f"{hours}{NBSP}h" + (f" {minutes}{NBSP}min" if minutes else "")
    if minutes:
        return f"{minutes}{NBSP}min" + (f" {secs}{NBSP}s" if secs and minutes < 10 else "")
    return f"{secs}{NBSP}s"


def percent(share: float, digits: int = 0) -> str:
    """0.414 -> "41 %"."""
    return f"{share * 100:,.{digits}f}{NBSP}%".replace("-", MINUS)
