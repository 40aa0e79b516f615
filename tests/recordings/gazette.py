"""A small town's newspaper, made up: what a real pile of files is like. Articles, reprints and near reprints of them, captions, lists of
ships, letters with addresses, pages with the same head and foot, notices in other languages, a quiz that must not be learned, and files
that cannot be read. Deterministic."""

import csv
import json
import random
import zipfile
from pathlib import Path

SHIPS = "Marianne Concordia Wilhelmina Petrel Aurora Northern_Star Hope Zephyr Kestrel Anna_Maria Gudrun Fortuna Albatross".split()
PLACES = "Kelford Marsh_End Lowland_Quay Ostrum Vale Harbour_Street Saltby Brackwater the_North_Light the_Old_Mill Ferry_Lane".split()
PEOPLE = ("Captain Brandt|Mrs. Oakley|the harbour master|Miss Thorne|Mr. Lindqvist|the mayor|Dr. Aldous|the schoolmaster|the widow Kray|"
          "Mr. Penhale|the postmistress|Constable Reeve").split("|")
CARGO = "coal timber salt wool potatoes slate barley herring lamp_oil bricks flax".split()
WEATHER = ("a stiff breeze from the west", "thick fog until noon", "a hard frost", "steady rain", "an uncommonly low tide", "clear skies")
MONTHS = "January February March April May June July August September October November December".split()
SAID = (
    "The {ship} reached {place} on {day} with {n} tons of {cargo}, having lost {m} hours to {weather}.",
    "{person} told this paper that the repairs at {place} would take {n} days and cost {m} crowns.",
    "There was {weather} on {day}, and the ferry to {place} did not run before {m} o'clock.",
    "A meeting was held at {place}, where {person} spoke for {n} minutes about the price of {cargo}.",
    "{person} found {n} sacks of {cargo} behind the church of {place} and has asked the owner to come forward.",
    "The crew of the {ship} was paid off on {day}; {m} men have signed on again for the voyage to {place}.",
    "It is said in {place} that {person} will sell the {ship} before the winter, and that {n} crowns have been offered.",
    "{n} passengers waited at {place} through {weather}, and {person} had soup brought to them.",
    "The school at {place} counted {n} pupils on {day}, {m} fewer than in the year before.",
    "{person} remembers when {cargo} was landed at {place} by hand, {n} baskets in an hour.",
    "A fire in a shed at {place} was put out by {m} neighbours before the engine came; {person} was slightly hurt.",
    "The {ship} and the {other} lay side by side off {place} for {n} days, waiting for {weather} to pass.",
    "On {day} the council voted {n} against {m} for a new lamp at {place}, which {person} had asked for twice.",
    "{person} has written to us that the {cargo} sold at {place} is short by {m} in the hundred.",
    "The bell buoy off {place} was heard {n} miles inland on {day}, which nobody in our office can explain.",
)
GERMAN = ("Die Fähre nach {place} fährt wegen des Nebels erst am Mittag wieder ab.",
          "Der Bürgermeister hat am {day} mit den Fischern gesprochen und ihnen Hilfe zugesagt.",
          "In der Nacht wurde am Hafen ein Boot gestohlen, von dem jede Spur fehlt.",
          "Das Schiff {ship} brachte Kohle und Holz für den kommenden Winter.",
          "Wer etwas gesehen hat, möge sich bitte bei der Wache melden.")
FRENCH = ("Le bateau {ship} est arrivé au port avec une cargaison de bois et de charbon.",
          "Le maire a parlé aux pêcheurs de {place} et leur a promis son aide.",
          "Une barque a été volée pendant la nuit et personne ne sait où elle se trouve.",
          "Le prix du sel a encore monté cette semaine sur le marché.",
          "Ceux qui ont vu quelque chose sont priés de se faire connaître.")
SPANISH = ("El barco {ship} llegó al puerto con una carga de madera y carbón para el invierno.",
           "El alcalde habló con los pescadores de {place} y les prometió ayuda.",
           "Durante la noche robaron una barca y nadie sabe dónde está.", "El precio de la sal subió otra vez esta semana.")
QUIZ = ("A baker of {place} sells {n} loaves for {m} pennies each and gives every ninth customer one for nothing: how many pennies are in "
        "the drawer after {n} customers have come and gone?")
HEAD, FOOT = "THE LOWLAND GAZETTE · price one penny", "Printed by the Gazette Press, Harbour Street, Kelford"
SETTINGS = {"title": "Gazette corpus", "minimum_length": 200, "repeated_lines": True, "repeated_lines_documents": 150,
            "personal_data": True, "quality_gopher": True, "harmful": "list", "languages": '["en"]'}


