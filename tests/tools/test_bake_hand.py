"""The steps of the bake, on small meshes."""

import bake_hand
import numpy as np
import pytest

from auxhand.hand.surface import HandSurface

JOINTS = HandSurface().rest_joints.double().numpy()


def grid(n):
    """A flat square of n x n vertices in [0, 1]^2, its faces and corner coordinates."""
    side = np.linspace(0, 1, n)
    vertices = np.stack(np.meshgrid(side, side, [0.0], indexing="ij"), -1).reshape(-1, 3)
    faces = []
    for i in range(n - 1):
        for j in range(n - 1):
            a = i * n + j
            faces += [[a, a + n, a + 1], [a + n, a + n + 1, a + 1]]
    faces = np.array(faces)
    return vertices, faces, vertices[faces][..., :2]


def area(vertices, faces):
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


def test_the_hand_frame_does_not_depend_on_the_world():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    frames = bake_hand.hand_frame(np.stack([JOINTS, JOINTS @ turn.T]))
    np.testing.assert_allclose(np.linalg.det(frames), 1)
    np.testing.assert_allclose(JOINTS @ frames[0].T, JOINTS @ turn.T @ frames[1].T, atol=1e-12)
    middle = (JOINTS[9] - JOINTS[0]) @ frames[0].T
    np.testing.assert_allclose(middle / np.linalg.norm(middle), [0, -1, 0], atol=1e-12)


def test_the_smallest_turn_between_directions():
    a = np.random.default_rng(0).normal(size=(4, 3))
    b = np.array([0.0, 1.0, 0.0])
    turned = bake_hand.turn_between(a, b)
    unit = a / np.linalg.norm(a, axis=1, keepdims=True)
    np.testing.assert_allclose(
        np.einsum("nij,nj->ni", turned, unit), np.tile(b, (4, 1)), atol=1e-12
    )
    angles = np.arccos((np.trace(turned, axis1=1, axis2=2) - 1) / 2)
    np.testing.assert_allclose(angles, np.arccos(unit @ b), atol=1e-7)


def test_lengthened_bones_carry_what_follows_them():
    longer = bake_hand.lengthen(JOINTS[None])[0]

    def bones(joints):
        return np.linalg.norm(joints[1:] - joints[list(bake_hand.PARENTS[1:])], axis=1)

    expected = np.array([bake_hand.LENGTHENED.get(joint, 1.0) for joint in range(1, 21)])
    np.testing.assert_allclose(bones(longer) / bones(JOINTS), expected)
    np.testing.assert_array_equal(longer[:17], JOINTS[:17])


def test_skinning_gives_metacarpals_to_the_palm():
    names = [
        f"{bake_hand.HAND}Index2",
        f"{bake_hand.HAND}Index1",
        "RightForeArm",
        f"{bake_hand.HAND}IndexEnd",
    ]
    weights = bake_hand.skinning(np.array([[0.4, 0.4, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]), names)
    np.testing.assert_allclose(weights.sum(1), 1)
    index = bake_hand.JOINT_BONES.index(f"{bake_hand.HAND}Index2")
    assert weights[0, index] == weights[0, 0] == 0.5
    assert weights[1, bake_hand.FOREARM] == 0.5
    assert weights[1, bake_hand.PARENTS[index + 3]] == 0.5


def test_places_along_the_bones():
    weights = np.zeros((2, 22))
    weights[:, 5] = 1  # the bone from joint 5 to joint 6
    points = np.stack([0.75 * JOINTS[5] + 0.25 * JOINTS[6], JOINTS[6]])
    along = bake_hand.along_bones(points, JOINTS, weights)
    np.testing.assert_allclose(along[:, [5, 6]], [[0.75, 0.25], [0, 1]], atol=1e-12)
    np.testing.assert_allclose(along.sum(1), 1)


def test_a_cut_keeps_what_lies_below_the_plane():
    vertices, faces, uv = grid(4)
    height = vertices[:, 0] - 0.6
    kept, new_faces, new_uv, edge = bake_hand.cut(vertices, faces, uv, height)
    assert area(kept, new_faces) == pytest.approx(0.6)
    assert kept[:, 0].max() == pytest.approx(0.6)
    np.testing.assert_allclose(kept[edge, 0], 0.6)
    np.testing.assert_allclose(new_uv, kept[new_faces][..., :2], atol=1e-12)
    loop = bake_hand.boundary_loop(new_faces)
    assert len(loop) == len(set(loop.tolist()))
    outline = kept[loop]
    closed = np.linalg.norm(outline - np.roll(outline, -1, axis=0), axis=1).sum()
    assert closed == pytest.approx(2 * (1 + 0.6))


def test_a_mesh_with_a_hole_has_two_boundaries():
    _, faces, _ = grid(4)
    whole = np.delete(faces, [8, 9], axis=0)  # the square in the middle
    with pytest.raises(ValueError, match="more than one open boundary"):
        bake_hand.boundary_loop(whole)


def test_a_softened_border_keeps_the_sum():
    _, faces, _ = grid(5)
    weights = np.zeros((25, 22))
    weights[:10, 0], weights[10:, bake_hand.FOREARM] = 1, 1
    soft = bake_hand.soften_wrist(weights, faces, rounds=2)
    np.testing.assert_allclose(soft.sum(1), 1)
    assert 0 < soft[7, bake_hand.FOREARM] < 0.5
    assert soft[22, bake_hand.FOREARM] == pytest.approx(1)


def test_shape_components_come_back(capsys):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(12, 2)))[0].T.reshape(2, 4, 3) * [[[3.0]], [[1.0]]]
    scores = np.linalg.qr(rng.normal(size=(50, 2)) - 0)[0]
    scores -= scores.mean(0)
    scores, _ = np.linalg.qr(scores)
    scores *= np.sqrt(49)
    centred = np.einsum("nk,kpd->npd", scores, basis)
    found = bake_hand.shape_components(centred, np.ones(4, bool), 2)
    for one, other in zip(found, basis, strict=True):
        sign = np.sign((one * other).sum())
        np.testing.assert_allclose(one, sign * other, atol=1e-9)
        assert one.flat[np.abs(one).argmax()] > 0
    assert "[0.9, 0.1]" in capsys.readouterr().out


def test_texture_coordinates_belong_to_corners(tmp_path):
    file = tmp_path / "quad.obj"
    file.write_text("vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n")
    uv = bake_hand.read_corner_uv(file, np.array([[1, 2, 0], [2, 3, 0]]))
    np.testing.assert_array_equal(uv, [[[1, 0], [1, 1], [0, 0]], [[1, 1], [0, 1], [0, 0]]])
