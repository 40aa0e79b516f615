"""Keys, tokens and passwords in a text: known shapes (AWS, GitHub, Slack, Google, OpenAI, Stripe, JWT, PEM), bearer tokens, assignments to
names such as `password`, and addresses with a password inside. It only finds; personal.py replaces. Nothing is tried against a service.

One pass looks for the words a secret starts with or is named by; a bounded expression then looks at each place. So the time grows with the
text and never with its square.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator

from ahocorasick_rs import AhoCorasick, MatchKind

from engine.text.cleaning.fold import fold

_SHAPES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("akia", "asia", "abia", "acca"), r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    (("github_pat_",), r"github_pat_[A-Za-z0-9_]{22,255}"),
    (("glpat-",), r"glpat-[A-Za-z0-9_-]{20,64}"),
    (("xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"),
     r"(?:xox[abeoprs]|xapp)-(?=[A-Za-z-]{0,40}\d)[A-Za-z0-9-]{10,255}"),
    (("hooks.slack.com/services/",), r"hooks\.slack\.com/services/[A-Z0-9]{6,16}/[A-Z0-9]{6,16}/[A-Za-z0-9]{16,48}"),
    (("aiza",), r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    (("ya29.",), r"ya29\.[A-Za-z0-9_-]{20,1024}"),
    (("gocspx-",), r"GOCSPX-[A-Za-z0-9_-]{28}"),
    (("sk-",), r"sk-(?:proj-|ant-|svcacct-|or-)?(?=[A-Za-z_-]{0,60}\d)(?=[a-z0-9_-]{0,60}[A-Z])[A-Za-z0-9_-]{20,255}"),
    (("sk_live_", "sk_test_", "pk_live_", "pk_test_", "rk_live_", "rk_test_"), r"[spr]k_(?:live|test)_[A-Za-z0-9]{10,255}"),
    (("whsec_",), r"whsec_[A-Za-z0-9+/=]{24,88}"),
    (("hf_",), r"hf_(?=[A-Za-z]{0,40}\d|[a-z]{0,40}[A-Z])[A-Za-z0-9]{30,64}"),
    (("npm_",), r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    (("pypi-age",), r"pypi-AgE[A-Za-z0-9_-]{50,512}"),
    (("sg.",), r"SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}"),
    (("eyj",), r"eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{4,8192}\.[A-Za-z0-9_-]{0,1024}"),
)
_BOUNDARY = re.compile(r"[A-Za-z0-9_]")

_PEM = "-----begin "
_PEM_HEAD = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"(?:\s{1,4}[A-Za-z0-9+/=:,. -]{1,100}){0,200}")
_PEM_LONGEST = 16_384

_BEARER = re.compile(r"(?:bearer|basic|token)(?:\s{1,3}|\s?[:=]\s?)([A-Za-z0-9._~+/-]{16,2048}={0,2})", re.IGNORECASE)

_TELEGRAM = re.compile(r":AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])")
_DIGITS_BEFORE = re.compile(r"(?<!\d)\d{8,10}$")

_URL_SECRET = re.compile(r"://[^\s/:@\"'<>]{0,100}:([^\s/@\"'<>]{1,200})@(?=[\w\[.-])")

_PASSWORDS = ("password", "passwd", "pwd", "passphrase", "passcode", "contraseña", "senha", "passwort", "kennwort", "mot de passe",
              "parola",
              "wachtwoord", "hasło", "пароль", "كلمة المرور", "كلمة السر", "密码", "密碼")
_TOKENS = ("secret", "token", "api_key", "api-key", "apikey", "api key", "access_key", "access-key", "accesskey", "private_key", "auth_key",
           "account_key", "accountkey", "encryption_key", "signing_key", "session_key", "clave api", "clave de api", "chave de api",
           "credential")
_VALUE = re.compile(
    r"[\w.\-]{0,24}[\"'\]`]{0,2}\s{0,3}(?::=|=>|==?|[:\uff1a]|\b(?:is|es|é|ist|est|è|este|jest)\s)\s{0,3}(?P<quote>[\"'`“]?)(?P<value>[^\s\"'`“”,;<>(){}\[\]|\\\u3002\uff0c]{6,512})(?P<after>.?)")
_STAND_INS = re.compile(r"(?i)(?:your|my|the|example|changeme|placeholder|dummy|redacted|none|null|true|false|undefined|env|process|config|"
                        r"settings|self|this|os|args|getenv|secrets?)(?:[._\-]|$)|[x*.#•_-]{4,}$|\$|%\w+%$|/|https?:|\w+\.\w+\.\w+$(?<!\d)")

_words: dict[str, list[tuple[str, re.Pattern[str] | None]]] = {}
for _names, _shape in _SHAPES:
    _compiled = re.compile(_shape)
    for _name in _names:
        _words.setdefault(_name, []).append(("shape", _compiled))
for _name in _PASSWORDS:
    _words.setdefault(_name, []).append(("password", None))
for _name in _TOKENS:
    _words.setdefault(_name, []).append(("token", None))
for _name in ("bearer", "basic ", "token"):
    _words.setdefault(_name, []).append(("bearer", None))
_words[_PEM] = [("pem", None)]
_words["pass"] = [("pass", None)]
_words[":aa"] = [("telegram", None)]
_words["://"] = [("url", None)]
_WORDS = list(_words)
_PLANS = [_words[w] for w in _WORDS]
_INDEX = AhoCorasick(_WORDS, matchkind=MatchKind.Standard)


def keys(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of every secret, not yet in order and perhaps overlapping."""
    for number, start, end in _INDEX.find_matches_as_indexes(fold(text), overlapping=True):
        for plan, shape in _PLANS[number]:
            if plan == "shape":
                assert shape is not None
                if (start == 0 or not _BOUNDARY.match(text[start - 1])) and (found := shape.match(text, start)):
                    yield found.span()
            elif plan == "pem":
                yield from _pem(text, start)
            elif plan == "url":
                if found := _URL_SECRET.match(text, start):
                    if not _STAND_INS.match(found[1]) and found[1] not in ("password", "pass", "pw"):
                        yield found.span(1)
            elif plan == "bearer":
                if (found := _BEARER.match(text, start)) and _random(found[1], 16, 2.8) and "/" not in found[1][:1]:
                    yield found.start(1), found.start(1) + len(found[1].rstrip(".-"))
            elif plan == "telegram":
                if (found := _TELEGRAM.match(text, start)) and (digits := _DIGITS_BEFORE.search(text, max(0, start - 11), start)):
                    yield digits.start(), found.end()
            elif plan == "pass":        # as a word of its own: DB_PASS, but not passenger or bypass
                if text[end:end + 1] in (":", "=", '"', "'") and not text[max(0, start - 1):start].isalpha():
                    yield from _assigned(text, end, "password")
            else:
                yield from _assigned(text, end, plan)


