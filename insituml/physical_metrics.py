"""The errors of reconstructions in the unit of the data, as they are named and shown."""

from __future__ import annotations

from dataclasses import dataclass

MAIN = "relative_l2"
"""The first of them, which tables and figures are made of."""


@dataclass(frozen=True)
class PhysicalMetric:
    """How one of the errors below is shown.

    Parameters
    ----------
    label
        What people read.
    unit
        Of its values; None: that of the component.
    """

    label: str
    unit: str | None = ""


PHYSICAL_METRICS = {
    MAIN: PhysicalMetric("relative L2 error"),
    "psnr": PhysicalMetric("PSNR", "dB"),
    "ssim": PhysicalMetric("SSIM"),
    "rmse": PhysicalMetric("RMS error", None),
    "max_error": PhysicalMetric("maximum error", None),
}
"""By name; ``<name>.<component>`` is that of one component."""
