"""Hands made of simple shapes (Ch. 2.4.1, 6.3.3): circles, spheres, Gaussians, sphere-meshes.

A shape has a centre in D dimensions and a radius in the same unit: circles in the image (D = 2,
pixels) and spheres in space (D = 3, metres) are the same functions. All are differentiable.

* `hand_circles` is G of Eq. 6.12, the hand as 55 circles m^i = (c^i, r^i) placed by its joints;
  `union_distance` is what Eq. 6.14 measures, `rendered_mask` is R of Eq. 6.12;
* `gaussian_sum`, `gaussian_overlap`: the sum of Gaussians (SoG), smooth spheres;
* `sphere_mesh_distance`: sphere-meshes, the convex hulls of two or three spheres each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from auxhand.hand.skeleton import BONES, FINGERS, NUM_JOINTS, WRIST

_MCPS = tuple(chain[0] for finger, chain in FINGERS.items() if finger != "thumb")
_CMC = FINGERS["thumb"][0]

CIRCLES: Final[tuple[tuple[int, int, float], ...]] = (
    *((c[k], c[k + 1], t) for c in FINGERS.values() for k in range(3) for t in (0.0, 0.4, 0.8)),
    *((WRIST, mcp, t) for mcp in _MCPS for t in (1 / 3, 2 / 3)),
    (WRIST, _CMC, 0.5),
    (_CMC, _MCPS[0], 0.5),
)
"""Centres of the 55 circles: (joint, joint, t) is the point a fraction t of the way between them.

Nine per finger, thumb to pinky, base to tip; then ten of the palm: two on each metacarpal, one on
the thumb's, one between thumb and index. Ch. 6.3.3 says "manually defined" and no more; of a dozen
layouts none covered synthetic masks better than this one, once radii were fitted to each."""

RADII: Final[tuple[float, ...]] = (
    *(0.247, 0.301, 0.290, 0.251, 0.232, 0.214, 0.202, 0.191, 0.149),
    *(0.301, 0.251, 0.219, 0.184, 0.201, 0.180, 0.164, 0.173, 0.135),
    *(0.268, 0.284, 0.233, 0.183, 0.206, 0.183, 0.158, 0.173, 0.143),
    *(0.250, 0.276, 0.216, 0.150, 0.193, 0.178, 0.165, 0.171, 0.133),
    *(0.239, 0.224, 0.190, 0.146, 0.156, 0.144, 0.129, 0.142, 0.115),
    *(0.487, 0.484, 0.398, 0.415, 0.393, 0.388, 0.469, 0.394, 0.351, 0.387),
)
"""Radii of `CIRCLES` in units of the hand's size (`hand_size`), "pre-trained from synthetic data":
fitted by tools/fit_circles.py to the factory's masks without their forearms."""

MEAN_BONES: Final = (
    *(0.87, 0.91, 0.70, 0.58),
    *(1.98, 0.88, 0.57, 0.51),
    *(1.89, 1.00, 0.66, 0.51),
    *(1.81, 0.96, 0.59, 0.47),
    *(1.72, 0.74, 0.42, 0.43),
)
"""Lengths of `skeleton.BONES` of the mean hand (`HandSurface`) over its bone 9-10."""

_LONGEST = 3

PILLS: Final = BONES[1:4] + BONES[5:8] + BONES[9:12] + BONES[13:16] + BONES[17:20]
"""Joints at the ends of the fingers' 15 bones: the pills of a hand's sphere-mesh."""

WEDGES: Final = ((0, 1, 5), (1, 2, 5), (0, 5, 9), (0, 9, 13), (0, 13, 17))
"""Joints at the corners of the palm: the wedges of a hand's sphere-mesh, after Tkach et al."""


def hand_size(joints: Tensor) -> Tensor:
    """How large bone 9-10 would be if it were not foreshortened: (...) in the unit of the joints.

    Every bone gives a size, its length over that of the mean hand; in an image the longest of them
    are those that lie across the view. The third largest is taken: over synthetic hands it is
    the true size on average (the largest is 7% more), and a single wrong joint does not decide.

    Args:
        joints: (..., 21, D) in image pixels, or in space.

    Raises:
        ValueError: there are not 21 joints.
    """
    _check_joints(joints)
    parents, children = torch.tensor(BONES, device=joints.device).T
    lengths = (joints[..., children, :] - joints[..., parents, :]).norm(dim=-1)
    return (lengths / lengths.new_tensor(MEAN_BONES)).topk(_LONGEST, dim=-1).values[..., -1]


