"""Owner: parameters, buffers and modules found as attributes, and their state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from mlext import _C, dtypes
from mlext.nn import _state
from mlext.tensor import Parameter, Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

    from mlext.nn.module import Module


class Owner:
    """The half of Module that has to do with what it owns."""

    training: bool
    _buffers: dict[str, bool]
    _hooks: tuple[Any, ...]
    _changes: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make the fields of every module: a subclass need not call ``super().__init__()``."""
        self = super().__new__(cls)
        vars(self).update(training=True, _buffers={}, _hooks=(), _changes=0)
        return self

    # ---- what belongs to a module ----------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign an attribute; Parameters and Modules are found by being assigned."""
        old = vars(self).get(name)
        if isinstance(value, (Tensor, Owner)) or isinstance(old, (Tensor, Owner)):
            self._check_assignment(name, old, value)
        if value is not old:
            self._note_change()  # what was captured may have used the old value
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        """Take an attribute away."""
        object.__delattr__(self, name)
        self._buffers.pop(name, None)
        self._note_change()

    def _check_assignment(self, name: str, old: Any, value: Any) -> None:
        if "." in name:
            raise ValueError(f"{type(self).__name__}: expected an attribute name without '.', got {name!r}")
        if isinstance(old, Parameter) and not (value is None or isinstance(value, Parameter)):
            raise TypeError(
                f"{type(self).__name__}: attribute {name!r} is a Parameter: expected a Parameter "
                "or None, got "
                f"{type(value).__name__}; to change its values use mlext.nn.init or "
                "load_state_dict()"
            )

    def _note_change(self) -> None:
        vars(self)["_changes"] += 1
        _C.bump_epoch()

    def _mode(self) -> tuple[Any, ...]:
        """Return what a captured call depends on besides memory."""
        own = [v.requires_grad for v in vars(self).values() if isinstance(v, Parameter)]
        return (self.training, self._changes, len(self._hooks), *own)

    def register_buffer(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Make ``value`` an attribute that is saved with the parameters but not trained.

        Parameters
        ----------
        name : str
            Name of the attribute.
        value : Tensor or None
            Its value.
        persistent : bool
            Whether ``state_dict()`` has it.
        """
        if value is not None and (not isinstance(value, Tensor) or isinstance(value, Parameter)):
            raise TypeError(f"register_buffer: argument 'value': expected a Tensor or None, got {type(value).__name__}")
        if name in vars(self) and name not in self._buffers:
            raise ValueError(f"register_buffer: argument 'name': attribute {name!r} exists already")
        setattr(self, name, value)
        self._buffers[name] = persistent

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the names and modules directly inside this one."""
        for name, value in vars(self).items():
            if isinstance(value, Owner):
                yield name, cast("Module", value)

    def _replace_child(self, name: str, module: Module) -> None:
        """Put a module in the place of the one that named_children() has under a name."""
        setattr(self, name, module)

    def children(self) -> Iterator[Module]:
        """Yield the modules directly inside this one."""
        for _, module in self.named_children():
            yield module

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield ``(path, module)`` for this module (path ``""``) and all inside it, each once."""
        seen: set[int] = set()
        for path, module in self._walk(""):
            if id(module) not in seen:
                seen.add(id(module))
                yield path.removesuffix("."), module

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """All modules with the prefix of their attributes' names; a shared one under every name."""
        yield prefix, cast("Module", self)
        for name, child in self.named_children():
            yield from child._walk(f"{prefix}{name}.")

    def modules(self) -> Iterator[Module]:
        """Yield this module and all inside it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield names such as ``layers.2.weight`` and Parameters; a shared one once."""
        seen: set[int] = set()
        for prefix, module in self._walk(""):
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield prefix + name, value

    def parameters(self) -> Iterator[Parameter]:
        """Yield the Parameters of this module and all inside it, each once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the names and Tensors that were registered with :meth:`register_buffer`."""
        for prefix, module in self._walk(""):
            for name in module._buffers:
                if vars(module)[name] is not None:
                    yield prefix + name, vars(module)[name]

    def buffers(self) -> Iterator[Tensor]:
        """Yield the buffers of this module and all inside it."""
        for _, buffer in self.named_buffers():
            yield buffer

    def _floating_dtype(self) -> dtypes.DType | None:
        """Return the dtype of the first floating parameter or buffer."""
        for value in vars(self).values():
            if isinstance(value, Tensor) and value.dtype.is_floating:
                return value.dtype
        for _, child in self.named_children():
            dtype = child._floating_dtype()
            if dtype is not None:
                return dtype
        return None

    # ---- state -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Return parameters and persistent buffers by name; they share memory with the module."""
        return {name: value.detach() for name, value in _state.named_state(self)}

    def load_state_dict(
        self, state: Mapping[str, Tensor | npt.NDArray[Any]], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copy values into the parameters and buffers: all, or after an error none.

        Parameters
        ----------
        state : mapping of str to Tensor or ndarray
            As from :meth:`state_dict`.
        strict : bool
            Whether missing and unexpected names are errors too.

        Returns
        -------
        tuple of two lists of str
            Missing and unexpected names.

        Raises
        ------
        ValueError
            Listing every missing and unexpected name, wrong shape and wrong dtype.
        """
        return _state.load(self, state, strict)
