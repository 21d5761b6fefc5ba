"""Videos: background and foreground of a static camera, in memory and in files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from video_problems import moving_objects, psnr

from doprestore import background
from doprestore.errors import InputError
from doprestore.matrix.lines import fit_lines

SAMPLES = Path(__file__).resolve().parent.parent / "sample_images"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _photo(mode="L", size=(48, 36)):
    return np.asarray(Image.open(SAMPLES / "coffee.png").convert(mode).resize(size)) / 255


def _shown(found, shape):
    return np.stack([found.frame(number) for number in range(shape[0])]).reshape(shape) / 255


# Lines


def _lines(noise=0.0, share=0.3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn((80, 3), generator=generator, dtype=dtype)
    truth = torch.randn((3, 50), generator=generator, dtype=dtype)
    wrong = torch.rand((80, 50), generator=generator) < share
    y = basis @ truth + noise * torch.randn((80, 50), generator=generator, dtype=dtype) + 9 * wrong
    return y, basis, truth, wrong


def test_lines_with_a_third_of_one_sided_errors_are_found_exactly():
    y, basis, truth, wrong = _lines()
    found, _, near = fit_lines(y, basis)
    torch.testing.assert_close(found, truth, atol=1e-6, rtol=0)
    assert not near[wrong].any() and near[~wrong].double().mean() > 0.9


def test_lines_know_their_noise_and_their_missing_entries():
    y, basis, truth, wrong = _lines(0.1)
    known = torch.rand(y.shape, generator=torch.Generator().manual_seed(1)) < 0.8
    y[:, 7], known[:, 9] = 0, False
    found, noise, near = fit_lines(y.masked_fill(~known, 1e6), basis, known)
    good = [line for line in range(50) if line not in (7, 9)]
    assert (found - truth)[:, good].abs().max() < 0.15 and noise[good].median() == pytest.approx(0.1, rel=0.1)
    assert not near[:, good][wrong[:, good]].any() and not near[~known].any()
    assert found[:, 7].abs().max() < 1e-9 and torch.isfinite(found).all()


# Backgrounds


@pytest.mark.parametrize(("mode", "rank"), [("L", 2), ("RGB", 3)])
def test_the_background_has_the_rank_of_the_light_and_forty_decibels(mode, rank):
    video, truth, covered = moving_objects(_photo(mode), 60)
    found = background(video)
    assert (found.rank, found.static) == (rank, True)
    assert psnr(_shown(found, truth.shape), truth) > 43
    still = np.broadcast_to(np.median(video, axis=0) / 255, truth.shape)
    assert psnr(still, truth) < 35  # the light drifts
    seen = np.stack([found.foreground(number, frame.reshape(-1)) for number, frame in enumerate(video)]).reshape(video.shape)
    seen = seen.reshape(*covered.shape, -1).any(-1)
    assert (seen & covered).sum() > 0.8 * covered.sum() and (seen & covered).sum() > 0.9 * seen.sum()


def test_nothing_but_light_is_no_foreground():
    photo = _photo()
    video = (photo * (0.5 + 0.3 * np.sin(np.arange(40) / 7))[:, None, None] * 255).round().astype(np.uint8)
    found = background(video)
    assert found.rank <= 2 and found.foreground_share < 1e-3 and found.static


def test_what_is_no_static_camera_is_said_to_be_none():
    noise = np.random.default_rng(0).integers(0, 256, (30, 24, 24)).astype(np.uint8)
    wide = _photo(size=(200, 36))
    panned = np.stack([wide[:, 4 * t : 4 * t + 48] for t in range(30)])
    assert not background(panned).static
    assert background(noise).rank <= 3
    with pytest.raises(InputError, match="at least 3"):
        background(noise[:2])
    with pytest.raises(InputError, match="NaN"):
        background(np.full((4, 3, 3), np.nan))


def test_the_scale_of_the_values_does_not_matter():
    video, _, _ = moving_objects(_photo(), 40)
    one, other = background(video), background(video.astype(np.float64) * 256)
    assert one.rank == other.rank
    np.testing.assert_allclose(other.frame(7), 256 * one.frame(7), atol=256 * 0.05)


def test_black_frames_and_black_videos_are_nothing_special():
    black = background(np.zeros((5, 6, 7), np.uint8))
    assert black.rank == 1 and not black.frame(2).any() and black.foreground_share == 0
    video, truth, _ = moving_objects(_photo(), 60)
    video[20:24] = 0
    found = _shown(background(video), truth.shape)
    assert psnr(np.delete(found, range(20, 24), 0), np.delete(truth, range(20, 24), 0)) > 40
    assert np.abs(found[20:24]).max() < 0.05


def test_it_can_be_stopped():
    video, _, _ = moving_objects(_photo(), 20)
    reports = []
    found = background(video, callback=reports.append, should_stop=lambda: True)
    assert len(reports) == 1 and reports[0].steps == video[0].size and not found.interrupted  # it was the last block


# Files


def _write_frames(path, video):
    path.mkdir()
    for number, frame in enumerate(video):
        Image.fromarray(frame).save(path / f"frame{number}.png")


def test_a_folder_of_frames_gives_folders_of_frames(folder, run_cli):
    video, truth, _ = moving_objects(_photo("RGB"), 40)
    _write_frames(folder / "clip", video)
    code, stdout, stderr = run_cli("rpca", "clip", "--json")
    report = json.loads(stdout)
    assert (code, stderr, report["rank"], report["channels"], report["frames"]) == (0, "", 3, 3, 40)
    still = np.stack([np.asarray(Image.open(f"clip.background/frame{number}.png")) for number in range(40)])
    assert still.shape == video.shape and psnr(still / 255, truth) > 38
    moving = np.asarray(Image.open("clip.foreground/frame3.png"))
    black = (moving == 0).all(axis=2)
    assert black.mean() > 0.5 and np.array_equal(moving[~black], video[3][~black])
    code, _, stderr = run_cli("rpca", "clip/")
    assert code == 2 and "--force" in stderr and stderr.count("\n") == 1
    assert run_cli("rpca", "clip/", "--frames", "4:20:2", "--background", "b").code == 0
    assert sorted(path.name for path in (folder / "b").iterdir())[:2] == ["frame10.png", "frame12.png"]
    assert len(list((folder / "b").iterdir())) == 8 and not (folder / "f").exists()


@pytest.mark.parametrize(("name", "mode"), [("c.mp4", "L"), ("c.mkv", "RGB"), ("c.avi", "RGB")])
def test_a_clip_gives_clips(folder, run_cli, name, mode):
    av = pytest.importorskip("av")
    from fractions import Fraction

    from doprestore.io.video import Video, read_video, write_video

    video, truth, _ = moving_objects(_photo(mode, (64, 48)), 30)
    write_video(folder / name, video, Video(video, Fraction(12)))
    code, stdout, stderr = run_cli("rpca", name)
    assert (code, stderr) == (0, ""), stdout
    still = read_video(folder / name.replace("c.", "c.background."), slice(0, None, 1))
    assert still.rate == 12 and len(still.frames) == 30
    expected = truth if mode == "RGB" else np.repeat(truth[..., None], 3, axis=3)
    assert psnr(still.frames / 255, expected) > 28  # what codecs do to colours
    with av.open(str(folder / name.replace("c.", "c.foreground."))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "damaged"), (b"\0\0\0\x18ftypmp42" + b"\0" * 200, "damaged"), (b"RIFF", "damaged")],
)
def test_damaged_clips_are_one_clear_line(folder, run_cli, content, words):
    pytest.importorskip("av")
    (folder / "c.mp4").write_bytes(content)
    code, _, stderr = run_cli("rpca", "c.mp4")
    assert code == 1 and words in stderr and "c.mp4" in stderr and stderr.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["c.mp4"]


def test_without_pyav_the_error_names_the_extra(folder, run_cli, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (folder / "c.mp4").write_bytes(b"")
    code, _, stderr = run_cli("rpca", "c.mp4")
    assert code == 1 and "doprestore[video]" in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize(
    "args", [["--repaired", "x.csv"], ["--preset", "paper"], ["--index-col", "0"], ["--frames", "a"], ["--frames", "::0"]]
)
def test_options_of_tables_are_refused_for_videos(folder, run_cli, args):
    (folder / "frames").mkdir()
    code, _, stderr = run_cli("rpca", "frames", *args)
    assert code == 2 and args[0] in stderr and stderr.count("\n") == 1


def test_options_of_videos_are_refused_for_tables(folder, run_cli):
    np.save("a.npy", np.ones((3, 3)))
    assert run_cli("rpca", "a.npy", "--frames", "3").code == 2


def test_frames_of_several_sizes_and_too_large_videos_are_refused(folder, run_cli, monkeypatch):
    _write_frames(folder / "clip", np.zeros((4, 8, 8), np.uint8))
    Image.new("L", (9, 8)).save(folder / "clip/frame2.png")
    assert "frame2.png" in run_cli("rpca", "clip").stderr
    monkeypatch.setattr("doprestore.io.video.free_memory", lambda: 2**20)
    assert "--frames ::10" in run_cli("rpca", "clip").stderr


def test_a_header_that_claims_huge_frames_takes_no_memory_for_many(tmp_path):
    """As fuzz.py found it in a damaged .mp4: room for 64 of them would be 20 GB, before one is decoded."""
    from doprestore.io.video import _Frames

    assert _Frames(tmp_path / "a.mp4", (8237, 13876, 3)).frames.nbytes < 2**29
