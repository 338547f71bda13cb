"""Install the wheel beside several versions of Python and PyTorch, use it there, and write docs/compatibility.md.

`make test-matrix` runs it: `python .ci/test_matrix.py [--pythons 3.11 3.12 3.13] [--torch 2.9.1 …] [--write]`. For each
pair it makes an environment under .matrix/ (with uv if it is on PATH, otherwise with venv and pip), installs the wheel
with nothing but the core's dependencies, runs .ci/check_installation.py in an empty folder, and removes the
environment. A Python or a version of PyTorch that cannot be had here is recorded as such. PyTorch's builds with CUDA
need some 6 GB of disk for each environment while it lasts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".matrix"
PAGE = ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- made by make test-matrix WRITE=1 -->", "<!-- end -->"


def interpreter(version: str) -> str | None:
    """Return the path of a Python of a version such as 3.12, from PATH or pyenv; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))):
        if candidate is None:
            continue
        words = [str(candidate), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if subprocess.run(words, capture_output=True, text=True).stdout.strip() == version:
            return str(candidate)
    return None


def carried_out(words: list[str], **options: object) -> str:
    """Run a command and return its output; an error ends in its last lines."""
    done = subprocess.run(words, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise RuntimeError(" ".join(lines[-2:])[-300:])
    return done.stdout


def tried(python: str, torch: str, wheel: Path) -> dict[str, object]:
    """Return the outcome for one version of Python and one of PyTorch ("" for the newest)."""
    row: dict[str, object] = {"python": python, "torch": torch or "newest"}
    executable = interpreter(python)
    if executable is None:
        return {**row, "outcome": f"not run: no Python {python} on this machine"}
    folder, started, uv = ENVIRONMENTS / f"{python}-{torch or 'newest'}", time.monotonic(), shutil.which("uv")
    shutil.rmtree(folder, ignore_errors=True)
    bin_python = str(folder / "bin" / "python")
    install = [uv, "pip", "install", "-q", "--python", bin_python] if uv else [bin_python, "-m", "pip", "install", "-q"]
    create = [uv, "venv", "-q", "--python", executable] if uv else [executable, "-m", "venv"]
    try:
        carried_out([*create, str(folder)])
        try:
            carried_out([*install, f"torch=={torch}" if torch else "torch", str(wheel)])
        except RuntimeError as error:
            return {**row, "outcome": f"not run: cannot be installed here: {error}"}
        with tempfile.TemporaryDirectory() as empty:
            environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
            words = [bin_python, str(ROOT / ".ci" / "check_installation.py")]
            found = json.loads(carried_out(words, cwd=empty, env=environment).splitlines()[-1])
        return {**row, **found, "outcome": "passed", "seconds": round(time.monotonic() - started)}
    except (RuntimeError, ValueError) as error:
        return {**row, "outcome": f"FAILED: {error}"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(rows: list[dict[str, object]]) -> str:
    """Return the outcomes as a table in Markdown."""
    columns = {"python": "Python", "torch": "PyTorch", "numpy": "NumPy", "modules": "modules", "outcome": "outcome"}
    lines = [list(columns.values()), ["---"] * len(columns)]
    lines += [[str(row.get(name, "–")) for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Try all pairs, print the table, and return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", nargs="+", default=["3.11", "3.12", "3.13"])
    parser.add_argument("--torch", nargs="+", default=["2.9.1", ""], help="versions; an empty word is the newest")
    parser.add_argument("--write", action="store_true", help=f"and write the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        carried_out([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(ROOT)])
        (wheel,) = Path(folder).glob("*.whl")
        rows = []
        for torch in options.torch:
            for python in options.pythons:
                rows.append(tried(python, torch, wheel))
                print(f"Python {python}, PyTorch {rows[-1]['torch']}: {rows[-1]['outcome']}", flush=True)
    made = f"{time.strftime('%Y-%m-%d', time.gmtime())}, {platform.system()} {platform.machine()}"
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        text = f"{before}{BEGIN}\n\nRun on {made}:\n\n{table(rows)}\n\n{END}{after}"
        PAGE.write_text(text, encoding="utf-8")
    print(table(rows))
    return any(str(row["outcome"]).startswith("FAILED") for row in rows)


if __name__ == "__main__":
    sys.exit(main())
