"""Planted personal data: sentences in many languages with an address, number, account, card or key in them, and look-alikes without.

Everything is drawn from a seed; no value belongs to anybody. Each sentence says which values must be found. The values are
made by rules of their own (check digits are computed here, phone patterns are written out), not by the code under test.
"""

import base64
import random
import re
import string
from collections.abc import Callable
from typing import NamedTuple


class Planted(NamedTuple):
    """One text. `values`: (kind, exact text) that must be found; empty for a look-alike, whose `kind` says what it resembles."""

    text: str
    kind: str
    values: tuple[tuple[str, str], ...]


Rng = random.Random

_FIRST = ("maria", "john", "li.wei", "o'brien", "jean-luc", "ana_paula", "k.novak", "joão", "müller", "fatima", "sergei", "a", "info",
          "x1y2", "sofia+news")
_HOSTS = ("example.com", "mail.example.co.uk", "uni-heidelberg.example.de", "correo.example.es", "firma.example.pl", "example.com.br",
          "ex-ample.org",
          "sub.dept.example.edu", "example.io", "exemple.fr", "posta.example.ro", "example.ru", "example.cn", "müller.de",
          "example.photography",
          "EXAMPLE.NET")
_EMAIL_AROUND = (
    "Write to {v} for details.", "Contact: {v}", "<{v}>", "From: Somebody <{v}>\nTo: all", "mailto:{v}", "Escríbenos a {v}.",
    "Envie um e-mail para {v}, por favor.",
    "Schreiben Sie an {v}!", "Envoyez un courriel à {v}.", "Scrivete a {v}; grazie.", "Scrieți la {v}.", "Mail naar {v}", "Napisz na {v}.",
    "Пишите на {v}.",
    "请发邮件至{v}联系我们。", "راسلنا على {v}", "({v})", "\"{v}\"", "e-mail={v}&x=1", "reach me at {v} or in person", "[{v}](mailto)",
    "{v} wrote:")


def _email(r: Rng) -> str:
    local = r.choice(_FIRST) + r.choice(("", "", str(r.randint(1, 99)), "." + r.choice(("smith", "lopez", "rossi"))))
    style = r.random()
    host = r.choice(_HOSTS)
    if style < 0.04:
        return f"{local.replace('+', '')} [at] {host.lower().replace('.', ' [dot] ')}"
    if style < 0.07:
        return f"{local}(at){host}"
    return f"{local}@{host}"


_PHONES_INTERNATIONAL = (
    "+1 212 555 0###", "+1 (415) 555-0###", "+1-646-555-0###", "+1.312.555.0###", "+12125550###", "+44 20 7946 0###",
    "+44 (0)20 7946 0###", "+447700900###",
    "+49 30 9018####", "+49 (0)89 2180 ####", "+49-151-2345####", "+33 1 42 68 ## ##", "+33 6 12 34 ## ##", "+34 912 34# ###",
    "+34 612 345 ###", "+39 06 6982 ####",
    "+39 347 123 ####", "+351 21 123 ####", "+351 912 345 ###", "+55 11 91234-####", "+55 (21) 3123-####", "+52 55 1234 ####",
    "+40 21 312 ####", "+40 721 234 ###",
    "+48 22 123 4# ##", "+48 601 234 ###", "+31 20 123 ####", "+31 6 1234 ####", "+7 495 123-4#-##", "+7 (916) 123-4#-##",
    "+86 138 1234 ####", "+86 10 6552 ####",
    "+966 50 123 ####", "+20 10 0123 ####", "+91 98765 4####", "+81 3-1234-####", "+41 44 668 ## ##", "+43 1 58858 ###", "+32 2 123 ## ##",
    "+54 11 4123-####",
    "0049 30 9018####", "0034 912 34# ###", "00 44 20 7946 0###")
