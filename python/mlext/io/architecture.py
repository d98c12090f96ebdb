"""What a model is made of, as data: class names and constructor arguments, from and to modules of ``mlext.nn``.

``Module.config()`` gives the arguments of a module's constructor; containers are described by their children.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterator
from typing import Any

from mlext import models, nn
from mlext.random import Generator
from mlext.tensor import Tensor, as_shape, zeros

__all__ = ["build", "describe", "registry"]

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_ABSTRACT = ("Module", "Activation", "Lambda")  # a function cannot be written to a file
_MAX_DEPTH = 100


def registry() -> dict[str, type[nn.Module]]:
    """Return the classes that may be named in a file: those of ``mlext.nn`` and ``mlext.models``, and nothing else."""
    found = {name: getattr(home, name) for home in (nn, models) for name in home.__all__ if name not in _ABSTRACT}
    return {name: cls for name, cls in found.items() if isinstance(cls, type) and issubclass(cls, nn.Module)}


def describe(module: nn.Module) -> dict[str, Any]:
    """Return the tree of a module as data fit for JSON.

    Raises
    ------
    TypeError
        If a module inside is not of a class of ``mlext.nn`` or ``mlext.models``.
    """
    return _describe(module, registry(), {})


def _describe(module: nn.Module, known: dict[str, type[nn.Module]], seen: dict[int, int]) -> dict[str, Any]:
    if id(module) in seen:
        return {"same": seen[id(module)]}
    seen[id(module)] = len(seen)
    name = type(module).__name__
    if known.get(name) is not type(module):
        raise TypeError(f"{name} is not a layer of mlext.nn or mlext.models")
    if isinstance(module, _CONTAINERS):
        parts = [[key, _describe(child, known, seen)] for key, child in module._items.items()]
        return {"class": name, "children": parts}
    args = module.config()
    tree = {"class": name, "args": {key: _plain(value, known, seen) for key, value in args.items()}}
    changed = _changed(module, args, known, seen)
    return {**tree, "changed": changed} if changed else tree


def _changed(
    module: nn.Module, args: dict[str, Any], known: dict[str, type[nn.Module]], seen: dict[int, int]
) -> list[list[Any]]:
    """Modules inside that are others than the constructor makes, such as quantised ones: names and trees."""
    own = {key: child for key, child in module.named_children() if key not in args}
    if not own:
        return []
    options = {"rng": _Blank(sys.maxsize)} if "rng" in inspect.signature(type(module)).parameters else {}
    fresh = dict(type(module)(**args, **options).named_children())
    return [
        [key, _describe(child, known, seen)]
        for key, child in own.items()
        if key in fresh and _describe(child, known, {}) != _describe(fresh[key], known, {})
    ]


def _plain(value: Any, known: dict[str, type[nn.Module]], seen: dict[int, int]) -> Any:
    if isinstance(value, nn.Module):
        return {"module": _describe(value, known, seen)}
    if isinstance(value, (tuple, list)):
        return [_plain(item, known, seen) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"an argument of type {type(value).__name__} cannot be written to a file")


# ---- back ------------------------------------------------------------------------------------------------------------


class _Blank(Generator):
    """Gives zeros where a layer draws its first values: the file's values replace them.

    Nothing is drawn from the default generator, and a hostile file cannot ask for more memory than it is long itself.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(0)
        self.limit = limit

    def _zeros(self, shape: Any, dtype: Any) -> Tensor:
        sizes = as_shape("load", shape)
        self.limit -= math.prod(sizes)
        if self.limit < 0:
            raise ValueError(f"a layer has a parameter of shape {sizes}, more than the file has values for")
        return zeros(*sizes, dtype=dtype)

    def uniform(self, *shape: Any, low: float = 0.0, high: float = 1.0, dtype: Any = "float32") -> Tensor:
        """Return zeros."""
        return self._zeros(shape, dtype)

    def normal(self, *shape: Any, mean: float = 0.0, std: float = 1.0, dtype: Any = "float32") -> Tensor:
        """Return zeros."""
        return self._zeros(shape, dtype)


