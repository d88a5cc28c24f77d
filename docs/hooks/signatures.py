"""How something is called, as Python."""

from __future__ import annotations

import griffe

WIDTH = 88
STARS = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}


def signature(found: griffe.Object, title: str) -> str:
    """Return a fenced block of Python; empty for what is not called."""
    if isinstance(found, griffe.Class):
        parameters = found.parameters  # of __init__, a dataclass, or a parent
        returns = ""
    elif isinstance(found, griffe.Function):
        parameters = found.parameters
        returns = f" -> {found.returns}" if found.returns is not None else ""
    else:
        return ""
    shown = [text for text in _parameters(parameters) if text not in ("self", "cls")]
    line = f"{title}({', '.join(shown)}){returns}"
    if len(line) > WIDTH:
        line = f"{title}(\n" + "".join(f"    {text},\n" for text in shown) + f"){returns}"
    return f"```python\n{line}\n```"


def _parameters(parameters: griffe.Parameters) -> list[str]:
    shown, starred = [], False
    for parameter in parameters:
        kind = parameter.kind
        if kind is griffe.ParameterKind.var_positional:
            starred = True
        elif kind is griffe.ParameterKind.keyword_only and not starred:
            shown.append("*")
            starred = True
        star = STARS.get(kind, "")
        text = f"{star}{parameter.name}"
        if parameter.annotation is not None:
            text += f": {parameter.annotation}"
        if parameter.default is not None and not star:
            text += f" = {parameter.default}" if ":" in text else f"={parameter.default}"
        shown.append(text)
    return shown
