"""What openPMD-api, ADIOS2 and HDF5 say, in one line: they print pages, with times and colours."""

from __future__ import annotations

import re

MOST_CHARACTERS = 300
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_PREFIXES = (
    re.compile(r"\[\w{3} \w{3} +\d+ [\d:]+ \d{4}\]"),
    re.compile(r"\[ADIOS2 EXCEPTION\]"),
    re.compile(r"<[A-Z]\w*> <[\w:]+> <\w+> : "),
)
_ERROR = re.compile(
    r"Read Error in (?:backend|frontend) ?(?P<backend>\w*)\s+Object type:\s*(?P<object>[^\n]*)\s+"
    r"Error type:\s*(?P<kind>[^\n]*)\s+Further description:\s*(?P<words>.*)",
    re.DOTALL,
)
_SKIPPED = re.compile(
    r"Cannot read (?:mesh with name|record component) '(?P<name>[^']*)' and will skip it due to "
    r"read error:\n(?P<error>.*?)(?=\nCannot read |\n\[|\nHDF5-DIAG|\Z)",
    re.DOTALL,
)
TEMPLATE = "Cannot read chunks in Template mode"
"""Said when a JSON file has shapes but no numbers, which are given as zeros."""


def in_one_line(text: str) -> str:
    """Return an error's own words, without times, colours and what only programmers can use."""
    text = _COLOUR.sub("", text).split("\nNote:")[0]
    match = _ERROR.search(text)
    if match:
        kind = f"{match['object']} {match['kind']}".strip()
        if kind == "Attribute NotFound" and len(match["words"].split()) == 1:
            return f"it lacks the attribute {match['words'].strip()}"
        text = f"{match['backend'] or 'openPMD-api'}: {match['words']} ({kind})"
    for prefix in _PREFIXES:
        text = prefix.sub("", text)
    words = " ".join(text.split())
    return words if len(words) <= MOST_CHARACTERS else f"{words[:MOST_CHARACTERS]}…"


def skipped_parts(noise: str) -> dict[str, str]:
    """Return what openPMD-api left out while it opened an iteration, and its reason, by name."""
    return {m["name"]: in_one_line(m["error"]) for m in _SKIPPED.finditer(_COLOUR.sub("", noise))}


def last_words(noise: str) -> str:
    """Return the last thing that a library said before it ended the process."""
    lines = [line for line in _COLOUR.sub("", noise).splitlines() if len(line.split()) > 2]
    told = [line for line in lines if "what():" in line or "EXCEPTION" in line] or lines
    return in_one_line(told[-1].replace("what():", "")) if told else ""
