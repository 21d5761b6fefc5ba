"""The one loop, with a job that counts."""

from __future__ import annotations

import math

import pytest

from doprestore.drive import REPORTS, Progress, Saver, drive
from doprestore.errors import NumericalError


class Counting:
    """Its loss is 1 / step; it is done after ``steps`` steps, or sooner after ``enough``."""

    remedy = "count slower"

    def __init__(self, steps=1000, enough=math.inf, losses=None):
        self.steps, self.enough, self.losses = steps, enough, losses or {}
        self.step_number = self.looked = 0

    @property
    def done(self):
        return self.step_number >= min(self.steps, self.enough)

    @property
    def loss(self):
        return self.losses.get(self.step_number, 1 / self.step_number)

    def step(self):
        self.step_number += 1

    def report(self):
        self.looked += 1
        return {"stage": "counting"}

    def state_dict(self):
        return {"step_number": self.step_number}

    def load_state_dict(self, state):
        self.step_number = state["step_number"]


def test_all_steps_and_about_200_reports_the_last_at_the_end():
    job, seen = Counting(1003), []
    ended = drive(job, callback=seen.append)
    assert job.step_number == 1003 and not ended.interrupted
    assert seen[0].step == 1003 // REPORTS and seen[-1].step == 1003 and REPORTS <= len(seen) <= REPORTS + 1
    assert seen[-1] == Progress(1003, 1003, 1 / 1003, seen[-1].seconds, "counting")
    assert 0 < seen[0].seconds <= seen[-1].seconds <= ended.seconds


def test_nobody_listens_and_nothing_is_looked_at():
    job = Counting(50)
    drive(job)
    assert job.looked == 0


def test_done_before_the_last_step():
    job, seen = Counting(1000, enough=7), []
    assert not drive(job, callback=seen.append, report_every=5).interrupted
    assert [progress.step for progress in seen] == [5, 7]


def test_a_stop_is_the_last_step_and_reported():
    job, seen = Counting(), []
    assert drive(job, callback=seen.append, should_stop=lambda: job.step_number == 13, report_every=10).interrupted
    assert job.step_number == 13 and [progress.step for progress in seen] == [10, 13]
    whole = Counting(13)
    assert not drive(whole, should_stop=lambda: whole.step_number == 13).interrupted  # it was done anyway


def test_a_loss_that_is_not_finite_ends_it_with_the_remedy():
    for bad in (math.nan, math.inf):
        with pytest.raises(NumericalError, match=f"the loss became {bad} by step 20; count slower"):
            drive(Counting(losses={20: bad}), report_every=10)
    seen = []
    drive(Counting(30, losses={20: None}), callback=seen.append, report_every=10)  # not known yet: no error
    assert [math.isnan(progress.loss) for progress in seen] == [False, True, False]


def test_a_saved_state_goes_on_with_its_seconds():
    states = []
    drive(Counting(9), save=lambda state: states.append(state()))
    assert [state["step_number"] for state in states] == list(range(1, 10))
    states[3]["seconds"] = 1000.0
    job = Counting(9)
    assert 1000 < drive(job, resume=states[3]).seconds < 1100 and job.step_number == 9
    assert drive(job).seconds < 1  # done already: nothing to do


def test_the_saver_minds_its_interval(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("doprestore.drive.time.monotonic", lambda: now[0])
    written = []
    saver = Saver(written.append, every=60)
    for second in range(0, 200, 10):
        now[0] = float(second)
        saver(lambda: {"at": now[0]})
    assert [state["at"] for state in written] == [60, 120, 180]
    saver.write(lambda: {"at": "now"})
    assert written[-1] == {"at": "now"}
