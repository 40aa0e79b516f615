"""Logic puzzles

Who is the tallest (levels 1 and 2), and who tells the truth among knights and knaves (levels 3 to 5). Each puzzle has exactly one answer.
"""

import itertools

LEVELS = 5
NAMES = ("Ada Bela Chen Dara Emil Fay Goran Hana Ivo Jun Kofi Lena Milo Nora Omar Pia Quin Rosa Sami Tara Udo Vera Wim Yara Zeno").split()
QUESTION = "Who are the knaves? Answer with their names in alphabetical order, separated by commas, or with: nobody."


def generate(random, level):
    if level <= 2:
        return ordering(random, 3 if level == 1 else 5, level)
    return knights(random, level - 1)


def ordering(random, count, level):
    people = random.sample(NAMES, count)       # tallest first
    clues = [f"{a} is taller than {b}." if random.random() < 0.5 else f"{b} is shorter than {a}." for a, b in zip(people, people[1:])]
    if level == 2:
        random.shuffle(clues)
        rank = random.randrange(count)
        asked = ["tallest", "second tallest", "third tallest", "second shortest", "shortest"][rank]
    else:
        rank = random.choice([0, count - 1])
        asked = "tallest" if rank == 0 else "shortest"
    return {"prompt": f"{' '.join(clues)} Who is the {asked}? Answer with the name alone.", "answer": people[rank]}


def knights(random, count):
    """Knights always tell the truth, knaves always lie."""
    while True:
        people = sorted(random.sample(NAMES, count))
        said = [statement(random, n, count) for n in range(count)]
        worlds = [world for world in itertools.product((True, False), repeat=count)
                  if all(world[n] == holds(said[n], world) for n in range(count))]
        if len(worlds) == 1:
            break
    texts = [f"{people[n]} says: “{words(said[n], people)}”" for n in range(count)]
    knaves = [name for name, honest in zip(people, worlds[0]) if not honest]
    few = ", ".join(people[:-1]) + f" and {people[-1]}"
    prompt = f"On an island knights always tell the truth and knaves always lie. {few} live there. {' '.join(texts)} {QUESTION}"
    return {"prompt": prompt, "answer": ", ".join(knaves) or "nobody"}


def statement(random, speaker, count):
    """("is", person, honest), ("both", one, other, honest), ("same", one, other), or ("knaves", how many)."""
    others = [n for n in range(count) if n != speaker]
    kind = random.choice(["is", "same", "knaves"] if count == 2 else ["is", "is", "both", "same", "knaves"])
    if kind == "is":
        return kind, random.choice(others), random.random() < 0.5
    if kind == "both":
        return (kind, *sorted(random.sample(others, 2)), random.random() < 0.5)
    if kind == "same":
        return (kind, speaker, random.choice(others))
    return kind, random.randint(1, count)


def holds(said, world):
    if said[0] == "is":
        return world[said[1]] == said[2]
    if said[0] == "both":
        return world[said[1]] == world[said[2]] == said[3]
    if said[0] == "same":
        return world[said[1]] == world[said[2]]
    return sum(not honest for honest in world) == said[1]


def words(said, people):
    kind = {True: "knight", False: "knave"}
    if said[0] == "is":
        return f"{people[said[1]]} is a {kind[said[2]]}."
    if said[0] == "both":
        return f"{people[said[1]]} and {people[said[2]]} are both {kind[said[3]]}s."
    if said[0] == "same":
        return f"{people[said[2]]} and I are of the same kind."
    return "Exactly one of us is a knave." if said[1] == 1 else f"Exactly {said[1]} of us are knaves."
