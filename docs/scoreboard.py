"""Makes the pages of results: `python docs/scoreboard.py [--write] [FOLDER ...]` imports what `detente reproduce` left.

`python docs/scoreboard.py --restore OUT` does the opposite: it writes the seeds in docs/results/ into folders, in which
`detente reproduce --out OUT` adds further seeds.

Each folder's outcome and figure are copied to docs/results/. From all outcomes there, the scoreboard `results.md` and
one page per paper, `results/PAPER.md`, are made anew: in build/docs/, which git ignores, or with --write in docs/. The
tables of `five-papers.md`, whose text is written by hand, are filled in.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from detente.experiments.support.code_hash import code_hash
from detente.experiments.support.reproduction import Outcome
from detente.registry import members

DOCS = Path(__file__).parent
OLDER = "\nThis result is from an earlier version of the experiment; the current one has not been run at this size.\n"
COUNTS = r"\d+ claims hold, \d+ are refuted and \d+ are undecided"
DECISIONS = {"holds": "holds", "refuted": "**refuted**", "undecided": "undecided"}
BUILD = DOCS.parent / "build" / "docs"
SUMMARY = "five-papers.md"
TABLE = re.compile(r"<!-- (counts|claims): (.*?) -->\n.*?<!-- end -->", re.DOTALL)
PAPERS = {  # title of a page, by the folder of src/detente/experiments/ that it shows
    "numerics": "The Numerics of GANs: consensus optimisation (Mescheder et al. 2017)",
    "accept_reject": "From Theory to Practice: accept–reject (Mangoubi et al. 2020, Keswani et al. 2022)",
    "svrg": "SVRG-GAN: variance reduction (Chavdarova et al. 2018)",
    "sgan": "SGAN: an ensemble of pairs (Chavdarova & Fleuret 2018)",
    "noisy": "Noisy, covariance-controlled discriminator gradients (NIPS 2017 submission)",
    "methods": "Methods compared: bilinear games, Dirac-GAN (Mescheder et al. 2018; Chavdarova et al. 2019, 2021)",
}
HEAD = """# Results: what the papers claim, and what was found

Written by `make results WRITE=1`; do not edit. A claim is a statement of a paper with a number, its 95 % interval, and
a rule in `src/detente/experiments/`: a direction and a threshold, fixed before the seeds were run. It **holds** if the
whole interval lies on the claim's side of the threshold, is **refuted** if the whole interval lies on the other side,
and is **undecided** if the threshold lies within the interval. Undecided is not "no": there are too few seeds to say.

- An experiment with a number of seeds has one observation per seed, paired if two trainings are compared. Its
  numbers are medians and shares. Their intervals are confidence sequences, which are valid for every number of seeds,
  so seeds may be added until a claim is decided: `detente reproduce NAME --until decided` (Howard et al. 2021, Howard &
  Ramdas 2022). Each result has a hash of the code of its claims; results of different code are not continued.
- An experiment of a fixed size is deterministic, or its result is older: means have Student's t interval, shares
  Wilson's. The earlier rule "the paper's share lies in the interval" is now stricter: the interval must lie within 20
  points of the paper's share.
- Each interval has 95 % confidence, so some of the decisions on {claims} claims will be wrong.

