"""How a metric was measured, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

CHECKSUM = re.compile(r" [0-9a-f]{16}\b")
Stamp = Mapping[str, str | int]
COUNTS = {"real": "real samples", "samples": "generated samples"}


def describe_stamp(stamp: Stamp) -> str:
    """Return ``inception 6726…; 299 pixels; 10,000 real samples; 2,048 generated samples``."""
    return "; ".join(_part(key, value) for key, value in _ordered(stamp).items())


def describe_differences(stamp: Stamp, others: Sequence[Stamp]) -> str:
    """Return the parts of a stamp that are not the same in all others, in words; empty if all are.

    An extractor is named without its checksum if its name differs from every other extractor's.
    """
    differing = {key: value for key, value in stamp.items() if any(other.get(key) != value for other in others)}
    if "extractor" in differing:
        extractors = {str(other.get("extractor", "")) for other in others} | {str(stamp["extractor"])}
        names = [CHECKSUM.sub("", extractor) for extractor in extractors]
        name = CHECKSUM.sub("", str(stamp["extractor"]))
        differing["extractor"] = name if names.count(name) == 1 else stamp["extractor"]
    if differing:
        return describe_stamp(differing)
    return "otherwise measured" if any(other.keys() - stamp.keys() for other in others) else ""


def _ordered(stamp: Stamp) -> dict[str, str | int]:
    counts = {key: stamp[key] for key in COUNTS if key in stamp}
    return {**{key: value for key, value in stamp.items() if key not in counts}, **counts}


def _part(key: str, value: str | int) -> str:
    if key in COUNTS:
        return f"{value:,} {COUNTS[key]}" if isinstance(value, int) else f"{value} {COUNTS[key]}"
    return str(value) if key in ("extractor", "resizer") else f"{key} {value}"
