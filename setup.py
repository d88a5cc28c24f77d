"""The build's one step of our own; all that is declared stands in pyproject.toml.

A wheel holds the repository's conf/, dvc.yaml and what goes with them, for `insituml init` and for
commands that are run outside a project. They are copied while it is built, so that nothing is said
twice; an editable install reads them where they are.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # a build in isolation does not look here

from insituml_pipelines.common.project_folder import BUNDLED  # noqa: E402
from insituml_pipelines.project.template import BUNDLED_PARTS  # noqa: E402


class BuildWithRepository(build_py):
    """Build the packages, and copy what a project needs of the repository into them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / BUNDLED.relative_to(HERE)
        if target.exists():  # of an earlier build, with files that may be gone
            shutil.rmtree(target)
        for part in BUNDLED_PARTS:
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            if (HERE / part).is_dir():
                shutil.copytree(HERE / part, target / part)
            else:
                shutil.copy(HERE / part, target / part)


setup(cmdclass={"build_py": BuildWithRepository})
