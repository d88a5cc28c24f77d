"""Plain fine-tuning: the lower bound every method is compared with."""

from insituml.methods.base import Method


class Naive(Method):
    """Learn task after task and do nothing against forgetting."""

    learns_sharded = True
