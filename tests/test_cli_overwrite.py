"""Nothing is lost: no command replaces an input ever, nor a file that exists unless told to."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doprestore.io.files import back_up
from doprestore.io.images import read_picture

QUICK = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")


@pytest.fixture
def two(scans):
    """The working folder, with two/a.png, two/b.png and a text file that is in the way."""
    (scans / "two").mkdir()
    for seed, name in enumerate("ab"):
        values = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), np.uint8)
        Image.fromarray(values).save(scans / "two" / f"{name}.png")
    (scans / "old").write_text("old")
    return scans / "two"


def _contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _refused(outcome, *words: str, code: int = 2) -> None:
    assert outcome.code == code and outcome.stdout == "", outcome
    assert outcome.stderr.count("\n") == 1
    for word in words:
        assert word in outcome.stderr


# --- one picture ------------------------------------------------------------------------------------------------------


def test_a_glob_that_matches_two_pictures_loses_neither(run_cli, two):
    before = _contents(two)
    _refused(run_cli("image", *sorted(two.glob("*.png")), *QUICK), "b.png", "exists already", "folder", "--force")
    assert _contents(two) == before


def test_an_existing_output_is_replaced_only_by_force(run_cli, two):
    os.rename("old", "out.png")
    _refused(run_cli("image", "two/a.png", "out.png", *QUICK), "out.png: exists already", "--force")
    assert Path("out.png").read_text() == "old"
    assert run_cli("image", "two/a.png", "out.png", *QUICK, "--force").code == 0
    assert read_picture("out.png").samples.shape == (3, 9, 8)


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--log", "run.csv"),
        ("--outliers", "map.png"),
        ("--panel", "panel.png"),
        ("--json", "run.json"),
        ("--report", "run.html"),
    ],
)
def test_so_are_the_files_beside_it(run_cli, two, flag, name):
    os.rename("old", name)
    _refused(run_cli("image", "two/a.png", "out.png", *QUICK, flag, name), f"{flag} {name}: exists already", "--force")
    assert Path(name).read_text() == "old" and not os.path.exists("out.png")
    assert run_cli("image", "two/a.png", "out.png", *QUICK, flag, name, "--force").code == 0
    assert Path(name).read_bytes() != b"old"


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_the_input_is_never_the_output(run_cli, two, force):
    before = _contents(two)
    os.link(two / "a.png", "link.png")
    os.symlink(two / "a.png", "symlink.png")
    for output in ("two/a.png", "link.png", "symlink.png", "two/../two/a.png"):
        _refused(run_cli("image", "two/a.png", output, *QUICK, *force), "is also the input", "name")
        _refused(run_cli("corrupt", "two/a.png", output, *force), "is also the input")
    _refused(run_cli("image", "two/a.png", "o.png", *QUICK, "--panel", "two/a.png", *force), "is also INPUT")
    _refused(run_cli("image", "two/a.png", "o.png", *QUICK, "--mask", "two/b.png", "--json", "two/b.png"), "is also --mask")
    assert _contents(two) == before


def test_a_dangling_link_is_in_nobodys_way(run_cli, two):
    os.symlink(two / "absent.png", "link.png")
    assert run_cli("image", "two/a.png", "link.png", *QUICK).code == 0
    assert read_picture(two / "absent.png").samples.shape == (3, 9, 8)


def test_what_an_interrupted_run_has_left_may_be_replaced(run_cli, two):
    """The same line goes on from a checkpoint: OUTPUT as it stood, and the log, are its own."""
    (two.parent / "out.png").write_text("of the interrupted run")
    (two.parent / "run.csv").write_text("step,loss,psnr,outlier_share,seconds\n1,")
    (two.parent / "run.ckpt").write_text("no real checkpoint")
    same = ("image", "two/a.png", "out.png", *QUICK, "--log", "run.csv", "--checkpoint", "run.ckpt", "--resume")
    outcome = run_cli(*same)
    assert outcome.code == 1 and "run.ckpt: is damaged" in outcome.stderr  # so it came as far as the checkpoint
    os.unlink("run.ckpt")
    os.unlink("out.png")
    assert run_cli(*same).code == 0  # killed before the first checkpoint: the log is its own
    os.unlink("out.png")
    (two.parent / "run.csv").write_text("of somebody else")
    _refused(run_cli(*same), "--log run.csv: exists already")


# --- many pictures ----------------------------------------------------------------------------------------------------


def test_in_a_folder_each_is_refused_by_itself(run_cli, two):
    (two.parent / "out").mkdir()
    os.rename("old", "out/a.png")
    code, stdout, stderr = run_cli("image", "two", "out", "-r", *QUICK)
    assert code == 1 and "1 restored, 1 failed" in stdout and "out/a.png: exists already" in stderr
    assert Path("out/a.png").read_text() == "old"
    code, stdout, _ = run_cli("image", "two", "out", "-r", *QUICK, "--skip-existing")
    assert code == 0 and "2 skipped" in stdout and Path("out/a.png").read_text() == "old"
    code, stdout, _ = run_cli("image", "two", "out", "-r", *QUICK, "--force")
    assert code == 0 and "2 restored" in stdout
    assert read_picture("out/a.png").samples.shape == (3, 9, 8)


def test_force_replaces_what_lies_beside_unfinished_pictures_alone(run_cli, two):
    (two.parent / "logs").mkdir()
    os.rename("old", "logs/a.png.csv")
    extra = ("-r", *QUICK, "--log", "logs", "--skip-existing")
    code, stdout, stderr = run_cli("image", "two", "out", *extra)
    assert code == 1 and "--log logs/a.png.csv: exists already" in stderr and "1 restored, 1 failed" in stdout
    done = (two.parent / "out" / "b.png").stat().st_mtime_ns
    assert "1 restored, 1 skipped" in run_cli("image", "two", "out", *extra, "--force").stdout
    assert (two.parent / "out" / "b.png").stat().st_mtime_ns == done


def test_several_pictures_onto_a_picture_even_with_force(run_cli, two):
    before = _contents(two)
    for force in ((), ("--force",)):
        args = ("image", "two/a.png", "scans/0.png", "two/b.png", *QUICK, *force)
        _refused(run_cli(*args), "two/b.png: is not a folder", "must be a folder")
    assert _contents(two) == before


def test_a_folder_onto_itself_never(run_cli, two):
    before = _contents(two)
    code, _, stderr = run_cli("image", "two/a.png", "two/b.png", "two", *QUICK, "--force")
    assert code == 1 and stderr.count("is also the input") == 2 and _contents(two) == before


# --- in place ---------------------------------------------------------------------------------------------------------


def test_in_place_keeps_the_original_under_its_suffix(run_cli, two):
    before = _contents(two)
    code, stdout, stderr = run_cli("image", "--in-place", ".orig", "two/a.png", "two/b.png", *QUICK)
    assert (code, stderr) == (0, "") and "2 restored" in stdout
    after = _contents(two)
    assert {name: after[f"{name}.orig"] for name in before} == before
    assert after["a.png"] != before["a.png"] and set(after) == {"a.png", "a.png.orig", "b.png", "b.png.orig"}
    # A second time it would be the restored picture that is restored, and the backup that is lost.
    for force in ((), ("--force",)):
        code, _, stderr = run_cli("image", "--in-place", ".orig", "two/a.png", *QUICK, *force)
        assert code == 1 and "a.png.orig: exists already" in stderr and _contents(two) == after
    code, stdout, _ = run_cli("image", "--in-place", ".orig", "-r", "two", *QUICK, "--skip-existing")
    assert code == 0 and "2 skipped" in stdout and _contents(two) == after


def test_in_place_killed_between_backup_and_output_is_done_again(run_cli, two):
    before = _contents(two)
    back_up(two / "a.png", two / "a.png.orig")
    code, stdout, _ = run_cli("image", "--in-place", ".orig", "two/a.png", *QUICK, "--skip-existing")
    assert code == 0 and "1 restored" in stdout
    after = _contents(two)
    assert after["a.png.orig"] == before["a.png"] != after["a.png"]


def test_back_up_never_replaces_and_copies_where_there_are_no_links(tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("one")
    other.write_text("other")
    with pytest.raises(Exception, match="exists already"):
        back_up(one, other)
    assert other.read_text() == "other"

    def no_links(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    back_up(one, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "one" and not os.path.samefile(one, tmp_path / "copy")


@pytest.mark.parametrize("suffix", ["", ".png", ".bak.TIF", "/x"])
def test_suffixes_that_make_no_backup(run_cli, two, suffix):
    _refused(run_cli("image", "--in-place", suffix, "two/a.png", *QUICK), "--in-place", ".orig")


def test_a_panel_over_the_backup(run_cli, two):
    before = _contents(two)
    code, _, stderr = run_cli("image", "--in-place", ".orig", "-r", "two", *QUICK, "--panel", "two")
    assert code == 1 and "is also INPUT" in stderr and _contents(two) == before


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_by_a_pattern(run_cli, two):
    assert run_cli("image", "two", "out", "-r", *QUICK, "--name", "{stem}_restored{suffix}").code == 0
    assert set(_contents(two.parent / "out")) == {"a_restored.png", "b_restored.png"}
    assert run_cli("image", "two", "out", "-r", *QUICK, "--name", "{name}.tif").code == 0
    assert (two.parent / "out" / "a.png.tif").read_bytes()[:2] == b"II"


def test_beside_the_originals_and_the_next_time_not_their_own_input(run_cli, two):
    for _ in range(2):
        args = ("image", "two", "two", "-r", *QUICK, "--name", "{stem}_restored{suffix}", "--skip-existing")
        assert run_cli(*args).code == 0
        assert set(_contents(two)) == {"a.png", "b.png", "a_restored.png", "b_restored.png"}


@pytest.mark.parametrize(
    "pattern", ["restored.png", "{stem", "{stem}{0}", "{stem!r}.png", "{stem:>9}.png", "x/{name}", "{x}"]
)
def test_patterns_that_make_no_names(run_cli, two, pattern):
    _refused(run_cli("image", "two", "out", "-r", *QUICK, "--name", pattern), "--name", "{stem}")


def test_a_pattern_needs_a_folder(run_cli, two):
    _refused(run_cli("image", "two/a.png", "out.png", *QUICK, "--name", "{stem}.png"), "--name", "folder")


# --- the other commands -----------------------------------------------------------------------------------------------


def test_corrupt_replaces_only_by_force(run_cli, two):
    os.rename("old", "out.png")
    _refused(run_cli("corrupt", "two/a.png", "out.png"), "out.png: exists already", "--force")
    assert Path("out.png").read_text() == "old"
    assert run_cli("corrupt", "two/a.png", "out.png", "--force").code == 0
    os.rename("out.png", "mask.png")
    _refused(run_cli("corrupt", "two/a.png", "out.png", "--mask-out", "mask.png"), "--mask-out mask.png: exists already")
    _refused(run_cli("corrupt", "two/a.png", "out.png", "--mask-out", "out.png", "--force"), "is also OUTPUT")


def test_compare_never_replaces_its_picture(run_cli, two):
    os.rename("two/a.png", "two/original.png")
    before = _contents(two)
    args = ("compare", "two/original.png", "--methods", "median", "-o", "two")
    _refused(run_cli(*args), "two/original.png", "is also")
    _refused(run_cli(*args, "--force"), "two/original.png", "is also")
    assert _contents(two) == before
