"""The table of results, and whether each goal is reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from benchmarks.rescue.cases import case

ADMITTED = 0.8  # share of seeds on which a case must fail, and its twin be cured
NAMED, CURED, COST = 0.9, 0.9, 3.0  # goals, in the order of the table's last lines
OLDER = "°"  # marks numbers in which there are rows of older code
Row = Mapping[str, Any]
Rows = Mapping[tuple[str, str, int], Row]


def healthy_distance(rows: Sequence[Row]) -> float | None:
    """Return the median Fréchet distance of the healthy twins, for a control its own; None if there is none."""
    distances = [row.get("twin", row).get("measures", {}).get("distance") for row in rows]
    distances = [distance for distance in distances if distance is not None]
    return statistics.median(distances) if distances else None


def is_control(module: ModuleType) -> bool:
    """Return whether a case is a healthy control."""
    return module.CLASSES == ("healthy",)


def named(module: ModuleType, row: Row) -> bool:
    """Return whether the class is among the first two findings; of a control, whether it is called healthy, untouched.

    A doubt that is mentioned beside this verdict, and not treated, is no alarm.
    """
    findings = row.get("findings")
    if findings is None:
        return False
    if is_control(module):
        return row.get("verdict") == "healthy" and not row.get("touched", True)
    return any(failure in module.CLASSES for failure in findings[:2])


def cured(module: ModuleType, row: Row, healthy: float | None) -> bool:
    """Return whether the samples meet the case's criterion of success; for a control, whether they do not fail."""
    measures = row.get("measures", {})
    if is_control(module):
        return "error" not in row and (not row.get("touched", True) or not module.MARKS.failed_by(measures))
    return "error" not in row and module.MARKS.cured_by(measures, healthy)


def admission(module: ModuleType, rows: Sequence[Row]) -> tuple[int, int]:
    """Return the number of seeds with which the set-up fails, and with which its twin is cured."""
    healthy = healthy_distance(rows)
    failures = sum("error" not in row and module.MARKS.failed_by(row.get("measures", {})) for row in rows)
    twins = sum(module.MARKS.cured_by(row["twin"]["measures"], healthy) for row in rows if "twin" in row)
    return failures, twins


def is_admitted(module: ModuleType, rows: Sequence[Row]) -> bool:
    """Return whether a case counts: it fails and its twin is cured with enough seeds; a control must not fail."""
    failures, twins = admission(module, rows)
    least = ADMITTED * len(rows)
    if is_control(module):
        return bool(rows) and len(rows) - failures >= least
    return bool(rows) and failures >= least and twins >= least


def _share(count: int, rows: Sequence[Row]) -> str:
    return f"{count}/{len(rows)}{OLDER if any(row.get('older') for row in rows) else ''}" if rows else "–"


def table(rows: Rows, cases: Sequence[str]) -> str:
    """Return the Markdown table of all arms, and the goals."""
    head = (
        "case",
        "fails",
        "twin cured",
        "admitted",
        "named",
        "cured",
        "cost in runs",
        "default cures",
        "random cures",
    )
    lines = ["| " + " | ".join(head) + " |", "| --- | --- |" + " ---: |" * (len(head) - 2)]
    rows_by_case: dict[str, dict[str, list[Row]]] = {}
    for name in cases:
        by_arm = {
            arm: [row for key, row in sorted(rows.items()) if key[:2] == (arm, name)]
            for arm in ("admit", "rescue", "default", "random")
        }
        rows_by_case[name] = by_arm
        module, seeds = case(name), by_arm["admit"]
        failures, twins = admission(module, seeds)
        healthy = healthy_distance(seeds)
        cost = [row["cost"] for row in by_arm["rescue"] if "cost" in row]
        counts = {arm: sum(cured(module, row, healthy) for row in by_arm[arm]) for arm in by_arm}
        cells = [
            f"{name.upper()} {module.NAME}",
            _share(failures, seeds),
            "" if is_control(module) else _share(twins, seeds),
            ("yes" if is_admitted(module, seeds) else "no") if seeds else "–",
            _share(sum(named(module, row) for row in by_arm["rescue"]), by_arm["rescue"]),
            _share(counts["rescue"], by_arm["rescue"]),
            f"{statistics.mean(cost):.2f}" if cost else "–",
            _share(counts["default"], by_arm["default"]),
            _share(counts["random"], by_arm["random"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"{OLDER} with rows of older code of the case", "", *_goals(rows_by_case)])


def _goals(rows_by_case: Mapping[str, Mapping[str, Sequence[Row]]]) -> list[str]:
    """Return the goals, each with its number and whether it is reached, over the admitted cases."""
    failing = [n for n in rows_by_case if not is_control(case(n)) and is_admitted(case(n), rows_by_case[n]["admit"])]
    controls = [n for n in rows_by_case if is_control(case(n))]

    def share(arm: str, chosen: Sequence[str], holds: Callable[[str, Row], bool]) -> float | None:
        results = [holds(name, row) for name in chosen for row in rows_by_case[name][arm]]
        return sum(results) / len(results) if results else None

    def is_cured(name: str, row: Row) -> bool:
        return cured(case(name), row, healthy_distance(rows_by_case[name]["admit"]))

    named_share = share("rescue", failing, lambda name, row: named(case(name), row))
    cured_share = share("rescue", failing, is_cured)
    alarms = share("rescue", controls, lambda name, row: not named(case(name), row))
    others = {arm: share(arm, failing, is_cured) for arm in ("default", "random")}
    costs = [row["cost"] for name in [*failing, *controls] for row in rows_by_case[name]["rescue"] if "cost" in row]

    def line(title: str, number: float | None, holds: bool, text: str = "") -> str:
        if number is None:
            return f"- {title}: not measured"
        return f"- {title}: {text or f'{100 * number:.0f} %'}: {'holds' if holds else 'fails'}"

    lines = [
        f"Goals, over the {len(failing)} admitted of the failing cases and {len(controls)} controls:",
        "",
        line(f"named ≥ {NAMED:.0%}", named_share, (named_share or 0) >= NAMED),
        line(f"cured ≥ {CURED:.0%}", cured_share, (cured_share or 0) >= CURED),
        line("no false alarm on controls", alarms, alarms == 0),
        line(
            f"≤ {COST:g} runs' compute",
            max(costs, default=None),
            max(costs, default=9) <= COST,
            f"{max(costs, default=0):.2f} at most",
        ),
    ]
    for arm, other in others.items():
        text = "" if other is None or cured_share is None else f"{100 * cured_share:.0f} % against {100 * other:.0f} %"
        number = None if other is None else cured_share
        lines.append(line(f"cures more than {arm}", number, (cured_share or 0) > (other or 0), text))
    return lines
