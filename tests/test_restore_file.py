"""restore_file(): the command's safety from Python; and what restore_image() says of arrays that are no pictures."""

from __future__ import annotations

import json
import os
import warnings

import numpy as np
import pytest
from PIL import Image

import doprestore.image.portions as portions
from doprestore import DoprestoreError, restore_file, restore_image
from doprestore.errors import DestinationError, InputError, UsageError
from doprestore.io.images import read_picture

QUICK = {"preset": "paper", "steps": 2, "width": 4, "device": "cpu"}


def test_it_writes_what_the_command_writes(run_cli, scans, capsys):
    facts = restore_file("scans/0.png", scans / "a.png", preset="paper", steps=2, width=4, device="cpu", json="facts.json")
    assert capsys.readouterr() == ("", "")
    quick = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")
    assert run_cli("image", "scans/0.png", "b.png", *quick).code == 0
    assert (scans / "a.png").read_bytes() == (scans / "b.png").read_bytes()
    assert facts == json.loads((scans / "facts.json").read_text()) and facts["steps"] == 2


def test_nothing_is_lost(scans):
    (scans / "old.png").write_text("old")
    with pytest.raises(DestinationError, match=r"old\.png: exists already"):
        restore_file("scans/0.png", "old.png", **QUICK)
    for force in (False, True):
        with pytest.raises(DestinationError, match="is also the input"):
            restore_file("scans/0.png", "scans/0.png", force=force, **QUICK)
    assert (scans / "old.png").read_text() == "old"
    restore_file("scans/0.png", "old.png", force=True, **QUICK)
    assert read_picture("old.png").samples.shape == (3, 9, 8)


def test_numbers_of_numpy_are_taken(scans):
    options = {
        "value_range": np.array([0, 200]),
        "quality": np.int64(50),
        "page": np.int32(1),
        "checkpoint_every": np.float32(5),
    }
    for name in ("a.jpg", "a.webp"):
        assert restore_file("scans/0.png", name, **QUICK, **options)["white"] == 200
    assert sorted(os.listdir()) == ["a.jpg", "a.webp", "scans"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"destination": "absent/a.png"}, "does not exist"),
        ({"destination": "a.xyz"}, "names no picture format"),
        ({"destination": "-"}, "name files"),
        ({"source": "absent.png"}, "no such file"),
        ({"steps": "many"}, "must be a whole number"),
        ({"value_range": (5, 2)}, "--range"),
        ({"width_of_network": 3}, "unknown setting"),
    ],
)
def test_errors_name_the_remedy(scans, options, words):
    _refused(options, words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"value_range": ("abc", 1)}, "value_range: 'abc' is not a sample value"),
        ({"value_range": ("0%", "200%")}, "value_range: '200%' is not a sample value"),
        ({"value_range": (1, 2, 3)}, "must be two values"),
        ({"value_range": 5}, "must be two values"),
        ({"subsampling": "5:5:5", "destination": "a.jpg"}, "--subsampling 5:5:5: choose one of 4:4:4"),
        ({"quality": 500, "destination": "a.jpg"}, "--quality 500: must be at most 100"),
        ({"quality": 9.5, "destination": "a.jpg"}, "--quality 9.5: must be a whole number"),
        ({"checkpoint_every": "60s", "checkpoint": "c"}, "--checkpoint-every '60s': must be a number of seconds"),
        ({"checkpoint_every": float("nan"), "checkpoint": "c"}, "--checkpoint-every nan"),
        ({"resume": True}, "name its file with checkpoint"),
        ({"page": 0}, "--page 0: must be at least 1"),
        ({"page": 1.0}, "--page 1.0: must be a whole number"),
        ({"page": "all"}, "--page 'all': must be a whole number"),
        ({"destination": "a\0.png"}, r"destination: 'a\\x00.png' is no name"),
        ({"destination": ""}, "destination: '' is no name"),
        ({"source": b"scans/0.png"}, "source: must be the name of a file, str or Path, not bytes"),
        ({"mask": np.zeros((9, 8))}, "mask: must be the name of a file, str or Path, not ndarray"),
        ({"json": "-"}, "json: standard input and output are for the command line"),
        ({"outliers": "-"}, "outliers: standard input and output are for the command line"),
    ],
)
def test_what_no_option_of_the_command_takes(scans, monkeypatch, options, words):
    monkeypatch.setattr(portions, "recover_image", None)  # refused before the work starts
    _refused(options, words)


def _refused(options, words):
    names = [options.pop(name, usual) for name, usual in (("source", "scans/0.png"), ("destination", "a.png"))]
    with pytest.raises(DoprestoreError, match=words):
        restore_file(*names, **{"steps": 2, "width": 4, "device": "cpu"} | options)
    assert os.listdir() == ["scans"]


# --- restore_image() --------------------------------------------------------------------------------------------------

GREY = np.linspace(0.2, 0.8, 20 * 30, dtype=np.float32).reshape(20, 30)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]])
PLAIN = {"preset": "paper", "steps": 1, "width": 4, "device": "cpu"}


@pytest.mark.parametrize(
    ("picture", "layout", "words"),
    [
        (COLOUR.transpose(1, 2, 0), "CHW", 'layout="HWC"'),
        (COLOUR, "HWC", 'layout="CHW"'),
        (np.zeros((20, 30, 5), np.float32), "CHW", "1 or 3 channels"),
        (np.zeros((2, 3, 20, 30), np.float32), "CHW", r"shape \(2, 3, 20, 30\)"),
        (np.zeros(5, np.float32), "CHW", r"shape \(5,\)"),
        (np.float32(3), "CHW", r"shape \(\)"),
        (GREY * 255, "CHW", r"lie in \[0, 1\]"),
    ],
)
def test_wrong_shapes_hint_at_the_layout(picture, layout, words):
    with pytest.raises(InputError, match=words):
        restore_image(picture, layout=layout, **PLAIN)


def test_read_only_and_foreign_arrays_are_taken_without_a_warning():
    frozen, big, flipped = GREY.copy(), GREY.astype(">f4"), GREY[:, ::-1]
    frozen.setflags(write=False)
    mask = np.zeros((20, 30), bool)
    mask[3] = True
    mask.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for picture in (frozen, big, flipped):
            assert restore_image(picture, mask=mask, **PLAIN).restored.shape == (20, 30)


def test_nan_is_known_damage():
    picture = COLOUR.copy()
    picture[1, 4, 5] = np.nan
    mask = np.zeros((20, 30), bool)
    mask[7, 8] = True
    result = restore_image(picture, mask=mask, **PLAIN, alpha=1e-3)
    assert result.found[1, 4, 5] and result.found[:, 7, 8].all() and result.found.sum() == 4
    assert np.isfinite(result.restored).all()
    with pytest.raises(InputError, match="mask"):
        restore_image(picture, mask=mask[:5], **PLAIN)


@pytest.mark.parametrize(
    ("name", "value"), [("steps", "300"), ("steps", 2.5), ("steps", True), ("width", 8.0), ("tau", "x")]
)
def test_settings_of_the_wrong_kind(name, value):
    with pytest.raises(UsageError, match=rf"--{name} .*: must be a (whole )?number"):
        restore_image(GREY, **{**PLAIN, name: value})


def test_numpy_numbers_are_numbers():
    numbers = {"steps": np.int64(1), "width": np.int32(4), "tau": np.float32(0.01)}
    assert restore_image(GREY, **PLAIN | numbers).details.settings.steps == 1


def test_a_picture_of_one_channel_at_the_end(tmp_path):
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    assert restore_image(GREY[..., None], layout="HWC", **PLAIN).restored.shape == (20, 30, 1)
