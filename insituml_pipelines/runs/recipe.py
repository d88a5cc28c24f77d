"""What a run learns, apart from where its files lie: equal recipes give equal weights."""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.reasons import reason
from insituml_pipelines.common.versions import versions
from insituml_pipelines.runs.ambient import ambient_seed
from insituml_pipelines.runs.identity import Identity
from insituml_pipelines.runs.optimisation import execution_of
from insituml_pipelines.runs.own_learner import PLACE, own_learner

if TYPE_CHECKING:
    import torch

    from insituml.learner import ContinualLearner
    from insituml.methods import Method


@dataclass(frozen=True)
class Recipe:
    """Everything the weights of a run depend on, as plain values that travel between processes.

    Parameters
    ----------
    method_name, seed
        Which run this is.
    model, method, optimizer
        Resolved ``_target_`` nodes. A baseline's ``method`` may bring a learner of its own
        (:mod:`insituml_pipelines.runs.own_learner`), which is trained in place of ``model``.
    training
        How to train; of section ``training`` what weights depend on, and of ``transit``.
    data_fingerprint
        Of the stream.
    experiment
        What the figures call it, empty where none was chosen; no weight depends on it.
    """

    method_name: str
    seed: int
    model: Node
    method: Node
    optimizer: Node
    training: Node
    data_fingerprint: str
    experiment: str = ""

    @property
    def name(self) -> str:
        """What messages call the run."""
        return f"{self.method_name} seed {self.seed}"

    def identity(self) -> Identity:
        """Return what the weights depend on, code and versions included."""
        return Identity(
            method_name=self.method_name,
            seed=self.seed,
            model=self.model,
            method=self.method,
            optimizer=self.optimizer,
            training=self.training,
            data=self.data_fingerprint,
            code=source_digest(self.model, self.learner_node, self.method, self.optimizer),
            versions=versions_of_results(),
        )

    @property
    def learner_node(self) -> Node:
        """What is trained: the chosen model, or the learner that the method brings."""
        return own_learner(self.method) or self.model

    def build_model(self) -> ContinualLearner:
        """Build the chosen model, whether it is what is trained or not.

        Raises
        ------
        UserError
            If it cannot be built, or is no learner.
        """
        from insituml.learner import ContinualLearner

        weights = self._generators()[0]
        # A model of the user's own may draw its first weights as torch's layers do by themselves.
        with ambient_seed(weights.initial_seed()):
            learner = _built("model", self.model, ContinualLearner, generator=weights)
        return self._placed(learner)

    def build(
        self,
    ) -> tuple[ContinualLearner, Method, torch.optim.Optimizer, torch.Generator]:
        """Build learner, method, optimizer and the generator of the order of samples.

        Methods start from the same weights and see the same order of samples: their own random
        choices come from a generator of their own.

        Raises
        ------
        UserError
            If one of them cannot be built, or is not what it must be.
        """
        from insituml.methods import Method

        _, order, choices = self._generators()
        with ambient_seed(choices.initial_seed()):
            method = _built("method", self.method, Method, generator=choices)
        learner = self._learner_of(method)
        check_learner(learner, method)
        if method.learns_by_gradient:
            self._execute(learner)
        return learner, method, self.optimizer_of(learner), order

    def optimizer_of(self, learner: ContinualLearner) -> torch.optim.Optimizer:
        """Build the optimizer of a learner.

        Raises
        ------
        UserError
            If it cannot be built, or is none.
        """
        import torch

        parameters = learner.parameters()
        built: torch.optim.Optimizer = _built(
            "optimizer", self.optimizer, torch.optim.Optimizer, parameters
        )
        return built

    def _learner_of(self, method: Method) -> ContinualLearner:
        """Return the learner that a method brings, or the chosen model."""
        if method.make_learner is None:
            return self.build_model()
        try:
            with ambient_seed(self._generators()[0].initial_seed()):
                return self._placed(method.make_learner())
        except Exception as error:  # whatever a user's own constructor may raise
            raise UserError(f"{PLACE}: {reason(error)}") from error

    def _execute(self, learner: ContinualLearner) -> None:
        try:
            execution_of(self.training).apply(learner)
        except ValueError as error:
            raise UserError(f"training: {reason(error)}") from error

    def _placed(self, learner: ContinualLearner) -> ContinualLearner:
        check_built(learner)
        learner.to(self.training["device"])
        return learner

    def _generators(self) -> list[torch.Generator]:
        """Return those of the first weights, of the order of samples, and of a method's choices."""
        import numpy as np
        import torch

        seeds = np.random.SeedSequence(self.seed).generate_state(3).tolist()
        return [torch.Generator().manual_seed(seed) for seed in seeds]


