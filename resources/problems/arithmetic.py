"""Arithmetic

Sums of whole numbers, written as people write them: one operation on small numbers at level 1, four with parentheses at level 5.
"""

LEVELS = 5


def generate(random, level):
    if level == 1:
        a, b = random.randint(0, 12), random.randint(0, 12)
        text = f"{a} + {b}" if random.random() < 0.6 else f"{max(a, b)} - {min(a, b)}"
    elif level == 2:
        if random.random() < 0.3:
            text = f"{random.randint(2, 10)} * {random.randint(2, 10)}"
        else:
            a, b = random.randint(10, 99), random.randint(10, 99)
            text = f"{a} + {b}" if random.random() < 0.5 else f"{max(a, b)} - {min(a, b)}"
    elif level == 3:
        kind, a, b = random.randrange(4), random.randint(100, 999), random.randint(100, 999)
        factor, other = random.randint(3, 12), random.randint(13, 99)
        text = [f"{a} + {b}", f"{a} - {b}", f"{other} * {factor}", f"{other * factor} / {factor}"][kind]
    elif level == 4:
        a, b, c = (random.randint(3, 99) for _ in range(3))
        few = random.randint(2, 12)
        text = random.choice([f"{a} + {b} * {few}", f"({a} + {b}) * {few}", f"{few} * ({a} - {b}) + {c}", f"{a} * {few} - {b}",
                              f"{a * few} / {few} + {b} - {c}"])
    else:
        a, b, c, d = (random.randint(11, 199) for _ in range(4))
        few, more = random.randint(2, 12), random.randint(2, 9)
        text = random.choice([f"({a} + {b}) * {few} - {c}", f"{a} * {few} + {b} * {more}", f"{few} * ({a} - {b}) + {more} * ({c} - {d})",
                              f"({a} - {b}) * ({few} + {more}) + {c}", f"({a * few} / {few} + {b}) * {more} - {c}"])
    return {"prompt": f"What is {text}?", "answer": str(value(text))}


def value(text):
    """Of a sum as it is written. Every division in it leaves no rest."""
    tokens = text.replace("(", "( ").replace(")", " )").split()
    return added(tokens)


def added(tokens):
    total = multiplied(tokens)
    while tokens and tokens[0] in "+-":
        sign = tokens.pop(0)
        other = multiplied(tokens)
        total = total + other if sign == "+" else total - other
    return total


def multiplied(tokens):
    total = single(tokens)
    while tokens and tokens[0] in "*/":
        sign = tokens.pop(0)
        other = single(tokens)
        total = total * other if sign == "*" else total // other
    return total


def single(tokens):
    token = tokens.pop(0)
    if token != "(":
        return int(token)
    inside = added(tokens)
    tokens.pop(0)
    return inside
