"""Which pictures are restored, and which are refused before any work because a file of another would be lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from doprestore.cli.pictures.jobs import Choices, Files, Plan, plan_in_place, plan_many

FORCE = Choices(force=True)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working folder; no plan looks into a picture."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def _plan(*words: str, files: Files | None = None, choices: Choices = FORCE, shard: tuple[int, int] = (1, 1)) -> Plan:
    *sources, destination = words
    return plan_many(sources, Path(destination), files or Files(), choices, recursive=True, shard=shard)


def _outcomes(plan: Plan) -> dict[str, str | None]:
    return {str(job.source): None if job.error is None else str(job.error) for job in plan.jobs}


# --- nothing of another picture is written over, not even with --force ------------------------------------------------


def test_no_input_of_another_picture_is_replaced(folder):
    _touch("x.png", "sub/x.png")
    assert _outcomes(_plan("sub/x.png", "x.png", ".")) == {
        "sub/x.png": "sub/x.png: x.png is also an input; choose another place",
        "x.png": "x.png: is also the input; give another name",
    }
    os.symlink(folder / "x.png", "link.png")  # nor under another name
    assert "x.png is also an input" in _outcomes(_plan("sub/x.png", "link.png", "."))["sub/x.png"]


def test_no_file_beside_replaces_an_input(folder):
    _touch("scans/a.png", "scans/b.tif", "panels/b.tif.png", "masks/b.tif")
    told = _outcomes(_plan("scans", "panels/b.tif.png", "out", files=Files(panel=Path("panels"))))
    assert "panels/b.tif.png is also an input" in told["scans/b.tif"] and told["scans/a.png"] is None
    told = _outcomes(_plan("scans/b.tif", "masks", files=Files(mask=Path("masks"))))
    assert "is also --mask" in told["scans/b.tif"]
    in_place = plan_in_place(["scans/a.png", "scans/b.tif"], Files(mask=Path("scans/b.tif")), Choices(in_place=".orig"),
                             recursive=False, shard=(1, 1))  # fmt: skip
    assert "is also --mask" in _outcomes(in_place)["scans/b.tif"]


def test_a_named_input_is_kept_where_a_result_would_have_its_name(folder):
    _touch("a.png", "a_r.png")
    pattern = "{stem}_r{suffix}"
    forced = _plan("a.png", "a_r.png", ".", choices=Choices(force=True, name=pattern))
    assert _outcomes(forced) == {"a.png": "a.png: a_r.png is also an input; choose another place", "a_r.png": None}
    # The same line again, as after *.png: what is there already is a result.
    again = _plan("a.png", "a_r.png", ".", choices=Choices(skip_existing=True, name=pattern))
    assert _outcomes(again) == {"a.png": None} and again.others == {Path("a_r.png"): "named as a result"}


@pytest.mark.parametrize("flag", ["report", "json", "outliers", "panel", "log", "checkpoint"])
def test_files_beside_two_pictures_never_share_a_name(folder, flag):
    _touch("d1/p.png", "d2/p.png", "m/a.tif", "m/a.tif.png")
    files = Files(**{flag: Path("beside")})
    plan = plan_in_place(["d1", "d2"], files, Choices(in_place=".orig"), recursive=True, shard=(1, 1))
    told = _outcomes(plan)
    assert told["d1/p.png"] is None
    assert f"is already --{flag} of d1/p.png; rename one" in told["d2/p.png"]
    if flag in ("outliers", "panel"):
        assert "m/a.tif.png" in str(_outcomes(_plan("m", "out", files=files))["m/a.tif.png"])


def test_an_output_is_the_same_under_any_name(folder):
    _touch("d1/p.png", "d2/q.png")
    os.mkdir("out")
    os.symlink("q.png", "out/p.png")
    told = _outcomes(_plan("d1/p.png", "d2/q.png", "out"))
    assert told["d1/p.png"] is None and "out/q.png is already the output of d1/p.png" in told["d2/q.png"]


# --- no picture is left out without a word ----------------------------------------------------------------------------


def test_a_folder_that_cannot_be_read_is_a_failure(folder, monkeypatch, run_cli):
    _touch("u/a.png", "u/locked/b.png")
    scan = os.scandir

    def locked(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    told = _outcomes(_plan("u", "out", files=Files(log=Path("logs"))))
    assert told == {
        "u/a.png": None,
        "u/locked": "u/locked: cannot be read (Permission denied); make it readable, or leave it out",
    }
    code, stdout, stderr = run_cli("image", "u/locked", "out/", "-r")
    assert code == 1 and "1 failed" in stdout and "u/locked: cannot be read" in stderr and stderr.count("\n") == 1


def test_what_is_not_entered_is_named(folder):
    _touch("t/a.png", "t/.b.png", "t/.cache/c.png", "t/notes.txt", "t/.hidden", "elsewhere/d.png")
    os.symlink(folder / "elsewhere", "t/link")
    plan = _plan("t", "out")
    assert list(_outcomes(plan)) == ["t/a.png"]
    assert {str(path): why for path, why in plan.others.items()} == {
        "t/.b.png": "hidden",
        "t/.cache": "hidden",
        "t/link": "a link to a folder",
        "t/notes.txt": "no picture",
    }


def test_a_pipe_named_as_a_picture_is_none(folder):
    _touch("t/b.png")
    os.mkfifo("t/a.png")
    os.symlink(folder / "absent.png", "t/c.png")
    plan = _plan("t", "out")
    assert plan.others == {Path("t/a.png"): "no regular file"}
    assert _outcomes(plan) == {"t/b.png": None, "t/c.png": "t/c.png: no such file; check the name"}


@pytest.mark.parametrize("flag", ["outliers", "panel", "json"])
def test_results_below_the_source_change_no_share(folder, flag):
    _touch("t/sub/b.png", "t/sub/c.png")
    files, skip = Files(**{flag: Path("t/a_results")}), Choices(skip_existing=True)
    first = _plan("t", "out", files=files, choices=skip, shard=(1, 2))
    _touch("t/a_results/sub/b.png", *(str(job.output) for job in first.jobs))
    second = _plan("t", "out", files=files, choices=skip, shard=(2, 2))
    assert [str(job.source) for job in (*first.jobs, *second.jobs)] == ["t/sub/b.png", "t/sub/c.png"]
