"""Phone numbers in a text. A cheap search finds places, libphonenumber's rules (the `phonenumbers` package) decide. It only finds.

What counts as certain: the international form (+49 30 901820, or 0049 with separators), (202) 555-0143 with its brackets, and a national
form behind a word such as "tel." or "call me at". With a country given, its national forms count wherever they stand, unless a word such as
"order" or "ISBN" says otherwise.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException

_DIGITS = "0-9\u0660-\u0669\u06f0-\u06f9\uff10-\uff19"
_ASCII = {first + i: str(i) for first in (0x660, 0x6F0, 0xFF10) for i in range(10)}       # Arabic, Persian and full-width digits
_GAP = " .\\-/()\u00a0\u2010\u2011\u2013\u202f"

_BETWEEN = rf"(?:\.|[{_GAP.replace('.', '')}]{{0,3}})"       # not a full stop and a space: a new sentence begins there
_PLUS = re.compile(rf"[+\uff0b][ \u00a0]?\(?[{_DIGITS}](?:{_BETWEEN}[{_DIGITS}]){{6,19}}")
_ZEROS = re.compile(rf"00[ \u00a0]?[1-9](?:{_BETWEEN}[{_DIGITS}]){{7,18}}")
# Seven to nineteen digits in any grouping. Each gap is short, so that a table of digits costs no more than its length.
_LOOSE = re.compile(rf"[{_DIGITS}](?:{_BETWEEN}[{_DIGITS}]){{6,18}}")
_IN_AN_ACCOUNT = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}[ -]?(?:[A-Z0-9]{4}[ -]?){0,6}$")
_NORTH_AMERICAN = re.compile(r"\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[-.][0-9]{4}(?![-.]?[0-9])")
_SEPARATOR = re.compile(rf"[{_GAP}]+")
_ONLY_DIGITS = re.compile(rf"[{_DIGITS}]+")

_CALLS = (r"tel(?:e(?:ph?one?|foon|f[oó]n[oi]?|fonnummer|f))?|t[ée]l(?:[ée]phone)?|phone|ph|fax|faks|mob(?:ile?|iel|iltelefon)?|"
          r"cell(?:phone|ular)?|"
          r"handy(?:nummer)?|rufnummer|whats?app|sms|m[oó]vil|celular|telem[oó]vel|cellulare|portable|gsm|"
          r"kom(?:\.|[oó]rka)|hotline|"
          r"telefon(?:ul|nr|u|icznie)?|t[eé]l[eé]fono|contact(?:o|ez)?|"
          r"call(?: (?:me|us|him|her|them))?|text(?: me| us)?|ring(?: me| us)?|dial|reach(?: me| us)?|ll[aá]m[ea](?:me|nos|r)?|marque|"
          r"ligue|liga(?:r|-me)|appele[zr](?:[- ](?:moi|nous))?|appelle(?:-moi)?|joindre|anruf(?:en)?|ruf(?:en)?(?: sie)?(?: mich| uns)?|"
          r"chiam(?:a(?:mi|te|re)?|i)|"
          r"suna(?:[țt]i)?(?:-m[ăa])?|bel(?: me| mij| ons)?|zadzwo[nń](?:cie)?|dzwo[nń]|"
          r"тел(?:ефон)?|моб(?:ильный)?|факс|звоните|позвоните|позвони|номер телефона")
_CALLS_UNSPACED = (r"هاتف|الهاتف|جوال|الجوال|تلفون|موبايل|فاكس|اتصل|اتصلوا|واتساب|"
                   r"电话|電話|手机|手機|传真|致电|联系电话|联系方式|携帯|전화")
_LINK = (r"(?:\s{0,3}(?:number|numbers|no|nr|num|n[º°]|№|numero|n[úu]mero|nummer|numer|numărul|номер(?:у)?|رقم|على|号码|號碼|"
         r"me|us|is|are|at|on|to|"
         r"al|au|à|el|em|para|a|o|ao|le|la|ou|es|est|ist|unter|am|unser|een|op|is|pod|nr|по|под|e|è|este|it|home|work|office|now|today|:))")
_WHOSE = r"(?: (?:for|of|de|von|di|per|para|pour|van) [^\W\d_]{1,20}(?: [^\W\d_]{1,20})?)"
_MARKED = re.compile(rf"(?:(?<![^\W_])(?:{_CALLS})|{_CALLS_UNSPACED}){_LINK}{{0,3}}{_WHOSE}?[\s.:\uff1a=\"'#()\-–—\ufe0f]{{0,5}}$",
                     re.IGNORECASE)
_WEAK = re.compile(r"(?:call|text|ring|dial|reach|contact\w*|ll[aá]m\w*|marque|liga|ligue|bel|ruf\w*|chiam\w*)\W*(?:\w{1,8}\W*){0,3}$",
                   re.IGNORECASE)
_MARK_REACH = 48

OTHERWISE = re.compile(
    r"(?:order|orders|invoice|isbn|issn|ean|upc|asin|doi|pmid|ref|reference|id|serial|s/n|sn|part|item|sku|model|ticket|tracking|parcel|"
    r"account|acct|case|docket|batch|lot|imei|vin|iccid|patent|zip|postcode|rev|build|version|commit|row|page|pp|"
    r"bestellnummer|bestellung|rechnung|rechnungsnummer|auftrag|kundennummer|artikel|artikelnummer|pedido|factura|fatura|encomenda|commande|facture|"
    r"ordine|fattura|comanda|factura|bestelling|factuur|zam[oó]wienie|faktura|заказ|счет|счёт|артикул|طلب|فاتورة|订单|訂單|编号|發票|发票)"
    r"(?:\s{0,2}(?:number|numbers|no|nr|num|n[º°]|№|code|id|номер|de|is|was|von|号|號))?[\s.::#=\-–—]{0,4}$", re.IGNORECASE)
_DATE = re.compile(
    r"(?:19|20)\d\d[-./](?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12]\d|3[01])(?![-./]?\d)|"
    r"(?:0?[1-9]|[12]\d|3[01])[-./](?:0?[1-9]|[12]\d|3[01])[-./](?:19|20)?\d\d(?![-./]?\d)|"
    r"(?:1[5-9]|20)\d\d ?[-–/] ?(?:1[5-9]|20)\d\d(?!\d)|(?:1[5-9]|20)\d\d(?: (?:1[5-9]|20)\d\d)+|\d{1,3}\.\d{5,}")
"""What is grouped digits, but no phone number: dates, spans of years, coordinates."""
_ROUND = re.compile(r"\d{1,3}(?:[. ]\d{3})*[. ]000(?!\d)")
_MONEY = re.compile(r"[$€£¥₽₹%]\s?$")
_UNIT = re.compile(r"\s?(?:[$€£¥₽%°]|(?:usd|eur|euros?|dollars?|km|kg|mb|gb|bytes?|lei|zł|руб|тыс|元|people|users|times|times)\b)",
                   re.IGNORECASE)

MAJOR = ("US", "GB", "DE", "FR", "ES", "IT", "BR", "MX", "RO", "PL", "NL", "RU", "CN", "JP", "IN", "SA", "EG")
"""Countries whose rules are tried for a number that a word announces and no country is given for."""


def phones(text: str, region: str = "") -> Iterator[tuple[int, int]]:
    """(start, end) of every phone number, perhaps overlapping. `region` is an ISO 3166 code such as US, or ""."""
    if "+" in text or "\uff0b" in text:
        for found in _PLUS.finditer(text):
            if not _joined(text, found.start(), "+"):
                yield from _trimmed(text, found.start(), found.end(), None)
    for found in _LOOSE.finditer(text):
        start, end = found.span()
        before = text[max(0, start - _MARK_REACH):start].rstrip(" (")
        assigned = text[max(0, start - 1):start] == "="      # phone=2125550123
        if not assigned and _joined(text, start, ""):
            continue
        if before.endswith(("+", "\uff0b")):
            continue
        if start and text[start - 1] == "(":
            start -= 1
        marked = _MARKED.search(before) is not None
        if assigned and not marked:
            continue
        if text.startswith("00", found.start()) and (zeros := _ZEROS.match(text,
            found.start())) and (marked or region or _SEPARATOR.search(zeros[0])) \
                and not _IN_AN_ACCOUNT.search(text[max(0, start - 36):start]):
            if span := next(_trimmed(text, found.start(), zeros.end(), None, "00"), None):
                yield span
                continue
        if (certain := _NORTH_AMERICAN.match(text, start)) and not OTHERWISE.search(before) and _valid(_plain(certain[0]), "US"):
            yield certain.span()
        elif marked:
            yield from _announced(text, start, end, region)
        elif region and not OTHERWISE.search(before) and not _MONEY.search(before) and not _UNIT.match(text, end):
            if _DATE.match(text, found.start()) or _ROUND.match(text, found.start()):
                continue
            grouped = _SEPARATOR.search(text[start:end].strip("(")) is not None
            if grouped or text[start] == "0":
                for span in _trimmed(text, start, end, region):
                    if text[start] == "0" or _grouped_as_usual(text[span[0]:span[1]], region):
                        yield span


def _grouped_as_usual(candidate: str, region: str) -> bool:
    """Whether its groups stand as that country writes them: 28980 - 18480 is arithmetic."""
    return phonenumbers.PhoneNumberMatcher(candidate, region, phonenumbers.Leniency.STRICT_GROUPING, 1).has_next()


def _joined(text: str, start: int, sign: str) -> bool:
    """Whether what stands before makes it part of something longer: a word, a decimal, an amount."""
    if start == 0:
        return False
    before = text[start - 1]
    if before.isalnum() and not _unspaced(before):
        return True
    if before in "_#$€£¥@=&%\\" and not sign:
        return True
    return start > 1 and before in ".,/-:–" and text[start - 2].isalnum() and not (before in ":-" and text[start - 2].isalpha()) \
        and not (before in ".:" and _unspaced(text[start - 2])) and not (before == "." and text[start - 2].isalpha())


def _unspaced(letter: str) -> bool:
    return "\u0600" <= letter <= "\u06ff" and not letter.isdigit() or "\u3040" <= letter <= "\u9fff" or "\uac00" <= letter <= "\ud7af"


@lru_cache(maxsize=4096)
def _valid(digits: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(digits, region))
    except NumberParseException:
        return False


@lru_cache(maxsize=4096)
def _possible(digits: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(digits))
    except NumberParseException:
        return False


def _plain(candidate: str) -> str:
    return "".join(_ONLY_DIGITS.findall(candidate)).translate(_ASCII)


def _trimmed(text: str, start: int, end: int, region: str | None, prefix: str = "+") -> Iterator[tuple[int, int]]:
    """The longest beginning of the candidate, ending at a group, that is a valid number; of an international one without such a beginning
    the longest that has the length of a number of its country (numbering plans change faster than libraries)."""
    possible = 0
    for _ in range(5):
        follows = text[end] if end < len(text) else " "
        # Letters that hang on make it a serial, unless a shorter group is a number.
        hangs_on = follows.isalnum() and not _unspaced(follows) and text[end:end + 3].lower() != "ext"
        if not hangs_on:
            written = text[start:end]
            for form in (written, written.replace("(0)", "", 1)) if region is None and "(0)" in written else (written,
                ):    # +49 (0)30 901820
                digits = _plain(form)
                if region is None:
                    digits = "+" + (digits[2:] if prefix == "00" else digits)
                if _valid(digits, region):
                    yield start, end
                    return
                if region is None and not possible and "00000" not in digits and _possible(digits):
                    possible = end
        gaps = [m.start() for m in _SEPARATOR.finditer(text, start + 1, end)]
        if not gaps:
            break
        end = gaps[-1]
    if possible:
        yield start, possible


def _announced(text: str, start: int, end: int, region: str) -> Iterator[tuple[int, int]]:
    """A national number behind a word that announces one: valid somewhere, or grouped as numbers are."""
    if _DATE.match(text, start) or _UNIT.match(text, end):
        return
    if region and (span := next(_trimmed(text, start, end, region), None)):
        yield span
        return
    if end < len(text) and text[end].isalnum() and not _unspaced(text[end]):
        return
    digits = _plain(text[start:end])
    groups = len(_SEPARATOR.split(text[start:end].strip("() ")))
    if groups > 1 and len(digits) <= 13:
        yield start, end
        return
    weak = _WEAK.search(text[max(0, start - _MARK_REACH):start]) is not None
    if groups == 1 and 8 <= len(digits) <= 12 and not weak:
        yield start, end
    elif len(digits) <= 12 and any(_valid(digits, country) for country in MAJOR):
        yield start, end
    elif span := next((s for country in ("US", "ES", "DE", "FR", "BR") for s in _trimmed(text, start, end, country)), None):
        yield span
