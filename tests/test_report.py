"""--json and --report: what a person attaches to a ticket."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

import doprestore
from doprestore.report import html
from doprestore.report.content import Curve, RunReport, curves, histogram, thumbnail
from doprestore.report.html import report_html

QUICK = ("--preset", "paper", "--steps", 3, "--width", 4, "--device", "cpu", "--precision", "float32")


@pytest.fixture(params=["L", "RGB"])
def photo(tmp_path, request):
    path = tmp_path / "a <b> & c.png"
    values = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(values).convert(request.param).save(path)
    return path


def test_json_has_every_setting_and_where_it_ran(run_cli, photo):
    out, sidecar = photo.with_name("out.png"), photo.with_name("out.json")
    assert run_cli("image", photo, out, *QUICK, "--seed", 7, "--json", sidecar, "--clean", photo).code == 0
    facts = json.loads(sidecar.read_text())
    assert facts["input"] == str(photo) and facts["output"] == str(out)
    assert (facts["width"], facts["height"], facts["depth"]) == (30, 20, "uint8")
    settings = doprestore.image_settings("paper", steps=3, width=4, device="cpu", precision="float32", seed=7)
    assert facts["settings"] == vars(settings)
    assert facts["steps"] == 3 and facts["seconds"] > 0 and not facts["interrupted"]
    assert facts["device"] == "cpu" and facts["device_name"] and facts["convolutions"] == "float32"
    assert facts["versions"]["doprestore"] == doprestore.__version__
    assert facts["versions"]["torch"] == torch.__version__
    assert 0 <= facts["outlier_share"] <= 1 and facts["masked_share"] is None
    assert facts["psnr_before"] is None  # infinite, which JSON cannot say


class _Checker(HTMLParser):
    """Collects pictures and text, and whether every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        elif tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(("extra", "pictures"), [(False, 4), (True, 5)])
def test_html_stands_by_itself(run_cli, photo, extra, pictures):
    report = photo.with_name("report.html")
    flat = photo.with_name("flat.png")
    with Image.open(photo) as image:
        Image.new(image.mode, (30, 20)).save(flat)
    clean = ("--clean", flat) if extra else ()
    assert run_cli("image", photo, photo.with_name("out.png"), *QUICK, "--report", report, *clean).code == 0
    text = report.read_text()
    page = _Checker()
    page.feed(text)
    page.close()
    assert page.open == [] and str(photo) in page.text  # escaped, so it comes back whole
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert len(page.images) == pictures
    shown = Image.open(io.BytesIO(base64.b64decode(page.images[0].split(",")[1])))
    assert np.array_equal(np.asarray(shown), np.asarray(Image.open(photo)))
    assert text.count("<polyline") == 2 + extra and text.count("<rect") == 41  # loss, outliers, PSNR
    told = ("width of the picture, pixels", "channels of the network", "alpha at this size", "command", "doprestore image ")
    for fact in (*told, "settings.alpha", "settings.seed", "versions.torch", doprestore.__version__, torch.__version__):
        assert fact in page.text


def test_reports_of_many_pictures_and_bad_names(run_cli, photo):
    folder = photo.parent / "out"
    other = photo.with_name("other.png")
    Image.new("L", (9, 9), 128).save(other)
    args = ("--json", folder / "json", "--report", folder / "reports")
    assert run_cli("image", photo, other, folder, *QUICK, *args).code == 0
    assert {path.name for path in (folder / "reports").iterdir()} == {"other.png.html", f"{photo.name}.html"}
    assert json.loads((folder / "json" / "other.png.json").read_text())["width"] == 9
    for name, code in (("report.png", 2), ("report.pdf", 2), ("absent/report.html", 2)):
        outcome = run_cli("image", photo, photo.with_name("x.png"), *QUICK, "--report", photo.parent / name)
        assert outcome.code == code and outcome.stderr.count("\n") == 1 and not photo.with_name("x.png").exists()


def test_histogram_counts_what_was_found():
    outliers = torch.tensor([[[-1.0, 0.98, 0.0, 0.5]]])
    counts = histogram(outliers, torch.tensor([[[True, True, False, True]]]))
    assert sum(counts) == 3 and counts[0] == 1 and counts[-1] == 1
    assert histogram(outliers, torch.zeros(1, 1, 4, dtype=torch.bool)) == [0] * 41


def test_curves_leave_out_what_is_unknown():
    rows = [{"step": 1, "loss": 0.1, "outlier_share": 0.0, "psnr": None},
            {"step": 2, "loss": 0.01, "outlier_share": 0.5, "psnr": math.inf}]  # fmt: skip
    assert [(curve.name, curve.values) for curve in curves(rows)] == [
        ("mean squared residual", [0.1, 0.01]),
        ("share of outliers", [0.0, 0.5]),
    ]
    assert curves([]) == []


def test_a_quality_that_comes_only_with_the_answer_is_no_curve():
    rows = [{"step": step, "loss": 0.1, "outlier_share": 0.5, "psnr": psnr} for step, psnr in enumerate((8, 8, 8, 40))]
    assert [curve.name for curve in curves(rows, "loss of the fit")] == ["loss of the fit", "share of outliers"]
    rows[1]["psnr"] = 9
    assert curves(rows)[-1].values == [8, 9, 8, 40]


def test_a_plot_fills_its_frame_and_nothing_sticks_out():
    curve = Curve("loss", [1, 50, 124], [1.23e-05, 9.87e-05, 4.5e-05], log=True)
    page = report_html(RunReport("a", {}, {}, [curve], histogram=[3, 0, 12345678]))
    plots = re.findall(r"<svg.*?</svg>", page)
    assert len(plots) == 2
    line = [tuple(map(float, point.split(","))) for point in re.search(r'points="([^"]+)"', plots[0])[1].split()]
    bars = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', plots[1])
    down = [y for _, y in line] + [float(y) for _, y, *_ in bars]
    assert min(x for x, _ in line) > 0 and max(x for x, _ in line) < html.WIDTH
    assert 0 < min(down) < 0.1 * html.HEIGHT and 0.8 * html.HEIGHT < max(down) < html.HEIGHT
    # 11 pixels high, and at most 7 wide a character
    for x, y, anchor, text in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"( text-anchor="end")?>([^<]*)<', page):
        left = float(x) - (7 * len(text) if anchor else 0)
        assert left >= 0 and left + 7 * len(text) <= html.WIDTH + 7 and 11 <= float(y) <= html.HEIGHT - 3


def test_thumbnails_keep_the_shape_and_the_mean():
    picture = torch.rand(3, 100, 1000)
    small = thumbnail(picture, 500)
    assert small.shape == (3, 50, 500) and abs(small.mean() - picture.mean()) < 1e-4
    assert thumbnail(picture, 1000) is picture


def test_no_number_in_a_plot_is_cut_off():
    """Every text of a plot lies within it, at 7 pixels a letter, which is wide for 11-pixel letters."""
    curve = Curve("loss", [1.0, 123456.0], [-1.234e-05, 9.876e-10 + 1], log=False)
    for svg in (html._curve(curve), html._bars([123456, 0, 7])):
        for left, end, text in re.findall(r'<text x="([\d.]+)"[^>]*?(text-anchor="end")?>([^<]*)</text>', svg):
            start = float(left) - 7 * len(text) * bool(end)
            assert start >= 0 and start + 7 * len(text) <= html.WIDTH, text
