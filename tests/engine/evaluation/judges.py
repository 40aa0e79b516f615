"""Judges of a stated taste, for tests: real providers in all but the model."""

import json
import threading

from engine.generators.asks import Reply
from engine.generators.provider import Provider, Unavailable


class Judge(Provider):
    """Scores the two answers it is shown by `taste(first shown, second shown)`."""

    def __init__(self, taste, fails=0):
        super().__init__(name="judge", model="judge")
        self.taste, self.fails, self.asked, self.lock = taste, fails, [], threading.Lock()

    def check(self):
        pass

    def models(self):
        return []

    def ask(self, ask):
        with self.lock:
            if self.fails:
                self.fails -= 1
                raise Unavailable("busy", "Busy.", retry_after=0.001)
            text = ask.messages[-1].content
            a, b = (text.split(f"Answer {side}:\n<<<\n")[1].split("\n>>>")[0] for side in "AB")
            self.asked.append((a, b))
        first, second = self.taste(a, b)
        return Reply(json.dumps({"rationale": "so it is", "score_a": first, "score_b": second}), model="judge")


def longer(a, b):
    return (8, 3) if len(a) > len(b) else (3, 8)
