"""Field sources, tasks and normalisation."""
