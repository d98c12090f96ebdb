"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from mlext.nn._fusing import ADDING, run_all, run_fused
from mlext.nn.module import Module

C = TypeVar("C", bound="_List")


class _Container(Module):
    """Modules under names."""

    _items: dict[str, Module]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls, *args, **kwargs)
        vars(self)["_items"] = {}
        return self

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the names and modules directly inside this one."""
        yield from self._items.items()
        yield from super().named_children()

    def _replace_child(self, name: str, module: Module) -> None:
        if name in self._items:
            self._set(name, module)
        else:
            super()._replace_child(name, module)

    def __len__(self) -> int:
        """Return the number of modules."""
        return len(self._items)

    def __contains__(self, value: object) -> bool:
        """Whether ``value`` is one of the modules."""
        return any(module is value for module in self._items.values())

    def _checked(self, module: Any) -> Module:
        if isinstance(module, Module):
            return module
        name = type(self).__name__
        remedy = "; nn.Lambda makes a module of a function" if callable(module) else ""
        raise TypeError(f"{name}: expected a Module, got {type(module).__name__}{remedy}")

    def _set(self, name: str, module: Any) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{type(self).__name__}: expected a name without '.', got {name!r}")
        self._items[name] = self._checked(module)
        self._note_change()


class _List(_Container):
    """Modules in an order, named by position unless they were given names."""

    def __iter__(self) -> Iterator[Module]:
        """Iterate over the modules in order."""
        return iter(self._items.values())

    def __getitem__(self: C, index: int | slice) -> Any:
        """Return one module, or for a slice a container that shares the modules."""
        if isinstance(index, slice):
            part = type(self)()
            for name, module in list(self._items.items())[index]:
                part._set(str(len(part)) if name.isdigit() else name, module)
            return part
        return self._items[self._name_at(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        """Replace one module."""
        self._set(self._name_at(index), module)

    def __delitem__(self, index: int) -> None:
        """Take one module out; numbered names move up."""
        del self._items[self._name_at(index)]
        self._renumber(list(self._items.items()))

    def append(self: C, module: Module) -> C:
        """Add a module at the end; return self."""
        position = len(self)
        while str(position) in self._items:
            position += 1
        self._set(str(position), module)
        return self

    def extend(self: C, modules: Iterable[Module]) -> C:
        """Add modules at the end; return self."""
        for module in modules:
            self.append(module)
        return self

    def insert(self: C, index: int, module: Module) -> C:
        """Add a module before position ``index``; numbered names move down; return self."""
        items = list(self._items.items())
        items.insert(index, ("0", self._checked(module)))
        self._renumber(items)
        return self

    def _renumber(self, items: list[tuple[str, Module]]) -> None:
        self._items.clear()
        for i, (name, module) in enumerate(items):
            self._items[str(i) if name.isdigit() else name] = module
        self._note_change()

    def _name_at(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"{type(self).__name__}: expected an index from {-len(self)} to {len(self) - 1}, got {index}"
            )
        return list(self._items)[index]


class Sequential(_List):
    """Modules one after the other.

    A layer with weights, or one that normalises, and the activation that follows it run as one kernel, with the same
    result.

    Parameters
    ----------
    *modules : Module
        In order; or one mapping of names to modules.

    Examples
    --------
    >>> import mlext as ml
    >>> model = ml.nn.Sequential(ml.nn.Linear(4, 8), ml.nn.ReLU(), ml.nn.Linear(8, 2))
    >>> model(ml.ones(3, 4)).shape
    (3, 2)
    >>> model[:2]
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self._set(name, module)
        else:
            self.extend(modules)  # type: ignore[arg-type]

    def forward(self, x: Any) -> Any:
        """Apply the modules in order."""
        return run_all(list(self._items.values()), x)

    def ends_adding(self) -> bool:
        """Whether the last module can add a residual and apply an activation in its kernel."""
        last: Any = next(reversed(self._items.values()), None)
        return type(last) in ADDING and not (self._hooks or last._hooks or last.activation)

    def run_adding(self, x: Any, activation: str | None, residual: Any) -> Any:
        """Apply the modules, the last one of which adds a residual and applies an activation."""
        modules = list(self._items.values())
        return run_fused(modules[-1], self, run_all(modules[:-1], x), activation, residual)


class ModuleList(_List):
    """A list of modules: their parameters are found. It has no ``forward``.

    Examples
    --------
    >>> import mlext as ml
    >>> layers = ml.nn.ModuleList([ml.nn.Linear(2, 2) for _ in range(3)])
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)


class ModuleDict(_Container):
    """A dict of modules: their parameters are found. It has no ``forward``.

    Examples
    --------
    >>> import mlext as ml
    >>> heads = ml.nn.ModuleDict({"age": ml.nn.Linear(2, 1), "name": ml.nn.Linear(2, 9)})
    >>> sorted(heads)
    ['age', 'name']
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add or replace modules."""
        for name, module in modules.items():
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        """Return one module."""
        return self._items[name]

    def __setitem__(self, name: str, module: Module) -> None:
        """Add or replace one module."""
        self._set(name, module)

    def __delitem__(self, name: str) -> None:
        """Take one module out."""
        del self._items[name]
        self._note_change()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._items)

    def __contains__(self, name: object) -> bool:
        """Whether there is a module of that name."""
        return name in self._items

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._items.keys()

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        return self._items.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return the names and modules."""
        return self._items.items()
