"""Names of languages as people write them, and the codes that texts are told by (engine/text/cleaning/language.py). Tables only."""

import re
from functools import cache

from engine.text.cleaning import language

_OWN = {
    "ar": "العربية arabe arabisch", "bg": "български", "bn": "বাংলা bangla", "ca": "català catalán", "cs": "čeština česky tschechisch",
    "da": "dansk dänisch", "de": "deutsch alemán allemand tedesco alemão niemiecki", "el": "ελληνικά griechisch griego",
    "en": "englisch inglés anglais inglese inglês angielski engels английский 英语 英語 영어",
    "es": "español espanol castellano spanisch espagnol spagnolo espanhol castilian 西班牙语 スペイン語", "et": "eesti", "eu": "euskara",
    "fa": "فارسی farsi", "fi": "suomi finnisch",
    "fr": "français francais französisch francés francese francês 法语 フランス語", "ga": "gaeilge", "he": "עברית ivrit",
    "hi": "हिन्दी हिंदी",
    "hr": "hrvatski", "hu": "magyar ungarisch", "id": "bahasa", "is": "íslenska", "it": "italiano italienisch italien",
    "ja": "日本語 japanisch japonés japonais", "ko": "한국어 koreanisch coreano", "la": "latein latina", "lt": "lietuvių", "lv": "latviešu",
    "nl": "nederlands niederländisch holandés flemish", "no": "norsk bokmål norwegisch", "pl": "polski polnisch polaco polonais",
    "pt": "português portugues portugiesisch portugués portugais brazilian",
    "ro": "română rumänisch moldovan", "ru": "русский russisch ruso russe",
    "sk": "slovenčina", "sl": "slovenščina", "sr": "српски srpski", "sv": "svenska schwedisch sueco", "ta": "தமிழ்", "th": "ไทย ภาษาไทย",
    "tr": "türkçe turkce türkisch turco turc", "uk": "українська ukrainisch", "ur": "اردو", "vi": "tiếng việt",
    "zh": "中文 汉语 漢語 普通话 mandarin chinesisch chino chinois 中国語 cantonese", "tl": "filipino", "cy": "cymraeg", "hy": "հայերեն",
    "ka": "ქართული", "km": "ខ្មែរ",
}
_ENGLISH = {
    "af": "afrikaans", "am": "amharic", "ar": "arabic", "as": "assamese", "az": "azerbaijani azeri", "ba": "bashkir", "be": "belarusian",
    "bg": "bulgarian", "bn": "bengali", "bo": "tibetan", "br": "breton", "bs": "bosnian", "ca": "catalan", "cs": "czech", "cy": "welsh",
    "da": "danish", "de": "german", "el": "greek", "en": "english", "eo": "esperanto", "es": "spanish", "et": "estonian", "eu": "basque",
    "fa": "persian", "fi": "finnish", "fo": "faroese", "fr": "french", "fy": "frisian", "ga": "irish", "gl": "galician", "gu": "gujarati",
    "ha": "hausa", "he": "hebrew", "hi": "hindi", "hr": "croatian", "ht": "haitian creole", "hu": "hungarian", "hy": "armenian",
    "id": "indonesian", "ig": "igbo", "is": "icelandic", "it": "italian", "ja": "japanese", "jv": "javanese", "ka": "georgian",
    "kk": "kazakh", "km": "khmer", "kn": "kannada", "ko": "korean", "ku": "kurdish", "ky": "kyrgyz", "la": "latin", "lb": "luxembourgish",
    "lo": "lao", "lt": "lithuanian", "lv": "latvian", "mg": "malagasy", "mk": "macedonian", "ml": "malayalam", "mn": "mongolian",
    "mr": "marathi", "ms": "malay", "mt": "maltese", "my": "burmese", "ne": "nepali", "nl": "dutch", "no": "norwegian", "oc": "occitan",
    "pa": "punjabi", "pl": "polish", "ps": "pashto", "pt": "portuguese", "qu": "quechua", "ro": "romanian", "ru": "russian",
    "sa": "sanskrit", "si": "sinhala", "sk": "slovak", "sl": "slovenian slovene", "so": "somali", "sq": "albanian", "sr": "serbian",
    "sv": "swedish", "sw": "swahili", "ta": "tamil", "te": "telugu", "tg": "tajik", "th": "thai", "tl": "tagalog", "tr": "turkish",
    "ug": "uyghur", "uk": "ukrainian", "ur": "urdu", "uz": "uzbek", "vi": "vietnamese", "wa": "walloon", "xh": "xhosa", "yo": "yoruba",
    "zh": "chinese", "zu": "zulu",
}


@cache
def _codes() -> dict[str, str]:
    made = {code: code for code in language.known() if code != language.CODE}
    for table in (_ENGLISH, _OWN):
        for code, names in table.items():
            made |= dict.fromkeys(names.split(), code)
    return made


def code_of(name: str) -> str:
    """The code of a language as people write it: "Spanish", "español", "es", "Brazilian Portuguese", "German (Austria)"; "" where none or
    several are named."""
    words = re.findall(r"[^\W\d_]+", name.casefold())
    whole = _codes().get(name.strip().casefold())
    found = {_codes()[word] for word in words if word in _codes() and (len(word) > 3 or not word.isascii())}
    return whole or (found.pop() if len(found) == 1 else "")


@cache
def _named() -> re.Pattern[str]:
    ascii_names = sorted({w for t in (_ENGLISH, _OWN) for names in t.values() for w in names.split() if len(w) > 2}, key=len, reverse=True)
    spaced = [re.escape(w) for w in ascii_names if ord(w[0]) < 0x2E80]
    dense = [re.escape(w) for w in ascii_names if ord(w[0]) >= 0x2E80] + ["中文", "法语", "英语"]
    return re.compile(r"\b(?:" + "|".join(spaced) + r")\b|" + "|".join(dense) + r"|\btranslat|\bübersetz|\btradu[cizç]|перев[её]д", re.I)


def names_a_language(text: str) -> bool:
    """Whether a text names a language or speaks of translating: what answers it may then be in another language."""
    return bool(_named().search(text))
