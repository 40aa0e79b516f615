"""Unit conversion

Lengths, masses, volumes and times: into a smaller unit at level 1, into a larger one at level 2, mixed ones at level 3, speeds and areas at
level 4. Answers are exact numbers, without the unit.
"""

LEVELS = 4
# What one of each is in the smallest of its kind.
KINDS = {
    "length": {"millimetres": 1, "centimetres": 10, "metres": 1000, "kilometres": 1000000},
    "mass": {"grams": 1, "kilograms": 1000, "tonnes": 1000000},
    "volume": {"millilitres": 1, "centilitres": 10, "litres": 1000},
    "time": {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400},
}


def generate(random, level):
    units = KINDS[random.choice(sorted(KINDS))]
    names = sorted(units, key=units.get)
    if level == 1:
        n = random.randrange(len(names) - 1)
        small, large = names[n], names[n + 1]
        amount = random.randint(2, 60)
        return problem(f"How many {small} are {amount} {large}?", amount * units[large], units[small])
    if level == 2:
        a, b = sorted(random.sample(range(len(names)), 2))
        small, large = names[a], names[b]
        factor = units[large] // units[small]
        if factor > 100000:     # a millionth is no number to reckon with in the head
            return generate(random, level)
        step = factor // 20 if factor % 20 == 0 else factor // 4 if factor % 4 == 0 else max(1, factor // 10)
        amount = step * random.randint(2, 120)
        return problem(f"How many {large} are {amount} {small}?", amount * units[small], units[large])
    if level == 3:
        a, b = sorted(random.sample(range(len(names)), 2))
        small, large = names[a], names[b]
        factor = units[large] // units[small]
        many, rest = random.randint(2, 12), random.randint(1, factor - 1) if factor <= 1000 else 250 * random.randint(1, 39)
        into = names[random.randrange(a + 1)]
        return problem(f"How many {into} are {many} {large} and {rest} {small} together?", many * units[large] + rest * units[small],
                       units[into])
    kind = random.randrange(4)
    if kind == 0:
        speed = random.randint(2, 90)
        return problem(f"Something moves at {speed} metres a second. How many kilometres an hour is that?", speed * 36, 10)
    if kind == 1:
        speed = 9 * random.randint(2, 80)
        return problem(f"Something moves at {speed} kilometres an hour. How many metres a second is that?", speed * 10, 36)
    wide, long = random.randint(2, 60), random.randint(2, 60)
    if kind == 2:
        return problem(f"A floor is {wide} metres wide and {long * 10} centimetres long. How many square metres is it?", wide * long, 10)
    return problem(f"A plate is {wide} centimetres wide and {long} millimetres long. How many square millimetres is it?", wide * 10 * long, 1)


def problem(prompt, amount, unit):
    """`amount` over `unit`, as an exact decimal number."""
    whole, rest = divmod(amount, unit)
    digits = ""
    while rest and len(digits) < 12:
        digit, rest = divmod(rest * 10, unit)
        digits += str(digit)
    assert not rest, "no exact decimal"
    return {"prompt": prompt, "answer": f"{whole}.{digits}" if digits else str(whole)}