def _built(place: str, node: Node, expected: type[Any], *arguments: Any, **more: Any) -> Any:
    from insituml_pipelines.common.targets import build

    try:
        made = build(node, *arguments, **more)
    except (Exception, SystemExit) as error:  # whatever a user's own constructor may raise
        raise UserError(f"{place}: {reason(error)}") from error
    if not isinstance(made, expected):
        raise UserError(
            f"{place}._target_ is {node['_target_']}, which makes a {type(made).__name__}; "
            f"expected a subclass of {expected.__module__}.{expected.__name__}"
        )
    return made


def check_built(learner: ContinualLearner) -> None:
    """Refuse a learner that is none yet.

    Raises
    ------
    UserError
        Saying what it lacks.
    """
    name = type(learner).__name__
    if type(learner).__hash__ is None:
        raise UserError(f"model: {name} is compared by value; give it @dataclass(eq=False)")
    if not hasattr(learner, "reconstruction_loss"):
        raise UserError(f"model: {name}.__init__ does not call super().__init__()")


def check_learner(learner: ContinualLearner, method: Method) -> None:
    """Refuse a learner that a method could not train.

    Raises
    ------
    UserError
        Saying what it lacks.
    """
    from insituml.learner import ContinualLearner

    name, trainer = type(learner).__name__, type(method).__name__
    observes = type(learner).observe is not ContinualLearner.observe
    if not method.learns_by_gradient:
        if not observes:
            raise UserError(
                f"method: {trainer} takes no gradients, and {name} defines no observe(batch): it "
                "would learn nothing; give it a learner such as insituml.models.PrincipalComponents"
            )
    elif not any(p.requires_grad for p in learner.parameters()):
        raise UserError(
            f"model: {name} has no parameter that could learn by gradients, as {trainer} needs"
            + ("; method=incremental_pca lets it observe alone" if observes else "")
        )


def versions_of_results() -> dict[str, str]:
    """Return the versions that weights may depend on."""
    import insituml

    libraries = {name: found or "none" for name, found in versions()["computing"].items()}
    return {**libraries, "insituml": insituml.__version__, "machine": platform.machine()}


def source_digest(*nodes: Node) -> str:
    """Return a SHA-256 of the code that ran: the library's, plots aside, and what nodes name.

    Parameters
    ----------
    nodes
        With a ``_target_``; the file of a user's own class counts too.
    """
    import insituml

    package = Path(insituml.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        relative = file.relative_to(package)
        if relative.parts[0] != "plots":
            digest.update(relative.as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    for file in sorted({file for node in nodes for file in _own_files(node)}):
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()


def _own_files(node: Node) -> list[Path]:
    """Return the file of a class or function that is neither insituml's nor installed."""
    from insituml_pipelines.common.located import located
    from insituml_pipelines.common.reasons import is_users

    path = str(node.get("_target_"))
    if path.startswith(("insituml.", "torch.")):
        return []
    module = sys.modules.get(getattr(located(path, "node"), "__module__", ""))
    file = Path(getattr(module, "__file__", None) or "")
    return [file] if is_users(file) else []
