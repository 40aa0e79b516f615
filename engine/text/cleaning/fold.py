"""Lower case that keeps every position, so that what is found in the folded text can be cut out of the text itself."""


def fold(text: str) -> str:
    """`text` in lower case, letter for letter: the dotted capital I is the one letter whose lower case is two."""
    folded = text.lower()
    return folded if len(folded) == len(text) else "".join(c if len(c.lower()) != 1 else c.lower() for c in text)