def _assigned(text: str, end: int, plan: str) -> Iterator[tuple[int, int]]:
    found = _VALUE.match(text, end)
    if not found or _STAND_INS.match(found["value"]) or (not found["quote"] and found["after"] in ("(", "[")):
        return
    value = found["value"]
    start = found.start("value")
    if plan != "password" and text[found.start():start].rstrip()[-1:].isalpha():        # "the token is ..." is prose
        return
    if not found["quote"]:      # the full stop of the sentence is not part of it
        value = value.rstrip(".?:")
    if plan == "password":
        letters, digits = any(c.isalpha() for c in value), any(c.isdigit() for c in value)
        odd = sum(not c.isalnum() for c in value)
        secret = (letters and digits and len(value) >= 6) or (odd >= 1 and len(value) >= 8 and letters and not value.replace("_",
            "").replace("-", "").replace(".", "").isalpha())
    else:
        secret = _random(value, 12, 3.0)
    if secret:
        yield start, start + len(value)


def _random(value: str, shortest: int, bits: float) -> bool:
    """Whether it looks drawn by chance: long enough, letters and digits mixed, many different characters."""
    if len(value) < shortest or not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value):
        return False
    counts = Counter(value[:128])
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values()) >= bits


def _pem(text: str, start: int) -> Iterator[tuple[int, int]]:
    head = _PEM_HEAD.match(text, start)
    if head:
        end = _PEM_END.search(text, head.end(), head.end() + _PEM_LONGEST)
        stop = end.end() if end else _PEM_BODY.match(text, head.end(), head.end() + _PEM_LONGEST).end()      # type: ignore[union-attr]
        yield start, stop
