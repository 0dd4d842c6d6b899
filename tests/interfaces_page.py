"""``python -m tests.interfaces_page``: write docs/interfaces.md, which is made from the docstrings
of the interfaces and of the values that cross them."""

from __future__ import annotations

import ast
import enum
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator

import attr

import regsys.interfaces
from regsys import errors, model
from regsys.interfaces import homeserver, hooks

PAGE = Path(__file__).parent.parent / "docs/interfaces.md"
HEAD = """\
# Interfaces

What a homeserver that embeds regsys may bring, and the values that it is given or returns.
[embedding.md](embedding.md) says which of it you need, and when. `python -m tests.interfaces_page`
makes this page from the source.

Implement a method that returns an `Awaitable[X]` as `async def … -> X`, or return a `Deferred[X]`.
The others return at once and do not block. None means absent; a refusal is an exception of
`regsys.errors`. A call that has not ended after `deadline_s` is cancelled.
"""
PARTS = """\
## What is the homeserver's

Arguments of `regsys.embedded`: `store`, `devices` and `auth` are needed."""
CUSTOM = """\
## What is custom

Arguments of `regsys.hooks`."""
VALUES = """\
## Values

Classes of `regsys.model`, or of `regsys.interfaces` where that is said. The fields are the
arguments of the constructor. The values are frozen; `attr.evolve` makes changed copies. Times are
integer milliseconds since the Unix epoch; addresses are in their canonical form."""
ERRORS = """\
## Errors

Of `regsys.errors`: what your parts raise, and what calls of regsys raise. A subclass of
`RegistrationError` is the answer to the client; without `text` it says the sentence. Keyword
arguments of one that takes `**extra` become keys of the JSON body. `StageFailed` is answered with a
401 and the flows; `RoomRefused` and `RoomTaken` are for the operator.

| exception | status | errcode | sentence |
|---|---|---|---|"""


def page() -> str:
    """The whole page."""
    sections = [HEAD.strip(), PARTS, *_interfaces(homeserver), CUSTOM, *_interfaces(hooks)]
    named = [getattr(model, name) for name in model.__all__]
    values = [item for item in named if inspect.isclass(item)]
    custom = [getattr(regsys.interfaces, name) for name in regsys.interfaces.__all__]
    values += [item for item in custom if inspect.isclass(item)]
    values.sort(key=lambda item: item.__name__)
    refusals = "\n".join([ERRORS, *map(_error, errors.__all__)])
    return "\n\n".join([*sections, VALUES, *map(_value, values), refusals]) + "\n"


def _interfaces(module: ModuleType) -> Iterator[str]:
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef) and _is_interface(node):
            yield _interface(node)


def _is_interface(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).startswith("I") for base in node.bases)


def _interface(node: ast.ClassDef) -> str:
    extended = [ast.unparse(base) for base in node.bases if ast.unparse(base) != "Interface"]
    parts = [f"### {node.name}", _text(ast.get_docstring(node))]
    parts += [f"Extends {', '.join(map(_link, extended))}."] if extended else []
    for item in node.body:
        if isinstance(item, ast.AnnAssign):
            assert isinstance(item.value, ast.Call)  # Attribute("…")
            shown = f"{ast.unparse(item.target)}: {ast.unparse(item.annotation)}"
            parts.append(_code(shown))
            parts.append(_text(ast.literal_eval(item.value.args[0])))
        elif isinstance(item, ast.FunctionDef):
            parts += _function(item)
    return "\n\n".join(parts)


def _function(node: ast.FunctionDef, of: str = "") -> list[str]:
    """The signature and the docstring."""
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    arguments = ast.unparse(node.args).removeprefix("self").removeprefix("cls").lstrip(", ")
    return [_code(f"{of}{node.name}({arguments}){result}"), _text(ast.get_docstring(node))]


def _value(kind: Any) -> str:
    (node,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(node, ast.ClassDef)
    parts = [f"### {kind.__name__}"]
    if kind.__module__.startswith("regsys.interfaces"):
        parts.append("In `regsys.interfaces`.")
    parts.append(_text(ast.get_docstring(node)))
    if issubclass(kind, enum.Enum):
        parts.append(_code("\n".join(f"{item.name} = {_literal(item.value)}" for item in kind)))
        return "\n\n".join(parts)
    parts.append(_code("\n".join(_fields(kind))))
    if not attr.fields(kind)[0].kw_only:
        parts.append("Its arguments may be given by position.")
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
            parts += _method(kind, item)
    return "\n\n".join(filter(None, parts))


def _fields(kind: Any) -> Iterator[str]:
    """The arguments of the constructor, each with its type and default."""
    types: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        types.update(inspect.get_annotations(base))
    for field in attr.fields(kind):
        default = field.default
        if default is attr.NOTHING:
            shown = ""
        elif not isinstance(default, attr.Factory):  # type: ignore[arg-type]  # it is a class
            shown = f" = {_literal(default)}"
        else:
            shown = " = {}" if default.factory is dict else " = …"
        yield f"{field.alias}: {types[field.name]}{shown}"


def _method(kind: Any, node: ast.FunctionDef) -> list[str]:
    """A property is shown as a field, a classmethod as it is called."""
    decorators = [ast.unparse(item) for item in node.decorator_list]
    if "property" in decorators:
        assert node.returns is not None
        text = ast.get_docstring(node)
        return [_code(f"{node.name}: {ast.unparse(node.returns)}  # a property"), _text(text)]
    return _function(node, f"{kind.__name__}." if "classmethod" in decorators else ".")


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _error(name: str) -> str:
    """A row of the table: how it is raised, and what the client gets."""
    kind = getattr(errors, name)
    if kind.__init__ is Exception.__init__:
        return f"| `{name}(text)` | | | |"
    given = list(inspect.signature(kind.__init__).parameters.values())[1:]
    shown = ", ".join(str(item.replace(annotation=item.empty)) for item in given)
    if not issubclass(kind, errors.RegistrationError):
        return f"| `{name}({shown})` | | the argument | the argument |"
    is_given = any(item.name == "errcode" for item in given)
    errcode = "the argument" if is_given else f"`{kind.errcode}`"
    text = "the argument" if is_given else kind.sentence
    return f"| `{name}({shown})` | {kind.status} | {errcode} | {text} |"


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _text(docstring: Any) -> str:
    """A docstring as Markdown, a line for each paragraph."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(" ".join(item.split()) for item in paragraphs).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
