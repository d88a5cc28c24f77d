"""Constants of nature that more than one source needs, in SI units (CODATA 2018)."""

SPEED_OF_LIGHT = 299_792_458.0
"""In vacuum, in metres a second; exact."""
