"""Output that is readable in any encoding and width, without markup, and that survives a closed pipe."""

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

ERRORS = "detente.readable"  # error handler of both streams: replaces what cannot be encoded
REPLACEMENTS = {
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
    """Return a text with characters that an encoding lacks replaced: ↑ by ^, γ by gamma, é by e, others by ?."""
    return text.encode(encoding or "ascii", errors=ERRORS).decode(encoding or "ascii")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_replacement, error.object[error.start : error.end])), error.end


def _replacement(letter: str) -> str:
    if letter in REPLACEMENTS:
        return REPLACEMENTS[letter]
    if 0x2800 <= ord(letter) < 0x2900:  # the dots of rich's spinner
        return "*"
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", errors="ignore").decode()
    return plain or ("" if unicodedata.combining(letter) else "?")


codecs.register_error(ERRORS, _replace)


class Console(RichConsole):
    """rich's console without markup and emoji codes, readable in any encoding."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **settings})

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a text for rich, with unencodable characters replaced first so that columns stay aligned."""
        return super().render_str(readable(text, self.encoding), **settings)

    def on_broken_pipe(self) -> None:
        """Continue without output, so that a run is not lost."""
        silence(self.file)


def silence(stream: TextIO | Any) -> None:
    """Discard everything that is written to a stream from now on."""
    try:
        number = os.open(os.devnull, os.O_WRONLY)
        os.dup2(number, stream.fileno())
        os.close(number)
    except (OSError, ValueError, AttributeError):  # a stream without a file
        pass


@contextmanager
def streams() -> Iterator[None]:
    """Make stdout and stderr accept any text during a command, and show warnings in one line each."""
    changed: list[tuple[Any, Any]] = []
    for stream in (sys.stdout, sys.stderr):
        reconfigure, errors = getattr(stream, "reconfigure", None), getattr(stream, "errors", None)
        if reconfigure is not None:
            reconfigure(errors=ERRORS)
            changed.append((reconfigure, errors))
    original = warnings.showwarning
    if getattr(original, "__module__", "") == "warnings":  # not replaced by somebody else
        warnings.showwarning = _show_warning
    try:
        yield
    finally:
        warnings.showwarning = original
        for reconfigure, errors in changed:
            try:
                reconfigure(errors=errors)
            except (OSError, ValueError):  # closed in the meantime, or a broken pipe
                pass


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    del category, filename, lineno, line
    print(f"detente: warning: {' '.join(str(message).split())}", file=file or sys.stderr)


def flush() -> None:
    """Flush stdout and stderr; a closed pipe is no error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            silence(stream)


def one_line(error: BaseException) -> str:
    """Return an error's message in one line; the name of its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def quoted(path: Path | str) -> str:
    """Return a path quoted for a shell, also with spaces or a leading hyphen."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