_PHONES_NATIONAL = (        # (pattern, words that announce it)
    ("(212) 555-0###", "phone"), ("415-555-0###", "call me at"), ("646.555.0###", "tel."), ("1-800-555-0###", "Call"), ("212 555 0###",
        "Cell:"), ("555-0###", "phone number"),
    ("2125550###", "mobile:"), ("020 7946 0###", "Telephone"), ("07700 900###", "text me on"), ("030 9018####", "Tel.:"), ("089/2180-####",
        "Telefon"), ("0151 2345####", "Handy:"),
    ("01 42 68 ## ##", "Tél. :"), ("06.12.34.##.##", "appelez-moi au"), ("91 234 5# ##", "Teléfono:"), ("612 345 ###", "móvil"),
    ("912 34# ###", "llame al"),
    ("(11) 91234-####", "celular:"), ("21 3123-####", "Ligue para"), ("21 123 ####", "telefone"), ("912 345 ###", "telemóvel:"),
    ("06 6982 ####", "Telefono:"),
    ("347 123 ####", "cellulare"), ("021 312 ####", "telefon:"), ("0721 234 ###", "sunați la"), ("020 123 ####", "Telefoon:"),
    ("06-1234####", "bel ons op"),
    ("22 123 4# ##", "tel."), ("601 234 ###", "zadzwoń:"), ("8 (495) 123-4#-##", "тел.:"), ("8 916 123-4#-##", "Телефон"), ("13812####77",
        "电话:"), ("010-6552####", "联系电话:"),
    ("138 1234 ####", "手机"), ("050 123 ####", "هاتف:"), ("٠٥٠١٢٣####", "جوال"), ("03-1234-####", "電話:"))
_PHONE_AROUND = ("You can reach us: {v}.", "{v}", "Büro: {v}, Mo-Fr", "Contact {v} (office)", "— {v} —", "Ana, {v}, Madrid",
    "联系我们:{v}。",
                 "Notruf {v}!", "It is {v}; ask for Ion.",
                 "звоните {v}", "tel:{v}", "{v}\n{v2}")


def _digits(r: Rng, pattern: str) -> str:
    return "".join(r.choice(string.digits) if c == "#" else c for c in pattern)


def _national(r: Rng, pattern: str) -> str:
    arabic = "٠" in pattern
    return "".join((chr(0x660 + r.randrange(10)) if arabic else r.choice(string.digits)) if c == "#" else c for c in pattern)


_BBAN = {"DE": "n18", "FR": "n10c11n2", "ES": "n20", "IT": "a1n10c12", "PT": "n21", "NL": "a4n10", "GB": "a4n14", "RO": "a4c16",
         "PL": "n24", "BE": "n12", "CH": "n5c12",
         "AT": "n16", "BR": "n23a1c1", "SA": "n2c18", "AE": "n19", "NO": "n11", "MT": "a4n5c18", "TR": "n5n1c16", "SE": "n20",
         "IE": "a4n14"}


def _iban(r: Rng, valid: bool = True) -> str:
    country = r.choice(sorted(_BBAN))
    layout, bban, i = _BBAN[country], "", 0
    while i < len(layout):
        kind, i = layout[i], i + 1
        size = ""
        while i < len(layout) and layout[i].isdigit():
            size, i = size + layout[i], i + 1
        bban += "".join(r.choice({"n": string.digits, "a": string.ascii_uppercase,
                                  "c": string.digits + string.ascii_uppercase}[kind]) for _ in range(int(size)))
    number = int("".join(str(int(c, 36)) for c in bban + country + "00"))
    check = 98 - number % 97
    if not valid:
        check = (check + r.randint(1, 90)) % 97 + 2 if (check + 1) > 98 else check + 1
    compact = f"{country}{check:02d}{bban}"
    style = r.random()
    if style < 0.5:
        return " ".join(compact[j:j + 4] for j in range(0, len(compact), 4))
    if style < 0.6:
        return "-".join(compact[j:j + 4] for j in range(0, len(compact), 4))
    return compact.lower() if style > 0.95 else compact


_IBAN_AROUND = ("IBAN: {v}", "Please pay to {v} by Friday.", "Bankverbindung {v}, BIC TESTDEFF", "Cuenta {v}.",
                "Transferați în contul {v}!", "Virement sur {v} avant lundi", "conto ({v})",
                "Przelew na {v}", "счёт {v}", "汇款至{v}。", "الحساب {v}", "rekening\n{v}\nten name van")

