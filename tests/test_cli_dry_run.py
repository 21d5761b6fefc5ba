"""--dry-run: what there is, what it will take, and nothing written."""

from __future__ import annotations

import re

import pytest
import torch
from PIL import Image

import doprestore.cli.pictures.estimate as estimate
import doprestore.image.portions as portions
from doprestore.cli.pictures.estimate import USUAL_ROUNDS, Estimator, Stages
from doprestore.cli.pictures.jobs import Choices
from doprestore.image.memory import ANSWER_VALUE, light_bytes, paper_bytes
from doprestore.image.portions import recover
from doprestore.image.screening import NET_ROUNDS
from doprestore.image.settings import image_settings

QUICK = ("--steps", 4, "--width", 4, "--device", "cpu")


def _names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def second_a_step(monkeypatch):
    """A machine on which a session starts in 2 s; a step of the paper's preset takes 10 s on 64x64 and 90 s on 192x192,
    whatever the number of threads; a search a second for 64x64 where nothing is found, 3 where something is, 5 more for
    each round of the network, and a fit 20 s for any size."""
    monkeypatch.setattr(Estimator, "start", 2.0)
    monkeypatch.setattr(estimate, "_timed", lambda settings, side, threads: side**2 * 10 / 64**2)
    monkeypatch.setattr(
        estimate,
        "_timed_stages",
        lambda settings, channels, side, threads: Stages(side**2 / 64**2, 3 * side**2 / 64**2, 5 * side**2 / 64**2, 20.0),
    )


def test_every_picture_and_all_of_them(run_cli, scans, second_a_step):
    Image.new("L", (128, 96)).save(scans / "scans" / "grey.tif")
    (scans / "scans" / "bad.png").write_text("not a picture")
    (scans / "scans" / "notes.txt").write_text("no picture")
    (scans / "out").mkdir()
    (scans / "out" / "1.png").write_text("old")
    before = _names(scans)
    args = ("image", "scans", "out", "-r", *QUICK, "--json", "facts", "--log", "logs", "--dry-run", "--skip-existing")
    code, stdout, stderr = run_cli(*args)
    lines = stdout.splitlines()
    assert code == 1 and stderr.startswith("doprestore: error: scans/bad.png: is not a") and stderr.count("\n") == 1
    assert re.fullmatch(r"scans/0.png: PNG, 8x9 colour, uint8, about .* s if damaged \(.*\), \d+ MB; to out/0.png", lines[0])
    assert lines[1] == "out/1.png: exists, skipped"
    # 3 s; 3 times 3 and usually 2 rounds of 5 s, and the fit, halved after the network; 3 times 3 and 20 s; 3 times 12
    # rounds of 5 s more, and the fit, of twice the steps, halved.
    told = "about 3.0 s if undamaged, 49 s if damaged (29 s to 3 min 29 s), "
    assert lines[3].startswith(f"scans/grey.tif: TIFF, 128x96 grey, uint8, {told}")
    assert lines[4] == "scans/notes.txt: no picture, left alone"
    assert re.match(
        r"3 to restore, 1 skipped, 1 failed: about 5.5 s if undamaged, [^,]+ if damaged \([^,]+ to [^,]+\), "
        r"\d+ MB of .* GB that are free; 1 other file left",
        lines[5],
    )
    assert lines[5].endswith("; nothing was written") and len(lines) == 6
    assert _names(scans) == before


def test_one_picture_is_refused_as_the_run_would(run_cli, scans, second_a_step):
    code, stdout, _ = run_cli("image", "scans/0.png", "out.png", *QUICK, "--dry-run")
    assert code == 0 and stdout.count("\n") == 2
    for args, code in ((("scans/0.png", "scans/0.png"), 2), (("absent.png", "out.png"), 1), (("scans/0.png", "out.xyz"), 2)):
        assert run_cli("image", *args, *QUICK, "--dry-run").code == code
    code, _, _ = run_cli("image", "scans/0.png", "scans/1.png", "o/", *QUICK, "--dry-run", "--mask", "scans/0.png")
    assert code == 0 and not (scans / "o").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("scans/0.png absent/x.png", "absent does not exist"),
        ("scans/0.png x.png --report r.txt", "--report r.txt: must end in .html"),
        ("scans/0.png x.png --log l.txt", "--log l.txt: must end in .csv"),
        ("scans/0.png x.png --log absent/l.csv", "absent does not exist"),
        ("scans/0.png scans/1.png scans/0.png/out/", "scans/0.png is not a folder"),
        ("scans/0.png scans/1.png new/ --json scans/0.png/facts", "scans/0.png is not a folder"),
    ],
)
def test_what_the_run_refuses_is_refused(run_cli, scans, second_a_step, words, told):
    before = _names(scans)
    args = ("image", *words.split(), *QUICK)
    dry, real = run_cli(*args, "--dry-run"), run_cli(*args)
    assert dry.code == real.code != 0 and told in dry.stderr
    assert _names(scans) == before or "new/" in words


