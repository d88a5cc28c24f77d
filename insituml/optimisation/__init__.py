"""How the optimizer is driven: its steps, its learning rate, and what becomes of the weights."""

from insituml.optimisation.amount import Amount, parts
from insituml.optimisation.averaged_weights import AveragedWeights
from insituml.optimisation.learning_rate import LearningRate, scale_rates
from insituml.optimisation.schedule import CONSTANT, Schedule
from insituml.optimisation.stepper import Augment, Stepper

__all__ = [
    "CONSTANT",
    "Amount",
    "Augment",
    "AveragedWeights",
    "LearningRate",
    "Schedule",
    "Stepper",
    "parts",
    "scale_rates",
]