_CARDS = (("4", 16), ("4", 13), ("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16), ("65",
    16), ("36", 14), ("3528", 16), ("3589", 16),
          ("62", 16), ("5018", 16), ("6759", 16), ("2200", 16), ("62", 19))


def _check_digit(body: str) -> int:
    total = 0
    for i, c in enumerate(reversed(body)):
        d = int(c) * (2 if i % 2 == 0 else 1)
        total += d - 9 if d > 9 else d
    return -total % 10


def _card(r: Rng, valid: bool = True) -> str:
    start, length = r.choice(_CARDS)
    body = start + "".join(r.choice(string.digits) for _ in range(length - len(start) - 1))
    check = _check_digit(body)
    number = body + str(check if valid else (check + r.randint(1, 9)) % 10)
    gap = r.choice(("", "", " ", " ", "-"))
    if not gap:
        return number
    sizes = (4, 6, 5) if length == 15 else (4, 6, 4) if length == 14 else (length,) if length == 13 else (4, 4, 4, 4, 3)
    parts, at = [], 0
    for size in sizes:
        if at < length:
            parts.append(number[at:at + size])
            at += size
    return gap.join(parts)


_CARD_AROUND = ("Card: {v}", "My card number is {v}, expires 12/29.", "pagar con {v} CVV 123", "Kartennummer {v}.", "carte {v};",
                "{v} 12/27 123", "cartão {v} (crédito)", "карта {v}", "卡号{v}。",
                "numero della carta: {v}", "البطاقة {v}", "\"card\": \"{v}\"", "Visa\t{v}\t2030")


def _ip(r: Rng) -> str:
    style = r.random()
    if style < 0.55:
        first = r.choice((10, 127, 172, 192, 8, 203, 198, 100, 85, 93, 216, 45, 151))
        rest = {192: (168,), 172: (16,), 198: (51, 100), 203: (0, 113)}.get(first, ())
        octets = [first, *rest]
        while len(octets) < 4:
            octets.append(r.randint(0, 255))
        if max(octets) < 50:
            octets[3] = r.randint(60, 250)
        return ".".join(map(str, octets))
    groups = [f"{r.randint(0, 0xFFFF):x}" for _ in range(8)]
    groups[0] = r.choice(("2001", "2a02", "fe80", "fd12", "2607"))
    if groups[0] == "2001":
        groups[1] = "db8"
    if style < 0.75:
        return ":".join(groups)
    if style < 0.8:
        return r.choice(("::1", "::ffff:192.0.2.128", "fe80::1", "2001:db8::"))
    cut = r.randint(2, 5)
    text = ":".join(groups[:cut]) + "::" + ":".join(groups[6:])
    return text.upper() if style > 0.95 else text


_IP_AROUND = ("Connection from {v} refused", "ping {v}", "The server at {v} answered.",
              "{v} - - [21/Nov/2026:10:00:00] \"GET / HTTP/1.1\"", "La dirección es {v}.", "Adresse {v}, bitte", "listen {v};",
              "blocked: {v}", "сервер {v}", "服务器{v}。", "Host [{v}] is up", "nameserver {v}", "({v})", "dst={v} proto=tcp",
              "indirizzo IP: {v}")


