"""Options shared by all tests. Imports no torch: collection stays quick."""

from __future__ import annotations

import os
import sys

import pytest

# Results differ by the number of threads; examples and stages run in subprocesses inherit this.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples", action="store_true", help="also run the scripts in examples/")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "examples: runs a script of examples/; skipped without --examples"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--examples"):
        return
    skip = pytest.mark.skip(reason="needs --examples")
    for item in items:
        if "examples" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _same_draws_in_every_order() -> None:
    """Seed torch's ambient generator: a layer made in a test starts alike whatever ran before."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
