"""The light-damage benchmark's scores: known answers get known numbers, a rerun runs nothing, targets can fail."""

from __future__ import annotations

import json
import sys

import light
import light_pictures
import pytest
import torch
from light_pictures import Source
from light_problems import problem

CASE = {"source": "stars", "side": 128, "damage": "random-5", "seed": 0}

PROTOTYPES = """
calls = []
def nothing(damaged):
    calls.append(damaged)
    return damaged, damaged < 0, 0.0
def grey(damaged):
    return 0 * damaged + 0.5, damaged >= 0, 1.0
"""


@pytest.fixture
def stars_only(monkeypatch, tmp_path):
    """The star field as the only source, and a module of prototypes to score."""
    monkeypatch.setattr(light_pictures, "SOURCES", {"stars": Source("drawn", "tune", "stars")})
    monkeypatch.setattr(light, "SOURCES", light_pictures.SOURCES)
    (tmp_path / "light_prototypes.py").write_text(PROTOTYPES)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("light_prototypes", None)


@pytest.fixture
def bench(monkeypatch, tmp_path, capsys, stars_only):
    """bench("--option", ...): the program's output, on one small case; its rows go to one file."""

    def run(*options: str) -> str:
        output = ["-o", str(tmp_path / "rows.jsonl"), "--sizes", "128"]
        monkeypatch.setattr(sys, "argv", ["light.py", *output, *options])
        light.main()
        return capsys.readouterr().out

    return run


def test_scores_of_known_answers(stars_only):
    this = problem("stars", 128, "random-5")
    perfect = light.measure(CASE, "perfect", lambda one, source: light.Answer(one.reference, one.bad, 0.05))
    assert perfect["psnr"] == perfect["psnr_gross"] == light.IDENTICAL
    assert perfect["changed"] == 0 and perfect["precision"] == perfect["recall"] == 1
    assert perfect["altered"] == perfect["true_share"] == pytest.approx(this.bad.float().mean().item())
    idle = light.measure(CASE, "idle", lambda one, source: light.Answer(one.damaged))
    assert idle["altered"] == 0 and idle["recall"] == 0 and idle["precision"] == 1
    assert idle["psnr"] < idle["psnr_gross"]  # what is off by less than 0.2 is forgiven
    harm = torch.where(this.bad, this.damaged, this.damaged + 4 / 255)
    harmful = light.measure(CASE, "harmful", lambda one, source: light.Answer(harm))
    assert harmful["changed"] > 0.99 and harmful["precision"] == 0
    slight = torch.where(this.bad, this.damaged, this.damaged + 2 / 255)
    assert light.measure(CASE, "slight", lambda one, source: light.Answer(slight))["changed"] == 0


def test_a_rerun_runs_what_is_missing_only(bench, tmp_path):
    first = bench("--damage", "none", "--function", "light_prototypes:nothing")
    rows = (tmp_path / "rows.jsonl").read_text()
    assert bench("--damage", "none", "--function", "light_prototypes:nothing") == first
    assert (tmp_path / "rows.jsonl").read_text() == rows and len(sys.modules["light_prototypes"].calls) == 1
    assert {json.loads(line)["method"] for line in rows.splitlines()} >= {"nothing", "median3", "light_prototypes:nothing"}
    bench("--damage", "none", "--function", "light_prototypes:nothing", "--fresh", "light_prototypes:nothing")
    assert len(sys.modules["light_prototypes"].calls) == 2


def test_targets_pass_and_fail(bench):
    passed = bench("--damage", "none", "--function", "light_prototypes:nothing", "--summary")
    assert "pass  photographs, every picture, at least 42 dB: 1 of 1" in passed and "FAIL" not in passed
    failed = bench("--damage", "none", "random-1", "--function", "light_prototypes:grey", "--summary")
    assert "FAIL  photographs, values changed on average, at most 0.1 %" in failed
    assert "FAIL  over the best trivial method or nothing, at least -0.1 dB: 0 of 1" in failed
    assert "FAIL  undamaged photographs, at most 0.05 %: 0 of 1" in failed


def test_the_switching_median_replaces_only_what_stands_out():
    picture = torch.full((1, 5, 5), 100 / 255)
    picture[0, 2, 2], picture[0, 0, 4] = 130 / 255, 120 / 255
    assert torch.equal(light.switching(picture, 20), torch.where(picture == 130 / 255, 100 / 255, picture))
    assert torch.equal(light.switching(picture, 40), picture)
