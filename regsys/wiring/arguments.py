"""Checks of what an embedder passes: a TypeError names the argument, and what is wrong with it."""

from __future__ import annotations

import os
from typing import Any, Callable, Sequence

import attr
from zope.interface import Interface

from regsys.config import Config
from regsys.interfaces.provided import difference
from regsys.model import JOB_LEASE_MS

# As attrs calls it.
Validator = Callable[[Any, "attr.Attribute[Any]", Any], None]

# The argument with which a task.Clock can take a reactor's place.
MEMORY_PROCESS = "process=regsys.testing.memory_process(testcase, config, clock)"


def check_provides(argument: str, interface: type[Interface], part: object) -> None:
    """``argument`` is as in ``embedded(store=…)``."""
    if part is None:
        raise TypeError(f"{argument} is None, but needed: pass an {interface.__name__}")
    found = difference(interface, part)
    if found is not None:
        raise TypeError(f"{argument}: {found}")


def check_config(function: str, config: object) -> None:
    if isinstance(config, Config):
        return
    if isinstance(config, dict):
        mend = "regsys.parse(…) makes a Config of it"
    elif isinstance(config, (str, os.PathLike, list, tuple)):
        mend = "regsys.load([…]) makes a Config of these files"
    else:
        mend = "regsys.load([…]) makes a Config of files, regsys.parse({…}) of options"
    raise TypeError(f"{function}(config): {_a(config)} is no regsys.Config: {mend}")


def check_clock(function: str, clock: object, besides: str = "") -> None:
    """``besides`` is the argument that a task.Clock needs as well; empty if it needs none."""
    together = f" together with {besides}" if besides else ""
    for name in ("seconds", "callLater"):
        if not callable(getattr(clock, name, None)):
            raise TypeError(
                f"{function}(clock): {_a(clock)} has no method {name}: pass the reactor, or"
                f" in tests a twisted.internet.task.Clock{together}"
            )


def check_reactor(function: str, clock: object) -> None:
    """What prepares a process of its own needs a reactor, not just a clock."""
    if not callable(getattr(clock, "callWhenRunning", None)):
        raise TypeError(
            f"{function}(clock): {_a(clock)} is no reactor, which alone can run threads: in tests"
            f" pass it together with {MEMORY_PROCESS}"
        )


def check_deadline(function: str, deadline_s: object) -> None:
    """A deadline ends within a job's lease. Otherwise another process would begin the same call
    again, and a recovery would ask for an account that is still being created."""
    if isinstance(deadline_s, bool) or not isinstance(deadline_s, (int, float)):
        raise TypeError(f"{function}(deadline_s=…): {_a(deadline_s)} is no number of seconds")
    if not 0 < deadline_s < JOB_LEASE_MS / 1000:
        raise ValueError(
            f"{function}(deadline_s={deadline_s}): a deadline is longer than 0 and shorter than"
            f" the lease of a job, {JOB_LEASE_MS // 1000} seconds"
        )


def check_made_by(maker: str, argument: str, kind: type, value: object) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{argument}: {_a(value)} is no {kind.__name__}: {maker} makes one")


# --- Validators of the fields of Hooks --------------------------------------------------------


def provided(interface: type[Interface]) -> Validator:
    """The field provides the interface, or is None."""

    def check(instance: object, field: attr.Attribute[Any], value: object) -> None:
        if value is not None:
            check_provides(_argument(field), interface, value)

    return check


def each_provided(interface: type[Interface]) -> Validator:
    """The field is a sequence of objects that provide the interface."""

    def check(instance: object, field: attr.Attribute[Any], value: object) -> None:
        name = interface.__name__
        for index, part in enumerate(
            _sequence(_argument(field), value, f"objects, each an {name}")
        ):
            check_provides(f"{_argument(field)}[{index}]", interface, part)

    return check


def distinct_types(instance: object, field: attr.Attribute[Any], stages: Sequence[Any]) -> None:
    """No two of the stages have the same type, by which flows name them."""
    types = [stage.type for stage in stages]
    for name in types:
        if types.count(name) > 1:
            raise ValueError(f"{_argument(field)}: two stages have the type {name!r}")


def callbacks(kind: type) -> Validator:
    """The field is a list of callbacks of this class."""

    def check(instance: object, field: attr.Attribute[Any], value: object) -> None:
        if not isinstance(value, kind):
            raise TypeError(
                f"{_argument(field)}: {_a(value)} is no {kind.__name__}: leave it out, and register"
                f" callbacks on the .{field.name} of what regsys.hooks returns"
            )

    return check


def function(instance: object, field: attr.Attribute[Any], value: object) -> None:
    if not callable(value):
        raise TypeError(f"{_argument(field)}: {_a(value)} cannot be called: pass a function")


def paths(instance: object, field: attr.Attribute[Any], value: object) -> None:
    """The field is a sequence of paths, each a str."""
    for path in _sequence(_argument(field), value, "paths"):
        if not isinstance(path, str):
            raise TypeError(f"{_argument(field)}: {_a(path)} is no str: pass each path as a str")


def flows(instance: object, field: attr.Attribute[Any], value: object) -> None:
    """The field is a sequence of flows, each a sequence of types of stages; or None."""
    if value is None:
        return
    argument = _argument(field)
    for flow in _sequence(argument, value, "flows, each a tuple of types of stages"):
        if isinstance(flow, str):
            raise TypeError(
                f"{argument}: {flow!r} is a type of a stage, not a flow: a flow is a tuple of them,"
                f" as in {field.name}=[({flow!r},)]"
            )
        for stage in _sequence(argument, flow, "types of stages"):
            if not isinstance(stage, str):
                raise TypeError(f"{argument}: {_a(stage)} is no str: a flow has stages' types")


def _sequence(argument: str, value: object, of: str) -> Sequence[Any]:
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return value
    raise TypeError(f"{argument}: {_a(value)} is no list: pass a list of {of}")


def _argument(field: attr.Attribute[Any]) -> str:
    return f"hooks({field.name}=…)"


def _a(value: object) -> str:
    """What kind of thing this is. Its value may be a secret."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
