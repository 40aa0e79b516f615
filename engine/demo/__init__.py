"""The guided demo: a small model raised from nothing through the same runs as everybody's, and a report of what it learned."""

from engine.demo.demo import Reporter, run_demo

__all__ = ["Reporter", "run_demo"]
