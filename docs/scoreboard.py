"""Makes the page of results: `python docs/scoreboard.py [--write] [FOLDER …]` takes over what `detente reproduce` left.

Each folder's outcome and picture are copied beside those of docs/results/, and the page is made anew from all of them:
in build/docs/, which git ignores, or with --write in docs/ itself.
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
HEAD = """# Results: what the papers claim, and what was found

Written by `make results WRITE=1`; do not edit. Each row is a claim of a paper with the number that decides it, its 95 %
interval, and whether the claim holds by the rule in `src/detente/experiments/`. Rules were fixed before the runs, but
for one of `sgan_pairs` (N-fold updates), made stricter after its run. A claim that does not hold stays on the page.
The profile `laptop` is smaller than the paper's; deviations are listed.
Seconds are those of the last sitting (what was stopped goes on where it was), on a machine shared with other work; date
and commit are those of when a result was taken in here.
"""


def main(arguments: list[str] | None = None) -> int:
    """Take over the outcomes in the folders, and write the page."""
    parser = argparse.ArgumentParser(description="Make the page of results from outcomes of `detente reproduce`.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="with outcome.json and figure.png")
    parser.add_argument("--write", action="store_true", help="write docs/results.md, not build/docs/results.md")
    chosen = parser.parse_args(arguments)
    into = DOCS if chosen.write else BUILD
    results = into / "results"
    if not chosen.write:
        shutil.rmtree(results, ignore_errors=True)
        shutil.copytree(DOCS / "results", results)
    results.mkdir(parents=True, exist_ok=True)
    for folder in chosen.folders:
        if not (folder / "outcome.json").exists():
            print(f"{folder}: not conducted to its end, left out", file=sys.stderr)
            continue
        outcome = Outcome.read(folder / "outcome.json")
        kept = results / f"{outcome.name}.json"
        if kept.exists() and kept.read_bytes() == (folder / "outcome.json").read_bytes():
            continue  # taken in before, with the date and the commit of that day
        shutil.copy(folder / "outcome.json", kept)
        shutil.copy(folder / "figure.png", results / f"{outcome.name}.png")
        (results / f"{outcome.name}.txt").write_text(f"{_about()}\n", encoding="utf-8")
    outcomes = [Outcome.read(path) for path in sorted(results.glob("*.json"))]
    sections = [_section(outcome, results) for outcome in outcomes]
    (into / "results.md").write_text(HEAD + _summary(outcomes) + "".join(sections), encoding="utf-8")
    print(f"written: {into / 'results.md'}")
    return 0


def _about() -> str:
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=DOCS, capture_output=True, text=True, check=False
    ).stdout.strip()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return f"{datetime.date.today().isoformat()}, {machine}, détente at {revision}"


def _summary(outcomes: list[Outcome]) -> str:
    verdicts = [verdict for outcome in outcomes for verdict in outcome.verdicts]
    holds = sum(verdict.holds for verdict in verdicts)
    missing = sorted(members("experiments").keys() - {outcome.name for outcome in outcomes})
    waiting = f" Written, but not yet conducted to their end at this size: {', '.join(missing)}." if missing else ""
    return f"\n**{holds} of {len(verdicts)} claims hold**, in {len(outcomes)} experiments.{waiting}\n"


def _section(outcome: Outcome, results: Path) -> str:
    rows = "".join(
        f"| {one.sentence.replace('|', '∣')} | {one.paper.replace('|', '∣') or '–'} | {one.found} "
        f"| {'yes' if one.holds else '**no**'} |\n"
        for one in outcome.verdicts
    )
    about = (results / f"{outcome.name}.txt").read_text(encoding="utf-8").strip()
    differs = "".join(f"- Differs from the paper: {line}\n" for line in outcome.deviations)
    told = members("experiments")[outcome.name].tried
    tried = f"- Where it does not hold: {told}\n" if told else ""
    return f"""
## {outcome.title}

{outcome.source}. `detente reproduce {outcome.name} --profile {outcome.profile}`

| claim | paper | found [95 % interval] | holds |
| --- | --- | --- | --- |
{rows}
![{outcome.title}](results/{outcome.name}.png)

{differs}{tried}- {outcome.seconds:.0f} s; {about}
"""


if __name__ == "__main__":
    sys.exit(main())
