import os
import pickle
import sys
import types
from typing import ClassVar

import numpy as np
import pytest
import roma
import scipy.sparse
import torch

from auxhand.hand.mano import FINGERTIPS, ManoModel, load_mano

VERTICES = 40
TIPS = (39, 38, 37, 36, 35)
PARENTS = [0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]


def arrays(vertices=VERTICES, seed=0):
    """A random model with MANO's keys, types and shapes; vertex i < 16 belongs to joint i alone."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(16), vertices)
    weights[:16] = np.eye(16)
    regressor = rng.random((16, vertices)) * (rng.random((16, vertices)) < 0.3) + 1e-3
    regressor /= regressor.sum(1, keepdims=True)
    tree = np.array([PARENTS, range(16)], dtype=np.uint32)
    tree[0, 0] = 2**32 - 1
    return {
        "v_template": rng.normal(0, 0.05, (vertices, 3)),
        "shapedirs": rng.normal(0, 0.01, (vertices, 3, 10)),
        "posedirs": rng.normal(0, 0.01, (vertices, 3, 135)),
        "J_regressor": scipy.sparse.csc_matrix(regressor),
        "weights": weights,
        "f": rng.integers(0, vertices, (30, 3)).astype(np.uint32),
        "kintree_table": tree,
        "hands_components": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "hands_mean": rng.normal(0, 0.3, 45),
        "hands_coeffs": rng.normal(size=(7, 45)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def dense(stored):
    return {k: v.toarray() if scipy.sparse.issparse(v) else v for k, v in stored.items()}


def model(**changes) -> ManoModel:
    return ManoModel(dense(arrays()) | changes, TIPS)


class Python2Pickler(pickle._Pickler):
    """Writes protocol 2 as Python 2 did: text and bytes alike as bytes, modules by old names."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        content = text if isinstance(text, bytes) else text.encode("latin1")
        self.write(b"T" + len(content).to_bytes(4, "little") + content)
        self.memoize(text)

    dispatch[bytes] = dispatch[str] = save_string


def write(path, content, protocol):
    if protocol != "python 2":
        path.write_bytes(pickle.dumps(content, protocol))
        return path
    with path.open("wb") as file:
        Python2Pickler(file, 2).dump(content)
    data = path.read_bytes().replace(b"numpy._core", b"numpy.core")
    path.write_bytes(data.replace(b"scipy.sparse._csc", b"scipy.sparse.csc"))
    return path


class Ch:
    __module__ = "chumpy.ch"


class Select(Ch):
    __module__ = "chumpy.reordering"


class Transpose(Ch):
    __module__ = "chumpy.reordering"


def with_chumpy(monkeypatch, path, content, protocol):
    """Writes while modules named like chumpy's exist, and leaves none behind."""
    with monkeypatch.context() as patch:
        for name, classes in {
            "chumpy": (),
            "chumpy.ch": (Ch,),
            "chumpy.reordering": (Select, Transpose),
        }.items():
            module = types.ModuleType(name)
            for each in classes:
                setattr(module, each.__qualname__, each)
            patch.setitem(sys.modules, name, module)
        write(path, content, protocol)
    assert "chumpy" not in sys.modules
    return path


def stored(kind, **state):
    made = kind()
    vars(made).update(state, _dirty_vars={"x"})
    return made


@pytest.mark.parametrize("protocol", ["python 2", 0, 1, 2, 3, 4, 5])
def test_reads_what_was_written(tmp_path, protocol):
    content = arrays()
    content["posedirs"] = np.asfortranarray(content["posedirs"])
    content["hands_mean"] = content["hands_mean"].astype(">f4")
    read = load_mano(write(tmp_path / "MANO_RIGHT.pkl", content, protocol), tips=TIPS)
    expected = dense(content)
    for name, key in {
        "template": "v_template",
        "joint_regressor": "J_regressor",
        "weights": "weights",
        "faces": "f",
        "hands_components": "hands_components",
        "hands_mean": "hands_mean",
    }.items():
        np.testing.assert_array_equal(getattr(read, name), expected[key].astype(np.float32))
    np.testing.assert_array_equal(
        read.pose_components.permute(1, 2, 0), expected["posedirs"].astype(np.float32)
    )


