"""The log grows row by row, as CSV or JSON lines."""

from __future__ import annotations

import csv
import json
import math

import pytest

from doprestore.errors import OutputError, UsageError
from doprestore.io.log import LogWriter

ROWS = [{"step": 1, "loss": 0.5, "seconds": 0.1}, {"step": 2, "loss": 0.25, "psnr": 30.5, "outlier_share": 0.1}]


def test_every_row_is_on_disk_at_once(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("old")
    log = LogWriter(path)
    assert path.read_text() == "old"  # replaced only when the run starts
    with log:
        for count, row in enumerate(ROWS, 1):
            log.write(row)
            with open(path, newline="") as handle:
                found = list(csv.DictReader(handle))
            assert len(found) == count
    assert found[0] == {"step": "1", "loss": "0.5", "psnr": "", "outlier_share": "", "seconds": "0.1"}
    assert found[1]["psnr"] == "30.5"


def test_json_lines(tmp_path):
    with LogWriter(tmp_path / "run.jsonl") as log:
        for row in ROWS:
            log.write(row)
    found = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert found[0] == {"step": 1, "loss": 0.5, "psnr": None, "outlier_share": None, "seconds": 0.1}


def test_infinity_is_null_in_json(tmp_path):
    """The PSNR of equal pictures; CSV has "inf", which every reader of numbers knows."""
    for name in ("run.jsonl", "run.csv"):
        with LogWriter(tmp_path / name) as log:
            log.write({"step": 1, "loss": math.nan, "psnr": math.inf})
    told = json.loads((tmp_path / "run.jsonl").read_text(), parse_constant=pytest.fail)
    assert told == {"step": 1, "loss": None, "psnr": None, "outlier_share": None, "seconds": None}
    assert (tmp_path / "run.csv").read_text().splitlines()[1] == "1,nan,inf,,"


def test_bad_names_are_refused_beforehand(tmp_path):
    with pytest.raises(UsageError, match=r"--log .*run\.txt: must end in \.csv or \.jsonl"):
        LogWriter(tmp_path / "run.txt")
    with pytest.raises(OutputError, match="does not exist"):
        LogWriter(tmp_path / "none" / "run.csv")
    with pytest.raises(ValueError, match="unknown columns"), LogWriter(tmp_path / "run.csv") as log:
        log.write({"stepp": 1})
