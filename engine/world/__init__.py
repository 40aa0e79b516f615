"""A small generated world for the guided demo: its text, and the questions and sums that the text leaves out."""

from engine.world.world import Completion, Person, Question, Sum, World

__all__ = ["Completion", "Person", "Question", "Sum", "World"]
