"""Contrastive losses against loops of their equations, alone and over two processes."""

import math

import numpy as np
import pytest
import torch
from torch import multiprocessing

from auxhand.losses.contrastive import (
    VARIANTS,
    Projections,
    multimodal_contrastive,
    nt_xent,
    of_other_processes,
)


def projections(count=6, size=5, seed=0):
    z = torch.randn(2, count, size, generator=torch.Generator().manual_seed(seed)).double()
    return z[0], z[1]


def sim(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def loop_of_eq_7_3(z, plus, tau):
    """As printed, but the mean over i."""
    count, total = len(z), 0.0
    for i in range(count):
        denominator = 0.0
        for k in range(count):
            if k != i:
                denominator += math.exp(sim(z[i], z[k]) / tau)
                denominator += math.exp(sim(z[i], plus[k]) / tau)
        total -= math.log(math.exp(sim(z[i], plus[i]) / tau) / denominator)
    return total / count


def loop_of_eq_3_14(z, plus, tau):
    """l_ij of the interleaved batch z_1, z+_1, z_2, ... (Chen et al. 2020, Algorithm 1)."""
    batch = [v for pair in zip(z, plus, strict=True) for v in pair]

    def term(i, j):
        denominator = sum(math.exp(sim(batch[i], v) / tau) for k, v in enumerate(batch) if k != i)
        return -math.log(math.exp(sim(batch[i], batch[j]) / tau) / denominator)

    pairs = range(0, len(batch), 2)
    return sum(term(k, k + 1) + term(k + 1, k) for k in pairs) / len(batch)


@pytest.mark.parametrize(
    ("tau", "expected"),
    [(0.07, 3.258090195613651), (0.5, 1.3870993172083559), (1.0, 1.5401039783253605)],
)
def test_equals_a_public_implementation_of_simclr_s_loss(tau, expected):
    """`losses.NTXentLoss(temperature=tau)` of pytorch-metric-learning 2.9.0, of z and z+ one below
    the other, each pair a class of its own."""
    z = [[0.5, -1.0, 2.0], [1.0, 0.25, -0.5], [-2.0, 1.5, 0.0], [0.75, 0.5, 1.0]]
    plus = [[0.25, -1.5, 1.0], [1.5, -0.5, 0.5], [-1.0, 2.0, 0.5], [0.0, 1.0, -1.0]]
    found = nt_xent(torch.tensor(z).double(), torch.tensor(plus).double(), tau, form="simclr")
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
def test_equals_the_loop_of_eq_7_3(tau):
    z, plus = projections()
    expected = loop_of_eq_7_3(z.numpy(), plus.numpy(), tau)
    assert nt_xent(z, plus, tau).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
def test_simclr_equals_the_loop_of_eq_3_14(tau):
    z, plus = projections(seed=1)
    expected = loop_of_eq_3_14(z.numpy(), plus.numpy(), tau)
    assert nt_xent(z, plus, tau, "simclr").item() == pytest.approx(expected, rel=1e-12)
    assert nt_xent(plus, z, tau, "simclr").item() == pytest.approx(expected, rel=1e-12)


def test_simclr_is_the_cross_entropy_of_finding_the_positive():
    """Another way to say it: a classification among the 2 B - 1 other vectors."""
    z, plus = projections(seed=2)
    both = torch.nn.functional.normalize(torch.cat([z, plus]), dim=1)
    logits = (both @ both.T / 0.5).fill_diagonal_(-torch.inf)
    target = torch.arange(12).roll(6)
    expected = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(nt_xent(z, plus, form="simclr"), expected)


def test_closed_forms():
    z = torch.eye(4)
    # Positives alike, negatives orthogonal: 6 negatives of similarity 0, a positive of 1.
    assert nt_xent(z, z).item() == pytest.approx(math.log(6) - 2)
    assert nt_xent(z, z, form="simclr").item() == pytest.approx(math.log(6 + math.exp(2)) - 2)
    same = torch.ones(140, 3)  # nothing learnt: the number that the module's text states
    assert nt_xent(same, same).item() == pytest.approx(math.log(278), rel=1e-5)


def test_the_printed_form_is_one_sided():
    z, plus = torch.eye(4), torch.ones(4, 4)  # z orthogonal, all z+ alike: z z+ is 1/2
    e = math.e
    assert nt_xent(z, plus).item() == pytest.approx(math.log(3 + 3 * e) - 1)
    assert nt_xent(plus, z).item() == pytest.approx(math.log(3 * e**2 + 3 * e) - 1)


def test_lengths_do_not_count_and_halves_are_made_single():
    z, plus = projections()
    torch.testing.assert_close(nt_xent(3 * z, 0.2 * plus), nt_xent(z, plus))
    with torch.autocast("cpu", torch.bfloat16):
        loss = nt_xent(z.bfloat16(), plus.bfloat16())
    exact = nt_xent(z.bfloat16().float(), plus.bfloat16().float())
    assert loss.dtype == torch.float32
    assert loss.item() == exact.item()


@pytest.mark.parametrize("form", ["printed", "simclr"])
def test_others_are_negatives_of_every_sample(form):
    """As if all samples were here, but only the terms of those that are here counted."""
    z, plus = projections()
    loss = 0.0
    for here in (slice(0, 2), slice(2, 6)):
        rest = [i for i in range(6) if i not in range(6)[here]]
        others = torch.nn.functional.normalize(torch.cat([z[rest], plus[rest]]), dim=1)
        part = nt_xent(z[here], plus[here], form=form, others=lambda _, o=others: o)
        loss += part.item() * (6 - len(rest)) / 6
    assert loss == pytest.approx(nt_xent(z, plus, form=form).item(), rel=1e-12)


@pytest.mark.parametrize("form", ["printed", "simclr"])
def test_gradients(form):
    z, plus = projections(3, 4)
    loss = lambda *pair: nt_xent(*pair, form=form)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (z.requires_grad_(), plus.requires_grad_()))


