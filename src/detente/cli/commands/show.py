"""`detente show`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import yaml

from detente.cli import configuration

RANK = 30
DESCRIPTION = "Show the resolved configuration as YAML, with all defaults."
EXAMPLES = """\
examples:
  detente show --game ring --method consensus
  detente show --game ring --method consensus --method.strength 1 > mine.yaml
  detente train --config mine.yaml --out runs/mine

Values are checked as far as possible without PyTorch; `detente train` also checks whether game and method fit.
"""


def main(words: Sequence[str]) -> int:
    """Print the configuration, and return the exit status."""
    options = configuration.parse(configuration.parser("show", DESCRIPTION, EXAMPLES), words)
    configuration.check(options)
    # Escaped if the output is not Unicode, so that the file can be read again.
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    content = configuration.resolved(options)
    print(yaml.safe_dump(content, sort_keys=False, allow_unicode=unicode), end="")
    return 0
