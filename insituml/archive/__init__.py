"""Latents and a trained learner in, fields in their unit out: what a checkpoint is for."""

from insituml.archive.field_code import FieldCode
from insituml.archive.latents import FieldLatents, decode_field, encode_field
from insituml.archive.latents_file import pack_latents, unpack_latents
from insituml.archive.quantised_decoder import (
    QuantisedDecoder,
    load_decoder,
    quantise_decoder,
)
from insituml.archive.reconstructed_field import ReconstructedField, Reconstruction
from insituml.relative_error import RelativeError

__all__ = [
    "FieldCode",
    "FieldLatents",
    "QuantisedDecoder",
    "ReconstructedField",
    "Reconstruction",
    "RelativeError",
    "decode_field",
    "encode_field",
    "load_decoder",
    "pack_latents",
    "quantise_decoder",
    "unpack_latents",
]
