"""A model of the user's own: found, seeded, tried at once, and refused in one line."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from insituml.checkpoint_file import read_checkpoint_file
from insituml_pipelines import evaluate
from insituml_pipelines.common.cli import Invocation, run_stage
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.fitting import fitting, open_to_new_keys
from insituml_pipelines.common.located import find_from_here
from insituml_pipelines.evaluate import evaluate_method
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.train import SECTIONS, main, plan

ROOT = Path(__file__).parents[2]
HEAD = "import torch\nfrom torch import nn\nfrom insituml import ContinualLearner\n"
MODEL = """
class M(ContinualLearner):
    def __init__(self, {signature}):
        super().__init__({to_base})
        self.e, self.d = nn.Linear(2, 3), nn.Linear(3, 2)
    def encode(self, x):
        return self.e(x)
    def decode(self, z):
        return self.d(z)
"""
ENCODER = "def encode(self, x):"
Plan = Callable[..., Any]


def model(signature: str = "width: int = 3", to_base: str = "") -> str:
    return MODEL.format(signature=signature, to_base=to_base)


def readme_model() -> str:
    """Return the README's model as it stands there."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = (b for b in blocks if "class MyModel" in b)
    return block


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    find_from_here()
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


@pytest.fixture
def try_model(project: Path, points: Any, tools: Any) -> Plan:
    """Return a function that plans runs of a model whose code it is given."""

    def attempt(code: str, *overrides: str, target: str = "own.M") -> Any:
        (project / "own.py").write_text(HEAD + code)
        sys.modules.pop("own", None)
        importlib.invalidate_caches()
        given = open_to_new_keys([f"model._target_={target}", *overrides])
        root = points.folder.parents[1]
        return plan(tools.invoke(root, SECTIONS, "experiment=toy8", *given))[1][0].recipe

    return attempt


def built(recipe: Any) -> dict[str, torch.Tensor]:
    return recipe.build()[0].state_dict()


@pytest.mark.parametrize(
    "code, overrides, arguments",
    [
        (model(), [], {}),
        (model(), ["model.width=5"], {"width": 5}),
        (model("width"), ["model.width=5"], {"width": 5}),
        (model("width, /"), ["model.width=5"], {"width": 5}),
        (model("*sizes"), [], {}),
        (model("input_shape"), [], {"input_shape": [2]}),
        (model("*, generator"), [], {}),
        (model("generator: str = 'convolutional'"), [], {}),
        (model("width=3, **more", "**more"), ["model.loss=l1"], {"loss": "l1"}),
        (model("**more"), ["model.depth=2"], {"loss": "mse", "depth": 2}),
        # Of the MLP that toy8 chooses: another type than this class means by the name.
        (model("hidden_sizes: int = 4"), [], {}),
        (model() + "N = M\ndef M(width: int): return N(width)\n", ["model.width=5"], {"width": 5}),
        (model() + "from functools import partial\nM = partial(M, width=7)\n", [], {}),
        (model("dtype: torch.dtype").replace("nn.Linear(3, 2)", "nn.Linear(3, 2, dtype=dtype)"),
         ["model.dtype=float32"], {"dtype": "float32"}),
        (model().replace("class M(", "from dataclasses import dataclass\n@dataclass(eq=False)\n"
                         "class M(").replace("def __init__(self, width: int = 3):",
                                             "width: int = 3\n    def __post_init__(self):"),
         ["model.width=5"], {"width": 5}),
        (model().replace(ENCODER, "def encode(self, x):\n        x = x + torch.rand_like(x)"),
         [], {}),
        (model().replace("nn.Linear(3, 2)", "nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))"),
         [], {}),
    ],
)  # fmt: skip
def test_any_constructor_will_do(code, overrides, arguments, try_model, capsys) -> None:
    recipe = try_model(code, *overrides)
    node = dict(recipe.model)
    assert node.pop("_target_") == "own.M"
    assert node == arguments
    said = capsys.readouterr().err
    assert said.count("\n") <= 2  # what is left out, and that an epoch is few steps
    assert "first weights" not in said
    # Equal seeds, equal weights; and torch's own generator is left alone.
    state = torch.random.get_rng_state()
    one, again = built(recipe), built(recipe)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], again[name]) for name in one)


