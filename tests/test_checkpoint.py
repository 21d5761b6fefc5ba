"""Interrupt and resume: the same picture as without an interruption, to the last bit."""

from __future__ import annotations

import csv
import io
import os
import pickle
import random
import signal
import time

import numpy as np
import pytest
import torch
from conftest import salted, waves
from PIL import Image

import doprestore.image.portions as portions
from doprestore.cli.interrupt import Interrupt
from doprestore.errors import InputError, OutputError
from doprestore.image.recovery import recover_image
from doprestore.image.settings import image_settings
from doprestore.io.checkpoint import fingerprint, load_checkpoint, save_checkpoint

IDENTITY = {"kind": "image", "data": "abc", "settings": {"steps": 5, "tau": 0.1}}
QUICK = ("--preset", "paper", "--steps", 12, "--width", 4, "--device", "cpu")


def _through_a_file(state: dict) -> dict:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.usefixtures("few_lessons")
@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_a_resumed_run_ends_bit_identical(preset):
    """Whatever it was at: with the fast preset the search by fills, that by the network, the look for tones, the fit."""
    picture = salted(waves(3, 24, 40), 0.3)
    settings = image_settings(preset, steps=9, width=6, device="cpu")
    saved = []
    whole = recover_image(picture, settings, save=lambda state: saved.append(_through_a_file(state())))
    assert len(saved) == 9 if preset == "paper" else len(saved) > 9
    for stop in {1, 3, 5, len(saved) - 9, len(saved) - 4, len(saved)} - {0}:
        state = saved[stop - 1]
        torch.rand(3)  # the global generator must not matter
        resumed = recover_image(picture, settings, resume=state)
        assert whole.steps == resumed.steps and whole.loss == resumed.loss
        assert resumed.seconds > state["seconds"]
        for name in ("restored", "network", "outliers", "found"):
            assert torch.equal(getattr(whole, name), getattr(resumed, name)), (stop, name)


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_a_state_of_another_picture_is_refused(preset):
    settings = image_settings(preset, steps=1, width=4, device="cpu")
    saved = []
    recover_image(torch.rand(3, 14, 20), settings, save=lambda state: saved.append(state()))
    with pytest.raises(InputError, match="does not fit"):
        recover_image(torch.rand(1, 14, 20), settings, resume=saved[0])
    with pytest.raises(InputError, match="does not fit"):
        recover_image(torch.rand(3, 14, 20), settings, resume={"seconds": 0.0})


def test_round_trip(tmp_path):
    path = tmp_path / "run.ckpt"
    save_checkpoint(path, {"x": torch.arange(3), "rows": [{"a": None}]}, **IDENTITY)
    state = load_checkpoint(path, **IDENTITY)
    assert torch.equal(state["x"], torch.arange(3)) and state["rows"] == [{"a": None}]
    assert os.listdir(tmp_path) == ["run.ckpt"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "rpca"}, "belongs to doprestore image"),
        ({"data": "abd"}, "another input"),
        ({"settings": {"steps": 6, "tau": 0.1}}, r"steps 5 \(now 6\); give"),
        ({"settings": {"steps": 5}}, r"tau 0.1 \(now None\)"),
    ],
)
def test_refused_with_the_reason(tmp_path, change, reason):
    path = tmp_path / "run.ckpt"
    save_checkpoint(path, {}, **IDENTITY)
    with pytest.raises(InputError, match=reason) as caught:
        load_checkpoint(path, **(IDENTITY | change))
    assert str(path) in str(caught.value)


def test_another_version_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    with monkeypatch.context() as patch:
        patch.setattr("doprestore.io.checkpoint.__version__", "0.0.0")
        save_checkpoint(path, {}, **IDENTITY)
    with pytest.raises(InputError, match=r"is of doprestore 0\.0\.0"):
        load_checkpoint(path, **IDENTITY)