@pytest.mark.parametrize("protocol", ["python 2", 0, 2, 4])
def test_reads_chumpy_without_chumpy(tmp_path, monkeypatch, protocol):
    content = arrays()
    wide = np.concatenate([content["shapedirs"], np.ones((VERTICES, 3, 10))], 2)
    indices = np.arange(wide.size).reshape(wide.shape)[..., :10].ravel()
    content["shapedirs"] = stored(
        Select, a=stored(Ch, x=wide), idxs=indices, preferred_shape=(VERTICES, 3, 10)
    )
    content["v_template"] = stored(Ch, x=content["v_template"])
    content["J_regressor"] = scipy.sparse.csr_matrix(content["J_regressor"])
    path = with_chumpy(monkeypatch, tmp_path / "MANO_RIGHT.pkl", content, protocol)
    read, expected = load_mano(path, tips=TIPS), model()
    for name, value in expected.named_buffers():
        torch.testing.assert_close(read.get_buffer(name), value, rtol=0, atol=0)


def test_refuses_what_chumpy_would_compute(tmp_path, monkeypatch):
    content = arrays()
    content["shapedirs"] = stored(Transpose, a=stored(Ch, x=content["shapedirs"]))
    path = with_chumpy(monkeypatch, tmp_path / "MANO_RIGHT.pkl", content, 2)
    with pytest.raises(ValueError, match=r"shapedirs is stored as chumpy.reordering.Transpose"):
        load_mano(path, tips=TIPS)


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("function", [os.system, eval, getattr, np.load, scipy.sparse.load_npz])
def test_runs_nothing(tmp_path, function, protocol):
    trace = tmp_path / "trace"
    code = f"touch {trace}" if function is os.system else f"open({str(trace)!r}, 'w')"
    content = arrays() | {"posedirs": Call(function, code)}
    path = write(tmp_path / "MANO_RIGHT.pkl", content, protocol)
    with pytest.raises(ValueError, match=f"it holds .*{function.__name__}"):
        load_mano(path, tips=TIPS)
    assert not trace.exists()
    if function is os.system:
        pickle.loads(path.read_bytes())
        assert trace.exists()  # what another unpickler would have done


def test_refuses_arrays_of_objects(tmp_path):
    content = arrays() | {"hands_mean": np.array([0.0] * 45, dtype=object)}
    with pytest.raises(ValueError, match=r"array of 'O8'"):
        load_mano(write(tmp_path / "MANO_RIGHT.pkl", content, 2), tips=TIPS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"posedirs": None}, "posedirs is a NoneType"),
        ({"posedirs": np.zeros((VERTICES, 3, 207))}, r"posedirs is \(40, 3, 207\)"),
        ({"weights": np.full((VERTICES, 16), np.nan)}, "weights has entries that are not finite"),
        ({"f": np.full((2, 3), VERTICES)}, "f holds numbers"),
        ({"kintree_table": np.zeros((2, 16), int)}, "kintree_table is not the tree"),
        ({"hands_mean": np.zeros(45)}, "hands_mean bends no finger"),
    ],
)
def test_says_what_is_wrong(tmp_path, change, message):
    path = write(tmp_path / "MANO_RIGHT.pkl", arrays() | change, 2)
    with pytest.raises(ValueError, match=f"MANO_RIGHT.pkl is not a MANO file: {message}"):
        load_mano(path, tips=TIPS)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mano.is.tue.mpg.de"):
        load_mano(tmp_path / "MANO_RIGHT.pkl")
    content = arrays()
    del content["posedirs"], content["weights"]
    for name, data in {
        "there is no posedirs, weights": pickle.dumps(content),
        "a list": pickle.dumps([1, 2]),
        "": b"not a pickle",
        "truncated|exhausted|Ran out": pickle.dumps(arrays())[:-100],
    }.items():
        (tmp_path / "file").write_bytes(data)
        with pytest.raises(ValueError, match=f"is not a MANO file: .*({name})"):
            load_mano(tmp_path / "file", tips=TIPS)
    with pytest.raises(ValueError, match="tips"):
        load_mano(write(tmp_path / "few", arrays(), 2), tips=FINGERTIPS)


def mirrored(right):
    """The other hand: x of everything turned over."""
    flip = np.array([-1.0, 1, 1])
    turn = np.tile([1.0, -1, -1], 15)
    left = dense(right)
    left["v_template"] = left["v_template"] * flip
    left["shapedirs"] = left["shapedirs"] * flip[:, None]
    left["posedirs"] = left["posedirs"] * flip[:, None] * np.tile(np.outer(flip, flip).ravel(), 15)
    left["hands_mean"] = left["hands_mean"] * turn
    left["hands_components"] = left["hands_components"] * turn
    return left


