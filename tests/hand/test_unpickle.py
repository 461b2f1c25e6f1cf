import os
import pickle
import sys
import types

import numpy as np
import pytest
from scipy import sparse

from auxhand.hand.unpickle import Chumpy, load_arrays

CONTENT = {
    "xyz": np.arange(6.0).reshape(2, 3),
    "flag": np.bool_(True),
    "number": np.float32(0.5),
    "names": ["a", ("b", b"c")],
    "fortran": np.asfortranarray(np.ones((2, 3), np.uint16)),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_numbers_come_back(tmp_path, protocol):
    path = tmp_path / "content.pickle"
    path.write_bytes(pickle.dumps(CONTENT, protocol))
    loaded = load_arrays(path)
    assert loaded["names"] == CONTENT["names"]
    for name in ("xyz", "flag", "number", "fortran"):
        np.testing.assert_array_equal(loaded[name], CONTENT[name])


def test_files_of_python_2_and_old_numpy(tmp_path):
    # {'a': array([1., 2.])}, as Python 2 and NumPy 1 write it.
    path = tmp_path / "old.pkl"
    path.write_bytes(
        b"\x80\x02}q\x00U\x01aq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03"
        b"K\x00\x85U\x01b\x87Rq\x04(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02f8K\x00K\x01\x87Rq\x06"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x10\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x00@tbs."
    )
    np.testing.assert_array_equal(load_arrays(path)["a"], [1.0, 2.0])


def test_sparse_matrices(tmp_path):
    matrix = sparse.random(5, 7, 0.4, "csc", random_state=0)
    path = tmp_path / "sparse.pkl"
    path.write_bytes(pickle.dumps(matrix, 2))
    np.testing.assert_array_equal(load_arrays(path).toarray(), matrix.toarray())


def test_chumpy_objects_are_only_held(tmp_path, monkeypatch):
    module = types.ModuleType("chumpy.ch")
    module.Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    held, computed = module.Ch(), module.Ch()
    held.x = np.ones(3)
    path = tmp_path / "chumpy.pkl"
    path.write_bytes(pickle.dumps([held, computed], 2))
    monkeypatch.undo()
    held, computed = load_arrays(path)
    assert isinstance(held, Chumpy)
    np.testing.assert_array_equal(held.array(), np.ones(3))
    with pytest.raises(ValueError, match="no plain array"):
        computed.array()


class Evil:
    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_not_run(tmp_path, protocol):
    evil = Evil()
    evil.path = str(tmp_path / "made")
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"xyz": evil}, protocol))
    with pytest.raises(ValueError, match=r"evil\.pkl is no pickle of arrays.*mkdir"):
        load_arrays(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["load", "save", "fromfile", "memmap"])
def test_functions_of_numpy_are_refused(tmp_path, name):
    path = tmp_path / "call.pkl"
    path.write_bytes(f"cnumpy\n{name}\n(S'x'\ntR.".encode())
    with pytest.raises(ValueError, match=f"numpy.{name}"):
        load_arrays(path)


def test_damaged_and_missing_files(tmp_path):
    path = tmp_path / "cut.pkl"
    path.write_bytes(pickle.dumps(CONTENT)[:-20])
    with pytest.raises(ValueError, match=r"cut\.pkl"):
        load_arrays(path)
    with pytest.raises(FileNotFoundError, match="no file"):
        load_arrays(tmp_path / "none.pkl")
