"""Makes the pages of results: `python docs/scoreboard.py [--write] [FOLDER ...]` imports what `detente reproduce` left.

Each folder's outcome and figure are copied to docs/results/. From all outcomes there, the scoreboard `results.md` and
one page per paper, `results/PAPER.md`, are made anew: in build/docs/, which git ignores, or with --write in docs/.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from detente.experiments.support.reproduction import Outcome
from detente.registry import members

DOCS = Path(__file__).parent
BUILD = DOCS.parent / "build" / "docs"
PAPERS = {  # title of a page, by the folder of src/detente/experiments/ that it shows
    "numerics": "The Numerics of GANs: consensus optimisation (Mescheder et al. 2017)",
    "accept_reject": "From Theory to Practice: accept–reject (Mangoubi et al. 2020, Keswani et al. 2022)",
    "svrg": "SVRG-GAN: variance reduction (Chavdarova et al. 2018)",
    "sgan": "SGAN: an ensemble of pairs (Chavdarova & Fleuret 2018)",
    "noisy": "Noisy, covariance-controlled discriminator gradients (NIPS 2017 submission)",
    "methods": "Methods compared: bilinear games, Dirac-GAN (Mescheder et al. 2018; Chavdarova et al. 2019, 2021)",
}
HEAD = """# Results: what the papers claim, and what was found

Written by `make results WRITE=1`; do not edit. A claim is a sentence of a paper with a number, its 95 % interval, and a
rule in `src/detente/experiments/` that says whether it holds. The rules were fixed before the runs, with one exception:
the rule on N-fold updates in `sgan_pairs` was made stricter after its run. A claim that does not hold stays here.

The profile `laptop` is smaller than the paper's; each page lists the differences. So "no" means that the claim was not
shown at this size.
"""
PAGE_HEAD = """
Written by `make results WRITE=1`; do not edit. [All results](../results.md). Seconds are those of a run's last session,
on a machine shared with other work; date and commit are those of the day on which the result was imported here.
"""


def main(arguments: list[str] | None = None) -> int:
    """Import the outcomes in the folders, and write the pages."""
    parser = argparse.ArgumentParser(description="Make the pages of results from outcomes of `detente reproduce`.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="with outcome.json and figure.png")
    parser.add_argument("--write", action="store_true", help="write docs/results.md, not build/docs/results.md")
    options = parser.parse_args(arguments)
    root = DOCS if options.write else BUILD
    results = root / "results"
    if not options.write:
        shutil.rmtree(results, ignore_errors=True)
        shutil.copytree(DOCS / "results", results)
    results.mkdir(parents=True, exist_ok=True)
    for folder in options.folders:
        _import(folder, results)
    outcomes = [Outcome.read(path) for path in sorted(results.glob("*.json"))]
    by_paper = {paper: [outcome for outcome in outcomes if _paper(outcome) == paper] for paper in PAPERS}
    for page in results.glob("*.md"):
        page.unlink()
    for paper, own in by_paper.items():
        if own:
            page = f"# {PAPERS[paper]}\n{PAGE_HEAD}" + "".join(_section(outcome, results) for outcome in own)
            (results / f"{paper}.md").write_text(page, encoding="utf-8")
    (root / "results.md").write_text(HEAD + _scoreboard(by_paper), encoding="utf-8")
    print(f"written: {root / 'results.md'}")
    return 0


def _import(folder: Path, results: Path) -> None:
    """Copy one experiment's outcome and figure, unless the same outcome was imported before."""
    source = folder / "outcome.json"
    if not source.exists():
        print(f"{folder}: not run to its end, left out", file=sys.stderr)
        return
    outcome = Outcome.read(source)
    target = results / f"{outcome.name}.json"
    if target.exists() and target.read_bytes() == source.read_bytes():
        return  # keeps the date and the commit of the day on which it was imported
    shutil.copy(source, target)
    shutil.copy(folder / "figure.png", results / f"{outcome.name}.png")
    (results / f"{outcome.name}.txt").write_text(f"{_provenance()}\n", encoding="utf-8")


def _provenance() -> str:
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=DOCS, capture_output=True, text=True, check=False
    ).stdout.strip()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return f"{datetime.date.today().isoformat()}, {machine}, détente at {revision}"


def _paper(outcome: Outcome) -> str:
    """Return the folder of `detente.experiments` that holds an outcome's experiment."""
    return members("experiments")[outcome.name].__module__.split(".")[2]


def _count(outcomes: list[Outcome]) -> tuple[int, int]:
    """Return how many claims hold, and how many there are."""
    verdicts = [verdict for outcome in outcomes for verdict in outcome.verdicts]
    return sum(verdict.holds for verdict in verdicts), len(verdicts)


def _scoreboard(by_paper: dict[str, list[Outcome]]) -> str:
    outcomes = [outcome for own in by_paper.values() for outcome in own]
    holds, claims = _count(outcomes)
    missing = sorted(members("experiments").keys() - {outcome.name for outcome in outcomes})
    open_ones = f" Written, but not yet run to their end at this size: {', '.join(missing)}." if missing else ""
    text = f"\n**{holds} of {claims} claims hold**, in {len(outcomes)} experiments.{open_ones}\n"
    for paper, own in by_paper.items():
        if own:
            holds, claims = _count(own)
            rows = "".join(_row(outcome, paper) for outcome in own)
            text += f"""
## {PAPERS[paper]}

{holds} of {claims} claims hold. [Claims, figures and differences from the paper](results/{paper}.md).

| experiment | what it shows | claims that hold |
| --- | --- | --- |
{rows}"""
    return text


def _row(outcome: Outcome, paper: str) -> str:
    holds, claims = _count([outcome])
    return f"| [`{outcome.name}`](results/{paper}.md#{outcome.name}) | {outcome.title} | {holds} of {claims} |\n"


def _section(outcome: Outcome, results: Path) -> str:
    rows = "".join(
        f"| {verdict.sentence.replace('|', '∣')} | {verdict.paper.replace('|', '∣') or '–'} | {verdict.found} "
        f"| {'yes' if verdict.holds else '**no**'} |\n"
        for verdict in outcome.verdicts
    )
    provenance = (results / f"{outcome.name}.txt").read_text(encoding="utf-8").strip()
    tried = members("experiments")[outcome.name].tried
    failures = f"\n**Where it does not hold.** {tried}\n" if tried else ""
    differences = "".join(f"- {line}\n" for line in outcome.deviations)
    return f"""
<a id="{outcome.name}"></a>

## {outcome.title}

{outcome.source}. Run it with `detente reproduce {outcome.name} --profile {outcome.profile}`.

| claim | paper | found [95 % interval] | holds |
| --- | --- | --- | --- |
{rows}
![{outcome.title}]({outcome.name}.png)
{failures}
Differences from the paper:

{differences}
{outcome.seconds:.0f} s; {provenance}.
"""


if __name__ == "__main__":
    sys.exit(main())
