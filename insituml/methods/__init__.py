"""Continual-learning methods, one file each."""

from insituml.methods.agem import AGEM
from insituml.methods.agem_layerwise import AGEMLayerwise
from insituml.methods.base import Method
from insituml.methods.combined import Combined
from insituml.methods.compressed_replay import CompressedReplay
from insituml.methods.cumulative import Cumulative
from insituml.methods.der import DER
from insituml.methods.der_plus_plus import DERPlusPlus
from insituml.methods.ewc import EWC
from insituml.methods.experience_replay import ExperienceReplay
from insituml.methods.gem import GEM
from insituml.methods.generative_replay import GenerativeReplay
from insituml.methods.gpm import GPM
from insituml.methods.incremental_pca import IncrementalPCA
from insituml.methods.joint import Joint
from insituml.methods.joint_converged import JointConverged
from insituml.methods.kronecker_ewc import KroneckerEWC
from insituml.methods.lwf import LwF
from insituml.methods.mas import MAS
from insituml.methods.mir import MIR
from insituml.methods.naive import Naive
from insituml.methods.online_ewc import OnlineEWC
from insituml.methods.sgem import SGEM
from insituml.methods.sketched_replay import SketchedReplay
from insituml.methods.synaptic_intelligence import SynapticIntelligence
from insituml.methods.weight_averaging import WeightAveraging

__all__ = [
    "AGEM",
    "DER",
    "EWC",
    "GEM",
    "GPM",
    "MAS",
    "MIR",
    "SGEM",
    "AGEMLayerwise",
    "Combined",
    "CompressedReplay",
    "Cumulative",
    "DERPlusPlus",
    "ExperienceReplay",
    "GenerativeReplay",
    "IncrementalPCA",
    "Joint",
    "JointConverged",
    "KroneckerEWC",
    "LwF",
    "Method",
    "Naive",
    "OnlineEWC",
    "SketchedReplay",
    "SynapticIntelligence",
    "WeightAveraging",
]
