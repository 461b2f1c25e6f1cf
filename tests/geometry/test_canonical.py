import numpy as np
import pytest
import roma
import scipy.spatial
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from auxhand.geometry.canonical import (
    canonical_pose,
    fit_scale_translation,
    procrustes,
    rotate,
)
from auxhand.geometry.crop import mirror_R, mirror_xyz
from auxhand.geometry.pose25d import reference_length, relative
from auxhand.hand.skeleton import JOINT_NAMES

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)


def hands(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*shape, 21, 3, generator=generator, dtype=torch.float64)
    return 0.05 * noise + torch.tensor([0.1, 0.0, 0.6], dtype=torch.float64)


def rotations(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return roma.rotvec_to_rotmat(torch.randn(*shape, 3, generator=generator, dtype=torch.float64))


@given(seeds)
@few
def test_canonical_frame(seed):
    pose, R = canonical_pose(hands(seed, 4))
    identity = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    torch.testing.assert_close(R @ R.mT, identity)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(4, dtype=torch.float64))
    wrist, middle, pinky = (
        pose[:, JOINT_NAMES.index(n)] for n in ("wrist", "middle_mcp", "pinky_mcp")
    )
    axis = (middle - wrist) / (middle - wrist).norm(dim=-1, keepdim=True)
    torch.testing.assert_close(axis, torch.tensor([0.0, -1, 0]).double().expand(4, 3))
    side = pinky - wrist
    assert side[:, 2].abs().max() < 1e-9
    assert (side[:, 0] > 0).all()
    assert pose[:, 9].abs().max() == 0
    torch.testing.assert_close(reference_length(pose), torch.ones(4, dtype=torch.float64))


@given(seeds, st.sampled_from([0, 9]), st.sampled_from([(9, 10), (5, 6)]))
@few
def test_pose_to_canonical_and_back(seed, root, bone):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        xyz = hands(seed, 2, 3).to(dtype)
        pose, R = canonical_pose(xyz, root, bone)
        whole = relative(xyz, root, bone)
        assert (rotate(R, pose) - whole).abs().max() < tolerance * whole.abs().max()


@given(seeds, st.floats(0.1, 10))
@few
def test_viewpoint_takes_all_rotation_and_the_rest_is_invariant(seed, scale):
    xyz, turn = hands(seed), rotations(seed)
    moved = scale * rotate(turn, xyz) + torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    pose, R = canonical_pose(xyz)
    moved_pose, moved_R = canonical_pose(moved)
    torch.testing.assert_close(moved_pose, pose, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(moved_R, turn @ R, rtol=1e-6, atol=1e-6)


def test_it_is_the_frame_of_zimmermann_and_brox():
    """Their three steps with their angles: about z, about x, about y."""
    xyz = hands(7)[None]
    points = (xyz - xyz[:, :1]).numpy()[0]

    x, y, _ = points[9]
    a = np.arctan2(x, y)
    points = points @ [[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]]
    b = np.pi - np.arctan2(points[9, 2], points[9, 1])
    points = points @ [[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]]
    c = np.arctan2(points[17, 2], points[17, 0])
    points = points @ [[np.cos(c), 0, -np.sin(c)], [0, 1, 0], [np.sin(c), 0, np.cos(c)]]
    pose, _ = canonical_pose(xyz, root=0)
    expected = points / np.linalg.norm(points[10] - points[9])
    np.testing.assert_allclose(pose[0].numpy(), expected, atol=1e-9)


def test_a_right_hand_shows_its_back_and_a_left_hand_is_its_mirror_image():
    # A raised right hand whose palm faces the camera: fingers up (-y), thumb to the right (+x).
    xyz = torch.zeros(21, 3, dtype=torch.float64)
    for finger, x in enumerate([0.04, 0.03, 0.0, -0.02, -0.04]):
        for joint in range(4):
            xyz[1 + 4 * finger + joint] = torch.tensor([x, -0.09 - 0.03 * joint, 0.0])
    xyz[:, 2] += 0.5
    pose, R = canonical_pose(xyz)
    # Half a turn about y: the palm's normal, -z in the camera, is +z in the canonical frame.
    normal = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(R.mT @ normal, -normal, atol=1e-9, rtol=0)
    left, R_left = canonical_pose(mirror_xyz(xyz))
    torch.testing.assert_close(left * left.new_tensor([1.0, 1.0, -1.0]), pose)
    # A left hand taken as a right one: mirrored at the crop, its viewpoint mirrored back.
    turn = rotations(3)
    right, R_right = canonical_pose(mirror_xyz(rotate(turn, mirror_xyz(xyz))))
    torch.testing.assert_close(right, pose)
    torch.testing.assert_close(mirror_R(R_right), turn @ mirror_R(R))
    assert torch.linalg.det(R_left) == pytest.approx(1.0)


def test_degenerate_hands_are_finite():
    xyz = torch.zeros(2, 21, 3)
    xyz[1, :, 1] = torch.arange(21) * 0.01
    xyz.requires_grad_()
    pose, R = canonical_pose(xyz)
    (pose.sum() + R.sum()).backward()
    for tensor in (pose, R, xyz.grad):
        assert torch.isfinite(tensor).all()


@given(seeds, st.booleans())
@few
def test_procrustes_recovers_a_similarity(seed, scale):
    xyz, R = hands(seed, 3), rotations(seed, 3)
    s = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64) if scale else torch.ones(3).double()
    t = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    target = s[:, None, None] * rotate(R, xyz) + t[:, None]
    aligned, (found_s, found_R, found_t) = procrustes(xyz, target, scale)
    torch.testing.assert_close(aligned, target)
    torch.testing.assert_close(found_s, s)
    torch.testing.assert_close(found_R, R)
    torch.testing.assert_close(found_t, t)