def test_left_is_the_mirror_and_known_as_such(tmp_path):
    right, left = model(), ManoModel(mirrored(arrays()), TIPS)
    assert {right.side, left.side} == {"right", "left"}
    mirror = torch.diag(torch.tensor([-1.0, 1, 1]))
    betas, turns = random_input(1)
    pose = right.pose_from_axis_angles(turns)
    vertices, joints = right(pose, betas)
    turned = left.pose_from_axis_angles(turns * torch.tensor([1.0, -1, -1]))
    torch.testing.assert_close(turned, mirror @ pose @ mirror, atol=1e-6, rtol=0)
    mirrored_vertices, mirrored_joints = left(turned, betas)
    torch.testing.assert_close(mirrored_vertices, vertices @ mirror, atol=1e-6, rtol=0)
    torch.testing.assert_close(mirrored_joints, joints @ mirror, atol=1e-6, rtol=0)

    path = write(tmp_path / "hand.pkl", arrays(), 2)
    assert load_mano(path, right.side, TIPS).side == right.side
    with pytest.raises(ValueError, match=f"is MANO's {right.side} hand"):
        load_mano(path, left.side, TIPS)


def test_side_of_a_right_hand():
    """Fingers to -x, palm to -y, as MANO's right hand lies; the mean pose bends toward the palm."""
    content = dense(arrays())
    content["v_template"] = np.zeros((VERTICES, 3))
    content["posedirs"] *= 0
    bases = {1: (-0.09, 0, 0.02), 4: (-0.09, 0, 0), 7: (-0.08, 0, -0.03), 10: (-0.085, 0, -0.015)}
    for joint, place in bases.items():
        content["v_template"][joint] = place
        for further in (1, 2):
            content["v_template"][joint + further] = np.add(place, (-0.03 * further, 0, 0))
    content["v_template"][13:16] = [(-0.02, 0, 0.03), (-0.04, 0, 0.05), (-0.06, 0, 0.06)]
    content["v_template"][[15, 3, 6, 12, 9]] = 0  # only the joints' positions matter
    content["J_regressor"] = np.eye(16, VERTICES)
    for tip, (joint, finger) in zip(TIPS[1:], ((1, 2), (4, 5), (10, 11), (7, 8)), strict=True):
        content["v_template"][tip] = np.add(bases[joint], (-0.08, 0, 0))
        content["weights"][tip] = np.eye(16)[finger]
    content["hands_mean"] = np.tile([0.0, 0, 0.4], 15)  # about z: -x turns to -y
    assert ManoModel(content, TIPS).side == "right"


def random_input(seed, count=3):
    generator = torch.Generator().manual_seed(seed)
    betas = torch.randn(count, 10, generator=generator)
    return betas, 0.5 * torch.randn(count, 16, 3, generator=generator)


def identity(count=1):
    return torch.eye(3).expand(count, 16, 3, 3).clone()


def test_flat_hand_is_template_and_shape():
    hand = model()
    betas, _ = random_input(0)
    vertices, joints = hand(identity(3), betas)
    expected = arrays()["v_template"] + np.einsum("vcs,bs->bvc", arrays()["shapedirs"], betas)
    np.testing.assert_allclose(vertices, expected, atol=1e-6)
    regressed = arrays()["J_regressor"].toarray() @ expected
    for ours, theirs in {0: 0, 1: 13, 5: 1, 6: 2, 7: 3, 9: 4, 13: 10, 17: 7, 19: 9}.items():
        np.testing.assert_allclose(joints[:, ours], regressed[:, theirs], atol=1e-6)
    np.testing.assert_allclose(joints[:, [4, 8, 12, 16, 20]], expected[:, list(TIPS)], atol=1e-6)
    torch.testing.assert_close(hand(identity(1))[0][0], hand.template, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("joint", "moved"), [(4, (4, 5, 6)), (8, (8, 9)), (15, (15,))])
def test_a_joint_turns_what_is_bound_to_it(joint, moved):
    hand = model(posedirs=np.zeros((VERTICES, 3, 135)))
    turn = roma.rotvec_to_rotmat(torch.tensor([0.4, -1.1, 0.3]))
    pose = identity()
    pose[0, joint] = turn
    vertices = hand(pose)[0][0]
    centre = (hand.joint_regressor @ hand.template)[joint]
    for vertex in range(16):  # each bound to the joint of its number
        rest = hand.template[vertex]
        expected = turn @ (rest - centre) + centre if vertex in moved else rest
        torch.testing.assert_close(vertices[vertex], expected, atol=1e-6, rtol=0)


