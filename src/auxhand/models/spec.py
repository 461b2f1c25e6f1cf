"""A network as JSON: its class and its constructor's arguments, nested, and back.

A bundle holds a network's weights and its specification; `build` makes the network anew, and only
from classes of `auxhand.models`, so that a file cannot name code of its own.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Module = TypeVar("Module", bound=nn.Module)

_CLASS = re.compile(r"(auxhand\.models\.[a-z_0-9]+)\.([A-Za-z_0-9]+)")
_INITIAL_WEIGHTS = "pretrained"  # where weights start from; no part of what the network is


def recorded(cls: type[Module]) -> type[Module]:
    """Class decorator: instances remember their constructor's arguments for `specification`.

    Arguments must be plain values, lists, dictionaries with string keys, or recorded modules. An
    argument named `pretrained` is not kept: a network built from its specification gets its
    weights from a checkpoint and must not ask the network for others.

    Raises (when an instance is made):
        ValueError: an argument that JSON cannot hold.
    """
    construct = cls.__init__
    signature = inspect.signature(construct)
    named = [
        name
        for name, parameter in list(signature.parameters.items())[1:]
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]

    @functools.wraps(construct)
    def remember(self: Module, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        if type(self) is cls:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()  # so that a later change of a default leaves old files alone
            self._specification = {  # type: ignore[assignment]
                "class": f"{cls.__module__}.{cls.__qualname__}",
                "arguments": {
                    name: _plain(bound.arguments[name], f"{cls.__qualname__}({name}=...)")
                    for name in named
                    if name != _INITIAL_WEIGHTS
                },
            }

    cls.__init__ = remember  # type: ignore[method-assign, assignment]
    return cls


def specification(module: nn.Module) -> dict[str, Any]:
    """{"class": "auxhand.models.pose_net.PoseNet", "arguments": {...}}, ready for JSON.

    Raises:
        ValueError: the module's class is not recorded.
    """
    described: dict[str, Any] | None = module.__dict__.get("_specification")
    if described is None:
        raise ValueError(f"{type(module).__qualname__} does not record its arguments")
    return described


def build(spec: dict[str, Any]) -> nn.Module:
    """The network of a specification, with fresh weights.

    Raises:
        ValueError: not a specification, a class that is not a recorded one of `auxhand.models`,
            or arguments that its constructor refuses.
    """
    if not _is_specification(spec):
        raise ValueError(f"not a network's specification (class and arguments): {spec!r:.200}")
    cls = _find(spec["class"])
    arguments = {name: _revive(value) for name, value in spec["arguments"].items()}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ValueError(f"{spec['class']}: {error}") from error


class Bounded(TorchFunctionMode):
    """Inside, networks are built of at most so many numbers, and without initial values.

    For weights that are loaded next: a specification may ask for more than the memory holds.

    Args:
        most: numbers in all tensors together.

    Raises (while one is built):
        ValueError: it takes more.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, unless it initialises weights or makes too many."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func in _MAKERS:
            self.left -= func(*args, **(kwargs | {"device": "meta"})).numel()  # takes no memory
            if self.left < 0:
                raise ValueError("the network is larger than its weights")
        return func(*args, **kwargs)


_MAKERS = {torch.empty, torch.zeros, torch.ones, torch.full}


def _find(name: str) -> type[nn.Module]:
    match = _CLASS.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(f"a specification names classes of auxhand.models only, not {name!r}")
    try:
        cls = getattr(importlib.import_module(match[1]), match[2])
    except (ImportError, AttributeError) as error:
        raise ValueError(f"this version of AuxHand has no network {name!r}") from error
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module) and _records(cls)):
        raise ValueError(f"{name!r} is not a network that can be built from a specification")
    return cls


def _records(cls: type) -> bool:
    constructor = cls.__dict__.get("__init__")
    return cls.__module__.startswith("auxhand.models.") and hasattr(constructor, "__wrapped__")


def _is_specification(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"class", "arguments"}
        and isinstance(value["arguments"], dict)
    )


def _plain(value: Any, where: str) -> Any:
    """`value` as JSON holds it."""
    if isinstance(value, nn.Module):
        return specification(value)
    if isinstance(value, (list, tuple)):
        return [_plain(v, where) for v in value]
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {k: _plain(v, where) for k, v in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"{where}: {type(value).__name__} cannot be recorded in a specification")


def _revive(value: Any) -> Any:
    if _is_specification(value):
        return build(value)
    if isinstance(value, list):
        return [_revive(v) for v in value]
    if isinstance(value, dict):
        return {k: _revive(v) for k, v in value.items()}
    return value