@given(seeds)
@few
def test_procrustes_agrees_with_scipy(seed):
    generator = torch.Generator().manual_seed(seed)
    source = hands(seed)
    target = rotate(rotations(seed), source)
    target = target + 0.01 * torch.randn(21, 3, generator=generator, dtype=torch.float64)
    a, b = (x.numpy() - x.numpy().mean(0) for x in (source, target))
    rotation, _ = Rotation.align_vectors(b, a)
    aligned, (_, R, _) = procrustes(source, target, scale=False)
    np.testing.assert_allclose(R.numpy(), rotation.as_matrix(), atol=1e-7)
    np.testing.assert_allclose(
        aligned.numpy(), rotation.apply(a) + target.numpy().mean(0), atol=1e-8
    )
    # scipy's disparity is the squared distance of the optimum over the target's spread.
    aligned, _ = procrustes(source, target)
    disparity = float((aligned - target).square().sum()) / (b**2).sum()
    assert disparity == pytest.approx(scipy.spatial.procrustes(target, source)[2], rel=1e-6)


@given(seeds)
@few
def test_procrustes_never_reflects(seed):
    source = hands(seed)
    aligned, (s, R, t) = procrustes(source, mirror_xyz(source))
    assert torch.linalg.det(R) == pytest.approx(1.0)
    torch.testing.assert_close(aligned, s * rotate(R, source) + t)
    assert (aligned - mirror_xyz(source)).abs().max() > 1e-3


@given(seeds)
@few
def test_scale_and_translation_agree_with_least_squares(seed):
    generator = torch.Generator().manual_seed(seed)
    source = hands(seed)
    target = 1.7 * source + 0.03 * torch.randn(21, 3, generator=generator, dtype=torch.float64) - 2
    columns = np.concatenate([source.numpy().reshape(-1, 1), np.tile(np.eye(3), (21, 1))], axis=1)
    solution = np.linalg.lstsq(columns, target.numpy().reshape(-1), rcond=None)[0]
    expected = (columns @ solution).reshape(21, 3)
    np.testing.assert_allclose(fit_scale_translation(source, target).numpy(), expected, atol=1e-9)
    # A scale below zero would be a reflection: the best that is left is the centroid.
    inverted = fit_scale_translation(source, -source)
    torch.testing.assert_close(inverted, (-source).mean(0).expand(21, 3))


def test_coincident_points_go_to_the_centroid():
    source, target = torch.zeros(2, 21, 3, requires_grad=True), hands(0, 2).float()
    centroid = target.mean(-2, keepdim=True).expand_as(target)
    for aligned in (procrustes(source, target)[0], fit_scale_translation(source, target)):
        torch.testing.assert_close(aligned, centroid)
        aligned.sum().backward()
        assert torch.isfinite(source.grad).all()


def test_gradients():
    xyz, target = hands(1, 2).requires_grad_(), hands(2, 2).requires_grad_()
    assert torch.autograd.gradcheck(canonical_pose, (xyz,), fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda a, b: (lambda x, p: (x, *p))(*procrustes(a, b)), (xyz, target), fast_mode=True
    )
    assert torch.autograd.gradcheck(fit_scale_translation, (xyz, target), fast_mode=True)


def test_inference_first_does_not_spoil_gradients_later():
    roma.mappings._cached_horn_map.cache_clear()
    with torch.inference_mode():
        procrustes(hands(1, 2), hands(2, 2))
    xyz = hands(1, 2).requires_grad_()
    procrustes(xyz, hands(2, 2))[0].sum().backward()
    assert torch.isfinite(xyz.grad).all()


@pytest.mark.parametrize("align", [procrustes, fit_scale_translation])
def test_mistakes_are_named(align):
    with pytest.raises(ValueError, match="target must have shape"):
        align(torch.zeros(2, 21, 3), torch.zeros(2, 20, 3))
    with pytest.raises(ValueError, match="source must have shape"):
        align(torch.zeros(21, 2), torch.zeros(21, 2))
    with pytest.raises(ValueError, match="xyz must have shape"):
        canonical_pose(torch.zeros(21, 2))
