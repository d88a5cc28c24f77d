"""A hybrid autoencoder: principal components, and a network that adds what they leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from insituml.data.task import Batch
from insituml.learner import ContinualLearner
from insituml.models.convolutional_autoencoder import check_field
from insituml.models.layers import initialise
from insituml.models.linear_path import LinearPath
from insituml.models.refinement import Refinement
from insituml.models.residual import ResidualBlock
from insituml.models.symmetry import MirrorSymmetry

ENCODERS = ("linear", "corrected")


class HybridAutoEncoder(ContinualLearner):
    """Start where principal component analysis ends, and refine its reconstruction.

    The latent of x is ``z = W x``, in units of each component's standard deviation; its
    reconstruction ``y + g r(y, z)``, with the linear path ``y = Wᵀ z`` and a refinement r, a small
    U-Net that is zero at first. In evaluation mode the last latent is the weight
    ``g = ⟨x − y, r⟩ / ⟨r, r⟩`` in [0, 1], the best one for the sample: so no sample is
    reconstructed worse (in the mean square) than by the linear path, whatever the refinement has
    forgotten. While training, g is 1.

    The components come from a running singular value decomposition of all samples met
    (:meth:`observe`). When it moves them, they are turned within their span to lie closest to those
    before (orthogonal Procrustes): what the refinement sees of a sample changes no more than the
    span does.

    Parameters
    ----------
    input_shape
        ``(components, *grid)`` of one sample; one, two or three axes.
    channels
        Of each level of the refinement; each halves the grid.
    latent_size
        Numbers a sample: one less than the principal components where ``weighted``.
    encoder
        ``"linear"``: z as above. ``"corrected"``: ``z = W (x + c(x))``, c a network like r.
    hidden_size
        Width of the layer through which the refinement sees z.
    weighted
        Whether a sample's last latent is the weight g; False: g is 1.
    symmetry
        Of all samples, such as ``{2: (1, 1, -1)}``: mirrored along grid axis 2, and the third
        component times -1, each is itself. The refinement adds nothing else then; principal
        components of such samples have the symmetry anyway.
    loss
        Reconstruction loss; see :class:`~insituml.learner.ContinualLearner`.
    generator
        Source of the Xavier-uniform initial weights; None: seed 0.

    Raises
    ------
    ValueError
        If an option is unknown, there is no level or axis, the latents leave no component, or the
        symmetry is of another grid.

    References
    ----------
    Barnett & Farhat, "Quadratic approximation manifold for mitigating the Kolmogorov barrier in
    nonlinear projection-based model order reduction", J. Comput. Phys. 464, 2022, correct a
    linear subspace; arXiv:2410.18148 weighs principal components and an autoencoder.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: Sequence[int] = (16, 32, 64),
        latent_size: int = 32,
        encoder: str = "linear",
        hidden_size: int = 256,
        weighted: bool = True,
        symmetry: Mapping[int, Sequence[int]] | None = None,
        *,
        loss: str = "mse",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(loss=loss)
        check_field(input_shape, channels, type(self).__name__)
        if encoder not in ENCODERS:
            raise ValueError(f"encoder is {encoder!r}; expected {' or '.join(ENCODERS)}")
        count = latent_size - weighted
        if count < 1:
            raise ValueError(
                f"latent_size is {latent_size}; expected {1 + weighted} or more: "
                f"{'a component and the weight' if weighted else 'a component'}"
            )
        self.weighted = weighted
        self.symmetry = MirrorSymmetry(symmetry or {}, input_shape)
        # torch's layers draw weights from the global generator, only to be overwritten below.
        with torch.random.fork_rng(devices=[]):
            self.refinement = Refinement(input_shape, channels, count, hidden_size)
            self.correction = Refinement(input_shape, channels) if encoder == "corrected" else None
        initialise(self, generator)
        for network in (self.refinement, self.correction):
            if network is not None:
                network.start_as_zero()
        self.linear = LinearPath(input_shape, count)

    def observe(self, batch: Batch) -> None:
        """Let the principal components take in samples that were not met before."""
        self.linear.observe(batch[0])

    def encode(self, x: Tensor) -> Tensor:
        code = self._components(x)
        if not self.weighted:
            return code
        if self.training:
            return _joined(code, torch.ones_like(code[:, 0]))
        linear, refined = self._decoded(code)
        return _joined(code, best_weight(x - linear, refined))

    def decode(self, latent: Tensor) -> Tensor:
        linear, refined = self._decoded(latent[:, :-1] if self.weighted else latent)
        return linear + self._weighed(refined, latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, None]:
        code = self._components(x)
        linear, refined = self._decoded(code)
        if self.weighted:
            ones = torch.ones_like(code[:, 0])
            code = _joined(code, ones if self.training else best_weight(x - linear, refined))
        return code, linear + self._weighed(refined, code), None

    def decoder_entries(self) -> list[str]:
        """Return the names of what decoding needs: basis, its scales and the refinement."""
        linear = [f"linear.{name}" for name in ("basis", "rotation", "deviations")]
        return [n for n in self.state_dict() if n in linear or n.startswith("refinement.")]

    def decoder_state(self) -> dict[str, Tensor]:
        """Return their values, 0 for directions that are only followed: no latent has them."""
        state = super().decoder_state()
        basis = state["linear.basis"].clone()
        basis[len(self.linear.rotation) :] = 0
        return {**state, "linear.basis": basis}

    def segments(self) -> list[nn.Module]:
        """Return the residual blocks: the most is kept in them."""
        return [part for part in self.modules() if isinstance(part, ResidualBlock)]

    def linear_reconstruction(self, x: Tensor) -> Tensor:
        """Return what the principal components alone make of inputs ``(n, ...)``."""
        return self.linear.decode(self.linear.encode(x))

    def _components(self, x: Tensor) -> Tensor:
        return self.linear.encode(x if self.correction is None else x + self.correction(x))

    def _decoded(self, code: Tensor) -> tuple[Tensor, Tensor]:
        linear = self.linear.decode(code)
        return linear, self.symmetry(self.refinement(linear, code))

    def _weighed(self, refined: Tensor, latent: Tensor) -> Tensor:
        if not self.weighted:
            return refined
        return latent[:, -1].view(-1, *[1] * (refined.dim() - 1)) * refined


def best_weight(missing: Tensor, refined: Tensor) -> Tensor:
    """Return g in [0, 1] that brings ``g · refined`` closest to what is missing, ``(n,)``.

    No gradient flows through it: at its best, the error does not depend on it to first order.
    """
    missing, refined = missing.detach().flatten(1), refined.detach().flatten(1)
    power = refined.square().sum(dim=1)
    weight = (missing * refined).sum(dim=1) / power.where(power > 0, 1)
    return weight.clamp(0, 1)


def _joined(code: Tensor, weight: Tensor) -> Tensor:
    return torch.cat([code, weight[:, None]], dim=1)
