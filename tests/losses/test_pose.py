import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from auxhand.losses.pose import (
    coordinate_loss,
    heatmap_cross_entropy,
    heatmap_loss,
    heatmap_norm,
    map_norm,
    mask_cross_entropy,
    mask_loss,
    masked_mean,
    pose25d_loss,
    pose_norm,
    presence_loss,
    side_loss,
)

ALL = torch.ones(2, 3, dtype=torch.bool)
NONE = ~ALL
SOME = torch.tensor([[True, False, True], [False, False, True]])


def joints(seed=0, low=2.0, high=6.0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(2, 3, 2, generator=generator, dtype=torch.float64)


def probabilities(seed=0):
    logits = torch.randn(
        2, 3, 64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return logits.softmax(-1).view(2, 3, 8, 8)


def gaussian(uv, sigma, size=8):
    """exp(-|p - uv|^2 / 2 sigma^2) over the cells p, in numpy."""
    v, u = np.mgrid[:size, :size]
    square = (u - uv[0]) ** 2 + (v - uv[1]) ** 2
    return np.exp(-square / (2 * sigma**2))


def mean_over(valid, function):
    """Mean of function(i, j) over the valid joints j of sample i."""
    return np.mean([function(i, j) for i, j in valid.nonzero().tolist()])


def test_masked_mean_ignores_what_is_invalid():
    value = torch.tensor([1.0, float("inf"), 3.0, float("nan")], requires_grad=True)
    valid = torch.tensor([True, False, True, False])
    loss = masked_mean(value, valid)
    loss.backward()
    assert loss.item() == 2.0
    assert value.grad.tolist() == [0.5, 0.0, 0.5, 0.0]


def test_heatmap_loss_is_equation_2_1():
    maps, uv = probabilities(), joints()
    expected = mean_over(
        SOME, lambda i, j: ((maps[i, j].numpy() - gaussian(uv[i, j].numpy(), 1.5)) ** 2).sum()
    )
    assert heatmap_loss(maps, uv, SOME, sigma=1.5).item() == pytest.approx(expected)


def test_heatmap_cross_entropy_in_numpy():
    maps, uv = probabilities(), joints()

    def entropy(i, j):
        weight = gaussian(uv[i, j].numpy(), 1.2)
        return -(weight / weight.sum() * np.log(maps[i, j].numpy())).sum()

    expected = mean_over(SOME, entropy)
    assert heatmap_cross_entropy(maps, uv, SOME).item() == pytest.approx(expected)


def test_heatmap_cross_entropy_leaves_out_joints_beside_the_map():
    maps, uv = probabilities(), joints()
    expected = heatmap_cross_entropy(maps, uv, SOME)
    uv[0, 1] = torch.tensor([-0.6, 3.0])
    uv[1, 0] = torch.tensor([3.0, 7.6])
    uv[1, 1] = torch.tensor([1e6, float("nan")])
    assert heatmap_cross_entropy(maps, uv, ALL) == expected
    uv[0, 1] = torch.tensor([-0.4, 7.4])
    assert heatmap_cross_entropy(maps, uv, ALL) != expected


def test_heatmap_cross_entropy_is_least_at_the_gaussian_and_finite_at_zero():
    uv = joints()
    target = torch.tensor(np.array([[gaussian(p, 1.2) for p in hand] for hand in uv.numpy()]))
    target = target / target.sum((-2, -1), keepdim=True)
    least = heatmap_cross_entropy(target, uv, ALL)
    assert least < heatmap_cross_entropy(probabilities(), uv, ALL)
    wrong = torch.zeros(2, 3, 8, 8)
    wrong[..., 0, 0] = 1.0
    assert heatmap_cross_entropy(wrong, uv.float(), ALL).isfinite()


def test_coordinate_loss_is_equation_2_2():
    prediction, target = joints(0), joints(1)
    expected = mean_over(SOME, lambda i, j: ((prediction[i, j] - target[i, j]) ** 2).sum().item())
    assert coordinate_loss(prediction, target, SOME).item() == pytest.approx(expected)


def test_pose25d_loss_in_numbers():
    """3 and 4 pixels off in a unit of 2, and a depth off by 0.5 with a weight of 10."""
    uv, d = torch.zeros(2, 3, 2), torch.zeros(2, 3)
    offset, behind = torch.tensor([3.0, -4.0]), torch.tensor(0.5)
    loss = pose25d_loss((uv + offset, d + behind), (uv, d), (SOME, ALL), unit=2, depth_weight=10)
    assert loss.item() == pytest.approx(3.5 + 5.0)
    no_depth = pose25d_loss((uv + offset, d + behind), (uv, d), (SOME, NONE), unit=2)
    assert no_depth.item() == pytest.approx(3.5)


def test_pose25d_loss_does_not_change_when_a_crop_is_turned_by_90_degrees():
    a, b, d = joints(0), joints(1), torch.zeros(2, 3)
    loss = pose25d_loss((a, d), (b, d), (ALL, ALL), unit=1)
    turned = pose25d_loss((a.flip(-1), d), (b.flip(-1), d), (ALL, ALL), unit=1)
    torch.testing.assert_close(loss, turned)


def test_mask_losses_average_the_target_down():
    target = torch.zeros(2, 8, 8)
    target[0, :4, :2] = 1.0
    prediction = torch.full((2, 2, 2), 0.25, requires_grad=True)
    first = torch.tensor([True, False])
    # Shares of hand per cell of 4x4: a half in one, none in three.
    assert mask_loss(prediction, target, first).item() == pytest.approx(0.25)
    share = np.array([0.5, 0, 0, 0])
    entropy = -(share * np.log(0.25) + (1 - share) * np.log(0.75)).mean()
    assert mask_cross_entropy(prediction, target, first).item() == pytest.approx(entropy)
    assert mask_cross_entropy(prediction, target[:, ::4, ::4], ~first).item() == pytest.approx(
        -np.log(0.75)
    )


def test_presence_loss_in_numbers_and_under_autocast():
    prediction, target = torch.tensor([0.9, 0.2, 0.5]), torch.tensor([1.0, 0.0, 1.0])
    valid = torch.tensor([True, True, False])
    expected = -(np.log(0.9) + np.log(0.8)) / 2
    assert presence_loss(prediction, target, valid).item() == pytest.approx(expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert presence_loss(prediction, target, valid).item() == pytest.approx(expected)


def test_side_loss_counts_hands_of_a_known_side():
    left, valid = torch.tensor([True, False, True]), torch.tensor([True, True, False])
    found = side_loss(torch.tensor([0.9, 0.2, 0.5]), left, valid)
    assert found.item() == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2)


def test_a_confident_mistake_still_has_a_gradient():
    logits = torch.tensor([-20.0, 12.0], requires_grad=True)
    loss = presence_loss(logits.sigmoid(), torch.tensor([1.0, 0.0]), torch.tensor([True, True]))
    loss.backward()
    torch.testing.assert_close(logits.grad, torch.tensor([-0.5, 0.5]), rtol=0.05, atol=0)


LOSSES = {
    "heatmap": lambda p, v: heatmap_loss(p, joints(), v),
    "heatmap cross-entropy": lambda p, v: heatmap_cross_entropy(p, joints(), v),
    "coordinate": lambda p, v: coordinate_loss(p[..., 0, :2], joints(), v),
    "2.5D": lambda p, v: pose25d_loss(
        (p[..., 0, :2], p[..., 0, 2]), (joints(), joints()[..., 0]), (v, v), unit=2.0
    ),
    "mask": lambda p, v: mask_loss(p[:, 0], torch.ones(2, 16, 16).double(), v[:, 0]),
    "mask cross-entropy": lambda p, v: mask_cross_entropy(
        p[:, 0], torch.ones(2, 16, 16).double(), v[:, 0]
    ),
    "presence": lambda p, v: presence_loss(p[:, 0, 0, 0], torch.ones(2).double(), v[:, 0]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    prediction = probabilities().requires_grad_()
    assert gradcheck(lambda p: LOSSES[name](p, SOME), (prediction,))


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_valid_is_zero_with_a_gradient_of_zero(name):
    prediction = probabilities().requires_grad_()
    loss = LOSSES[name](prediction, NONE)
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad.abs().max() == 0


def test_norms_of_chapter_5_are_not_squared():
    """Eq. 5.6 and 5.9: one number a sample, of what is valid."""
    generator = torch.Generator().manual_seed(0)
    y, target = (torch.randn(2, 3, 3, generator=generator, dtype=torch.float64) for _ in "ab")
    wild = torch.where(SOME[..., None], target, torch.nan)
    expected = [np.linalg.norm((y[i] - target[i])[SOME[i]].numpy().ravel()) for i in range(len(y))]
    np.testing.assert_allclose(pose_norm(y, wild, SOME), expected)
    assert pose_norm(y, target, NONE).tolist() == [0, 0]

    maps, uv = probabilities(), joints()
    expected = [
        sum(
            np.linalg.norm(maps[i, j].numpy() - gaussian(uv[i, j].numpy(), 1.5))
            for j in SOME[i].nonzero()[:, 0]
        )
        for i in range(2)
    ]
    np.testing.assert_allclose(heatmap_norm(maps, uv, SOME, 1.5), expected)


def test_a_heatmap_weighs_what_its_sigma_says():
    centre = torch.full((1, 1, 2), 31.5, dtype=torch.float64)
    nothing = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    for sigma in (1.5, 2.0, 4.0):
        weight = heatmap_norm(nothing, centre, torch.ones(1, 1, dtype=torch.bool), sigma)
        assert weight.item() == pytest.approx(sigma * np.sqrt(np.pi), rel=1e-6)


def test_maps_are_compared_with_what_their_cells_cover():
    target = torch.arange(32, dtype=torch.float64).view(1, 2, 4, 4)
    prediction = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    cells = target.view(1, 2, 2, 2, 2, 2).mean(dim=(3, 5))
    assert map_norm(prediction, target).item() == pytest.approx(cells.norm().item())
    assert map_norm(cells, target).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("at", ["apart", "together"])
def test_norms_have_gradients_even_where_there_is_no_difference(at):
    y = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target = y + (0.3 if at == "apart" else 0.0)
    y.requires_grad_()
    if at == "apart":
        assert gradcheck(lambda x: pose_norm(x, target, SOME), (y,))
    else:
        pose_norm(y, target, SOME).sum().backward()
        assert torch.equal(y.grad, torch.zeros_like(y))
