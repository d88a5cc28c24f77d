"""The stages by the name of their folder in a clone; installed, they are ``insituml_pipelines``.

A package with a name as general as this one belongs in nobody's environment.
"""

import insituml_pipelines  # noqa: F401  (a command that begins to load can be ended at once)