def test_whole_hand_turns_about_its_wrist_and_moves():
    hand = model()
    betas, turns = random_input(2)
    pose = roma.rotvec_to_rotmat(turns)
    vertices, joints = hand(pose, betas)
    turn = roma.rotvec_to_rotmat(torch.tensor([1.0, 0.5, -2.0]))
    shift = torch.tensor([[0.1, 0, 0], [0, -0.3, 1.0], [0, 0, 0.5]])
    turned_pose = torch.cat([turn @ pose[:, :1], pose[:, 1:]], 1)
    wrist = joints[:, :1]
    for before, after in zip((vertices, joints), hand(turned_pose, betas, shift), strict=True):
        expected = (before - wrist) @ turn.T + wrist + shift[:, None]
        torch.testing.assert_close(after, expected, atol=1e-6, rtol=0)


def numpy_mano(content, pose, betas):
    """Eq. 2.5-2.6 with 4x4 matrices, one joint and one vertex at a time."""
    template = content["v_template"] + content["shapedirs"] @ betas
    joints = content["J_regressor"] @ template
    template = template + content["posedirs"] @ (pose[1:] - np.eye(3)).ravel()
    world = []
    for joint, parent in enumerate(PARENTS):
        about = np.eye(4)
        about[:3, :3] = pose[joint]
        about[:3, 3] = joints[joint] - pose[joint] @ joints[joint]
        world.append(world[parent] @ about if joint else about)
    vertices = np.empty_like(template)
    for vertex, point in enumerate(template):
        blend = sum(w * matrix for w, matrix in zip(content["weights"][vertex], world, strict=True))
        vertices[vertex] = (blend @ np.append(point, 1))[:3]
    return vertices, [(m @ np.append(j, 1))[:3] for m, j in zip(world, joints, strict=True)]


def test_matches_numpy():
    content, hand = dense(arrays()), model()
    betas, turns = random_input(3)
    pose = roma.rotvec_to_rotmat(turns)
    vertices, joints = hand(pose, betas)
    for i in range(3):
        expected, places = numpy_mano(content, pose[i].double().numpy(), betas[i].double().numpy())
        np.testing.assert_allclose(vertices[i], expected, atol=2e-6)
        order = [0, 13, 14, 15, 1, 2, 3, 4, 5, 6, 10, 11, 12, 7, 8, 9]
        ours = [j for j in range(21) if j not in (4, 8, 12, 16, 20)]
        np.testing.assert_allclose(joints[i, ours], np.array(places)[order], atol=2e-6)


def test_poses_from_axis_angles_and_components():
    hand, content = model(), arrays()
    _, turns = random_input(4)
    mean = torch.from_numpy(content["hands_mean"]).float().reshape(15, 3)
    flat = hand.pose_from_axis_angles(turns, flat_hand_mean=True)
    torch.testing.assert_close(flat, roma.rotvec_to_rotmat(turns))
    fingers = turns[:, 1:] - mean
    relative = hand.pose_from_axis_angles(torch.cat([turns[:, :1], fingers], 1))
    torch.testing.assert_close(relative, flat, atol=1e-6, rtol=0)
    # The components are orthonormal here, so that all 45 of them hold any pose.
    basis = torch.from_numpy(content["hands_components"]).float()
    coefficients = fingers.flatten(1) @ basis.T
    torch.testing.assert_close(
        hand.pose_from_components(turns[:, 0], coefficients), flat, atol=1e-5, rtol=0
    )
    few = hand.pose_from_components(turns[:, 0], coefficients[:, :6], flat_hand_mean=True)
    expected = roma.rotvec_to_rotmat((coefficients[:, :6] @ basis[:6]).reshape(3, 15, 3))
    torch.testing.assert_close(few[:, 1:], expected, atol=1e-6, rtol=0)


def test_gradients():
    hand = ManoModel(dense(arrays(vertices=20)), (19, 18, 17, 16, 15)).double()
    betas, turns = random_input(5, count=2)
    inputs = [roma.rotvec_to_rotmat(turns), betas, torch.zeros(2, 3)]
    inputs = [x.double().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(hand, inputs, fast_mode=True)


def test_wrong_shapes():
    hand = model()
    with pytest.raises(ValueError, match="pose is"):
        hand(torch.eye(3).expand(1, 15, 3, 3))
    with pytest.raises(ValueError, match="betas are"):
        hand(identity(2), torch.zeros(2, 9))
    with pytest.raises(ValueError, match="translation are"):
        hand(identity(2), None, torch.zeros(3))
