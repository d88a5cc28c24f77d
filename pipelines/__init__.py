"""The experiment pipeline: one module a stage."""
