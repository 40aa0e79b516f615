"""Replaces personal data by placeholders: e-mail and IP addresses, phone numbers, bank accounts, cards, keys and tokens. Names and postal
addresses are not looked for. What is found never leaves this file: examples are masked.

Each kind is a cheap search for places and an exact check of each (mod 97, Luhn, ranges, libphonenumber), bounded in how far it looks, so
that the time grows with the text. IBAN lengths: the register of ISO 13616; card ranges: the networks' issuer identification numbers.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

import phonenumbers
from ahocorasick_rs import AhoCorasick

from engine.contract.errors import SettingError
from engine.contract.words import tr
from engine.text.cleaning.draft import Draft
from engine.text.cleaning.fold import fold
from engine.text.cleaning.personal_keys import keys
from engine.text.cleaning.personal_phones import OTHERWISE, phones

KINDS = ("key", "email", "iban", "card", "ip", "phone")
"""In order of precedence: where two overlap, the earlier one counts."""
PLACEHOLDERS = {kind: f"<{kind.upper()}>" for kind in KINDS}


class Found(NamedTuple):
    """`text[start:end]` is personal data of a kind."""

    start: int
    end: int
    kind: str


# e-mail ---------------------------------------------------------------------------------------------------------------------------------

_UNSPACED = "\u0e00-\u0eff\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef"
"""Letters of scripts written without spaces: an address ends where they begin."""
_AT = re.compile(r"@(?=\w)")
_LOCAL_BACKWARDS = re.compile(rf"(?:[^\W{_UNSPACED}]|[.+%'&~#!$-]){{1,64}}")
_DOMAIN = re.compile(rf"[^\W_{_UNSPACED}](?:[^\W{_UNSPACED}]|-){{0,62}}(?:\.[^\W_{_UNSPACED}](?:[^\W{_UNSPACED}]|-){{0,62}}){{1,8}}")
_ENDINGS = frozenset(
    "com org net edu gov mil int info biz name pro aero coop museum mobi jobs travel tel cat asia post app dev cloud online site shop "
    "store blog tech space xyz club live news world today agency email company group digital solutions systems services network "
    "studio design media life academy institute university school center centre foundation health care clinic bank finance insurance "
    "legal law consulting engineering software computer technology games video music art photography photos pictures gallery city "
    "london paris berlin wien tokyo nyc amsterdam hamburg koeln bayern swiss gal bzh scot wales cymru irish quebec africa lat local "
    "example test invalid localhost internal lan corp home intranet onion earth house land global international press social team "
    "tools work works zone page pub red blue green one top vip win support help chat link click download host hosting website web "
    "wiki ninja guru expert education training events fun рф срб укр бел мкд бг ком орг онлайн сайт дети москва ".split())
_COUNTRIES = frozenset(r.lower() for r in phonenumbers.SUPPORTED_REGIONS) | {"uk", "eu", "su", "ps", "aq", "tf", "gs"}
_LOOKS_LIKE_A_FILE = frozenset(("py", "pl", "rs", "md", "sh", "so", "ps", "cc"))
_AT_WORDS = ("at", "arroba", "arobase", "chiocciola", "kropka", "małpa", "@")
_DOT_WORDS = ("dot", "punto", "ponto", "point", "punkt")
_DOTS = "|".join(_DOT_WORDS)
_SPELLED_INDEX = AhoCorasick([o + w + c for w in _AT_WORDS for o, c in ("()", "[]", "{}", "<>")] + [f" {w} " for w in _AT_WORDS[:4]])
_LABEL = rf"(?:[^\W{_UNSPACED}]|-)"
_SPELLED_DOMAIN = re.compile(
    rf"\s?{_LABEL}{{1,63}}(?:(?:\s?[\[({{<]\s?(?:{_DOTS}|\.)\s?[\])}}>]\s?|\.| (?:{_DOTS}) ){_LABEL}{{2,63}}){{1,4}}", re.IGNORECASE)
_BARE_DOMAIN = re.compile(rf"[\w-]{{2,63}} (?:{_DOTS}) (?:com|org|net|edu|de|es|fr|it|br|pt|uk|pl|io)(?!\w)", re.IGNORECASE)


def _emails(text: str) -> Iterator[tuple[int, int]]:
    for found in _AT.finditer(text):
        at = found.start()
        before = _LOCAL_BACKWARDS.match(text[max(0, at - 64):at][::-1])
        if not before:
            continue
        local = before[0][::-1]
        kept = local.lstrip(".'&%~#!$-")
        if not kept or kept.endswith(".") or ".." in kept:
            continue
        domain = _DOMAIN.match(text, at + 1)
        if not domain or text[at - len(kept) - 3:at - len(kept)] == "://":      # the latter is a user's name in an address
            continue
        labels = domain[0].rstrip("-_").split(".")
        while len(labels) > 1 and not _ending(labels[-1]):
            labels.pop()
        if len(labels) < 2 or any("_" in x for x in labels[-2:]):
            continue
        end = at + 1 + len(".".join(labels))
        if kept == "git" and text[end:end + 1] in (":", "/"):       # git@host:repository is a place, not a person
            continue
        if labels[-1].lower() in _LOOKS_LIKE_A_FILE and len(labels) == 2 and text[end:end + 1] in (":", "(", "["):
            continue
        yield at - len(kept), end
    for _, start, end in _SPELLED_INDEX.find_matches_as_indexes(fold(text)):
        bare = text[start] == " "
        name_end = start - (start > 0 and text[start - 1] == " ")
        before = _LOCAL_BACKWARDS.match(text[max(0, name_end - 64):name_end][::-1])
        domain = (_BARE_DOMAIN if bare else _SPELLED_DOMAIN).match(text, end)
        if before and domain and _ending(re.split(r"[\W_]+", domain[0])[-1]):
            yield name_end - len(before[0].rstrip(".'&%~#!$-")), domain.end()


def _ending(label: str) -> bool:
    label = label.lower()
    return label in _ENDINGS or label in _COUNTRIES or label.startswith("xn--")


# bank accounts --------------------------------------------------------------------------------------------------------------------------

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21,
    "CR": 22,
    "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
    "GB": 22,
    "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27,
    "JO": 30,
    "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20,
    "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24,
    "RS": 22,
    "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24,
    "TR": 26,
    "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30}
_IBAN = re.compile(r"[0-9](?<=[A-Za-z]{2}[0-9])[0-9](?:[ \u00a0.\-]?[A-Za-z0-9]){11,30}")


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for found in _IBAN.finditer(text):
        start = found.start() - 2
        length = _IBAN_LENGTHS.get(text[start:start + 2].upper())
        if not length or (start and text[start - 1].isalnum() and text[start - 1].isascii()):
            continue
        end, compact = start, ""
        while end < found.end() and len(compact) < length:
            if text[end].isalnum():
                compact += text[end].upper()
            end += 1
        if len(compact) < length or (end < len(text) and text[end].isascii() and text[end].isalnum()):
            continue
        if int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1:
            yield start, end


# cards ----------------------------------------------------------------------------------------------------------------------------------

_CARD = re.compile(r"[2-69][0-9]{3}(?:[ \u00a0\-.]?[0-9]){8,22}")
_GROUP = re.compile(r"[0-9]+")
_IN_AN_ACCOUNT = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}[ -]?(?:[A-Z0-9]{4}[ -]?){0,6}$")
_LAYOUTS = {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 4, 5), (6, 13), (8, 8)}


def _network(number: str) -> bool:
    """Whether a card network issues numbers that begin so and are so long."""
    length, two, three, four, six = len(number), int(number[:2]), int(number[:3]), int(number[:4]), int(number[:6])
    if number[0] == "4":
        return length in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if two in (34, 37):
        return length == 15
    if 300 <= three <= 305 or two in (36, 38, 39):
        return length in (14, 16)
    if four == 6011 or 644 <= three <= 649 or two == 65 or 622126 <= six <= 622925:
        return 16 <= length <= 19
    if 3528 <= four <= 3589 or two == 62 or 2200 <= four <= 2204:
        return 16 <= length <= 19
    if two in (60, 81, 82) or three == 508 or four == 9792:
        return length == 16
    return four in (5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763) and 13 <= length <= 19


def luhn(number: str) -> bool:
    """The check digit of card numbers (ISO/IEC 7812-1)."""
    total = sum(map(int, number[-1::-2])) + sum(sum(divmod(2 * int(d), 10)) for d in number[-2::-2])
    return total % 10 == 0


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for found in _CARD.finditer(text):
        start = found.start()
        if start and (text[start - 1].isascii() and text[start - 1].isalnum() or text[start - 1] == "_"
                      or text[start - 1] in ".,-" and start > 1 and text[start - 2].isascii() and text[start - 2].isalnum()):
            continue
        if _IN_AN_ACCOUNT.search(text, max(0, start - 36), start):
            continue
        groups = [m.span() for m in _GROUP.finditer(text, start, found.end())][:6]
        gaps = [text[a[1]:b[0]] for a, b in zip(groups, groups[1:], strict=False)]
        for count in range(len(groups), 0, -1):
            end = groups[count - 1][1]
            if count == len(groups):
                after = text[end:end + 2]
                if after and (after[0].isascii() and after[0].isalnum() or after[0] == "_" or after[0] in "-." and after[1:].isdigit()):
                    continue
            elif gaps[count - 1] not in (" ", "\u00a0"):         # what follows must be set off, as an expiry date is
                continue
            if count > 1 and (tuple(b - a for a, b in groups[:count]) not in _LAYOUTS or len(set(gaps[:count - 1])) > 1):
                continue
            number = "".join(text[a:b] for a, b in groups[:count])
            if 13 <= len(number) <= 19 and len(set(number)) > 1 and _network(number):
                if luhn(number):
                    if len(number) >= 16 or count > 1 or not OTHERWISE.search(text, max(0, start - 30), start):
                        yield start, end    # the shorter ones are as long as EAN, ISBN and IMEI
                    break
                if len(number) == 19 and number[0] != "4":
                    break       # a long number with a wrong check digit, not a card with three digits behind it


# IP addresses ---------------------------------------------------------------------------------------------------------------------------

_IPV4 = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}")
_VERSION_BEFORE = re.compile(
    r"(?:\b(?:v|ver|version|versions?|versión|versão|versione|versiunea|versie|wersja|wersji|версия|версии|版本|الإصدار|release[ds]?|rev|revision|"
    r"build|firmware|driver|patch|update|updated? to|upgraded? (?:to|from)|sdk|kernel|api|rfc|schema|section|sections|sec|chapter|clause|"
    r"paragraph|para|article|item|figure|fig|table|step|appendix|annex|abschnitt|kapitel|abbildung|tabelle|sección|apartado|capítulo|cláusula|"
    r"seção|secção|artigo|artículo|chapitre|sezione|capitolo|articolo|secțiunea|capitolul|hoofdstuk|paragraaf|rozdział|sekcja|раздел|глава|"
    r"пункт|п|القسم|الفصل|test|requirement|req|oid|assembly|windows|chrome|firefox|edge|safari|android|ios|macos|linux|openssl|java|python|"
    r"node|php|office|flash|acrobat|opera)|第|节|章|§|==|>=|<=|~=|!=|\^|[A-Za-z][-_/])[\s.:=\"'v(]{0,3}$", re.IGNORECASE)
_ADDRESS_BEFORE = re.compile(
    r"(?:\b(?:ip|ipv4|ips|address|addresses|addr|host|hosts|hostname|server|from|ping|dns|gateway|client|peer|subnet|netmask|router|proxy|"
    r"remote|listen|bind|dirección|endereço|adresse|adresa|indirizzo|adres|адрес|地址|عنوان|src|dst|source|destination|via|to|at|nameserver|"
    r"connect|connected|login|ssh|blocked|ban|inet)\b|//|@|\[)[\s:=\"'(-]{0,3}(?:\w{1,8}[ :=]{1,2})?$", re.IGNORECASE)
_IPV6 = re.compile(r":[0-9A-Fa-f]{0,4}:")
_IPV6_BACKWARDS = re.compile(r"[0-9A-Fa-f:]{0,39}")
_IPV6_FORWARDS = re.compile(r"[0-9A-Fa-f:]{0,39}(?:\.[0-9]{1,3}){0,3}")


def _ips(text: str) -> Iterator[tuple[int, int]]:
    for found in _IPV4.finditer(text):
        start, end = found.span()
        if _is_ipv4(text, start, end):
            yield start, end
    past = 0
    for found in _IPV6.finditer(text):
        if found.start() < past:
            continue
        before = _IPV6_BACKWARDS.match(text[max(past, found.start() - 39):found.start()][::-1])
        after = _IPV6_FORWARDS.match(text, found.end())
        assert before and after
        start, end = found.start() - before.end(), after.end()
        if text[end - 1] == ":" and text[end - 2] != ":":        # the colon of the sentence
            end -= 1
        past = end
        if (start and (text[start - 1].isascii() and text[start - 1].isalnum() or text[start - 1] in "_:.")) or \
                (end < len(text) and (text[end].isascii() and text[end].isalnum() or text[end] in "_:")) or not _is_ipv6(text[start:end]):
            continue
        yield start, end


def _is_ipv4(text: str, start: int, end: int) -> bool:
    octets = text[start:end].split(".")
    if any(int(o) > 255 or (len(o) > 1 and o[0] == "0") for o in octets):
        return False
    before, after = text[max(0, start - 40):start], text[end:end + 2]
    if _part_of_a_word(before[-1:]) or before[-1:] in (".", ",") and before[-2:-1].isdigit():
        return False
    if _part_of_a_word(after[:1]) or after[:1] in (".", ",", "-") and after[1:].isalnum() and not (after[0] == "-" and after[1:].isdigit()):
        return False
    if _VERSION_BEFORE.search(before) and not before.endswith("//"):
        return False
    values = [int(o) for o in octets]
    if _ADDRESS_BEFORE.search(before) or values[0] in (10, 127, 192, 172) or len(set(values)) == 1:
        return not (values[0] == 0 and not any(values))
    if (after[:1] == "/" or after[:1] == ":") and after[1:].isdigit():
        return True
    # Small numbers only, and nothing that says address: the number of a section or of a version.
    return max(values) > 40


def _part_of_a_word(letter: str) -> bool:
    """Whether a letter next to an address makes it part of something else; letters of scripts without spaces do not."""
    return letter == "_" or letter.isascii() and letter.isalnum()


def _is_ipv6(candidate: str) -> bool:
    if candidate in ("::1", "0:0:0:0:0:0:0:1"):
        return True
    try:
        IPv6Address(candidate)
    except AddressValueError:
        return False
    groups = [g for g in candidate.split(":") if g]
    if "." in groups[-1:][0] if groups else False:
        return IPv4Address(groups[-1]) is not None
    # `a::b` and `::` are also how programs write scopes and types; twelve o'clock is no address either.
    return len(groups) == 8 or (len(groups) >= 2 and any(len(g) >= 3 and any(c.isdigit() for c in g) for g in groups)) or \
        candidate.lower().startswith(("fe80::", "ff02::", "2001:", "2a", "fd",
                                      "fc")) and any(c.isdigit() for c in candidate) and len(candidate) > 5


# the step -------------------------------------------------------------------------------------------------------------------------------

_FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {"key": keys, "email": _emails, "iban": _ibans, "card": _cards,
    "ip": _ips}


def find(text: str, kinds: Sequence[str] = KINDS, region: str = "") -> list[Found]:
    """Everything personal in `text`, in order, without overlaps. `region`: the country (ISO 3166) whose national phone numbers count."""
    taken: list[Found] = []
    for kind in KINDS:
        if kind not in kinds:
            continue
        spans = phones(text, region) if kind == "phone" else _FINDERS[kind](text)
        fresh: list[Found] = []
        last = 0
        for start, end in sorted(spans, key=lambda s: (s[0], -s[1])):
            if start >= last:
                fresh.append(Found(start, end, kind))
                last = end
        taken = _without_overlaps(taken, fresh) if taken else fresh
    return taken


def _without_overlaps(first: list[Found], second: list[Found]) -> list[Found]:
    """Both, in order; of two that overlap the one of `first`. Both are sorted and free of overlaps."""
    merged: list[Found] = []
    at = 0
    for found in second:
        while at < len(first) and first[at].end <= found.start:
            merged.append(first[at])
            at += 1
        if at == len(first) or first[at].start >= found.end:
            merged.append(found)
    return sorted(merged + first[at:])


def mask(value: str, kind: str) -> str:
    """What may be shown of a value: j***@e***.com, 4*** **** **** ****. Never enough to use it."""
    if kind == "email" and "@" in value:
        local, _, domain = value.rpartition("@")
        return f"{local[:1]}***@{domain[:1]}***.{domain.rpartition('.')[2]}"
    if kind == "key":
        return "-----BEGIN ***" if value.startswith("-----") else "***"
    shown = value[:1] + "".join("*" if c.isalnum() else c for c in value[1:])
    return shown if len(shown) <= 48 else shown[:48] + "…"


class PersonalData:
    """The step. `kinds`: of KINDS; `region`: two letters, or "" for phone numbers that are certain without it."""

    id = "personal_data"

    def __init__(self, kinds: Sequence[str] = KINDS, region: str = "") -> None:
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise SettingError(tr("{kind} is not a kind of personal data.", kind=unknown[0]), tr("Known: {known}.", known=", ".join(KINDS)),
                               field="personal_kinds")
        region = region.strip().upper()
        if region and region not in phonenumbers.SUPPORTED_REGIONS:
            raise SettingError(tr("{region} is not a country that phone numbers are known for.", region=region),
                               tr("Give two letters, as US or DE, or leave it empty."), field="phone_region")
        self.kinds, self.region = tuple(kinds), region

    def __call__(self, draft: Draft) -> None:
        text = draft.text
        places = find(text, self.kinds, self.region)
        if not places:
            return
        pieces, last = [], 0
        counts: dict[str, int] = {}
        examples: dict[str, str] = {}
        for start, end, kind in places:
            pieces += [text[last:start], PLACEHOLDERS[kind]]
            last = end
            counts[kind] = counts.get(kind, 0) + 1
            examples.setdefault(kind, mask(text[start:end], kind))
        clean = "".join([*pieces, text[last:]])
        for kind, count in counts.items():
            draft.touch(self.id, clean, count, examples[kind], PLACEHOLDERS[kind], rule=kind)
