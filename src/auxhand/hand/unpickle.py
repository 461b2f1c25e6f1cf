"""Arrays and numbers out of pickle files, and nothing else.

A pickle can run any code when it is loaded, and hand datasets and models are published as pickles
by strangers. `load_arrays` builds only what such files need: Python's own containers, numbers and
texts, NumPy arrays and SciPy's sparse matrices. chumpy, with which the first MANO files were
written, no longer installs; its objects become `Chumpy`, which holds their state and does nothing.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from auxhand.arrays import Array

_NUMPY = {
    ("multiarray", "_reconstruct"),
    ("multiarray", "scalar"),
    ("numeric", "_frombuffer"),
    ("", "ndarray"),
    ("", "dtype"),
}
_PYTHON = {
    ("_codecs", "encode"),  # how Python 3 writes bytes in protocols 0 to 2
    *((module, "_reconstructor") for module in ("copy_reg", "copyreg")),  # and objects
    *((module, name) for module in ("__builtin__", "builtins") for name in ("object", "set")),
}
_SPARSE = ("csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array", "coo_array")


class Chumpy:
    """The state of a chumpy object: whatever a pickle says of it, as attributes."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)

    def array(self) -> Array:
        """Its value, where it is a plain array (`chumpy.ch.Ch`) or a choice of entries of one
        (`chumpy.reordering.Select`).

        Raises:
            ValueError: it is computed in another way.
        """
        state = self.__dict__
        if isinstance(value := state.get("x"), np.ndarray):
            return value
        source, chosen, shape = (state.get(n) for n in ("a", "idxs", "preferred_shape"))
        if isinstance(source, Chumpy):
            source = source.array()
        if not (isinstance(source, np.ndarray) and isinstance(chosen, np.ndarray)):
            raise ValueError("a chumpy object that holds no plain array")
        selected: Array = source.ravel()[chosen]
        return selected.reshape(shape)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        parts = module.split(".")
        if parts[0] == "numpy":
            inner = parts[-1] if len(parts) > 1 else ""
            if (inner, name) in _NUMPY:
                # numpy.core of old files is numpy._core now.
                return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if parts[:2] == ["scipy", "sparse"] and name in _SPARSE:
            return super().find_class("scipy.sparse", name)
        if parts[0] == "chumpy":
            return Chumpy
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if (module, name) in _PYTHON:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def load_arrays(path: str | Path) -> Any:
    """What a pickle of arrays and numbers holds, also one of Python 2 (texts as Latin-1).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no pickle, or holds anything but containers, numbers, texts,
            NumPy arrays, sparse matrices and chumpy objects; nothing of it has been run.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        return _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # a damaged pickle can fail in any way
        what = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is no pickle of arrays and numbers ({what})") from error
