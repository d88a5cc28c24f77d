"""From evaluations to tables and figures."""
