"""What every training watches, without a training."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from auxhand.monitor import (
    COLLAPSED_KL,
    FIRST_STEPS,
    SPREAD,
    Lessons,
    Monitor,
    Posteriors,
    broken_tensor,
    noise,
)

SETTLED = 1000


def validated(monitor, *spreads):
    """Warnings of a monitor at validations with these spreads."""
    said = []
    for step, spread in enumerate(spreads):
        metrics = {} if spread is None else {SPREAD: torch.tensor(spread)}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            monitor.on_validation_end(
                SimpleNamespace(callback_metrics=metrics, global_step=step), None
            )
        said.append([str(w.message) for w in caught])
    return said


def test_predictions_that_become_one_are_reported_when_it_happens():
    low, rising, falling, lower, without = validated(Monitor(), 0.02, 0.5, 0.05, 0.01, None)
    assert (low, rising, without) == ([], [], [])  # networks begin with predictions alike
    assert falling == [
        "step 2: predicted poses collapse to one: they differ by 0.050 of what true poses do, and "
        "did by 0.500 before"
    ]
    assert len(lower) == 1


def test_a_resumed_run_knows_the_last_spread():
    before, after = Monitor(), Monitor()
    validated(before, 0.5)
    after.load_state_dict(before.state_dict())
    assert len(validated(after, 0.05)[0]) == 1


def test_the_broken_tensor_is_named_statistics_included():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert broken_tensor(net) == ""
    assert broken_tensor(nn.ReLU()) == ""
    net[1].running_var[1] = torch.inf
    assert broken_tensor(net) == "1.running_var"
    with torch.no_grad():
        net[0].bias[0] = torch.nan
    assert broken_tensor(net) == "0.bias"


def test_weights_that_break_end_the_training():
    net = nn.Linear(2, 1)
    Monitor().on_train_batch_end(SimpleNamespace(global_step=3), net, None, None, 0)
    with torch.no_grad():
        net.weight[0, 1] = torch.nan
    with pytest.raises(FloatingPointError, match=r"step 3: weights are not finite \(weight"):
        Monitor().on_train_batch_end(SimpleNamespace(global_step=3), net, None, None, 0)


def test_noise_is_a_function_of_seed_step_process_and_batch():
    def drawn(seed, step, rank, batch=None, together=1):
        loop = SimpleNamespace(batch_idx=batch)
        trainer = SimpleNamespace(fit_loop=loop, accumulate_grad_batches=together)
        where = {"global_step": step, "global_rank": rank, "device": "cpu"}
        module = SimpleNamespace(**where, _trainer=None if batch is None else trainer)
        return torch.rand(4, generator=noise(seed, module)).tolist()

    one = drawn(0, 5, 0)
    assert drawn(0, 5, 0) == drawn(0, 5, 0, batch=35) == drawn(0, 5, 0, batch=35, together=7) == one
    others = [drawn(1, 5, 0), drawn(0, 6, 0), drawn(0, 5, 1)]
    others += [drawn(0, 5, 0, batch=batch, together=7) for batch in range(36, 42)]
    assert len({*map(tuple, (one, *others))}) == 10


def test_what_no_sample_teaches_is_named_after_the_first_batches():
    lessons = Lessons()
    has = {"poses": torch.tensor([False, True]), "masks": torch.tensor([False, False])}
    for _ in range(FIRST_STEPS - 1):
        lessons.check(lambda: has)
    with pytest.raises(ValueError, match=f"no sample of the first {FIRST_STEPS} batches has masks"):
        lessons.check(lambda: has)


def test_lessons_are_seen_once():
    lessons = Lessons()
    lessons.check(lambda: {"poses": torch.tensor([True])})
    lessons.check(lambda: pytest.fail("all was seen"))
    lessons.end()


def test_a_posterior_that_becomes_the_prior_is_reported_once():
    posteriors, valid = Posteriors(), torch.tensor([True, True, False])

    def watch(kl, step=SETTLED):
        rows = torch.tensor([[kl, kl], [kl, 0.0], [9.0, 9.0]])
        return posteriors.watch("RGB", rows, valid, step, beta=1e-3)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert watch(1.5 * COLLAPSED_KL)["active_RGB"] == 1  # means of 1.5 and 0.75
        assert watch(0.0, step=0)["active_RGB"] == 0  # as it was initialised
    with pytest.warns(UserWarning, match="posterior of RGB has collapsed.*all 2 dimensions"):
        watch(0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch(0.0)
        watch(1.0)
    with pytest.warns(UserWarning, match="collapsed"):
        watch(0.0)
    assert posteriors.watch("RGB", torch.zeros(3, 2), ~valid & False, SETTLED, 1.0) == {}
