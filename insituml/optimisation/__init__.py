"""How the optimizer is driven: its learning rate from step to step."""

from insituml.optimisation.learning_rate import LearningRate
from insituml.optimisation.schedule import CONSTANT, Schedule

__all__ = ["CONSTANT", "LearningRate", "Schedule"]