def hand_circles(joints: Tensor, size: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """G of Eq. 6.12: the hand as 55 circles, `CIRCLES` with `RADII` (Ch. 6.3.3).

    Args:
        joints: (..., 21, D). D = 2: pixels of the mask's grid; D = 3: spheres in space, metres.
        size: (...) length of bone 9-10 in the unit of the joints, as if it lay across the view
            (focal length times metres over depth); None: `hand_size(joints)`.

    Returns:
        Centres (..., 55, D) and radii (..., 55).

    Raises:
        ValueError: there are not 21 joints.
    """
    _check_joints(joints)
    starts, ends = torch.tensor([(a, b) for a, b, _ in CIRCLES], device=joints.device).T
    along = joints.new_tensor([t for _, _, t in CIRCLES])[:, None]
    centres = (1 - along) * joints[..., starts, :] + along * joints[..., ends, :]
    size = hand_size(joints) if size is None else size
    return centres, size[..., None] * size.new_tensor(RADII)


def union_distance(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Signed distance min_i (|g - c^i| - r^i) of points to a union of circles or spheres.

    Both cases of Eq. 6.14 are this number s: max(s, 0) where the mask is 1 and, since
    max_i (r^i - |g - c^i|) = -s, max(-s, 0) where it is 0. Outside it is the distance to the
    union; inside, how deep the point lies in the shape that holds it deepest.

    Args:
        points: (..., N, D).
        centres: (..., S, D).
        radii: (..., S).

    Returns:
        (..., N), negative inside.
    """
    # Not by matrix products: they lose half of the digits where a point is near a centre.
    distances = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
    return (distances - radii[..., None, :]).amin(dim=-1)


def rendered_mask(
    centres: Tensor, radii: Tensor, height: int, width: int, softness: float = 1.0
) -> Tensor:
    """R of Eq. 6.12: which pixels the circles cover, (..., height, width) in [0, 1].

    1/2 - s / softness, clamped to [0, 1], s the signed distance at the pixel's centre: with 1 about
    the share of the pixel that is covered. Like the dissertation's it has no gradient on the
    background, where it is 0 (and so Eq. 6.13); how soft its edge is, the text does not say.

    Args:
        centres: (..., S, 2) in pixels of the mask.
        radii: (..., S) in pixels.
        height, width: of the mask.
        softness: width of the edge in pixels; 0: a hard mask, 1 where s <= 0, without gradient.

    Raises:
        ValueError: centres that are not in the plane, a negative softness.
    """
    if centres.shape[-1] != 2:
        raise ValueError(f"centres are {tuple(centres.shape)}, not (..., S, 2)")
    if softness < 0:
        raise ValueError(f"softness must not be negative, got {softness}")
    v, u = torch.meshgrid(
        torch.arange(height, device=centres.device, dtype=centres.dtype),
        torch.arange(width, device=centres.device, dtype=centres.dtype),
        indexing="ij",
    )
    distance = union_distance(torch.stack([u, v], dim=-1).flatten(0, 1), centres, radii)
    if softness == 0:
        mask = (distance <= 0).to(distance.dtype)
    else:
        mask = (0.5 - distance / softness).clamp(0, 1)
    return mask.reshape(*mask.shape[:-1], height, width)


def gaussian_sum(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Sum of Gaussians (Ch. 2.4.1; Stoll et al., ICCV 2011): sum_i exp(-|g - c^i|^2 / (2 r_i^2)).

    The text calls a Gaussian's variance the radius of its sphere; a radius is a length, so here it
    is the standard deviation, as in Stoll et al. Their heights are 1, they are not densities.

    Args:
        points: (..., N, D).
        centres: (..., S, D).
        radii: (..., S), positive.

    Returns:
        (..., N).
    """
    squares = (points[..., :, None, :] - centres[..., None, :, :]).square().sum(dim=-1)
    return (-squares / (2 * radii[..., None, :].square())).exp().sum(dim=-1)


def gaussian_overlap(
    centres_a: Tensor, radii_a: Tensor, centres_b: Tensor, radii_b: Tensor
) -> Tensor:
    """Integral over space of the product of two sums of Gaussians: how well one fits the other.

    Sum over pairs of (2 pi a^2 b^2 / (a^2 + b^2))^(D/2) exp(-|c_a - c_b|^2 / (2 (a^2 + b^2)))
    (Stoll et al., ICCV 2011, for D = 2; Sridhar et al., ICCV 2013, for D = 3).

    Args:
        centres_a, centres_b: (..., S, D) and (..., T, D).
        radii_a, radii_b: (..., S) and (..., T), positive.

    Returns:
        (...), in the D-th power of the unit of length.
    """
    squares = (centres_a[..., :, None, :] - centres_b[..., None, :, :]).square().sum(dim=-1)
    a, b = radii_a[..., :, None].square(), radii_b[..., None, :].square()
    volumes = (2 * torch.pi * a * b / (a + b)) ** (centres_a.shape[-1] / 2)
    return (volumes * (-squares / (2 * (a + b))).exp()).sum(dim=(-2, -1))


def sphere_mesh_distance(
    points: Tensor,
    centres: Tensor,
    radii: Tensor,
    pills: Sequence[tuple[int, int]] = PILLS,
    wedges: Sequence[tuple[int, int, int]] = WEDGES,
) -> Tensor:
    """Signed distance of points to a sphere-mesh (Ch. 2.4.1; Tkach et al., ToG 2016).

    A pill is the convex hull of two spheres, a wedge that of three: the union of all spheres whose
    centres and radii are interpolated between theirs. The distance to it is the least distance to
    one of those, a convex problem with a closed form. Exact for one pill or wedge, inside too; for
    several it is the least of theirs. First derivatives are exact, second ones are not: by the
    envelope theorem the interpolated sphere is held fixed.

    Args:
        points: (..., N, 3).
        centres: (..., S, 3); with the default topology S = 21, the joints.
        radii: (..., S).
        pills: pairs of spheres.
        wedges: triples of spheres.

    Returns:
        (..., N), negative inside.

    Raises:
        ValueError: neither pills nor wedges.
    """
    pairs = [*pills, *((w[i], w[i - 1]) for w in wedges for i in range(3))]  # a wedge has its edges
    if not pairs:
        raise ValueError("a sphere-mesh needs at least one pill or wedge")
    distances = []
    for corners, mix in ((pairs, _on_pills), (list(wedges), _on_wedges)):
        if corners:
            which = torch.tensor(corners, device=centres.device)
            c, r = centres[..., None, which, :], radii[..., None, which]  # (..., 1, E, k[, 3])
            with torch.no_grad():
                share = mix(points[..., :, None, :], c, r)  # (..., N, E, k)
            centre = (share[..., None] * c).sum(dim=-2)
            distance = (points[..., :, None, :] - centre).norm(dim=-1) - (share * r).sum(dim=-1)
            distances.append(distance.amin(dim=-1))
    return torch.stack(distances).amin(dim=0)


def _on_pills(points: Tensor, c: Tensor, r: Tensor) -> Tensor:
    """(..., E, 2) shares of a pill's two spheres in the one that is nearest to the point.

    With s along the axis and h beside it, |point - c(t)| - r(t) is least where the way to the point
    is perpendicular to the hull: t l = s + h k / sqrt(1 - k^2), k the radius' slope. One sphere
    within the other (|k| >= 1) is the pill.
    """
    axis, offset = c[..., 1, :] - c[..., 0, :], points - c[..., 0, :]
    growth, length = r[..., 1] - r[..., 0], axis.norm(dim=-1)
    nested = growth.abs() >= length
    length = torch.where(nested, 1.0, length)
    slope = torch.where(nested, 0.0, growth / length)
    s = (offset * axis).sum(dim=-1) / length
    h = (offset - (s / length)[..., None] * axis).norm(dim=-1)
    t = ((s + h * slope / (1 - slope**2).sqrt()) / length).clamp(0, 1)
    t = torch.where(nested, (growth > 0).to(t.dtype), t)
    return torch.stack([1 - t, t], dim=-1)


def _on_wedges(points: Tensor, c: Tensor, r: Tensor) -> Tensor:
    """(..., E, 3) shares of a wedge's three spheres in the one nearest to the point.

    As for pills, in the triangle's plane: the point's foot moves by h g / sqrt(1 - |g|^2), g the
    gradient of the radius. Where that leaves the triangle the nearest sphere lies on an edge,
    which is a pill; the first corner is returned, which is never nearer.
    """
    e1, e2, offset = c[..., 1, :] - c[..., 0, :], c[..., 2, :] - c[..., 0, :], points - c[..., 0, :]
    g11, g12, g22 = ((x * y).sum(dim=-1) for x, y in ((e1, e1), (e1, e2), (e2, e2)))
    determinant = g11 * g22 - g12**2
    flat = determinant <= torch.finfo(determinant.dtype).eps * g11 * g22  # no triangle
    determinant = torch.where(flat, 1.0, determinant)

    def coordinates(along1: Tensor, along2: Tensor) -> tuple[Tensor, Tensor]:
        """Of a vector in the basis e1, e2, from its inner products with them."""
        return (
            (g22 * along1 - g12 * along2) / determinant,
            (g11 * along2 - g12 * along1) / determinant,
        )

    u, v = coordinates((offset * e1).sum(dim=-1), (offset * e2).sum(dim=-1))
    h = (offset - u[..., None] * e1 - v[..., None] * e2).norm(dim=-1)
    d1, d2 = r[..., 1] - r[..., 0], r[..., 2] - r[..., 0]
    a, b = coordinates(d1, d2)
    steep = 1 - (a * d1 + b * d2)  # 1 - |g|^2
    step = h / steep.clamp(min=torch.finfo(h.dtype).tiny).sqrt()
    u, v = u + step * a, v + step * b
    inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (steep > 0) & ~flat
    shares = torch.stack([1 - u - v, u, v], dim=-1)
    return torch.where(inside[..., None], shares, shares.new_tensor([1.0, 0.0, 0.0]))


def _check_joints(joints: Tensor) -> None:
    if joints.ndim < 2 or joints.shape[-2] != NUM_JOINTS:
        raise ValueError(f"joints are {tuple(joints.shape)}, not (..., {NUM_JOINTS}, D)")
