"""Models: plain modules on :class:`insituml.learner.ContinualLearner`."""

from insituml.learner import ContinualLearner
from insituml.models.autoencoder import AutoEncoder1D, AutoEncoder2D, AutoEncoder3D
from insituml.models.conditional_flow import ConditionalFlow
from insituml.models.convolutional_autoencoder import ConvolutionalAutoEncoder
from insituml.models.encoder_decoder import EncoderDecoder
from insituml.models.hybrid_autoencoder import HybridAutoEncoder
from insituml.models.layers import initialise
from insituml.models.mlp import MLP
from insituml.models.principal_components import PrincipalComponents

__all__ = [
    "MLP",
    "AutoEncoder1D",
    "AutoEncoder2D",
    "AutoEncoder3D",
    "ConditionalFlow",
    "ContinualLearner",
    "ConvolutionalAutoEncoder",
    "EncoderDecoder",
    "HybridAutoEncoder",
    "PrincipalComponents",
    "initialise",
]
