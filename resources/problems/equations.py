"""Equations

Solve for x: one step at level 1, two steps, x on both sides, two unknowns, and at level 5 the larger root of a quadratic equation. All
answers are whole numbers.
"""

LEVELS = 5


def generate(random, level):
    x = random.randint(-12, 20)
    if level == 1:
        a = random.randint(1, 30)
        text = f"x + {a} = {x + a}" if random.random() < 0.5 else f"x - {a} = {x - a}"
    elif level == 2:
        a, b = random.randint(2, 12), random.randint(1, 40)
        text = f"{a}x + {b} = {a * x + b}" if random.random() < 0.5 else f"{a}x - {b} = {a * x - b}"
    elif level == 3:
        a, c = random.sample(range(2, 13), 2)
        b, d = random.randint(-40, 40), 0
        d = a * x + b - c * x
        text = f"{term(a, 'x', True)}{term(b)} = {term(c, 'x', True)}{term(d)}"
    elif level == 4:
        y = random.randint(-9, 15)
        a, b, c, d = (random.choice([-5, -4, -3, -2, 2, 3, 4, 5]) for _ in range(4))
        if a * d == b * c:
            return generate(random, level)
        text = (f"{term(a, 'x', True)}{term(b, 'y')} = {a * x + b * y} and {term(c, 'x', True)}{term(d, 'y')} = {c * x + d * y}")
    else:
        other = x - random.randint(1, 15)
        text = f"x² {term(-(x + other), 'x').strip()} {term(x * other).strip()}".replace("  ", " ").strip() + " = 0"
        return {"prompt": f"What is the larger solution for x: {text}?", "answer": str(x)}
    return {"prompt": f"Solve for x: {text}", "answer": str(x)}


def term(factor, name="", first=False):
    """With its sign; nothing where the factor is 0."""
    if not factor:
        return "0" if first else ""
    size = f"{'' if name and abs(factor) == 1 else abs(factor)}{name}"
    return ("-" if factor < 0 else "") + size if first else f" {'-' if factor < 0 else '+'} {size}"
