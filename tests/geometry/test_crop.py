import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.geometry.camera import project, rays, rotation_to_axis
from auxhand.geometry.crop import (
    Crop,
    box_center_side,
    mirror_R,
    mirror_xyz,
    plain_crop,
    uv_box,
    view_crop,
)

few = settings(max_examples=25, deadline=None)
WIDTH, HEIGHT = 640, 480
M = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))

angles = st.floats(-math.pi, math.pi)
centers = st.tuples(st.floats(-50, WIDTH + 50), st.floats(-50, HEIGHT + 50))
sides = st.floats(20, 600)


@st.composite
def cameras(draw) -> torch.Tensor:
    fx, fy = draw(st.floats(300, 900)), draw(st.floats(300, 900))
    skew, cx, cy = draw(st.floats(-20, 20)), draw(st.floats(200, 440)), draw(st.floats(150, 330))
    return torch.tensor([[fx, skew, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)


@st.composite
def crops(draw, K: torch.Tensor) -> Crop:
    arguments = {
        "center_uv": draw(centers),
        "side_px": draw(sides),
        "size": draw(st.sampled_from([64, 97, 128])),
        "angle": draw(st.one_of(st.just(0.0), angles)),
        "mirror": draw(st.booleans()),
    }
    return draw(st.sampled_from([plain_crop, view_crop]))(K=K, **arguments)


@st.composite
def cut_images(draw) -> tuple[torch.Tensor, Crop]:
    """A camera and a crop of its image."""
    K = draw(cameras())
    return K, draw(crops(K))


def mirror_uv(uv, width):
    """Pixels in the mirror image of an image of that width."""
    return torch.stack([width - 1 - uv[..., 0], uv[..., 1]], dim=-1)


def mirror_K(K, width):
    """F K M, the intrinsics of the mirrored camera (`auxhand.geometry.crop`)."""
    F = K.new_tensor([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return F @ K @ torch.diag(K.new_tensor([-1.0, 1.0, 1.0]))


def hand_in(K: torch.Tensor, crop: Crop) -> torch.Tensor:
    """21 points that the crop shows, 0.3 to 1 m away, in the original camera."""
    generator = torch.Generator().manual_seed(0)
    height, width = crop.size
    uv = torch.rand(21, 2, generator=generator, dtype=torch.float64)
    uv = crop.uv_to_original(uv * torch.tensor([width - 1.0, height - 1.0], dtype=torch.float64))
    z = 0.3 + 0.7 * torch.rand(21, 1, generator=generator, dtype=torch.float64)
    return rays(K, uv) * z


def invariant_error(crop: Crop, K: torch.Tensor, xyz: torch.Tensor) -> float:
    assert crop.K is not None
    seen = project(crop.K.to(xyz), crop.xyz_to_crop(xyz))
    return float((seen - crop.uv_to_crop(project(K.to(xyz), xyz))).abs().max())


@given(cut_images())
@few
def test_invariant_and_the_way_back(cut):
    K, crop = cut
    xyz = hand_in(K, crop)
    uv = project(K, xyz)
    assert invariant_error(crop, K, xyz) < 1e-6
    assert (crop.uv_to_original(crop.uv_to_crop(uv)) - uv).abs().max() < 1e-6
    back = crop.xyz_to_original(crop.xyz_to_crop(xyz))
    torch.testing.assert_close(back, xyz, rtol=1e-5, atol=1e-12)
    assert crop.R @ crop.R.mT == pytest.approx(np.eye(3), abs=1e-9)
    assert torch.linalg.det(crop.R) == pytest.approx(-1.0 if crop.mirrored else 1.0)
    assert crop.K_original is K


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("angle", [0.0, 2.0])
@pytest.mark.parametrize("cut", [plain_crop, view_crop])
def test_invariant_in_single_precision(cut, angle, mirror):
    K = torch.tensor([[600.0, 1.0, 330.0], [0.0, 610.0, 250.0], [0.0, 0.0, 1.0]])
    crop = cut(K=K, center_uv=(140.0, 380.0), side_px=180.0, size=128, angle=angle, mirror=mirror)
    assert crop.A.dtype == crop.R.dtype == crop.K.dtype == torch.float32
    xyz = hand_in(K.double(), crop).float()
    assert invariant_error(crop, K, xyz) < 1e-3


@given(centers, sides, angles, st.booleans())
@few
def test_plain_crop_is_the_stated_similarity(center, side, angle, mirror):
    size = 96
    crop = plain_crop(torch.tensor(center, dtype=torch.float64), side, size, angle, mirror=mirror)
    rng = np.random.default_rng(0)
    uv = rng.uniform(0, 400, (7, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = (uv - center) @ turn.T * size / side + (size - 1) / 2
    if mirror:
        expected[:, 0] = size - 1 - expected[:, 0]
    np.testing.assert_allclose(crop.uv_to_crop(torch.from_numpy(uv)).numpy(), expected, atol=1e-8)
    assert crop.K is None
    assert torch.equal(crop.depth_scale(), torch.ones(size, size, dtype=torch.float64))


def test_cropping_a_whole_image_is_the_resize_convention():
    box = (-0.5, -0.5, 64.0, 64.0)
    center, side = box_center_side(torch.tensor(box, dtype=torch.float64))
    crop = plain_crop(center, side, 160)
    uv = torch.tensor([[0.0, 0.0], [63.0, 10.0], [-0.5, 63.5]], dtype=torch.float64)
    torch.testing.assert_close(crop.uv_to_crop(uv), (uv + 0.5) * 2.5 - 0.5)


@given(cameras(), centers, sides, angles, st.booleans())
@few
def test_view_crop_looks_at_the_centre_and_keeps_the_area(K, center, side, angle, mirror):
    crop = view_crop(K, center, side, 128, angle, mirror)
    c = torch.tensor([center], dtype=torch.float64)
    middle = torch.full((1, 2), 63.5, dtype=torch.float64)
    torch.testing.assert_close(crop.uv_to_crop(c), middle, atol=1e-6, rtol=0)
    optical_axis = crop.xyz_to_crop(rays(K, c))[0]
    assert optical_axis[:2].abs().max() < 1e-9
    f = float(crop.K[0, 0])
    assert crop.K.tolist() == [[f, 0.0, 63.5], [0.0, f, 63.5], [0.0, 0.0, 1.0]]
    jacobian = torch.autograd.functional.jacobian(lambda x: crop.uv_to_crop(x[None])[0], c[0])
    area = abs(float(torch.linalg.det(jacobian)))
    assert area == pytest.approx((128 / side) ** 2, rel=1e-6)


@given(cameras(), centers, sides)
@few
def test_without_turn_the_view_turns_the_camera_no_more_than_it_must(K, center, side):
    ray = rays(K, torch.tensor([center], dtype=torch.float64))[0]
    torch.testing.assert_close(view_crop(K, center, side, 96).R, rotation_to_axis(ray))


def test_on_the_axis_view_and_plain_crop_are_one():
    K = torch.tensor([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]).double()
    for mirror in (False, True):
        view = view_crop(K, (320.0, 240.0), 200.0, 128, 0.3, mirror)
        plain = plain_crop((320.0, 240.0), 200.0, 128, 0.3, K, mirror)
        torch.testing.assert_close(view.A, plain.A)
        # The plain crop keeps xyz and turns K instead.
        torch.testing.assert_close(view.K @ view.R, plain.K @ plain.R)


@given(cameras(), centers)
@few
def test_depth_scale_turns_depth_along_the_old_axis_into_the_new(K, center):
    crop = view_crop(K, center, 150.0, 24, 0.5)
    generator = torch.Generator().manual_seed(1)
    z = 0.5 + torch.rand(24 * 24, generator=generator, dtype=torch.float64)
    v, u = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    uv = torch.stack([u, v], dim=-1).reshape(-1, 2).double()
    xyz = rays(K, crop.uv_to_original(uv)) * z[:, None]
    torch.testing.assert_close(crop.xyz_to_crop(xyz)[:, 2], z * crop.depth_scale().flatten())


@given(cameras(), st.integers(10, 1000))
@few
def test_mirror_rules(K, width):
    generator = torch.Generator().manual_seed(3)
    xyz = torch.rand(21, 3, generator=generator, dtype=torch.float64) + 0.5
    uv = project(K, xyz)
    torch.testing.assert_close(project(mirror_K(K, width), mirror_xyz(xyz)), mirror_uv(uv, width))
    flipped = mirror_K(K, width)
    assert flipped[0].tolist() == [K[0, 0], -K[0, 1], width - 1 - K[0, 2]]
    assert torch.equal(flipped[1:], K[1:])
    torch.testing.assert_close(mirror_uv(mirror_uv(uv, width), width), uv)
    torch.testing.assert_close(mirror_K(flipped, width), K)
    R = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    assert torch.equal(mirror_R(R), M @ R @ M)
    # 3DPose = R CPose stays true for the mirror images of all three.
    torch.testing.assert_close(mirror_xyz(xyz @ R.mT), mirror_xyz(xyz) @ mirror_R(R).mT)


def test_mirrored_crop_follows_the_mirror_rules():
    K = torch.tensor([[500.0, 3.0, 300.0], [0.0, 510.0, 200.0], [0.0, 0.0, 1.0]]).double()
    for cut in (plain_crop, view_crop):
        straight = cut(K=K, center_uv=(100.0, 50.0), side_px=80.0, size=64, angle=0.7)
        mirrored = cut(K=K, center_uv=(100.0, 50.0), side_px=80.0, size=64, angle=0.7, mirror=True)
        uv = torch.tensor([[90.0, 40.0], [120.0, 70.0]], dtype=torch.float64)
        torch.testing.assert_close(mirrored.uv_to_crop(uv), mirror_uv(straight.uv_to_crop(uv), 64))
        torch.testing.assert_close(mirrored.K, mirror_K(straight.K, 64))
        torch.testing.assert_close(mirrored.R, M @ straight.R)


def test_a_crop_survives_pickling_without_tensors():
    K = torch.tensor([[500.0, 3.0, 300.0], [0.0, 510.0, 200.0], [0.0, 0.0, 1.0]])
    for crop in (view_crop(K, (100.0, 50.0), 80.0, 64, 0.7, True), plain_crop((1.0, 2.0), 3.0, 4)):
        state = crop.__getstate__()
        assert not any(isinstance(value, torch.Tensor) for value in state.values())
        copy = pickle.loads(pickle.dumps(crop))
        for name in ("A", "R", "K", "K_original"):
            before, after = getattr(crop, name), getattr(copy, name)
            assert (after is None) if before is None else torch.equal(before, after)
        assert (copy.size, copy.mirrored) == (crop.size, crop.mirrored)


def several() -> list[Crop]:
    """Three crops of one size, of cameras and turns of their own."""
    crops = []
    for n in range(3):
        K = torch.tensor([[500.0 + 20 * n, 3, 300], [0, 510, 200 + n], [0, 0, 1]]).double()
        cut = (300.0 - 40 * n, 180.0 + 30 * n), 90.0 + 20 * n, 32, 0.7 * n, n == 1
        crops.append(view_crop(K, *cut))
    return crops


def test_a_batch_of_crops_does_what_each_does():
    ones = several()
    batch = Crop.stack([*ones, None])
    g = torch.Generator().manual_seed(0)
    uv = 30 * torch.rand(4, 21, 2, generator=g)
    xyz = 0.1 * torch.rand(4, 21, 3, generator=g) + torch.tensor([0.0, 0.0, 0.5])
    assert len(batch) == 4
    assert batch.mirrored.tolist() == [False, True, False, False]
    for n, one in enumerate(ones):
        for name, value in (("uv_to_original", uv), ("uv_to_crop", 10 * uv), ("xyz_to_crop", xyz)):
            expected = getattr(one, name)(value[n].double())
            found = getattr(batch, name)(value)[n].double()
            torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-5)
        torch.testing.assert_close(
            batch.depth_scale()[n].double(), one.depth_scale(), atol=1e-5, rtol=0
        )
        again = batch[n]
        assert again.mirrored is one.mirrored
        torch.testing.assert_close(again.A.double(), one.A, atol=1e-3, rtol=1e-6)
    torch.testing.assert_close(batch.uv_to_crop(uv)[3], uv[3])  # what is not known changes nothing
    assert torch.equal(batch[1:3].A, batch.A[1:3])
    assert torch.equal(batch[torch.tensor([2, 0])].R, batch.R[[2, 0]])


def test_from_one_crop_onto_another_of_the_same_image():
    K = torch.tensor([[500.0, 3, 300], [0, 510, 200], [0, 0, 1]]).double()
    first = view_crop(K, (250.0, 150.0), 120.0, 64, 0.3, mirror=True)
    second = view_crop(K, (330.0, 210.0), 80.0, 96, -1.0)
    between = first.onto(second)
    xyz = torch.tensor([[-0.02, -0.03, 0.5], [0.05, 0.02, 0.4], [0.0, 0.1, 0.6]]).double()
    uv = project(K, xyz)
    found = between.uv_to_crop(first.uv_to_crop(uv))
    torch.testing.assert_close(found, second.uv_to_crop(uv), atol=1e-9, rtol=0)
    turned = between.xyz_to_crop(first.xyz_to_crop(xyz))
    torch.testing.assert_close(turned, second.xyz_to_crop(xyz))
    torch.testing.assert_close(project(between.K, turned), found)
    assert between.mirrored
    torch.testing.assert_close(between.A @ first.A, second.A, atol=1e-9, rtol=1e-9)


def test_boxes():
    uv = torch.tensor([[[3.0, 4.0], [10.0, 6.0], [99.0, 99.0]]])
    valid = torch.tensor([[True, True, False]])
    assert uv_box(uv, valid).tolist() == [[3.0, 4.0, 7.0, 2.0]]
    assert uv_box(uv).tolist() == [[3.0, 4.0, 96.0, 95.0]]
    center, side = box_center_side(uv_box(uv, valid), scale=1.5)
    assert center.tolist() == [[6.5, 5.0]]
    assert side.tolist() == [10.5]
    center, side = box_center_side((-0.5, -0.5, 64, 48))
    assert center.tolist() == [31.5, 23.5]
    assert float(side) == 64.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plain_crop((1.0, 2.0, 3.0), 4.0, 5), "center_uv must have shape"),
        (lambda: plain_crop((1.0, 2.0), 0.0, 5), "positive side"),
        (lambda: plain_crop((math.nan, 2.0), 4.0, 5), "finite centre"),
        (lambda: view_crop(torch.eye(3)[None], (1.0, 2.0), 4.0, 5), "K must have shape"),
        (lambda: view_crop(torch.zeros(3, 3), (1.0, 2.0), 4.0, 5), "not invertible"),
        (lambda: box_center_side((0.0, 0.0, 0.0, 5.0)), "positive w and h"),
        (lambda: uv_box(torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool)), "no valid point"),
        (lambda: uv_box(torch.zeros(3, 2), torch.zeros(2, dtype=torch.bool)), "one flag"),
        (lambda: mirror_xyz(torch.zeros(2)), "xyz must have shape"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
