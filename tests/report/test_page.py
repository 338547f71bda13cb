"""The page as text: headings, escaping, size, and broken input."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detente.errors import InvalidValue
from detente.report.page import write_report
from tests.report.page_reader import Reader

PLOTLY = "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a"  # SHA-256
HEADINGS = [
    ("h1", "ring & <b>grid"),
    ("h2", "Final results"),
    ("h2", "What differs between the runs"),
    ("h2", "Curves"),
    ("h3", "Metrics"),
    ("h3", "Losses"),
    ("h3", "Gradient norms"),
    ("h2", "Samples"),
    ("h2", "Spectra"),
    ("h2", "Configuration of each run"),
    ("h2", "How to reproduce"),
]


@pytest.fixture(scope="module")
def page(comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report([comparison], tmp_path_factory.mktemp("out") / "deep" / "report.html").read_text()


def data_of(page: str) -> dict[str, Any]:
    return json.loads(Reader(page).scripts[0])


def test_headings(page: str) -> None:
    assert Reader(page).headings == HEADINGS


def test_every_string_is_escaped(page: str) -> None:
    before, after = page.split('<script type="application/json" id="data">')
    data = after.split("</script>")[0]
    assert "<script>alert" not in before + after.split("</script>", 1)[1]
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;quoted&#34; %{x}" in before
    assert not re.search("[<>&]", data)
    reader = Reader(page)
    assert not {"b", "i"} & {tag for tag, _ in reader.tags}
    assert "<script>alert('x')</script>" in reader.text
    names = {trace["name"] for chart in data_of(page)["charts"] for trace in chart["figure"]["data"]}
    assert "simul&lt;i&gt;taneous &amp; \"co'" in names


def test_nothing_is_fetched(page: str) -> None:
    for tag, attributes in Reader(page).tags:
        assert tag not in ("base", "iframe", "object", "embed")
        for name in ("src", "href", "action", "poster", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:")
    style = re.search("<style>(.*?)</style>", page, re.S)
    assert style and "url(" not in style[1] and "@import" not in style[1]


def test_policy_allows_these_scripts_and_no_others(page: str) -> None:
    reader = Reader(page)
    policy = next(a["content"] or "" for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    packed = re.search('atob\\("([^"]+)"\\)', reader.scripts[1])
    assert packed is not None
    plotly = gzip.decompress(base64.b64decode(packed[1])).decode()
    scripts = [*reader.scripts[1:], plotly]
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert policy.startswith("default-src 'none'; ") and "unsafe-eval" not in policy
    assert re.findall("'sha256-([^']+)'", policy) == digests
    # The file as npm's registry has it, in plotly.js-cartesian-dist-min 4.1.1.
    assert hashlib.sha256(plotly.encode()).hexdigest() == PLOTLY


def test_data_contain_bands_of_three_seeds_and_all_axes(page: str) -> None:
    data = data_of(page)
    assert [run["name"] for run in data["runs"]][:3] == ["alternating", "consensus", "optimistic"]
    chart = data["charts"][0]
    low, high, mean = (t["y"] for t in chart["figure"]["data"] if t["meta"]["run"] == 1)
    assert all(a < b < c for a, b, c in zip(low, mean, high, strict=True))
    steps, evaluations, seconds = chart["axes"][1]
    assert evaluations == [4 * step for step in steps] and seconds == sorted(seconds)
    assert [t["customdata"] for t in chart["figure"]["data"] if t["meta"]["role"] == "diverged"] == [[1400]]


def test_samples_are_thinned_and_accurate(comparison: Path, page: str) -> None:
    section = data_of(page)["samples"]
    assert section["steps"] == [0, 1000, 2000, 3000] and section["seeds"] == [0, 1, 2]
    panel = section["panels"][1]
    assert set(data_of(page)["samples"]["panels"][3]["frames"]["1"]) == {"0", "1000"}
    frame = panel["frames"]["0"]["3000"]
    x = np.frombuffer(base64.b64decode(frame["x"]["data"]), "<u2") / 65535 * 6 - 3
    assert len(x) == 512 - frame["outside"] and frame["count"] == 512
    with np.load(comparison / "consensus" / "samples" / "seed0-step00003000.npz") as archive:
        nearest = np.abs(archive["fake"][:, 0][None] - x[:, None]).min(1)
    assert nearest.max() < 1e-4
    assert frame["levels"]["shape"] == [40, 40]


def test_spectra_have_both_fields_and_keep_the_sign(page: str) -> None:
    plain, consensus = (data_of(page)["spectra"]["panels"][k]["frames"]["0"]["0"] for k in (0, 1))
    assert "method" not in plain and consensus["method"]["unstable"] <= consensus["game"]["unstable"]
    assert consensus["game"]["unstable"] == sum(part < 0 for part in consensus["game"]["x"])
    assert plain["rate"] == 0.2


def test_page_of_four_methods_three_seeds_six_snapshots_is_small(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for name in "abcd":
        make_run(tmp_path / "runs" / name, snapshots=6, regularised=True)
    assert write_report([tmp_path / "runs"], tmp_path / "r.html").stat().st_size < 8_000_000


def test_run_with_only_a_configuration_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "run.yaml").write_text("steps: 5\n")
    text = Reader(write_report([tmp_path / "bare"], tmp_path / "r.html").read_text()).text
    for sentence in (
        "No samples were recorded.",
        "No spectra were recorded.",
        "No curves were recorded.",
        "metrics.jsonl is missing.",
    ):
        assert sentence in text


def test_broken_images_and_arrays_are_listed(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run(tmp_path / "gda", seeds=(0,), snapshots=2)
    (run / "samples" / "seed0-step00000000.npz").write_bytes(b"PK\x03\x04 broken")
    (run / "samples" / "seed0-step00000001.png").write_bytes(b"no picture")
    np.savez(run / "samples" / "seed0-step00000002.npz", fake=np.array([{}], dtype=object))
    np.savez(run / "spectra" / "seed0-step00000002.npz", other=np.zeros(2))
    text = Reader(write_report([run], tmp_path / "r.html").read_text()).text
    for name in (
        "seed0-step00000000.npz could not",
        "seed0-step00000001.png is not",
        "seed0-step00000002.npz could not",
    ):
        assert name in text
    assert "seed0-step00000002.npz does not contain eigenvalues." in text


def test_points_that_are_not_finite_are_counted_outside(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run(tmp_path / "gda", seeds=(0,), snapshots=1)
    fake = np.array([[0.0, 0.0], [np.nan, 1.0], [np.inf, 0.0], [1e9, 0.0]], "f4")
    np.savez(run / "samples" / "seed0-step00000005.npz", fake=fake, real=np.ones((3, 2), "f4"))
    np.savez(run / "spectra" / "seed0-step00000005.npz", eigenvalues=np.array([np.nan, 1 + 2j], "c8"))
    data = data_of(write_report([run], tmp_path / "r.html").read_text())
    frame = data["samples"]["panels"][0]["frames"]["0"]["5"]
    assert (frame["outside"], frame["count"]) == (3, 4)
    assert data["spectra"]["panels"][0]["frames"]["0"]["5"]["game"]["x"] == [1.0]


def test_large_images_are_reduced(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run(tmp_path / "faces", pictures=True, seeds=(0,), snapshots=1)
    noise = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(run / "samples" / "seed0-step00000009.png")
    frames = data_of(write_report([run], tmp_path / "r.html").read_text())["samples"]["panels"][0]["frames"]["0"]
    assert frames["0"]["src"].startswith("data:image/png;base64,")
    assert frames["9"]["src"].startswith("data:image/webp;base64,") and len(frames["9"]["src"]) < 1_000_000


def test_report_is_replaced_atomically(make_run: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "out" / "report.html"
    out.parent.mkdir()
    out.write_text("old")
    with pytest.raises(InvalidValue, match="paths"):
        write_report([tmp_path / "absent"], out)
    assert out.read_text() == "old"
    assert write_report([make_run(tmp_path / "gda")], out) == out
    assert out.read_text().startswith("<!DOCTYPE html>") and list(out.parent.iterdir()) == [out]


def test_report_imports_no_torch() -> None:
    script = "import sys, detente.report.page; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
