"""Figures of a folder, put into the page itself."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.reporting.blocks import Picture

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def picture(file: Path, alt: str, caption: str = "") -> Picture:
    """Return a PNG as an image that needs no file.

    Raises
    ------
    UserError
        If it is no whole PNG.
    """
    content = file.read_bytes()
    if not content.startswith(_SIGNATURE) or not content.endswith(b"IEND\xaeB`\x82"):
        raise UserError(f"{file} is no whole PNG; run `insituml plot` there to draw it again")
    width, height = struct.unpack(">II", content[16:24])
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return Picture(source, alt, width, height, caption)