The profile `laptop` is smaller than the paper's; each page lists the differences. "Refuted" means refuted at this size.
"""
PAGE_HEAD = """
Written by `make results WRITE=1`; do not edit. [All results](../results.md). Seconds are the total over all sessions,
on a machine that also did other work; date and commit are those of the import of the result into this page.
"""


def main(arguments: list[str] | None = None) -> int:
    """Import the outcomes in the folders, and write the pages."""
    parser = argparse.ArgumentParser(description="Make the pages of results from outcomes of `detente reproduce`.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="with outcome.json and figure.png")
    parser.add_argument("--write", action="store_true", help="write docs/results.md, not build/docs/results.md")
    parser.add_argument("--restore", type=Path, metavar="OUT", help="write the stored seeds into OUT/NAME-PROFILE/")
    options = parser.parse_args(arguments)
    if options.restore is not None:
        return _restore(options.restore)
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
    if options.write:
        _write_counts(_count(outcomes))
    (root / "results.md").write_text(_scoreboard(by_paper), encoding="utf-8")
    if (DOCS / SUMMARY).exists():
        summary = (DOCS / SUMMARY).read_text(encoding="utf-8")
        (root / SUMMARY).write_text(_summary(summary, outcomes), encoding="utf-8")
    print(f"written: {root / 'results.md'}")
    return 0


def _import(folder: Path, results: Path) -> None:
    """Copy one experiment's outcome and figure, unless the same outcome was imported before.

    An outcome that is still being computed does not replace one of an earlier version that decides more claims; its
    seeds are stored all the same, so that they can be continued.
    """
    source = folder / "outcome.json"
    if not source.exists():
        print(f"{folder}: not run to its end, left out", file=sys.stderr)
        return
    outcome = Outcome.read(source)
    if (folder / "seeds.jsonl").exists():
        shutil.copy(folder / "seeds.jsonl", results / f"{outcome.name}.jsonl")
    target = results / f"{outcome.name}.json"
    if target.exists() and target.read_bytes() == source.read_bytes():
        return  # keeps the date and the commit of the day on which it was imported
    stored = Outcome.read(target) if target.exists() else None
    if stored is not None and stored.code != outcome.code and stored.undecided < outcome.undecided:
        print(f"{folder}: decides fewer claims so far than the stored result, left out", file=sys.stderr)
        return
    shutil.copy(source, target)
    if (folder / "figure.png").exists():
        shutil.copy(folder / "figure.png", results / f"{outcome.name}.png")
    (results / f"{outcome.name}.txt").write_text(f"{_provenance()}\n", encoding="utf-8")


def _restore(out: Path) -> int:
    """Write each stored seed's result to where `detente reproduce` looks for it, unless the folder exists."""
    for path in sorted((DOCS / "results").glob("*.jsonl")):
        outcome = Outcome.read(path.with_suffix(".json"))
        folder = out / f"{outcome.name}-{outcome.profile}"
        lines = path.read_text(encoding="utf-8").splitlines()
        code = code_hash(members("experiments")[outcome.name], outcome.profile)
        if folder.exists() or any(json.loads(line)["code"] != code for line in lines):
            continue
        (folder / "seeds").mkdir(parents=True)
        for line in lines:
            (folder / "seeds" / f"{json.loads(line)['seed']:05d}.json").write_text(line + "\n", encoding="utf-8")
        sittings = [{"started": "before", "seconds": outcome.seconds}]
        (folder / "sittings.json").write_text(json.dumps(sittings) + "\n", encoding="utf-8")
        print(f"restored: {folder}")
    return 0


def _provenance() -> str:
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=DOCS, capture_output=True, text=True, check=False
    ).stdout.strip()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return f"{datetime.date.today().isoformat()}, {machine}, détente at {revision}"


def _paper(outcome: Outcome) -> str:
    """Return the folder of `detente.experiments` that holds an outcome's experiment."""
    return members("experiments")[outcome.name].__module__.split(".")[2]


def _count(outcomes: list[Outcome]) -> dict[str, int]:
    """Return the number of claims with each decision."""
    decisions = [claim.decision for outcome in outcomes for claim in outcome.claims]
    return {decision: decisions.count(decision) for decision in DECISIONS}


def _write_counts(count: dict[str, int]) -> None:
    """Bring the sentence with the counts in the README and on the first page up to date."""
    sentence = f"{count['holds']} claims hold, {count['refuted']} are refuted and {count['undecided']} are undecided"
    for path in (DOCS.parent / "README.md", DOCS / "index.md"):
        if path.exists():
            text = path.read_text(encoding="utf-8")
            path.write_text(re.sub(COUNTS, sentence, text), encoding="utf-8")


