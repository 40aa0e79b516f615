"""Number sequences

Which number comes next: equal steps at level 1, shrinking and multiplied ones, growing steps, sums of the two before, and at level 5 rules
that multiply and add.
"""

LEVELS = 5


def generate(random, level):
    if level == 1:
        first, step = random.randint(0, 30), random.randint(1, 12)
        row = [first + n * step for n in range(5)]
    elif level == 2:
        if random.random() < 0.6:
            first, step = random.randint(20, 120), -random.randint(2, 19)
            row = [first + n * step for n in range(5)]
        else:
            first, factor = random.randint(1, 40), random.randint(2, 5)
            row = [first * factor ** n for n in range(5)]
    elif level == 3:
        first, step, more = random.randint(-20, 40), random.randint(1, 12), random.choice([-3, -2, 1, 2, 3, 4, 5])
        row = [first + n * step + more * n * (n - 1) // 2 for n in range(6)]
    elif level == 4:
        if random.random() < 0.5:
            row = [random.randint(1, 25), random.randint(1, 25)]
            while len(row) < 7:
                row.append(row[-1] + row[-2])
        else:
            one, other = random.randint(1, 30), random.randint(40, 90)
            up, down = random.randint(2, 9), random.randint(2, 9)
            row = [one + n // 2 * up if n % 2 == 0 else other - n // 2 * down for n in range(8)]
    else:
        first, factor, more = random.randint(1, 12), random.choice([-2, 2, 3, 4]), random.choice([-7, -5, -3, -2, -1, 1, 2, 3, 5, 7])
        row = [first]
        while len(row) < 6:
            row.append(factor * row[-1] + more)
        if row[0] == row[1]:        # the same number again and again is no riddle
            return generate(random, level)
    return {"prompt": f"Which number comes next: {', '.join(map(str, row[:-1]))}, …?", "answer": str(row[-1])}