class _Evil:
    def __reduce__(self):
        return (os.mkdir, (os.environ["EVIL"],))


def test_damaged_or_hostile_files_are_refused_and_run_nothing(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    monkeypatch.setenv("EVIL", str(tmp_path / "evil"))
    save_checkpoint(path, {"x": torch.zeros(100)}, **IDENTITY)
    whole = path.read_bytes()
    path_of_evil = tmp_path / "evil.pt"
    torch.save({"state": _Evil()}, path_of_evil)
    bad = [b"", b"text", whole[:500], whole[:-30], pickle.dumps(_Evil()), path_of_evil.read_bytes()]
    for data in bad:
        path.write_bytes(data)
        with pytest.raises(InputError, match="damaged or not a checkpoint"):
            load_checkpoint(path, **IDENTITY)
    assert not (tmp_path / "evil").exists()


def test_a_failed_write_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    save_checkpoint(path, {"x": 1}, **IDENTITY)

    def fail(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(OutputError, match="No space left"):
            save_checkpoint(path, {"x": 2}, **IDENTITY)
    assert load_checkpoint(path, **IDENTITY) == {"x": 1} and os.listdir(tmp_path) == ["run.ckpt"]


def test_a_name_too_long_to_write_is_refused_before_the_work(run_cli, tmp_path, monkeypatch):
    """The checkpoint's own name would do, that which it has while it is written would not."""
    monkeypatch.chdir(tmp_path)
    picture, table, checkpoint = tmp_path / "in.png", tmp_path / "in.npy", "c" * 253
    Image.new("L", (8, 8)).save(picture)
    np.save(table, np.ones((8, 8)))
    monkeypatch.setattr(portions, "recover_image", None)
    for args in (("image", picture, "out.png", *QUICK), ("rpca", table)):
        code, _, stderr = run_cli(*args, "--checkpoint", checkpoint, "--checkpoint-every", "0s")
        assert code == 1 and "File name too long" in stderr and checkpoint in stderr and stderr.count("\n") == 1
    with pytest.raises(OutputError, match="File name too long"):
        save_checkpoint(tmp_path / checkpoint, {}, **IDENTITY)
    assert sorted(os.listdir(tmp_path)) == ["in.npy", "in.png"]


def test_fingerprint_tells_values_types_and_shapes_apart():
    data = np.arange(6, dtype=np.uint8)
    prints = [fingerprint(data), fingerprint(data + 1), fingerprint(data.astype(np.int8)), fingerprint(data[None]),
              fingerprint(data, None), fingerprint(data, data)]  # fmt: skip
    assert len(set(prints)) == len(prints)
    assert fingerprint(data) == fingerprint(data.copy())


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    return path


def _stop_after(steps: int, monkeypatch) -> None:
    """Let the run be interrupted, as if by Ctrl-C, once ``steps`` steps are done."""
    real = portions.recover_image

    def recover(*args, should_stop, **kwargs):
        count = 0

        def stop() -> bool:
            nonlocal count
            count += 1
            if count == steps:
                os.kill(os.getpid(), signal.SIGINT)
            return should_stop()

        return real(*args, should_stop=stop, **kwargs)

    monkeypatch.setattr(portions, "recover_image", recover)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_ctrl_c_then_resume_equals_one_run(run_cli, photo, monkeypatch, suffix):
    whole, out, ckpt = (photo.with_name(name) for name in ("whole.png", "out.png", "run.ckpt"))
    logs = [photo.with_name(f"{name}.{suffix}") for name in ("whole", "out")]
    assert run_cli("image", photo, whole, *QUICK, "--log", logs[0]).code == 0
    keep = ("--checkpoint", ckpt, "--checkpoint-every", "1h", "--log", logs[1])
    with monkeypatch.context() as patch:
        _stop_after(5, patch)
        outcome = run_cli("image", photo, out, *QUICK, *keep)
    assert outcome.code == 130 and "5 steps (interrupted)" in outcome.stdout
    assert ckpt.exists()
    # --skip-existing must not take the interrupted output for finished.
    assert run_cli("image", photo, out, *QUICK, *keep, "--resume", "--skip-existing").code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not ckpt.exists()
    if suffix == "csv":
        steps = [[row["step"] for row in csv.DictReader(log.read_text().splitlines())] for log in logs]
        assert steps[0] == steps[1] == [str(step) for step in range(1, len(steps[0]) + 1)]


def test_what_cannot_be_resumed_is_refused(run_cli, photo, monkeypatch):
    out, ckpt = photo.with_name("out.png"), photo.with_name("run.ckpt")
    other = photo.with_name("other.png")
    Image.new("RGB", (30, 20)).save(other)
    keep = ("--checkpoint", ckpt)
    with monkeypatch.context() as patch:
        _stop_after(5, patch)
        assert run_cli("image", photo, out, *QUICK, *keep).code == 130
    before = ckpt.read_bytes()
    for args, words in [
        (("image", photo, out, *QUICK, *keep), "add --resume"),
        (("image", other, out, *QUICK, *keep, "--resume"), "another input"),
        (("image", photo, out, *QUICK, *keep, "--resume", "--seed", 1), "seed 0 (now 1)"),
    ]:
        code, stdout, stderr = run_cli(*args)
        assert (code, stdout) == (1, "") and words in stderr and stderr.count("\n") == 1
    assert run_cli("image", photo, out, "--resume").code == 2
    assert run_cli("image", photo, out, *keep, "--checkpoint-every", "soon").code == 2
    assert ckpt.read_bytes() == before


def test_resume_among_many_pictures(run_cli, photo, monkeypatch):
    second = photo.with_name("second.png")
    Image.new("RGB", (30, 20), (9, 99, 199)).save(second)
    assert run_cli("image", photo, second, photo.parent / "whole/", *QUICK).code == 0
    args = ("image", photo, second, photo.parent / "out/", *QUICK, "--checkpoint", photo.parent / "ckpt", "--resume")
    with monkeypatch.context() as patch:
        _stop_after(5, patch)
        assert run_cli(*args).code == 130
    assert "2 restored in" in run_cli(*args, "--skip-existing").stdout
    assert "2 skipped in" in run_cli(*args, "--skip-existing").stdout
    for name in ("photo.png", "second.png"):
        assert (photo.parent / "whole" / name).read_bytes() == (photo.parent / "out" / name).read_bytes()
    assert list((photo.parent / "ckpt").iterdir()) == []


def test_kill_9_at_random_moments(run_cli, start_cli, photo):
    """The twenty-fold version is tests/benchmarks/kills.py."""
    whole, out, ckpt = (photo.with_name(name) for name in ("whole.png", "out.png", "run.ckpt"))
    args = ["--preset", "paper", "--steps", "120", "--width", "4", "--device", "cpu"]
    assert run_cli("image", photo, whole, *args).code == 0
    command = ["image", photo, out, *args, "--checkpoint", ckpt, "--checkpoint-every", "0.01s", "--resume", "--quiet"]
    chance = random.Random(0)
    for _ in range(2):
        process = start_cli(*command)
        deadline, seen = time.monotonic() + 60, ckpt.stat().st_mtime_ns if ckpt.exists() else None
        while process.is_running and time.monotonic() < deadline:  # until it has saved something of its own
            if ckpt.exists() and ckpt.stat().st_mtime_ns != seen:
                break
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.1))
        process.send(signal.SIGKILL)
        assert process.outcome().code == -signal.SIGKILL
    assert start_cli(*command).outcome() == (0, "", "")
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(os.listdir(photo.parent)) == ["out.png", "photo.png", "whole.png"]


def test_the_interrupt_remembers_one_signal_and_raises_at_the_second():
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.received() and interrupt.exit_code == 143
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
