"""How the optimizer is driven: its steps, its learning rate, and what becomes of the weights."""

from insituml.optimisation.averaged_weights import AveragedWeights
from insituml.optimisation.learning_rate import LearningRate, scale_rates
from insituml.optimisation.schedule import CONSTANT, Schedule
from insituml.optimisation.stepper import Stepper

__all__ = ["CONSTANT", "AveragedWeights", "LearningRate", "Schedule", "Stepper", "scale_rates"]
