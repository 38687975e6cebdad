"""Groups of options: dataclasses whose fields are spread into the signature that Typer reads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of its parameters that are dataclasses, which it then receives filled.

    Fields are ``Annotated`` as Typer wants it, or groups in their turn. Two fields of one name are a ValueError, when
    the command is defined.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))
            continue
        parameters += _options(groups[name])

    @functools.wraps(command)
    def run(**given: Any) -> None:
        filled = {name: _fill(group, given) for name, group in groups.items()}
        command(**filled, **given)

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options(group: Any) -> Iterator[Parameter]:
    """Yield a parameter for each field of a group, and of the groups in it."""
    types = get_type_hints(group, include_extras=True)
    for field in fields(group):
        if is_dataclass(types[field.name]):
            yield from _options(types[field.name])
        else:
            kind, default = Parameter.KEYWORD_ONLY, Parameter.empty if field.default is MISSING else field.default
            yield Parameter(field.name, kind, default=default, annotation=types[field.name])


def _fill(group: Any, given: dict[str, Any]) -> Any:
    """Make a group, and the groups in it, of what was given for their fields, which is taken out."""
    types = get_type_hints(group, include_extras=True)
    values = {name: _fill(kind, given) if is_dataclass(kind) else given.pop(name) for name, kind in types.items()}
    return group(**values)
