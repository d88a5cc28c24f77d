"""MLflow's own thread that samples what the machine does while runs train."""

from __future__ import annotations

import logging
from typing import Any


class SystemMetrics:
    """CPU, memory, disk and network (and GPU, where MLflow finds one), below ``system/`` of runs.

    Parameters
    ----------
    uri
        Of the store.
    interval
        Seconds between samples.
    """

    def __init__(self, uri: str, interval: float) -> None:
        self.uri = uri
        self.interval = interval
        self._monitors: list[Any] = []

    def watch(self, run_id: str) -> None:
        """Sample until :meth:`stop`, with a step more each time."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        monitor = SystemMetricsMonitor(
            run_id, sampling_interval=self.interval, resume_logging=True, tracking_uri=self.uri
        )
        monitor.start()
        self._monitors.append(monitor)

    def stop(self) -> None:
        """End all samplers, before their runs end."""
        for monitor in self._monitors:
            monitor.finish()
        self._monitors.clear()