def build(tree: Any, elements: int) -> nn.Module:
    """Make the modules that :func:`describe` described; their parameters are zeros.

    Parameters
    ----------
    tree : dict
        From a file: nothing in it is trusted.
    elements : int
        Number of values that the file may hold: no parameter is larger.

    Raises
    ------
    ValueError
        If the tree is malformed, names a class that is not in the registry, or arguments the class refuses.
    """
    return _Builder(elements).module(tree, 0)


class _Builder:
    def __init__(self, elements: int) -> None:
        self.known = registry()
        self.blank = _Blank(elements)
        self.largest = max(elements, 1 << 16)
        self.made: list[nn.Module | None] = []

    def module(self, tree: Any, depth: int) -> nn.Module:
        if depth > _MAX_DEPTH:
            raise ValueError(f"architecture: modules are nested more than {_MAX_DEPTH} deep")
        if not isinstance(tree, dict):
            raise ValueError(f"architecture: expected a module, got {str(tree)[:60]}")
        if "same" in tree:
            return self._shared(tree["same"])
        name = tree.get("class")
        cls = self.known.get(name) if isinstance(name, str) else None
        if cls is None:
            raise ValueError(f"architecture: {str(name)[:60]!r} is not a layer of mlext.nn or mlext.models")
        place = len(self.made)
        self.made.append(None)
        made = self._container(cls, tree, depth) if issubclass(cls, _CONTAINERS) else self._layer(cls, tree, depth)
        self.made[place] = made
        return made

    def _shared(self, place: Any) -> nn.Module:
        found = self.made[place] if isinstance(place, int) and 0 <= place < len(self.made) else None
        if found is None:
            raise ValueError(f"architecture: no module {str(place)[:60]!r} to share")
        return found

    def _container(self, cls: type[nn.Module], tree: dict[str, Any], depth: int) -> nn.Module:
        made = cls()
        assert isinstance(made, _CONTAINERS)
        for name, child in _named(cls, tree.get("children")):
            made._set(name, self.module(child, depth + 1))
        return made

    def _layer(self, cls: type[nn.Module], tree: dict[str, Any], depth: int) -> nn.Module:
        args = tree.get("args")
        if not isinstance(args, dict):
            raise ValueError(f"architecture: {cls.__name__} has no arguments")
        options = {key: self._value(value, depth) for key, value in args.items()}
        if "rng" in inspect.signature(cls).parameters:
            options["rng"] = self.blank
        limit = self.blank.limit
        try:
            made: nn.Module = cls(**options)
        except (TypeError, ValueError) as error:
            raise ValueError(f"architecture: {error}") from None
        taken = limit - self.blank.limit
        for module in made.modules():
            if vars(module).get("rng") is self.blank:
                module.rng = None
        for name, child in _named(cls, tree.get("changed")):
            fresh = dict(made.named_children())
            if name not in fresh:
                raise ValueError(f"architecture: {cls.__name__} has no module {name[:60]!r} to change")
            back = min(taken, fresh.pop(name).num_parameters())
            taken, self.blank.limit = taken - back, self.blank.limit + back
            made._replace_child(name, nn.Identity())  # its memory goes before that of the other is taken
            made._replace_child(name, self.module(child, depth + 1))
        return made

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return self.module(value.get("module"), depth + 1)
        if isinstance(value, list):
            return tuple([self._value(item, depth) for item in value])
        if isinstance(value, int) and abs(value) > self.largest:
            raise ValueError(f"architecture: size {value} is larger than the file")
        return value


def _named(cls: type[nn.Module], children: Any) -> Iterator[tuple[str, Any]]:
    """Names and trees of a list in a file."""
    for child in children if isinstance(children, list) else ():
        if not (isinstance(child, list) and len(child) == 2 and isinstance(child[0], str)):
            raise ValueError(f"architecture: {cls.__name__} has a malformed child")
        yield child[0], child[1]