def _scoreboard(by_paper: dict[str, list[Outcome]]) -> str:
    outcomes = [outcome for own in by_paper.values() for outcome in own]
    count = _count(outcomes)
    missing = sorted(members("experiments").keys() - {outcome.name for outcome in outcomes})
    open_ones = f" Not yet run to the end at this size: {', '.join(missing)}." if missing else ""
    text = (
        f"\n**{count['holds']} claims hold, {count['refuted']} are refuted and {count['undecided']} are undecided**, "
        f"in {len(outcomes)} experiments.{open_ones}\n"
    )
    for paper, own in by_paper.items():
        if own:
            count = _count(own)
            rows = "".join(_row(outcome, paper) for outcome in own)
            text += f"""
## {PAPERS[paper]}

{count["holds"]} hold, {count["refuted"]} refuted, {count["undecided"]} undecided. \
[Claims, figures and differences from the paper](results/{paper}.md).

| experiment | what it shows | hold | refuted | undecided | seeds |
| --- | --- | --- | --- | --- | --- |
{rows}"""
    return HEAD.replace("{claims}", str(sum(_count(outcomes).values()))) + text


def _summary(text: str, outcomes: list[Outcome]) -> str:
    """Return the summary with its tables made anew.

    "counts: PAPER" becomes a sentence, and "claims: NAME INDEX ...; NAME INDEX ..." a table of these claims.
    """
    by_name = {outcome.name: outcome for outcome in outcomes}

    def filled(match: re.Match[str]) -> str:
        kind, words = match.groups()
        if kind == "counts":
            count = _count([outcome for outcome in outcomes if _paper(outcome) == words])
            link = f"[all of them](results/{words}.md)"
            content = (
                f"{count['holds']} claims hold, {count['refuted']} refuted, {count['undecided']} undecided: {link}."
            )
        else:
            rows = [_summary_row(by_name[name], int(i)) for name, *own in map(str.split, words.split(";")) for i in own]
            content = "\n".join(
                ["| claim | paper | found [95 % interval] | decision |", "| --- | --- | --- | --- |", *rows]
            )
        return f"<!-- {kind}: {words} -->\n\n{content}\n\n<!-- end -->"

    return TABLE.sub(filled, text)


def _summary_row(outcome: Outcome, index: int) -> str:
    claim = outcome.claims[index]
    sentence, paper = claim.sentence.replace("|", "∣"), claim.paper.replace("|", "∣")
    link = f"[`{outcome.name}`](results/{_paper(outcome)}.md#{outcome.name})"
    return f"| {link}: {sentence} | {paper or '–'} | {claim.measured} | {DECISIONS[claim.decision]} |"


def _row(outcome: Outcome, paper: str) -> str:
    numbers = " | ".join(str(number) for number in _count([outcome]).values())
    link = f"[`{outcome.name}`](results/{paper}.md#{outcome.name})"
    return f"| {link} | {outcome.title} | {numbers} | {len(outcome.seeds) or 'fixed'} |\n"


def _section(outcome: Outcome, results: Path) -> str:
    rows = "".join(
        f"| {claim.sentence.replace('|', '∣')} | {claim.paper.replace('|', '∣') or '–'} | {claim.measured} "
        f"| {claim.rule} | {DECISIONS[claim.decision]} |\n"
        for claim in outcome.claims
    )
    provenance = (results / f"{outcome.name}.txt").read_text(encoding="utf-8").strip()
    experiment = members("experiments")[outcome.name]
    older = "" if outcome.code == code_hash(experiment, outcome.profile) else OLDER
    failures = f"\n**What was tried.** {outcome.tried}\n" if outcome.tried else ""
    differences = "".join(f"- {line}\n" for line in outcome.deviations)
    seeds = f"Seeds {outcome.seeds[0]} to {outcome.seeds[-1]} ({len(outcome.seeds)}); " if outcome.seeds else ""
    code = f"; claims {outcome.code}" if outcome.code else ""
    return f"""
<a id="{outcome.name}"></a>

## {outcome.title}

{outcome.source}. Run it with `detente reproduce {outcome.name} --profile {outcome.profile}`.
{older}
| claim | paper | found [95 % interval] | holds if | decision |
| --- | --- | --- | --- | --- |
{rows}
![{outcome.title}]({outcome.name}.png)
{failures}
Differences from the paper:

{differences}
{seeds}{outcome.seconds:.0f} s; {provenance}{code}.
"""


if __name__ == "__main__":
    sys.exit(main())
