"""Writes docs/results.md: `python docs/scoreboard.py [FOLDER …]` takes over what `detente reproduce` left there.

Each folder's outcome and picture are copied to docs/results/, and the page is made anew from all that lies there.
"""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from detente.catalogue import members
from detente.experiments.outcome import Outcome

DOCS = Path(__file__).parent
KEPT, PAGE = DOCS / "results", DOCS / "results.md"
HEAD = """# Results: what the papers claim, and what was found

Written by `make results`; do not edit. Each row is a claim of a paper with the number that decides it, its 95 %
interval, and whether the claim holds by the rule in `src/detente/experiments/`. Rules were fixed before the runs, but
for one of `sgan_pairs` (N-fold updates), made stricter after its run. A claim that does not hold stays on the page.
The profile `laptop` is smaller than the paper's; deviations are listed.
Seconds are those of the last sitting (what was stopped goes on where it was), on a machine shared with other work; date
and commit are those of when a result was taken in here.
"""


def main(folders: list[str]) -> int:
    """Take over the outcomes in the folders, and write the page."""
    KEPT.mkdir(exist_ok=True)
    for folder in map(Path, folders):
        if not (folder / "outcome.json").exists():
            print(f"{folder}: not conducted to its end, left out", file=sys.stderr)
            continue
        outcome = Outcome.read(folder / "outcome.json")
        kept = KEPT / f"{outcome.name}.json"
        if kept.exists() and kept.read_bytes() == (folder / "outcome.json").read_bytes():
            continue  # taken in before, with the date and the commit of that day
        shutil.copy(folder / "outcome.json", kept)
        shutil.copy(folder / "figure.png", KEPT / f"{outcome.name}.png")
        (KEPT / f"{outcome.name}.txt").write_text(f"{_about()}\n", encoding="utf-8")
    outcomes = [Outcome.read(path) for path in sorted(KEPT.glob("*.json"))]
    PAGE.write_text(HEAD + _summary(outcomes) + "".join(map(_section, outcomes)), encoding="utf-8")
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


def _section(outcome: Outcome) -> str:
    rows = "".join(
        f"| {one.sentence.replace('|', '∣')} | {one.paper.replace('|', '∣') or '–'} | {one.found} "
        f"| {'yes' if one.holds else '**no**'} |\n"
        for one in outcome.verdicts
    )
    about = (KEPT / f"{outcome.name}.txt").read_text(encoding="utf-8").strip()
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
    sys.exit(main(sys.argv[1:]))