def test_what_cannot_be_compared_is_refused():
    z, plus = projections(1)
    with pytest.raises(ValueError, match="at least 2 samples"):
        nt_xent(z, plus)
    with pytest.raises(ValueError, match=r"\(B, D\)"):
        nt_xent(z, plus[:, :3])


def six(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Projections(*torch.randn(6, 4, 5, generator=generator).double())


def test_l_c_is_eq_7_4_and_7_5():
    z = six()
    rgb, rgb_plus, depth, depth_plus, fusion, fusion_plus = (t.numpy() for t in z)
    eta = lambda a, b: loop_of_eq_7_3(a, b, 0.5)  # noqa: E731
    rows = {
        "none": 0.0,
        "RGB only": eta(rgb, rgb_plus),
        "RGB & DM": eta(rgb, rgb_plus) + eta(depth, depth_plus),
        "RGB & DM*": eta(rgb, rgb_plus) + eta(depth, depth_plus) + eta(rgb, depth),
    }
    full = rows["RGB & DM"] + eta(rgb, fusion) + eta(rgb_plus, fusion_plus)
    rows |= {"w/out SG": full, "w/ SG": full}
    assert rows.keys() == VARIANTS.keys()
    for name, expected in rows.items():
        assert multimodal_contrastive(z, name).item() == pytest.approx(expected), name
    assert [name for name, row in VARIANTS.items() if not row.stop_gradient] == ["w/out SG"]


def test_projections_that_a_variant_leaves_out_may_be_missing():
    z = six()
    pair = Projections(z.rgb, z.rgb_plus)
    torch.testing.assert_close(
        multimodal_contrastive(pair, "RGB only"), multimodal_contrastive(z, "RGB only")
    )
    with pytest.raises(ValueError, match="compares depth with depth_plus"):
        multimodal_contrastive(pair, "RGB & DM")


def test_one_process_has_no_others():
    assert of_other_processes(torch.ones(3, 4)).shape == (0, 4)


def _one_of_two(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    z, plus = projections()
    weight = torch.eye(5, dtype=torch.float64, requires_grad=True)
    here = slice(3 * rank, 3 * rank + 3)
    loss = nt_xent(z[here] @ weight, plus[here] @ weight, others=of_other_processes)
    (gradient,) = torch.autograd.grad(loss, weight)
    torch.save((loss.detach(), gradient), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_together_are_one_with_all_samples(tmp_path):
    multiprocessing.start_processes(_one_of_two, (str(tmp_path),), 2, start_method="fork")
    losses, gradients = zip(
        *(torch.load(tmp_path / f"{rank}.pt") for rank in range(2)), strict=True
    )
    z, plus = projections()
    weight = torch.eye(5, dtype=torch.float64, requires_grad=True)
    loss = nt_xent(z @ weight, plus @ weight)
    (gradient,) = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(sum(losses) / 2, loss.detach())
    torch.testing.assert_close(sum(gradients) / 2, gradient)
