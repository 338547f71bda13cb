"""Pages made from measurements: tracked files are only written on request."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import page
from benchmarks.row import Row

ROOT = Path(__file__).parents[1]
ABOUT = {"date": "2000-01-01", "machine": "a machine", "versions": "versions"}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_measurements_are_stored_in_an_ignored_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(path.is_relative_to(ROOT / "runs") for path in page.LOCAL)
    local, tracked = ((tmp_path / name / "results.json", tmp_path / name / "page.md") for name in ("local", "tracked"))
    shutil.copytree(ROOT / "docs" / "results", tmp_path / "tracked")
    shutil.copy(ROOT / "benchmarks" / "results.json", tracked[0])
    monkeypatch.setattr(page, "LOCAL", local)
    monkeypatch.setattr(page, "TRACKED", tracked)
    before = files(tmp_path / "tracked")
    row = Row("a row", 2.0, 1.0, 3.0)
    assert page.keep("peers", [row], False, ABOUT, 7.2) == [local[1]]
    assert files(tmp_path / "tracked") == before
    assert json.loads(local[0].read_text())["peers"] == {**ABOUT, "quick": False, "seconds": 7, "rows": [row.record()]}
    assert "| a row | 2.00 (1.00–3.00) |" in local[1].read_text()

    assert page.keep("peers", [row], False, ABOUT, 7.2, write=True) == [local[1], tracked[1]]
    assert json.loads(tracked[0].read_text()) == {
        **json.loads(before["results.json"]),
        "peers": json.loads(local[0].read_text())["peers"],
    }


def test_the_page_in_the_documentation_shows_the_stored_results() -> None:
    stored, shown = page.TRACKED
    assert shown.read_text(encoding="utf-8") == page.text(json.loads(stored.read_text(encoding="utf-8")))


def scoreboard() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scoreboard", ROOT / "docs" / "scoreboard.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_results_are_made_in_the_build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, docs, run = scoreboard(), tmp_path / "docs", tmp_path / "run"
    assert module.BUILD == ROOT / "build" / "docs"
    (docs / "results").mkdir(parents=True)
    first, second = sorted((ROOT / "docs" / "results").glob("*.json"))[:2]
    for file in (ROOT / "docs" / "results").glob(f"{first.stem}.*"):
        shutil.copy(file, docs / "results")
    run.mkdir()
    shutil.copy(second, run / "outcome.json")
    (run / "figure.png").write_bytes(b"a figure")
    monkeypatch.setattr(module, "DOCS", docs)
    monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    before = files(docs)
    assert module.main([str(run)]) == 0
    assert files(docs) == before
    built = files(tmp_path / "build")
    pages = {"results.md", "results/accept_reject.md", "results/methods.md"}  # the scoreboard, and a page per paper
    assert {name for name in built if not name.endswith(".jsonl")} == pages | {
        f"results/{result.stem}.{end}" for result in (first, second) for end in ENDS
    }
    assert built[f"results/{second.stem}.png"] == b"a figure"

    assert module.main([str(run), "--write"]) == 0
    assert files(docs)["results.md"] == built["results.md"]
    assert module.main([]) == 0  # what is tracked already, alone
    assert files(tmp_path / "build") == files(docs)


def test_stored_seeds_are_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, docs = scoreboard(), tmp_path / "docs"
    (docs / "results").mkdir(parents=True)
    stored = module.Outcome.read(ROOT / "docs" / "results" / "sgan_early.json")
    code = module.code_hash(module.members("experiments")["sgan_early"], "laptop")
    replace(stored, seconds=7.0).write(docs / "results" / "sgan_early.json")
    lines = [json.dumps({"seed": seed, "code": code}) + "\n" for seed in (100, 101)]
    (docs / "results" / "sgan_early.jsonl").write_text("".join(lines))
    monkeypatch.setattr(module, "DOCS", docs)
    out, folder = tmp_path / "out", tmp_path / "out" / "sgan_early-laptop"
    assert module.main(["--restore", str(out)]) == 0
    assert [(folder / "seeds" / f"00{seed}.json").read_text() for seed in (100, 101)] == lines
    assert json.loads((folder / "sittings.json").read_text())[0]["seconds"] == 7
    (folder / "seeds" / "00100.json").unlink()
    assert module.main(["--restore", str(out)]) == 0  # an existing folder is left alone
    assert not (folder / "seeds" / "00100.json").exists()


def test_the_first_pages_count_the_stored_decisions() -> None:
    module = scoreboard()
    outcomes = [module.Outcome.read(path) for path in (ROOT / "docs" / "results").glob("*.json")]
    count = module._count(outcomes)
    sentence = f"{count['holds']} claims hold, {count['refuted']} are refuted and {count['undecided']} are undecided"
    for page_name in ("README.md", "docs/index.md", "docs/results.md"):
        assert sentence in (ROOT / page_name).read_text(encoding="utf-8")


def test_the_summary_of_five_papers_has_the_stored_results() -> None:
    module = scoreboard()
    outcomes = [module.Outcome.read(path) for path in (ROOT / "docs" / "results").glob("*.json")]
    text = (ROOT / "docs" / module.SUMMARY).read_text(encoding="utf-8")
    assert module._summary(text, outcomes) == text, "run make results WRITE=1"
    assert text.count("<!-- counts: ") == 5


def test_an_unfinished_outcome_does_not_replace_a_decided_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, docs, run = scoreboard(), tmp_path / "docs", tmp_path / "run"
    (docs / "results").mkdir(parents=True)
    run.mkdir()
    for file in (ROOT / "docs" / "results").glob("numerics_ring.*"):
        shutil.copy(file, docs / "results")
    decided = module.Outcome.read(docs / "results" / "numerics_ring.json")
    undecided = tuple(replace(claim, decision="undecided") for claim in decided.claims)
    replace(decided, claims=undecided, code="new").write(run / "outcome.json")
    (run / "seeds.jsonl").write_text("one\n")
    monkeypatch.setattr(module, "DOCS", docs)
    assert module.main([str(run), "--write"]) == 0
    assert module.Outcome.read(docs / "results" / "numerics_ring.json") == decided
    assert (docs / "results" / "numerics_ring.jsonl").read_text() == "one\n"


ENDS = ("json", "png", "txt")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("target", ["bench", "bench-peers", "results"])
def test_make_writes_tracked_files_only_on_request(target: str) -> None:
    def commands(*settings: str) -> str:
        command = ["make", "--dry-run", target, *settings]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "--write" not in commands() and "--write" in commands("WRITE=1")


def test_folders_for_measurements_are_ignored() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/runs/", "/build/", "/site/"} <= set(ignored)
