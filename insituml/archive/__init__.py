"""Latents and a trained learner in, fields in their unit out: what a checkpoint is for."""

from insituml.archive.field_code import FieldCode
from insituml.archive.latents import FieldLatents, decode_field, encode_field
from insituml.archive.latents_file import pack_latents, unpack_latents
from insituml.archive.reconstructed_field import ReconstructedField, Reconstruction
from insituml.archive.relative_error import RelativeError

__all__ = [
    "FieldCode",
    "FieldLatents",
    "ReconstructedField",
    "Reconstruction",
    "RelativeError",
    "decode_field",
    "encode_field",
    "pack_latents",
    "unpack_latents",
]
