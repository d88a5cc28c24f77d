"""Fully sharded data parallelism: weights, gradients and optimizer state, a part on each rank.

It is torch's FSDP2 (``torch.distributed.fsdp.fully_shard``). The weights of a unit, a module that
is called as one, are gathered when it computes, forward and backward, and let go of after it; its
gradients are averaged over ranks as they come, and each rank keeps its part of them.
"""

from __future__ import annotations

import warnings

from torch import nn

from insituml import ranks
from insituml.execution.replaced import trained_parts
from insituml.learner import ContinualLearner
from insituml.methods.base import Method
from insituml.optimisation import AveragedWeights
from insituml.rebuilding import shared_tensors
from insituml.replicas import make_alike
from insituml.trainable import check_ranks
from insituml.unseen import observes

UNIT = 2**18
"""Numbers from which on a module is a unit of its own; smaller ones are gathered with what holds
them."""


def shard(learner: ContinualLearner, unit: int = UNIT) -> None:
    """Let each rank keep a part of a learner's parameters; in place, on one rank as they are.

    All ranks call it, and begin with the first one's weights. The optimizer is built after it:
    the parameters are other objects then.

    Parameters
    ----------
    learner
        Its modules are called as modules: who takes the weights of one without calling it finds
        this rank's part of them.
    unit
        Numbers from which on a module is gathered by itself. The less, the less is whole at once,
        and the more often ranks wait for each other.

    Raises
    ------
    ValueError
        If it cannot be shared out; the message says why.
    """
    if ranks.size() == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    check_shardable(learner)
    make_alike(learner, [])
    mesh = init_device_mesh(next(learner.parameters()).device.type, (ranks.size(),))
    for module in units(learner, unit):
        _let_return_views(module)
        fully_shard(module, mesh=mesh, reshard_after_forward=True)


def _let_return_views(module: nn.Module) -> None:
    """Have nothing said of insituml's own modules, whose outputs nobody changes in place."""
    if type(module).__module__.startswith(("insituml.", "torch.")):
        said = rf"FSDP2-wrapped module \(FSDP{type(module).__name__}\) returned a view tensor"
        warnings.filterwarnings("ignore", message=said)


def units(learner: ContinualLearner, unit: int = UNIT) -> list[nn.Module]:
    """Return the modules whose weights are gathered at once, inner ones first.

    Each of the outermost modules that are trained, such as encoder and decoder, is one; within it,
    those that hold ``unit`` numbers or more beside the units within them.
    """
    found: list[nn.Module] = []
    for part in trained_parts(learner):
        _collect(part, unit, found)
        if part not in found:
            found.append(part)
    return found


def _collect(module: nn.Module, unit: int, found: list[nn.Module]) -> int:
    """Add the units of a module; return how many numbers it holds beside them."""
    if isinstance(module, nn.MultiheadAttention):  # takes weights of the modules within
        count = sum(p.numel() for p in module.parameters())
    else:
        count = sum(p.numel() for p in module.parameters(recurse=False))
        count += sum(_collect(child, unit, found) for child in module.children())
    is_called = "forward" in vars(module) or type(module).forward is not nn.Module.forward
    if count < unit or not is_called:  # a list of modules is called by nobody
        return count
    found.append(module)
    return 0


def check_shardable(learner: ContinualLearner) -> None:
    """Raise ValueError unless each rank can hold a part of a learner; the message says why not."""
    kind = type(learner)
    name = f"{kind.__name__} cannot be shared out among ranks"
    check_ranks(learner)
    ours = kind.__module__.startswith("insituml.models.")
    if not vars(kind).get("calls_same_modules", ours):
        raise ValueError(
            f"{name}: they wait for each other at each module, and nothing says that it calls the "
            "same ones whatever the samples are, as heads for labels do not; if its loss does, and "
            f"output with objective, too, set calls_same_modules = True in class {kind.__name__}"
        )
    if observes(learner):
        raise ValueError(
            f"{name}: it learns from samples as it observes them, which takes all of its weights; "
            "take a model that learns by gradients alone"
        )
    if shared := shared_tensors(learner):
        one, other = next(iter(shared.items()))
        raise ValueError(f"{name}: {one} and {other} are one tensor; give each module its own")
    within = {id(p) for part in trained_parts(learner) for p in part.parameters()}
    named = {n: p for n, p in learner.named_parameters() if p.requires_grad or id(p) in within}
    for key, parameter in named.items():
        if id(parameter) not in within:
            raise ValueError(
                f"{name}: {key} lies in no module within it; put it into one, which is called"
            )
        if parameter.dim() == 0:
            raise ValueError(f"{name}: {key} has no axis to be cut along; give it the shape (1,)")
        if not parameter.is_contiguous():
            raise ValueError(
                f"{name}: {key} is laid out otherwise than its axes follow each other; leave "
                "channels_last off"
            )
    if len(kinds := {(str(p.dtype), str(p.device)) for p in named.values()}) > 1:
        found = " and ".join(" on ".join(kind) for kind in sorted(kinds))
        raise ValueError(f"{name}: its parameters are {found}; expected one type on one device")


def check_sharded(
    method: Method, learner: ContinualLearner, average: AveragedWeights | None = None
) -> None:
    """Raise ValueError if a method, or an average, needs the whole weights that no rank has."""
    if not method.learns_sharded:
        raise ValueError(
            f"{type(method).__name__} looks at whole weights, gradients or copies of the learner, "
            "of which each rank holds a part; train without sharding, or by one of Naive, Joint, "
            "Cumulative, DER, DERPlusPlus, ExperienceReplay of inputs, CompressedReplay"
        )
    if method.needs_output and type(learner).loss is not ContinualLearner.loss:
        raise ValueError(
            f"{type(learner).__name__} computes its loss beside its output, and "
            f"{type(method).__name__} compares outputs: ranks that hold a part each could not "
            "tell who waits for which; define output and objective, or train without sharding"
        )
    if average is not None:
        raise ValueError(
            "an average of the weights is not kept where each rank holds a part of them; leave "
            "averaging off, or train without sharding"
        )