def test_quiet_says_only_what_would_fail_and_json_is_not_passed_over(run_cli, scans, second_a_step):
    (scans / "scans" / "bad.png").write_text("not a picture")
    (scans / "scans" / "notes.txt").write_text("no picture")
    code, stdout, stderr = run_cli("image", "scans", "out", "-r", *QUICK, "--dry-run", "-q")
    assert (code, stdout, stderr.count("\n")) == (1, "", 1) and "scans/bad.png" in stderr
    assert run_cli("image", "scans/0.png", "x.png", *QUICK, "--dry-run", "-q") == (0, "", "")
    code, stdout, stderr = run_cli("image", "scans/0.png", "x.png", *QUICK, "--dry-run", "--json", "-")
    assert (code, stdout) == (2, "") and "--json -" in stderr and "--dry-run" in stderr


def test_time_and_memory_grow_with_the_picture(second_a_step):
    settings = image_settings(device="cpu")
    many = Estimator(settings, Choices())((3, 1200, 1600))
    units = 1200 * 1600 / 64**2
    assert many.undamaged == pytest.approx(units)
    assert many.least == pytest.approx(3 * units + 20)
    assert many.usual == pytest.approx((5 * USUAL_ROUNDS + 3) * units + 10)
    assert many.most == pytest.approx((5 * NET_ROUNDS + 3) * units + 20)
    assert many.bytes == light_bytes((3, 1200, 1600))


def test_a_long_fit_without_a_network_may_be_the_most(monkeypatch):
    monkeypatch.setattr(estimate, "_timed_stages", lambda *args: Stages(1.0, 3.0, 0.5, 20.0))
    told = Estimator(image_settings(device="cpu"), Choices())((3, 64, 64))
    assert (told.least, told.most) == (23.0, 43.0)  # and not 3 + 8 * 0.5 + 20


def test_without_a_search_there_is_one_time(second_a_step):
    settings = image_settings("paper", width=8, device="cpu")
    told = Estimator(settings, Choices())((3, 64, 64))
    assert told.undamaged == told.least == told.usual == told.most == pytest.approx(10 * settings.steps)
    assert told.bytes == paper_bytes((3, 64, 64), settings, torch.device("cpu"))


def test_pieces_count(monkeypatch, second_a_step):
    """A picture whose search does not fit into the memory takes what its pieces and its answer take."""
    shape, free = (3, 3000, 4000), 2**32
    for module in (estimate.machine, portions):
        monkeypatch.setattr(module, "free_memory", lambda device=None: free)
    told = Estimator(image_settings(device="cpu"), Choices())(shape)
    assert 3000 * 4000 * 3 * ANSWER_VALUE < told.bytes < free


def test_processes_start_as_the_session_does(run_cli, scans, second_a_step):
    told = [run_cli("image", "scans", "out", "-r", "--dry-run", "-j", jobs).stdout.splitlines()[-1] for jobs in (1, 3)]
    # A quarter of a second for each of three small pictures.
    assert "3 to restore: about 2.8 s if undamaged" in told[0]
    assert "3 to restore: about 4.2 s if undamaged" in told[1]


def test_one_look_at_the_cores_is_enough_for_all_pictures(monkeypatch, second_a_step):
    looks = []
    monkeypatch.setattr(estimate.machine, "fitting_threads", lambda pixels: looks.append(pixels) or 2)
    seen = []
    monkeypatch.setattr(
        estimate, "_timed_stages", lambda settings, channels, side, threads: seen.append(threads) or Stages(1, 1, 1, 1)
    )
    estimator = Estimator(image_settings(device="cpu"), Choices())
    for side in (64, 65, 100, 300):
        estimator((3, side, side))
    assert len(looks) == 1 and set(seen) == {1, 2} and seen[0] == 1


@pytest.mark.usefixtures("few_lessons", "one_thread")
def test_the_estimate_is_of_this_machine(monkeypatch):
    """Loose, for a machine has moods, and with one thread, for two that wait for each other on a busy one take ten times as
    long; tests/benchmarks/estimates.py prints how good it is."""
    monkeypatch.setattr(estimate, "SIDES", (32, 40, 48))
    settings = image_settings(steps=20, width=4, device="cpu", precision="float32")
    told = Estimator(settings, Choices())((3, 32, 32))
    picture = estimate._waves(3, 32)
    undamaged = recover(picture, settings).seconds
    light = recover(estimate._struck(picture, estimate.LIGHT), settings).seconds
    assert undamaged / 4 < told.undamaged < 4 * undamaged
    assert told.least < 4 * light
    assert told.undamaged < told.least < told.most
