"""A scripted local server that writes and judges questions about the generated world, for the recording: OpenAI's protocol, no model.

It reads the passage it is given, as a model would, and answers by it: two writers of different care, and a judge that prefers whole
sentences. Some replies are what local models do too: a refusal, words around the JSON, a quote that is not in the passage, a slip.
It stands for a server like LM Studio in pictures; what it writes is no measure of anything.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.engine.generators.servers import Hostile

CAREFUL, HASTY, JUDGE = "world-writer", "world-writer-small", "world-judge"
FACTS = (
    (r"(?:has a house in|lives in) (\w+)", "Where does {0} live?", "{0} lives in {1}, in a house of the town.", "In {1}."),
    (r"(?:earns money as|works as|makes a living as|job is that of) an? (\w+)", "How does {0} earn a living?",
     "{0} works as a {1} and lives by it.", "As a {1}."),
    (r"(?:looks after|owns) an? (\w+)", "Which animal does {0} keep?", "{0} looks after a {1} at home.", "A {1}."),
    (r"(?:age is|turned) (\d+)", "How old is {0}?", "{0} is {1} years old.", "{1}."),
    (r"(?:enjoys|spends Sundays with) (\w+)", "What does {0} do in the free time?", "{0} enjoys {1} whenever there is time.", "{1}."),
    (r"(?:pet|animal|it)\b.* (?:listens to the name|is named|is called) (\w+)", "What is the name of {0}'s pet?",
     "The pet that {0} looks after is called {1}.", "{1}."),
    (r"(?:would eat|likes to eat) (\w+)", "What does {0} like to eat?", "{0} likes to eat {1} best of all.", "{1}!"),
    (r"(?:trusts|best friend is) (\w+)", "Who is the best friend of {0}?", "The best friend that {0} has is {1}.", "{1}."),
)
SUM = re.compile(r"(\d+)\+(\d+)=(\d+)")
NAME = re.compile(r"^(?:The (?:food|colour|name of) )?([A-Z][a-z]+)(?:'s)?\b")
PRONOUNS = ("He", "She", "His", "Her", "It", "The", "So", "Their")
PASSAGE = re.compile(r"Passage:\n<<<\n(.*?)\n>>>", re.S)


def found(passage: str) -> list[tuple[str, str, str, str]]:
    """(question, careful answer, short answer, the sentence they rest on) of each fact that the passage tells of somebody, and of sums."""
    made, who = [], ""
    for sentence in re.split(r"(?<=\.)\s+|\n", passage.strip()):
        named = NAME.match(sentence)
        if named and named[1] not in PRONOUNS:
            who = named[1]
        for pattern, *words in FACTS:
            if who and (told := re.search(pattern, sentence)):
                made.append((*(w.format(who, told[1]) for w in words), sentence))
        for a, b, c in SUM.findall(sentence):
            made.append((f"How much is {a} and {b}?", f"{a} and {b} together are {c}.", f"{c}.", sentence))
    return made


def write(number: int, body: dict[str, Any]) -> Any:
    """One reply, with the tokens it would have cost."""
    said = body["messages"][-1]["content"]
    text = judged(said) if body["model"] == JUDGE else written(number, said, body["model"] == CAREFUL)
    asked = sum(len(m["content"]) for m in body["messages"])
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": asked // 4, "completion_tokens": max(1, len(text) // 4)}}


def written(number: int, said: str, careful: bool) -> str:
    told = PASSAGE.search(said)
    facts = found(told[1]) if told else []
    if not facts or number % 29 == 11:
        return json.dumps({"question": "What is the weather like?", "answer": "I'm sorry, but I cannot help with that.",
                           "quote": "I cannot help with that."})
    asked = re.search(r"^Question: (.+)$", said, re.M)
    fact = next((f for f in facts if asked and f[0] == asked[1]), facts[number * 7 % len(facts)])
    quote = fact[3] if number % 17 != 5 else fact[3].replace(" a ", " the ").replace(" in ", " near ")
    answer = fact[1] if careful else fact[2]
    reply: dict[str, str] = {"answer": answer, "quote": quote} if asked else {"question": fact[0], "answer": answer, "quote": quote}
    words = json.dumps(reply)
    return f"Here is the JSON:\n```json\n{words}\n```" if number % 7 == 3 else words


def judged(said: str) -> str:
    """Whole sentences over single words; what rests on nothing scores low."""
    parts = re.findall(r"Answer(?: [AB])?:\n<<<\n(.*?)\n>>>", said, re.S)

    def score(answer: str) -> int:
        return 2 if "cannot" in answer else min(9, 3 + len(answer.split()) * 2 // 3)
    marks = [score(p) for p in parts]
    if len(marks) < 2:
        return json.dumps({"rationale": "Right by the passage, in a whole sentence." if marks and marks[0] > 5 else
                           "Right, but hardly an answer to be learned from.", "score": marks[0] if marks else 1})
    better = "A" if marks[0] >= marks[1] else "B"
    return json.dumps({"rationale": f"Both rest on the passage. Answer {better} is a whole sentence that names who it is about.",
                       "score_a": marks[0], "score_b": marks[1]})


@contextmanager
def writers(slow: float = 0.0) -> Iterator[Hostile]:
    """The server with its three names, each reply after `slow` seconds."""
    def script(number: int, body: dict[str, Any]) -> Any:
        made = write(number, body)
        return ("slow", slow, made) if slow else made
    server = Hostile(script=script, models=(CAREFUL, HASTY, JUDGE)).start()
    try:
        yield server
    finally:
        server.stop()
