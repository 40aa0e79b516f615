"""Sorting

Numbers and words to put in order: three small numbers at level 1, nine decimals by their distance from zero at level 5.
"""

LEVELS = 5
WORDS = ("anchor apple arrow basket beacon blanket bridge bucket candle carpet castle cellar cherry circle cloud copper corner cotton "
         "desert dragon eagle engine falcon feather fiddle forest garden ginger glacier hammer harbour hazel helmet island ivory jacket "
         "kettle ladder lantern lemon magnet maple marble meadow mirror needle nutmeg oyster paddle pepper pillow planet puddle quarry "
         "rabbit ribbon river rocket saddle sailor shadow silver spider stable summer temple thunder timber tunnel turtle valley velvet "
         "violin walnut whistle window winter wizard yellow zipper").split()


def generate(random, level):
    if level == 4:
        items = random.sample(WORDS, 7)
        ordered, how = sorted(items), "these words in alphabetical order"
        if random.random() < 0.5:
            ordered, how = ordered[::-1], "these words in reverse alphabetical order"
    elif level == 5:
        items = [n / 10 for n in random.sample(range(-199, 200), 9)]
        if len({abs(n) for n in items}) < 9:    # two of one distance would have two right orders
            return generate(random, level)
        ordered, how = sorted(items, key=abs), "these numbers by their distance from zero, the nearest first"
    else:
        count, low, high = {1: (3, 0, 20), 2: (5, 0, 99), 3: (6, -500, 500)}[level]
        items = random.sample(range(low, high + 1), count)
        ordered, how = sorted(items), "these numbers from smallest to largest"
        if level == 3 and random.random() < 0.5:
            ordered, how = ordered[::-1], "these numbers from largest to smallest"
    return {"prompt": f"Put {how}: {joined(items)}. Answer with the list alone.", "answer": joined(ordered)}


def joined(items):
    return ", ".join(map(str, items))
