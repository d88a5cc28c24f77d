"""What a layer saw and what came back to it, as matrices.

The gradient of one sample by the weight of a linear or convolutional layer is a product of two
matrices, ``Σ_l g_l x_lᵀ`` over the places l at which the weight is used. Importance, Kronecker
factors and gradient memories are statistics of these x and g.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from insituml.gradients.module import LossOf
from insituml.gradients.patches import CONVOLUTIONS, TRANSPOSED, convolution_patches
from insituml.gradients.precision import wide

BLOCK = 2**20
"""Numbers held at once while a layer is worked through: few enough to stay in the cache."""


@dataclass
class LayerCalls:
    """Each call of one layer during a forward pass, in order.

    Attributes
    ----------
    layer
        The layer.
    inputs
        Detached, ``(n, ...)``.
    outputs
        Shapes of the outputs.
    edges
        Where the outputs stand in the graph of gradients; None where they need none.
    output_gradients
        ``(n, ...)``, empty after a forward pass alone.
    separable
        Whether every input had the samples first, so that their gradients can be told apart.
    """

    layer: nn.Module
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[torch.Size] = field(default_factory=list)
    edges: list[GradientEdge | None] = field(default_factory=list)
    output_gradients: list[Tensor] = field(default_factory=list)
    separable: bool = True

    def input_matrix(self, part: slice = slice(None)) -> Tensor:
        """Return x of a part of the samples, ``(n, features, places)``; see the module's text.

        The features are the inputs of a linear layer, the flattened patch of a convolution, the
        input channels of a transposed convolution. Several calls add their places.
        """
        calls = zip(self.inputs, self.outputs, strict=True)
        return self._join([self._inputs(wide(x[part]), shape) for x, shape in calls])

    def gradient_matrix(self, part: slice = slice(None)) -> Tensor:
        """Return g of a part of the samples, ``(n, features, places)``.

        The features are the outputs of a linear layer, the output channels of a convolution, the
        flattened patch of a transposed convolution's output.
        """
        calls = zip(self.output_gradients, self.inputs, strict=True)
        return self._join([self._gradients(wide(g[part]), x.shape) for g, x in calls])

    def parts(self) -> Iterator[slice]:
        """Cut the samples so that their matrices, and a product for each sample, fit the cache."""
        weight = dict(self.layer.named_parameters())["weight"]
        rows, columns = len(weight), weight[0].numel()
        shapes = [x.shape for x in self.inputs]
        if not isinstance(self.layer, TRANSPOSED):
            shapes = self.outputs
        places = sum(shape.numel() // shape[0] // rows for shape in shapes)
        size = max(1, BLOCK // (places * (rows + columns) + (rows * columns if places > 1 else 0)))
        return (slice(start, start + size) for start in range(0, len(self.inputs[0]), size))

    def weight_factors(self, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return the two matrices of which the weight's gradient is ``left @ right.mT``."""
        x, g = self.input_matrix(part), self.gradient_matrix(part)
        return (x, g) if isinstance(self.layer, TRANSPOSED) else (g, x)

    def bias_gradients(self, part: slice = slice(None)) -> Tensor:
        """Return the gradient of each sample by the bias, ``(n, features)``."""
        sums = []
        for gradient in self.output_gradients:
            sums.append(self._by_place(wide(gradient[part])).sum(2))
        return torch.stack(sums).sum(0)

    @staticmethod
    def _join(matrices: list[Tensor]) -> Tensor:
        return matrices[0] if len(matrices) == 1 else torch.cat(matrices, dim=2)

    def _inputs(self, x: Tensor, output: torch.Size) -> Tensor:
        if isinstance(self.layer, CONVOLUTIONS):
            return convolution_patches(self.layer, x, output[2:])
        return self._by_place(x)

    def _gradients(self, gradient: Tensor, inputs: torch.Size) -> Tensor:
        if isinstance(self.layer, TRANSPOSED):
            return convolution_patches(self.layer, gradient, inputs[2:])
        return self._by_place(gradient)

    def _by_place(self, values: Tensor) -> Tensor:
        """Return ``(n, features, places)``; a linear layer has its features last."""
        if isinstance(self.layer, nn.Linear):
            return values.reshape(len(values), -1, values.shape[-1]).mT
        return values.flatten(2)


