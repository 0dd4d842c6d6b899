"""Values refuse what has the wrong type, and the error names the field."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, Callable, NoReturn, Optional

import attr

# An attrs validator: the instance, the field, its value.
Validator = Callable[[Any, "attr.Attribute[Any]", Any], None]


def typed(cls: type, fields: list[attr.Attribute[Any]]) -> list[attr.Attribute[Any]]:
    """A ``field_transformer`` for attrs: each field has its annotated type, or TypeError.

    Classes, Optional and Union, ``tuple[X, ...]`` and Mapping (whose content is not looked at) are
    understood; other annotations allow anything. True is no integer. A list becomes a tuple.
    """
    hints = typing.get_type_hints(cls)
    # All in one validator, which runs when every field is set: one for each would be several times
    # as many calls.
    validator = _validator({field.name: hints[field.name] for field in fields})
    *others, last = [
        field.evolve(converter=_tuple_of_list)
        if typing.get_origin(hints[field.name]) is tuple and field.converter is None
        else field
        for field in fields
    ]
    if last.validator is not None:
        validator = attr.validators.and_(last.validator, validator)
    return [*others, last.evolve(validator=validator)]


def _tuple_of_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def check_type(name: str, value: object, *kinds: type) -> None:
    """Raise TypeError if the argument of this name has none of these types."""
    if not isinstance(value, kinds):
        _refuse(name, " or ".join(map(_described, kinds)), value)


def _validator(hints: Mapping[str, Any]) -> Validator:
    allowed = [(name, _kinds(hint)) for name, hint in hints.items()]
    table = [(name, kinds) for name, kinds in allowed if kinds is not None]
    tuples = [
        (name, typing.get_args(hint)[0])
        for name, hint in hints.items()
        if typing.get_origin(hint) is tuple
    ]

    def check(instance: Any, field: object, value: object) -> None:
        for name, kinds in table:
            # The exact type first, because that is fast.
            if type(getattr(instance, name)) not in kinds:
                _check(instance, name, kinds, hints[name])
        for name, kind in tuples:
            for number, item in enumerate(getattr(instance, name)):
                if not isinstance(item, kind):
                    _refuse(f"{_name(instance, name)}[{number}]", kind.__name__, item)

    return check


def _kinds(hint: Any) -> Optional[tuple[type, ...]]:
    """The classes that the annotation allows; None if it allows anything."""
    origin = typing.get_origin(hint)
    if origin is typing.Union:
        kinds = [_kinds(item) for item in typing.get_args(hint)]
        if None in kinds:
            return None
        return tuple(kind for group in kinds if group is not None for kind in group)
    if origin is Mapping:
        return (dict, Mapping)
    if origin is tuple:
        return (tuple,)
    # In some versions of Python Any is a class.
    return (hint,) if isinstance(hint, type) and hint is not Any else None


def _check(instance: object, name: str, kinds: tuple[type, ...], hint: Any) -> None:
    value = getattr(instance, name)
    if isinstance(value, bool) or not isinstance(value, kinds):
        _refuse(_name(instance, name), _described(hint), value)


def _name(instance: object, field: str) -> str:
    return f"{type(instance).__name__}.{field.lstrip('_')}"


def _refuse(name: str, wanted: str, value: object) -> NoReturn:
    # Never the value itself, which may be a password or a token.
    given = "None" if value is None else type(value).__name__
    hint = ": wrap it, Secret(…)" if wanted.startswith("Secret") and given == "str" else ""
    raise TypeError(f"{name} must be {wanted}, not {given}{hint}")


def _described(hint: Any) -> str:
    """The annotation in words: ``str or None``, ``a tuple of Threepid``."""
    arguments = [item for item in typing.get_args(hint) if item is not Ellipsis]
    origin = typing.get_origin(hint)
    if origin is typing.Union:
        return " or ".join(map(_described, arguments))
    if origin is tuple:
        return f"a tuple of {_described(arguments[0])}"
    if origin is Mapping:
        return "a mapping"
    return "None" if hint is type(None) else str(hint.__name__)
