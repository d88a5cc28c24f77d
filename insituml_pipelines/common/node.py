"""Configuration as plain values."""

from __future__ import annotations

from typing import Any

Node = dict[str, Any]
"""Part of the configuration, resolved: a section, or a ``_target_`` with its arguments."""
