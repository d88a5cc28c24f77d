"""Figures: arrays in, a :class:`matplotlib.figure.Figure` out."""

from matplotlib.figure import Figure

from insituml.plots.critical_difference import critical_difference_figure
from insituml.plots.differences_table import differences_markdown
from insituml.plots.energy_errors import energy_errors
from insituml.plots.error_spectra import error_spectra
from insituml.plots.forgetting import first_task_error, forgetting_curves
from insituml.plots.image_rows import image_grid
from insituml.plots.latent_drift import latent_drift_heatmap
from insituml.plots.leaderboard import leaderboard_figure
from insituml.plots.leaderboard_table import leaderboard_markdown
from insituml.plots.line_reconstructions import reconstruction_lines
from insituml.plots.loss_matrix import loss_matrix_grid, loss_matrix_heatmap
from insituml.plots.memory_curves import MemoryCurve, memory_curves
from insituml.plots.method_style import method_label, method_styles
from insituml.plots.point_clouds import point_clouds
from insituml.plots.rate_distortion import RateCurve, rate_distortion_curves
from insituml.plots.reconstructions import reconstruction_grid
from insituml.plots.scaling import scaling_curves
from insituml.plots.style import save
from insituml.plots.sweep import sweep_slices
from insituml.plots.training import loss_history
from insituml.plots.units import quantity

__all__ = [
    "Figure",
    "MemoryCurve",
    "RateCurve",
    "critical_difference_figure",
    "differences_markdown",
    "energy_errors",
    "error_spectra",
    "first_task_error",
    "forgetting_curves",
    "image_grid",
    "latent_drift_heatmap",
    "leaderboard_figure",
    "leaderboard_markdown",
    "loss_history",
    "loss_matrix_grid",
    "loss_matrix_heatmap",
    "memory_curves",
    "method_label",
    "method_styles",
    "point_clouds",
    "quantity",
    "rate_distortion_curves",
    "reconstruction_grid",
    "reconstruction_lines",
    "save",
    "scaling_curves",
    "sweep_slices",
]