def supported_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Return the layers with a matrix form, by name.

    These are linear layers, and ungrouped convolutions and transposed convolutions with zero
    padding, whose weight is an ordinary real parameter that no other layer holds, and whose
    forward pass neither a subclass nor a hook changes.
    """
    # A layer registered under two names is one layer.
    holders = Counter(
        id(p) for layer in module.modules() for _, p in layer.named_parameters(recurse=False)
    )
    found = {}
    for name, layer in module.named_modules():
        own = dict(layer.named_parameters(recurse=False))
        if (
            _has_matrix_form(layer)
            and "weight" in own
            and not own.keys() - {"weight", "bias"}
            and all(holders[id(p)] == 1 and p.is_floating_point() for p in own.values())
            and all(p.numel() > 0 for p in own.values())
        ):
            found[name] = layer
    return found


def _has_matrix_form(layer: nn.Module) -> bool:
    changed = "forward" in vars(layer) or any(
        (
            layer._forward_hooks,
            layer._forward_pre_hooks,
            layer._backward_hooks,
            layer._backward_pre_hooks,
            *(p._backward_hooks for p in layer.parameters(recurse=False)),
        )
    )
    if changed:
        return False
    for kind in CONVOLUTIONS + TRANSPOSED:
        if isinstance(layer, kind):
            usual = type(layer).forward is kind.forward
            if isinstance(layer, CONVOLUTIONS):
                usual = usual and type(layer)._conv_forward is kind._conv_forward
            return usual and layer.groups == 1 and layer.padding_mode == "zeros"
    return isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward


def parameter_name(layer: str, own: str) -> str:
    """Return the name of a layer's parameter in the whole module, which may be the layer."""
    return f"{layer}.{own}" if layer else own


def is_transposed(layer: nn.Module) -> bool:
    """Tell whether the layer's inputs index the first dimension of its weight."""
    return isinstance(layer, TRANSPOSED)


def in_block(layer: nn.Module) -> list[str]:
    """Return the trainable parameters that act on the layer's inputs, ``x`` with a 1 appended.

    These are ``weight`` and, if there is one, ``bias``; a transposed convolution's bias acts on
    its output alone. Nothing for a frozen weight.
    """
    trainable = {name for name, p in layer.named_parameters() if p.requires_grad}
    if "weight" not in trainable:
        return []
    with_bias = "bias" in trainable and not is_transposed(layer)
    return ["weight", "bias"] if with_bias else ["weight"]


def forward_statistics(
    module: nn.Module,
    loss: LossOf,
    batch: tuple[Tensor, ...],
    layers: Mapping[str, nn.Module],
) -> dict[str, LayerCalls]:
    """Evaluate the loss of a batch; return each used layer's inputs, without its graph.

    The loss may itself be made of derivatives, and so runs with gradients.
    """
    with torch.enable_grad(), recording(layers, len(batch[0])) as calls:
        loss(module, batch)
    return {name: found for name, found in calls.items() if found.inputs and found.separable}


@contextmanager
def recording(layers: Mapping[str, nn.Module], count: int) -> Iterator[dict[str, LayerCalls]]:
    """Note each call of the layers while a batch of ``count`` samples passes."""
    calls = {name: LayerCalls(layer) for name, layer in layers.items()}

    def record(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
            x = args[0] if args else kwargs["input"]
            spatial = 0 if isinstance(layer, nn.Linear) else len(layer.kernel_size)  # type: ignore[arg-type]
            if x.dim() < 2 or len(x) != count or (spatial and x.dim() != spatial + 2):
                calls[name].separable = False
            calls[name].inputs.append(x.detach())
            calls[name].outputs.append(output.shape)
            # The edge, not the tensor: a later in-place activation would move the latter on.
            edge = get_gradient_edge(output) if output.requires_grad else None
            calls[name].edges.append(edge)

        return hook

    handles = [
        layer.register_forward_hook(record(name), with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
