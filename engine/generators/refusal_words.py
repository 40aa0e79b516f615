"""Answers in which a model declines instead of answering, by its stock phrases, in thirteen languages.

Only the beginning is looked at, and only phrases that speak for a model: a letter that declines an invitation, a character who says "I'm
sorry, Dave", condolences and "As an AI researcher" are answers. A refusal in free words is not found.
"""

import re

BEGINNING = 320
"""Characters that are looked at."""

_HELP = (r"(?:assist|help(?! (?:but|noticing|feeling|thinking|it\b|you (?:move|pack|carry)))|fulfil+|comply|provide|respond|generate|"
         r"create|produce|answer(?! the (?:phone|door|call))|(?:do|write) (?:that|this|such)|discuss|engage|participate|access|browse|"
         r"give (?:you )?(?:medical|legal|financial|advice|instructions|information)|have (?:personal|real-time|access))")

_PHRASES: dict[str, tuple[str, ...]] = {
    "en": (
        # "I'm sorry, but I can't assist with that.", "Unfortunately, I am unable to provide ..."
        r"(?:(?:i['’]?m|i am) (?:very |really |so |truly )?sorry|sorry|i apologi[sz]e|my apologies|unfortunately|regrettably)\b"
        r"[^.!?\n]{0,60}?"
        r"\bi (?:can ?not|can['’]t|am (?:not able|unable)|won['’]t|will not|don['’]t|do not)(?: be able)?(?: to)? " + _HELP,
        r"(?:(?:i['’]?m|i am) (?:very |really |so )?sorry|sorry|unfortunately)[^.!?\n]{0,30}?\bi['’]?m (?:not able|unable) to " + _HELP,
        # At the very beginning, without an apology.
        r"i (?:can ?not|can['’]t|am (?:not able|unable) to|will not|won['’]t) (?:assist|help (?:you )?with|fulfil+|comply with|engage in|"
        r"provide (?:any |you (?:with )?)?(?:information|instructions|assistance|guidance|advice|medical|legal|that|this)|"
        r"generate|create (?:that|this|content|explicit)|participate|support (?:that|this)|answer (?:that|this))",
        r"(?:i['’]m|i am) (?:not able|unable) to (?:assist|help|fulfil+|comply|provide|answer|generate|access|browse|engage)",
        r"(?:i['’]m|i am) not (?:comfortable|programmed|designed|allowed|permitted) (?:with |to )"
        r"(?:assist|help|provid|discuss|generat|answer|creat|writ)",
        r"i must (?:respectfully |politely )?(?:decline|refuse)\b(?! (?:the|your) (?:invitation|offer))",
    ),
    "de": (r"(?:es tut mir (?:sehr )?leid|tut mir leid|leider|entschuldigung)\b[^.!?\n]{0,40}?\b(?:kann|darf|werde) ich (?:ihnen |dir |"
           r"diese[rs]? |dabei |hierbei |darauf |das |keine |nicht |dazu |leider )*[^.!?\n]{0,40}?(?:nicht helfen|weiterhelfen|behilflich|"
           r"unterstützen|beantworten|bereitstellen|geben|erfüllen|erstellen)",
           r"ich kann (?:ihnen |dir )?(?:bei dieser (?:anfrage|bitte)|dabei|hierbei|damit) (?:leider )?nicht (?:helfen|behilflich|"
           r"weiterhelfen)"),
    "es": (r"(?:lo siento|lo lamento|disculpa|perdón|lamentablemente)\b[^.!?\n]{0,40}?\bno (?:puedo|me es posible|soy capaz de) "
           r"(?:ayudar|asistir|proporcionar|responder|cumplir|generar|crear|ofrecer|participar|hacer eso)",),
    "fr": (r"(?:je suis (?:vraiment )?désolée?|désolée?|je regrette|malheureusement)\b[^.!?\n]{0,40}?\bje ne (?:peux|puis|suis)"
           r"[^.!?\n]{0,24}?(?:aider|assister|fournir|répondre|satisfaire|générer|créer|participer|faire cela)",),
    "it": (r"(?:mi dispiace|spiacente|purtroppo|mi scuso)\b[^.!?\n]{0,40}?\bnon (?:posso|sono in grado di) "
           r"(?:aiutar|assister|fornir|rispondere|soddisfare|generare|creare|partecipare|farlo)",),
    "pt": (r"(?:desculpe|sinto muito|lamento|infelizmente)\b[^.!?\n]{0,40}?\bnão (?:posso|consigo|sou capaz de) "
           r"(?:ajudar|auxiliar|fornecer|responder|atender|gerar|criar|participar|fazer isso)",),
    "nl": (r"(?:het spijt me|sorry|helaas)\b[^.!?\n]{0,40}?\b(?:kan ik|ik kan)\b[^.!?\n]{0,40}?\bniet (?:bij |mee )?(?:helpen|beantwoorden|"
           r"geven|bieden|voldoen|uitvoeren)",),
    "pl": (r"(?:przykro mi|przepraszam|niestety)\b[^.!?\n]{0,40}?\bnie (?:mogę|jestem w stanie) (?:pomóc|ci pomóc|udzielić|"
           r"odpowiedzieć|dostarczyć|spełnić|wygenerować)",),
    "ru": (r"(?:извините|простите|к сожалению|мне (?:очень )?жаль)\b[^.!?\n]{0,40}?\bне (?:могу|в состоянии|смогу) "
           r"(?:вам |тебе )?(?:помочь|предоставить|ответить|выполнить|создать|обсуждать)",),
    "tr": (r"(?:üzgünüm|özür dilerim|maalesef)\b[^.!?\n]{0,80}?(?:yardımcı olamam|yardım edemem|sağlayamam|veremem|cevaplayamam|"
           r"yanıtlayamam)",),
    "zh": (r"(?:(?:很|非常)?抱歉|对不起|對不起|不好意思)[^。！？\n]{0,24}?(?:无法|不能|無法)[^。！？\n]{0,16}?"
           r"(?:帮助|提供|回答|满足|完成|协助|生成|讨论|幫助|滿足)",),
    "ja": (r"(?:申し訳(?:ありません|ございません)|すみません|ごめんなさい)[^。！？\n]{0,60}?"
           r"(?:お手伝い|お答え|回答|提供|対応|お応え)[^。！？\n]{0,16}?(?:できません|出来ません|いたしかねます|できかねます)",),
    "ko": (r"(?:죄송합니다|죄송하지만|미안합니다|유감스럽게도)[^。.!?\n]{0,40}?"
           r"(?:도와드릴 수 없|도울 수 없|제공할 수 없|답변할 수 없|답변드릴 수 없)",),
}

