"""Constants of nature that more than one source needs, in SI units (CODATA 2018)."""

SPEED_OF_LIGHT = 299_792_458.0
"""In vacuum, in metres a second; exact."""
REST_ENERGY = 510_998.95  # of the electron, m c² / e, in volts
VACUUM_PERMITTIVITY = 8.854_187_8e-12  # F/m
ELEMENTARY_CHARGE = 1.602_176_634e-19  # C
VACUUM_PERMEABILITY = 1 / (VACUUM_PERMITTIVITY * SPEED_OF_LIGHT**2)  # H/m
