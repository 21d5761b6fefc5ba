"""--dask: the same pictures, report and exit code from a cluster."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import pytest

import doprestore.cli.pictures.one as restoring
from doprestore.cli.interrupt import Interrupt
from doprestore.cli.pictures.cluster import restore_on_cluster, restore_task
from doprestore.cli.pictures.jobs import Choices, Files, plan_many
from doprestore.errors import InputError
from doprestore.image.settings import image_settings

# distributed warns about deprecations of its own and of its ports.
pytestmark = pytest.mark.filterwarnings("default")
QUICK = ("--preset", "paper", "--steps", 2, "--width", 4, "--device", "cpu")


@pytest.fixture(scope="module")
def address():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def test_the_same_as_here(run_cli, scans, address):
    (scans / "scans" / "bad.png").write_text("not a picture")
    here = run_cli("image", "scans", "here", "-r", *QUICK)
    there = run_cli("image", "scans", "there", "-r", *QUICK, "--dask", address, "--json", "facts")
    assert here.code == there.code == 1
    assert "3 restored, 1 failed in" in there.stdout and there.stdout.count("\n") == 4
    assert "scans/bad.png: is not a" in there.stderr
    for seed in range(3):
        assert (scans / "here" / f"{seed}.png").read_bytes() == (scans / "there" / f"{seed}.png").read_bytes()
        assert (scans / "facts" / f"{seed}.png.json").exists()
    again = run_cli("image", "scans", "there", "-r", *QUICK, "--dask", address, "--skip-existing")
    assert again.code == 1 and "3 skipped, 1 failed in" in again.stdout


def test_no_scheduler(run_cli, scans):
    pytest.importorskip("distributed")
    code, stdout, stderr = run_cli("image", "scans", "out", "-r", "--dask", "nonsense://")
    assert (code, stdout) == (1, "") and "no scheduler answers" in stderr and stderr.count("\n") == 1


def test_without_dask_the_remedy_is_named(run_cli, scans, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    code, stdout, stderr = run_cli("image", "scans", "out", "-r", "--dask", "tcp://127.0.0.1:1")
    assert (code, stdout) == (2, "") and "doprestore[dask]" in stderr and stderr.count("\n") == 1


def test_one_picture_needs_no_cluster(run_cli, scans):
    outcome = run_cli("image", "scans/0.png", "out.png", "--dask", "tcp://127.0.0.1:1")
    assert outcome.code == 2 and "several pictures" in outcome.stderr


def test_an_interrupt_cancels_what_is_left(scans, address, capsys):
    plan = plan_many(["scans"], scans / "out", Files(), Choices(), recursive=True, shard=(1, 1))
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        # Few steps: what a worker has begun, it goes on with.
        settings = image_settings("paper", steps=2, width=4, device="cpu")
        report = restore_on_cluster(plan, settings, Choices(), interrupt, address)
    assert report.exit_code == 0 and capsys.readouterr().out.startswith("3 not begun in")


@pytest.mark.parametrize("error", [InputError("a.png: is not a picture"), RuntimeError("the card fell off the bus")])
def test_only_what_is_no_fault_of_the_picture_is_tried_again(scans, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(restoring, "restore_file", fail)
    job = plan_many(["scans/0.png"], scans / "out", Files(), Choices(), recursive=False, shard=(1, 1)).jobs[0]
    if isinstance(error, InputError):
        assert restore_task(job, image_settings(), Choices()) == ("failed", str(error))
    else:
        with pytest.raises(RuntimeError):  # Dask retries a task that raises
            restore_task(job, image_settings(), Choices())


def _sabotage(marker: str, how: str) -> None:
    """On a worker: the first picture named 0.png that any of them takes up makes it die or raise."""
    import doprestore.cli.pictures.one as there

    restore = getattr(there.restore_file, "restore", there.restore_file)

    def fail_first(job, *args, **kwargs):
        if job.source.name == "0.png" and (how == "always raises" or not os.path.exists(marker)):
            with open(marker, "a") as file:
                file.write(f"{os.getpid()}\n")
            if how == "dies":
                os._exit(1)
            raise RuntimeError("the card fell off the bus")
        return restore(job, *args, **kwargs)

    fail_first.restore = restore
    there.restore_file = fail_first


@pytest.mark.parametrize(("how", "tried", "code"), [("raises", 1, 0), ("always raises", 3, 1), ("dies", 1, 0)])
def test_a_picture_is_tried_again_when_its_worker_fails(run_cli, scans, address, how, tried, code):
    import cloudpickle
    from distributed import Client

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import the tests
    marker = scans / "tried"
    with Client(address) as client:
        client.run(_sabotage, str(marker), how)
    outcome = run_cli("image", "scans", "out", "-r", *QUICK, "--dask", address)
    assert len(marker.read_text().splitlines()) == tried
    assert outcome.code == code
    assert ("2 restored, 1 failed in" if code else "3 restored in") in outcome.stdout
    assert ("the card fell off the bus" in outcome.stderr) == bool(code)
    assert sorted(path.name for path in (scans / "out").iterdir()) == ["0.png", "1.png", "2.png"][code:]


def _hold(folder: str) -> None:
    """On a worker: whoever takes up 0.png says who it is, and works on it until the file "go" is there."""
    from distributed import get_worker

    import doprestore.cli.pictures.one as there

    restore = getattr(there.restore_file, "restore", there.restore_file)

    def slow(job, *args, **kwargs):
        if job.source.name == "0.png":
            with open(os.path.join(folder, "taken"), "a") as file:
                file.write(f"{os.getpid()} {get_worker().address}\n")
            while not os.path.exists(os.path.join(folder, "go")):
                time.sleep(0.05)
        return restore(job, *args, **kwargs)

    slow.restore = restore
    there.restore_file = slow


def _killed(client, pid: int, worker: str) -> None:
    os.kill(pid, signal.SIGKILL)


def _leaves(client, pid: int, worker: str) -> None:
    """As a batch system's time limit has it: in good order, but with a picture in hand."""
    client.retire_workers([worker])


@pytest.mark.parametrize("gone", [_killed, _leaves])
def test_a_worker_may_go_in_mid_run(run_cli, scans, address, gone: Callable):
    """Its picture is restored by another; nothing is half-written, and the exit code is 0. Last, for the worker that has
    left does not come back."""
    import cloudpickle
    from distributed import Client

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import the tests
    folder = scans / "marks"
    folder.mkdir()
    problems: list[BaseException] = []

    def intervene() -> None:
        try:
            while not (folder / "taken").exists() or not (folder / "taken").read_text().endswith("\n"):
                time.sleep(0.05)
            pid, worker = (folder / "taken").read_text().splitlines()[0].split()
            gone(client, int(pid), worker)
        except BaseException as error:
            problems.append(error)
        finally:
            (folder / "go").touch()

    with Client(address) as client:
        client.run(_hold, str(folder))
        before = set(client.scheduler_info()["workers"])
        fate = threading.Thread(target=intervene)
        fate.start()
        outcome = run_cli("image", "scans", "out", "-r", *QUICK, "--dask", address)
        fate.join()
        after = set(client.scheduler_info()["workers"])
    assert not problems
    assert before - after, "the worker is still there"
    assert outcome.code == 0 and "3 restored in" in outcome.stdout
    assert sorted(path.name for path in (scans / "out").iterdir()) == ["0.png", "1.png", "2.png"]
    run_cli("image", "scans", "here", "-r", *QUICK)
    assert all(path.read_bytes() == (scans / "out" / path.name).read_bytes() for path in (scans / "here").iterdir())