_MODEL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|large language model|language model)(?: (?:language )?(?:model|assistant|chatbot))?"
    r"(?: (?:developed|created|trained) by \w+)?,? i(?:['’]m| am| do| don['’]t| can| have| cannot)\b|"
    r"\bals (?:ki|künstliche intelligenz|sprachmodell)(?:-\w+)? (?:kann|habe|bin|darf) ich\b|"
    r"\bcomo (?:una? )?(?:ia|inteligencia artificial|inteligência artificial|modelo de (?:lenguaje|linguagem))\b[^.\n]{0,30}?,? "
    r"(?:no|não)\b|"
    r"\ben tant qu['’](?:ia|intelligence artificielle|assistant ia|modèle de langage)\b[^.\n]{0,20}?,? je ne\b|"
    r"作为(?:一个|一名)?(?:AI|人工智能|语言模型)[^。\n]{0,12}我(?:不|没|无法)|"
    r"как (?:ии|искусственный интеллект|языковая модель),? я не\b", re.I)
_START = re.compile(r"\A[\s\"'“”*_>-]*(?:(?:hi|hello|hey|thank you for (?:asking|your question|reaching out))[^.!?\n]{0,30}[,.!] +)?(?:"
                    + "|".join(f"(?:{phrase})" for phrases in _PHRASES.values() for phrase in phrases) + ")", re.I)
_QUOTED = re.compile(r"\"[^\"\n]{4,}\"|“[^”\n]{4,}”|«[^»\n]{4,}»|„[^“\n]{4,}“|```.*?(?:```|\Z)", re.S)
_NOT_SAID = re.compile(r"\A\W*(?:(?:unfortunately|sorry),? )?(?:the|this) (?:(?:given|provided|above) )?"
                       r"(?:passage|text|document|excerpt|article|context) (?:does not|doesn['’]t|did not) (?:\w+ )?"
                       r"(?:mention|say|state|provide|specify|contain|give|include|tell|explain|answer)", re.I)


def refuses(answer: str) -> bool:
    """Whether an answer begins by declining, or speaks as a model about what it cannot do."""
    start = _QUOTED.sub(" ", answer[:BEGINNING * 2]).strip()[:BEGINNING]
    return bool(_START.match(start) or _MODEL.search(start))


def says_it_is_not_there(answer: str) -> bool:
    """Whether an answer says that a passage does not tell."""
    return bool(_NOT_SAID.match(answer))
