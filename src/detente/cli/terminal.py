"""What is printed: readable in any encoding and width, users' text taken literally, and no closed pipe ends a run."""

from __future__ import annotations

import codecs
import os
import shlex
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console as RichConsole
from rich.text import Text

ERRORS = "detente.readable"  # the error handler of both streams: what cannot be encoded is replaced, never raised
STAND_INS = {
    **dict(zip("‘’′‚“”″„«»", '\'\'\',""""""', strict=True)),
    **dict(zip("–—−‐‑·•↑↓←→×≤≥≠≈…", "-----.*^v<>x<><~…", strict=True)),
    **{"…": "...", "≤": "<=", "≥": ">=", "≠": "!=", "±": "+-", "→": "->", "←": "<-", "√": "sqrt", "∇": "grad "},
    **{"½": "1/2", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "ł": "l", "€": "EUR"},
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta"},
    **{"κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "mu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau"},
    **{"φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Δ": "Delta", "Λ": "Lambda", "Σ": "Sigma", "Ω": "Omega"},
    **{"∞": "inf", "∈": "in", "∝": "~", "∂": "d", "⌀": "o", "━": "-", "╸": "-", "╺": "-", "─": "-", "│": "|"},
}


def readable(text: str, encoding: str | None) -> str:
    """Return a text with what an encoding cannot hold replaced: ↑ by ^, γ by gamma, é by e, anything else by ?."""
    return text.encode(encoding or "ascii", errors=ERRORS).decode(encoding or "ascii")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_stand_in(letter) for letter in error.object[error.start : error.end]), error.end


def _stand_in(letter: str) -> str:
    if letter in STAND_INS:
        return STAND_INS[letter]
    if 0x2800 <= ord(letter) < 0x2900:  # the dots that rich turns round while one waits
        return "*"
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", errors="ignore").decode()
    return plain or ("" if unicodedata.combining(letter) else "?")


codecs.register_error(ERRORS, _replace)


class Console(RichConsole):
    """rich's console: no markup, no emoji codes, readable in any encoding, quiet when nobody reads."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **settings})

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a text as rich prints it, what cannot be encoded replaced first, so that columns stay aligned."""
        return super().render_str(readable(text, self.encoding), **settings)

    def on_broken_pipe(self) -> None:
        """Go on without output: the reader has seen enough, but a run must not be lost."""
        silence(self.file)


def silence(stream: TextIO | Any) -> None:
    """Let everything that is still written to a stream disappear."""
    try:
        number = os.open(os.devnull, os.O_WRONLY)
        os.dup2(number, stream.fileno())
        os.close(number)
    except (OSError, ValueError, AttributeError):  # a stream without a file
        pass


@contextmanager
def streams() -> Iterator[None]:
    """Let stdout and stderr take any text during a command, and show each warning of the library in one line."""
    changed = []
    for stream in (sys.stdout, sys.stderr):
        reconfigure, errors = getattr(stream, "reconfigure", None), getattr(stream, "errors", None)
        if reconfigure is not None:
            reconfigure(errors=ERRORS)
            changed.append((reconfigure, errors))
    shown = warnings.showwarning
    if getattr(shown, "__module__", "") == "warnings":  # nobody else wants to see them
        warnings.showwarning = _show_warning
    try:
        yield
    finally:
        warnings.showwarning = shown
        for reconfigure, errors in changed:
            try:
                reconfigure(errors=errors)
            except (OSError, ValueError):  # closed in the meantime, or a pipe that nobody reads
                pass


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    del category, filename, lineno, line
    print(f"detente: warning: {' '.join(str(message).split())}", file=file or sys.stderr)


def flush() -> None:
    """Send what was printed; a reader who has gone is no mistake."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            silence(stream)


def quoted(path: Path | str) -> str:
    """Return a path as it must be typed into a shell, also where it has spaces, or begins with a hyphen."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