def _alnum(r: Rng, n: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    text = "".join(r.choice(alphabet) for _ in range(n))
    return text if any(c.isdigit() for c in text) and any(c.isalpha() for c in text) else text[:-2] + alphabet[0] + "7"


def _b64(r: Rng, n: int) -> str:
    return base64.urlsafe_b64encode(bytes(r.randrange(256) for _ in range(n))).decode().rstrip("=")


def _jwt(r: Rng) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    body = base64.urlsafe_b64encode(b'{"sub":"%d","name":"x"}' % r.randrange(10**9)).decode().rstrip("=")
    return f"{head}.{body}.{_b64(r, 32)}"


def _pem(r: Rng) -> str:
    kind = r.choice(("RSA ", "EC ", "OPENSSH ", ""))
    lines = "\n".join(_alnum(r, 64, string.ascii_letters + string.digits + "+/") for _ in range(r.randint(3, 12)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


_UPPER = string.ascii_uppercase + "234567"
_KEYS: tuple[tuple[Callable[[Rng], str], tuple[str, ...]], ...] = (
    (lambda r: "AKIA" + _alnum(r, 16, _UPPER), ("key {v}", "aws_access_key_id = {v}", "export AWS_KEY='{v}'")),
    (lambda r: r.choice(("ghp_", "gho_", "ghs_")) + _alnum(r, 36), ("git clone with {v}", "token: {v}", "{v}")),
    (lambda r: "github_pat_" + _alnum(r, 22) + "_" + _alnum(r, 59), ("use {v} here",)),
    (lambda r: f"xoxb-{r.randrange(10**11, 10**12)}-{_alnum(r, 24)}", ("SLACK={v}", "bot {v}.")),
    (lambda r: "AIza" + _alnum(r, 35), ("maps?key={v}", "Google: {v}")),
    (lambda r: r.choice(("sk-", "sk-proj-")) + _alnum(r, 48), ("openai.api_key = \"{v}\"", "Mein Schlüssel ist {v}.", "{v}")),
    (lambda r: r.choice(("sk_live_", "rk_live_", "sk_test_")) + _alnum(r, 24), ("stripe {v}", "clave {v}")),
    (_jwt, ("Authorization: Bearer {v}", "jwt={v}", "token {v}")),
    (_pem, ("Here it is:\n{v}\nkeep it safe", "{v}")),
    (lambda r: _alnum(r, r.randint(24, 40)), ("Authorization: Bearer {v}", "curl -H 'authorization: bearer {v}'", "api_key={v}",
                                              "\"apiKey\": \"{v}\"", "client_secret: {v}", "SECRET_KEY = '{v}'",
                                             "access_token={v}", "API key: {v}")),
    (lambda r: r.choice(("Tr0ub4dor", "hunter2", "S3cret!", "qwErty12", "P@ssw0rd")) + _alnum(r, r.randint(0, 6)) + "9x",
     ("password = {v}", "PASSWORD: '{v}'", "pwd={v}", "contraseña: {v}", "senha: {v}",
                                             "Passwort: {v}", "mot de passe : {v}", "hasło: {v}", "пароль: {v}", "密码:{v}",
                                             "wachtwoord={v}", "db_password: \"{v}\"")),
    (lambda r: _alnum(r, 12), ("postgres://app:{v}@db.internal:5432/x", "mysql://root:{v}@shop.internal/shop",
                               "amqp://svc:{v}@queue.example.com")),
)

_FILLER = ("The meeting moved to spring.", "Der Bericht folgt bald.", "Nada más por hoy.", "Il fait beau.", "Bună ziua tuturor.",
           "今天天气很好。", "الطقس جميل اليوم.", "Сегодня хорошая погода.",
           "She read 12 pages in 2019.", "Prices rose by 3.5 % to $1,234.56.", "")

_ALIKE: dict[str, tuple[str, ...]] = {
    "email": ("@maria_p wrote on social media", "icon@2x.png and logo@3x.jpg", "the @property decorator",
              "git@github.com:group/project.git", "npm i left@1.2.3", "x = a @ b", "meet @ 5pm", "user@", "@example.com",
              "C = A@B.T", "look at my dot matrix printer", "meet me at noon (at the station)", "@media (max-width: 600px)",
              "name@version", "foo@@bar", "it sells @ 3.50 each", "pkg@latest.js"),
    "phone": ("Order number 2#######4#", "ISBN 978-3-16-148###-0", "ISBN 0-306-40###-2", "invoice no. 2026-00####",
              "on 2026-11-2# at 10:30", "between 1914-1918 and 1939-1945", "12/0#/2024", "serial SN-4#######9",
              "S/N 0012####89", "tracking 1Z999AA1012345####", "pi is 3.14159265##", "latitude 48.8566##, longitude 2.3522##",
              "1,234,567,8##", "population 1 4## 000 000", "id: 2125550###", "ts=17000#####",
              "2026-11-21T05:53:38.123456", "call 3 times", "the phone costs 1299 euros", "room 101-205", "score 21-19 21-17",
              "Bestellnummer 49301###20", "pedido 91234####", "iPhone 13 2021 256 GB", "+5 % in 2024",
              "C++11 and C++17", "1 + 2125550123 = ?", "x+123456789 y", "+1000000000000", "0x7fff5fbff8##", "v2.10.3-2024.11", "#A1B2C3",
              "订单号2026112112####", "رقم الطلب 2026####12", "заказ 49512345##",
              "version 10.0.19045", "E = 1.602176634e-19", "DOI 10.1000/182##4", "EAN 40063813339##", "ISSN 0317-84##",
              "phone model 3310 2000", "the years 1999 2000 2001", "98765432101234567890##", "tel aviv 2024"),
    "iban": ("GB## is a prefix", "order DE12 3456 7890", "DE00 0000", "code AB12CD34EF56", "ES6 modules, ES2015", "FR-75001 Paris",
             "part NO93ABC", "UUID de305d54-75b4-431b-adb2-eb6b9e546014", "IT5", "PL2303 driver"),
    "card": ("order 4111-1111", "ISBN 9783161484100", "id 1234567890123456", "0.4111111111111111", "4111111111111111111111",
             "ref 7###########0000", "00000000-0000-4000-8000-000000000000", "timestamp 1700000000000",
             "4444 people, 4000 cars", "2001 2002 2003 2004", "1111 2222 3333 4444"),
    "ip": ("version 1.2.3.4", "v10.2.0.1", "Section 4.1.2.3 says", "§ 2.3.1.4", "Chrome/120.0.0.0 Safari/537.36",
           "pip install numpy==1.26.4.1", "build 10.0.19.1", "999.1.2.3", "256.256.256.256", "1.2.3", "1.2.3.4.5",
           "Release 3.11.0.2 is out", "12:34:56", "std::vector<int>", "a::b::c", "x :: Int", "00:1a:2b:3c:4d:5e", "Kapitel 3.2.1.1",
           "at 10:30:00 sharp", "ratio 16:9:4", "1.1.2.3 Overview\ntext", "Figure 2.4.1.3",
           "OpenSSL 3.0.2.1", "firmware 7.12.1.3", "foo::bar", "Abschnitt 5.1.2.2", "0.0.0", "sección 2.1.3.1", "第3.2.1.1节",
           "lib-2.4.1.8.tar.gz", "10.1.2", "std::ad::be", "dead::end"),
    "key": ("commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "md5 d41d8cd98f00b204e9800998ecf8427e", "color: #a1b2c3",
            "password: your_password_here", "password = ********", "password=os.environ['DB_PASSWORD']",
            "The secret of success: perseverance", "Bearer token authentication is common", "token: str = field()", "api_key = None",
            "the password: it must be long", "sk-learn is a library", "task-force and risk-based-assessment",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "https://user@example.com/path", "http://localhost:8080/a@b",
            "uuid 123e4567-e89b-12d3-a456-426614174000", "secret = get_secret(name)",
            "password_hash = hash(password)", "token = tokenizer.decode(ids)", "API key: see the documentation", "passwort: siehe unten",
            "Asia and eyJafjallajökull", "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "max_tokens=4096", "password: ${DB_PASSWORD}", "api_key: <your key>", "the token bucket: 1000", "num_tokens: 123456",
            "secret: false", "hf_transfer speeds it up", "npm_config_registry", "senha: obrigatória"),
}
"""Harmless look-alikes; # is a random digit."""


def personal(seed: int, each: int = 120) -> list[Planted]:
    """`each` texts of every kind with something in them, and as many look-alikes, shuffled. The same for the same seed."""
    r = Rng(seed)
    rows: list[Planted] = []

    def add(kind: str, around: str, value: str, second: str = "") -> None:
        text = around.replace("{v}", value, 1) if "{v2}" not in around else around.replace("{v}", value, 1).replace("{v2}", second)
        values = ((kind, value), (kind, second)) if "{v2}" in around else ((kind, value),)
        before, after = r.choice(_FILLER), r.choice(_FILLER)
        rows.append(Planted(f"{before} {text} {after}".strip(" ") if r.random() < 0.6 else text, kind, values))

    for _ in range(each):
        add("email", r.choice(_EMAIL_AROUND), _email(r))
        add("phone", r.choice(_PHONE_AROUND), _digits(r, r.choice(_PHONES_INTERNATIONAL)), _digits(r, r.choice(_PHONES_INTERNATIONAL)))
        pattern, word = r.choice(_PHONES_NATIONAL)
        add("phone", f"{word} {{v}}", _national(r, pattern))
        add("iban", r.choice(_IBAN_AROUND), _iban(r))
        add("card", r.choice(_CARD_AROUND), _card(r))
        add("ip", r.choice(_IP_AROUND), _ip(r))
        make, around = r.choice(_KEYS)
        add("key", r.choice(around), make(r))
        for kind, texts in _ALIKE.items():
            text = "".join(r.choice(string.digits) if c == "#" and "#A1B" not in t and "#a1b" not in t else c for t in (r.choice(texts),
                ) for c in t)
            rows.append(Planted(f"{r.choice(_FILLER)} {text} {r.choice(_FILLER)}".strip(" ") if r.random() < 0.6 else text, kind, ()))
        rows.append(Planted(r.choice(_CARD_AROUND).replace("{v}", _card(r, valid=False)), "card", ()))
        rows.append(Planted(r.choice(_IBAN_AROUND).replace("{v}", _iban(r, valid=False)), "iban", ()))
    r.shuffle(rows)
    return rows


class Figures(NamedTuple):
    """How one kind was found: counts of values, not of texts."""

    right: int
    missed: int
    wrong: int

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


def measure(rows: list[Planted], find: Callable[[str], list[tuple[int, int, str]]]) -> tuple[dict[str, Figures], list[str]]:
    """Figures by kind, and a line for each mistake. A value is found when a span of its kind covers it with at most two characters more;
    every other span is wrong, of whatever kind it claims to be."""
    counts: dict[str, list[int]] = {}
    mistakes: list[str] = []
    for row in rows:
        spans = list(find(row.text))
        for kind, value in row.values:
            tally = counts.setdefault(kind, [0, 0, 0])
            hit = next((s for s in spans if s[2] == kind and value in row.text[s[0]:s[1]] and s[1] - s[0] <= len(value) + 2), None)
            if hit:
                spans.remove(hit)
                tally[0] += 1
            else:
                tally[1] += 1
                mistakes.append(f"missed {kind}: {value!r} in {row.text!r}")
        for start, end, kind in spans:
            counts.setdefault(kind, [0, 0, 0])[2] += 1
            mistakes.append(f"wrong {kind}: {row.text[start:end]!r} in {row.text!r}")
    return {kind: Figures(*tally) for kind, tally in sorted(counts.items())}, mistakes


_WRITTEN = r"""
Ph: {{phone|+91-98765-43210}}
P: {{phone|555.123.4567}} F: {{phone|555.123.4568}}
({{phone|+351) 912 345 678}}
Tel. {{phone|+49/30/901820}}
WhatsApp: {{phone|55 11 91234-5678}}
Hotline {{phone|0800 123 4567}} (free)
My number's {{phone|+1-202-555-0143}} ext. 12
call me on {{phone|0161 496 0000}}
phone={{phone|2025550143}}&x=1
"phone": "{{phone|(202) 555-0143}}"
Tel/Fax: {{phone|+40-21-312.34.56}}
тел. {{phone|+7(495)123-45-67}}
Mobil {{phone|0171/1234567}}
cell phone is {{phone|202-555-0143}}
Contact no: {{phone|9876543210}}
my phone number is {{phone|202 555 0143}}.
Give me a ring: {{phone|020 7946 0123}}
You can call {{phone|1 (800) 555-0199}} toll free
Fono: {{phone|+56 2 2345 6789}}
{{email|JOHN.DOE@EXAMPLE.COM}}
write:{{email|a.b@c.de}},{{email|d@e.fr}};{{email|g_h@i-j.org}}
{{email|john.doe@example.com}}.Then he left
email:{{email|x@y.museum}}!
{{email|"quoted"@example.com}}
{{email|user{at}example{dot}com}}
{{email|name at company dot com}}
{{email|first.last@firma.com.pl}}>
IP:{{ip|8.8.8.8}}
DNS {{ip|1.1.1.1}} and {{ip|9.9.9.9}}
{{ip|10.0.0.0}}/8 and [{{ip|2001:db8::1}}]:443
http://{{ip|192.168.1.1}}/admin
from={{ip|203.0.113.9}}:8080
{{ip|172.16.254.1}}-{{ip|172.16.254.9}}
Received: from mail ([{{ip|198.51.100.7}}])
X-Forwarded-For: {{ip|203.0.113.1}}, {{ip|70.41.3.18}}
{{card|4111.1111.1111.1111}}
cc:{{card|4012888888881881}};
PAN={{card|5555555555554444}}
Amex {{card|3714 496353 98431}}
{{card|4222222222222}}
Authorization: Basic {{key|dXNlcjpwYXNzd29yZDEyMw==}}
DB_PASS={{key|x9Kd02msQq}}
PGPASSWORD={{key|x9Kd02msQq}} psql
pass: {{key|Sommer2024!}}
login: bob / password: {{key|Blue42Sky}}
secretKey: '{{key|9aF83kLmN02pQrStUvWx}}'
"access_token":"{{key|9aF83kLmN02pQrStUvWx12}}"
AWS_SECRET_ACCESS_KEY={{key|wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY}}
x-api-key: {{key|9aF83kLmN02pQrStUvWx12}}
redis://:{{key|p4ssw0rdX}}@cache:6379/0
mongodb+srv://bob:{{key|p4ssw0rdX}}@cluster0.example.net/db
Server=db;User Id=sa;Password={{key|Str0ng!Pass}};
AccountKey={{key|Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZg==}};
telegram {{key|123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawx}}
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 public key
password reset link sent
The password is {{key|hunter2}}
my password is {{key|Tr0ub4dor&3}}, do not share
IBAN:{{iban|NL91ABNA0417164300}}.
{{iban|GB29 NWBK 6016 1331 9268 19}}
{{iban|CH93 0076 2011 6238 5295 7}}
BIC: COBADEFFXXX
Version 4.10.0.1 of 2024
See 10.1.1.2 for the proof
Table 5.6.7.8
The price is 4111 1111 EUR
ISBN-13: 978-0-306-40615-7
EIN 12-3456789
born 12.05.1985 in Rome
flight LH 1234 567
SSN 078-05-1120
2024-05-12T10:22:33+02:00
+1 for this idea
temperature +12.5 to +1000
phones 10 and 11 cost 1,299.00
GPS 40.712776, -74.005974
lines 1200-1350, pp. 212-555
git@gitlab.com:group/x.git
foo@bar
a@b.c
x@y.z = 3
user@host:~$ ls
@user.name said
matrix A@B.T + b@c.dot(d)
sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709
token count: 128000
password must contain 8 characters
secret santa: December 24th
the key "api_key" is required
token = tokens[i+1]
Bearer of good news in 2024
AKIA is the prefix
sk-SK locale, sk-learn
10:20:30:40
::
f::a
class A::B::C
MAC 00:1B:44:11:3A:B7
time 12:30::45
1.2.3.4-beta
1.2.3.4.5
127.0.0.1.example.com
© 1999-2024 4.5.6.7
Linux 5.15.0.91
Ubuntu 22.04.3.1
add 1.2.3.4 to cart
dpkg 1.19.0.5ubuntu2
phone 12 pro
call 100 200 300 people
"""
_VALUE = re.compile(r"\{\{(\w+)\|(.*?)\}\}")


def written() -> list[Planted]:
    """Lines written by hand after the finders were made, in forms that the patterns above do not have. Half of the first ten mistakes in
    them were then mended (assignments, "the password is"); the rest stand."""
    rows = []
    for line in _WRITTEN.strip().splitlines():
        values = tuple((kind, value.strip('()"')) for kind, value in _VALUE.findall(line))
        rows.append(Planted(_VALUE.sub(r"\2", line), values[0][0] if values else "none", values))
    return rows
