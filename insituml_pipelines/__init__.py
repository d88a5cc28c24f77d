"""The experiment pipeline: one module a stage."""

import sys

if sys.argv[:1] == ["-m"]:  # a command that begins to load, as `python -m pipelines.train` does
    from insituml_pipelines.common.stopping import end_at_once

    end_at_once()
