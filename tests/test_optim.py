import math

import pytest
import torch

from auxhand.optim import Schedule


def test_warmup_hold_and_cosine_in_closed_form():
    schedule = Schedule(warmup_steps=9, hold=0.5)
    assert schedule.factor(0, 100) == pytest.approx(0.1)
    assert schedule.factor(4, 100) == pytest.approx(0.5)
    assert schedule.factor(30, 100) == 1.0
    assert schedule.factor(75, 100) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert schedule.factor(100, 100) == pytest.approx(0.0, abs=1e-12)


def test_drops_are_those_of_chapter_6():
    schedule = Schedule(drops=(0.6, 0.9))
    epochs = [schedule.factor(step, 100) for step in (59, 60, 89, 90, 99)]
    assert epochs == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])


def test_scheduler_sets_the_rate_of_each_step():
    schedule = Schedule(warmup_steps=3, hold=0.2)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    scheduler = schedule.scheduler(optimizer, total_steps=10)
    for step in range(10):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(2 * schedule.factor(step, 10))
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("wrong", [{"hold": 1.5}, {"drops": (60,)}])
def test_shares_outside_the_unit_interval_are_refused(wrong):
    with pytest.raises(ValueError, match="share"):
        Schedule(**wrong)