class Gazette:
    """`write(folder)` gives the sources and the held-out file."""

    def __init__(self, seed: int = 7) -> None:
        self.draw = random.Random(seed)

    def _fill(self, template: str) -> str:
        pick = self.draw.choice
        day = f"{self.draw.randint(1, 28)} {pick(MONTHS)}"
        ship, other, place, cargo = (pick(names).replace("_", " ") for names in (SHIPS, SHIPS, PLACES, CARGO))
        return template.format(ship=ship, other=other, place=place, person=pick(PEOPLE), cargo=cargo, weather=pick(WEATHER), day=day,
                               n=self.draw.randint(12, 480), m=self.draw.randint(2, 11))

    def _text(self, said: tuple[str, ...], least: int, most: int) -> str:
        words = [self._fill(self.draw.choice(said)) for _ in range(self.draw.randint(least, most))]
        return " ".join(w[:1].upper() + w[1:] for w in words)

    def article(self) -> str:
        paragraphs = [self._text(SAID, 2, 5) for _ in range(self.draw.choice((1, 1, 2, 2, 3, 4, 7)))]
        return "\n\n".join(paragraphs)

    def reprint(self, text: str) -> str:
        """The same report on another day: a few words are others."""
        words = text.split(" ")
        for _ in range(max(2, len(words) // 60)):
            place = self.draw.randrange(len(words))
            words[place] = self.draw.choice(("late", "again", "the 4th inst.", "as we hear,", "this week", "evening"))
        return " ".join(words)

    def arrivals(self) -> str:
        lines = [f"{self.draw.choice(SHIPS)}  {self.draw.randint(80, 900)} t  {self.draw.randint(1, 24):02d}:{self.draw.randint(0, 59):02d}"
                 f"  #{self.draw.randint(1, 40)}" for _ in range(self.draw.randint(14, 30))]
        return "\n".join(lines)

    def letter(self) -> str:
        name = self.draw.choice(("anna", "j.oakley", "thorne", "kray", "penhale"))
        address = f"{name}{self.draw.randint(1, 99)}@{self.draw.choice(('kelford.example', 'saltby.example'))}"
        return f"Dear Sir,\n{self._text(SAID, 3, 6)}\nYours truly, write to {address} or +44 20 7946 0{self.draw.randint(100, 999)}."

    def write(self, folder: Path) -> tuple[list[Path], Path]:
        folder.mkdir(parents=True, exist_ok=True)
        articles = [self.article() for _ in range(900)]
        copies = [*self.draw.sample(articles, 70), *(self.reprint(t) for t in self.draw.sample(articles, 60)),
                  *(t.split("\n\n")[1] for t in articles if t.count("\n\n") >= 4)][:150]
        captions = [self._fill("{person} at {place}, {day}.") for _ in range(120)]
        quiz = [self._fill(QUIZ) for _ in range(40)]
        leaked = [f"{self.article()}\n\n{q}" for q in quiz[:4]]
        foreign = [self._text(said, 4, 7) for said, count in ((GERMAN, 46), (FRENCH, 28), (SPANISH, 12)) for _ in range(count)]
        rows = [*articles[:700], *copies, *captions, *foreign, *leaked, *(self.arrivals() for _ in range(44))]
        self.draw.shuffle(rows)
        lines = [json.dumps({"text": t}, ensure_ascii=False) for t in rows]
        (folder / "articles.jsonl").write_text("\n".join([*lines, "not a row"]) + "\n", "utf-8")
        letters = [(1912 + i % 6, self.letter()) for i in range(160)]
        with open(folder / "letters.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("year", "letter"), *letters])
        with zipfile.ZipFile(folder / "old-pages.zip", "w") as archive:
            for i, text in enumerate(articles[700:]):
                archive.writestr(f"{1908 + i % 9}/page-{i:03d}.txt", f"{HEAD}\n\n{text.replace('.', '.  ', 1)}\n\n\n\n\n{FOOT}\n")
        notes = folder / "notes"
        notes.mkdir(exist_ok=True)
        for i in range(12):
            text = self.article().replace("crowns", "crowns (dear at the price, as a café owner said)")
            (notes / f"note-{i:02d}.md").write_text(f"# Note {i}\n\n{text.encode().decode('latin-1') if i % 4 == 0 else text}\n", "utf-8")
        (notes / "quay.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
        (notes / "broken.parquet").write_bytes(b"PAR1" + bytes(64))
        held = folder.parent / "quiz.jsonl"
        held.write_text("\n".join(json.dumps({"question": q, "answer": "yes"}) for q in quiz) + "\n", "utf-8")
        return [folder / "articles.jsonl", folder / "letters.csv", folder / "old-pages.zip", notes], held