@pytest.mark.parametrize(
    "code, overrides, said",
    [
        (model(), ["model.widht=5"], "model.widht is not an option of own.M; accepted: width"),
        (model(), ["model.width=abc"], "model.width is 'abc': input should be a valid integer"),
        (model("width"), [], "model.width has no value, but own.M needs one; give it: +model.wid"),
        (model("**o", "**o"), ["model.los=l1"], "unexpected keyword argument 'los' (own.py, line"),
        (model("dtype: torch.dtype"), ["model.dtype=f2"], "model: 'f2' is no dtype of torch"),
        ("class M(:\n", [], "model._target_ is 'own.M', but own.py, line 4: SyntaxError"),
        ("import pandass\n", [], "but own imports pandass, which is not installed here"),
        ("1 / 0\n", [], "but own cannot be imported: ZeroDivisionError: division by zero (own.py"),
        ("raise SystemExit(3)\n", [], "but own cannot be imported: SystemExit: 3 (own.py, line 4)"),
        ("M = 3\n", [], "model._target_ is 'own.M', which is a int; name a class or function"),
        (model() + "M = M()\n", [], "which is built already; name its class, M, or a function"),
        ("class M(nn.Linear):\n    def __init__(self): super().__init__(2, 2)\n", [],
         "which makes a M; expected a subclass of insituml.learner.ContinualLearner"),
        (model().replace("self.e,", "raise ValueError('odd'); self.e,"), [],
         "model: ValueError: odd (own.py, line 8)"),
        (model().replace("super().__init__()", "pass"), [], "before Module.__init__() call"),
        (model().replace("super().__init__()", "nn.Module.__init__(self)"), [],
         "model: M.__init__ does not call super().__init__()"),
        (model().replace("class M", "from dataclasses import dataclass\n@dataclass\nclass M"), [],
         "model: M is compared by value; give it @dataclass(eq=False)"),
        ("class M(ContinualLearner): pass\n", [], "model: M has no parameter that could learn"),
        (model().replace(ENCODER, "def encoder(self, x):"), [], "M defines no encode(x)"),
        (model().replace("Linear(2, 3)", "Linear(64, 3)"), [],
         "model: M fails on samples of shape [2] (torch.float32): RuntimeError: mat1 and mat2"),
        (model().replace("Linear(3, 2)", "Linear(3, 1)"), [],
         "model: M makes samples of shape [1] of those of the data, [2]"),
        (model().replace("Linear(3, 2)", "Linear(3, 2); self.double()"), [], "Float and Double"),
        (model() + "    def loss(self, b): return self(b[0])[1].square().mean(1)\n", [],
         "model: M.loss returns a tensor of shape [2]; expected a scalar tensor, the mean"),
        (model() + "    def loss(self, b): return 1.5\n", [], "M.loss returns 1.5; expected"),
        (model() + "    def loss(self, b): return self(b[0])[1].mean().detach()\n", [],
         "model: no parameter takes part in what M.loss returns"),
        (model().replace(ENCODER, "def other(self, x):")
         + "    def loss(self, b): return self.e(b[0]).square().mean()\n", [],
         "model: M cannot be evaluated, errors fails: NotImplementedError: M defines no encode(x)"),
    ],
)  # fmt: skip
def test_what_cannot_learn_is_refused_in_one_line(code, overrides, said, try_model) -> None:
    with pytest.raises(UserError) as caught:
        try_model(code, *overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "target, said",
    [
        ("own.MM", "but own has no MM; did you mean M?"),
        ("own.Other", "but own has no Other; it has M"),
        ("owm.M", "there is no module owm in {here}, nor one that is installed; did you mean own?"),
        ("own:M", "did you mean own.M?"),
        ("own.py:M", "did you mean own.M?"),
        ("M", "give the full name of a class or function, such as mymodel.MyModel"),
        ("null", "give the full name"),
        ("os.path", "which is a module"),
    ],
)
def test_a_wrong_name_says_what_there_is(target, said, try_model, project) -> None:
    with pytest.raises(UserError) as caught:
        try_model(model(), target=target)
    assert said.format(here=project) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "code, said",
    [
        ("from insituml.models import MLP\ndef M(input_shape): return MLP(input_shape)\n",
         "the first weights of own.M are the same for each seed"),
        (model().replace("self.e,", "import numpy; self.w = nn.Parameter(torch.tensor("
                         "numpy.random.default_rng().normal(size=3))); self.e,"),
         "the first weights of own.M differ each time it is built"),
    ],
)  # fmt: skip
def test_first_weights_that_do_not_follow_the_seed_are_noticed(
    code, said, try_model, capsys
) -> None:
    try_model(code)
    assert said in capsys.readouterr().err


def test_other_code_of_a_model_is_another_run(try_model) -> None:
    """Partial work of the code that was edited must not be gone on with."""
    one = try_model(model()).identity().code
    assert try_model(model()).identity().code == one
    assert try_model(model() + "# edited\n").identity().code != one


def fitted(project: Path, monkeypatch: pytest.MonkeyPatch, node: Any, *overrides: str) -> Any:
    """Fit a node that ``conf/model/mine.yaml`` and ``conf/experiment/some.yaml`` compose to."""
    mine = {"_target_": "own.M", "width": 3, "shape": "${stream.sample_shape}"}
    experiment = {
        "defaults": [{"override /model": "mlp"}],
        "model": {"width": 99, "hidden_sizes": [4]},
    }
    for name, content in {"model/mine": mine, "experiment/some": experiment}.items():
        file = project / f"conf/{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(yaml.safe_dump(content))
    (project / "own.py").write_text(HEAD + model("width=1, shape=None"))
    monkeypatch.setattr("insituml_pipelines.common.fitting.CONF", project / "conf")
    choices = {"model": "mine", "experiment": "some"}
    call = Invocation(OmegaConf.create(), project, project, choices, overrides)
    return fitting(call, "model", node)


def test_a_file_of_ones_own_stands_above_values_for_another_class(project, monkeypatch, capsys):
    node = {"_target_": "own.M", "width": 99, "hidden_sizes": [4], "shape": [2]}
    assert fitted(project, monkeypatch, node) == {"_target_": "own.M", "width": 3, "shape": [2]}
    assert "takes no hidden_sizes of conf/" in capsys.readouterr().err


def test_the_command_line_stands_above_all(project, monkeypatch) -> None:
    node = {"_target_": "own.M", "width": 5, "hidden_sizes": [4], "widht": 1}
    found = fitted(project, monkeypatch, node, "model.width=5", "+model.widht=1")
    assert found == {"_target_": "own.M", "width": 5, "widht": 1}  # which is refused then


def test_options_of_a_named_target_need_no_plus() -> None:
    given = ["a=1", "model._target_=own.M", "model.width=1", "+model.depth=2", "method.strength=1"]
    assert open_to_new_keys(given) == [*given[:2], "++model.width=1", *given[3:]]
    assert open_to_new_keys(["model.width=1"]) == ["model.width=1"]


def test_readmes_model_goes_through_the_pipeline(project, tools) -> None:
    """From a module and from a package's folder, with equal weights for equal seeds."""
    package = project / "lab/models"
    package.mkdir(parents=True)
    for file in (project / "mymodel.py", package / "small.py"):
        file.write_text(readme_model())
    files = tools.make_stream(tools.images_data(), project)
    weights = []
    for target in ("mymodel.MyModel", "mymodel.MyModel", "lab.models.small.MyModel"):
        overrides = [
            f"model._target_={target}", "++model.width=6", "experiment=digits", "tracking=none",
            "training.epochs=1", "training.workers=0", "training.seeds=[0]",
        ]  # fmt: skip
        main(tools.invoke(project, SECTIONS, *overrides))
        summary = evaluate_method("naive", files, project, Tracker())
        assert summary.metric == "relative_l2"
        weights.append(load_last(project))
    for name in weights[0]:
        assert all(torch.equal(weights[0][name], other[name]) for other in weights[1:])


def test_a_model_that_draws_numbers_is_judged_by_the_same_ones(project, tools, monkeypatch) -> None:
    noisy = "return self.encoder(x) + torch.randn(len(x), 1)"
    code = readme_model().replace("return self.encoder(x)", noisy)
    (project / "noisy.py").write_text("import torch\n" + code)
    files = tools.make_stream(tools.images_data(), project)
    overrides = [
        "model._target_=noisy.MyModel", "experiment=digits", "tracking=none", "training.epochs=1",
        "training.workers=0", "training.seeds=[0]",
    ]  # fmt: skip
    main(tools.invoke(project, SECTIONS, *overrides))
    one, again = (evaluate_method("naive", files, project, Tracker()) for _ in range(2))
    assert one.mean == again.mean


def load_last(project: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint_file(project / "runs/naive/seed_0/task_1.pt").model["weights"]


def command(stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -P: the working directory is searched because the stages say so.
    return subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            f"insituml_pipelines.{stage}",
            "experiment=digits",
            *arguments,
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_other_processes_find_the_model_too(project, tools, monkeypatch, capsys) -> None:
    """Workers that train, and a later evaluation, which is told whose checkpoints to trust.

    This process has heard nothing of the model when it evaluates: no other test calls it so.
    """
    (project / "elsewhere.py").write_text(readme_model())
    tools.make_stream(tools.images_data(), project)
    own = ["tracking=none", "model._target_=elsewhere.MyModel", "model.width=6"]
    training = ["training.epochs=1", "training.workers=1", "training.seeds=[1]"]
    done = command("train", *own, *training)
    assert done.returncode == 0, done.stderr
    assert (project / "runs/naive/seed_1/task_1.pt").exists()
    assert "Traceback" not in done.stderr

    def evaluate_here(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["evaluate", "experiment=digits", *arguments])
        run_stage(evaluate.main, evaluate.SECTIONS, "")

    assert "elsewhere" not in sys.modules
    with pytest.raises(SystemExit) as refused:
        evaluate_here("tracking=none")
    said = capsys.readouterr().err
    assert refused.value.code == 2
    assert "in a command model._target_=elsewhere.MyModel\n" in said
    assert said.count("\n") == 1
    evaluate_here(*own[:2])
    assert (project / "evaluations/naive/loss_matrix.csv").exists()
