"""One process at a time writes into a directory: a lock file that names its holder, and knows when that is gone."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from detente.errors import InvalidValue

try:
    import fcntl
except ImportError:  # not a POSIX system: the file's mere presence is the lock
    fcntl = None

FILE = "lock"
PATIENCE = 0.3  # seconds to try again for: somebody may just be looking whether the lock is held


class DirectoryLock:
    """Holds a directory for this process until it is released, or the process ends in whatever way.

    The file `lock` in the directory is locked by the operating system (`flock`) and says who holds it. A lock that a
    killed process of this machine left behind is free. One of another machine is not, even where a network file system
    does not carry locks from one machine to another.

    Args:
        directory: what to hold; it exists.
        field: how an error names the directory.

    Raises:
        InvalidValue: another process holds it.
    """

    def __init__(self, directory: Path, field: str = "out") -> None:
        self.path = directory / FILE
        holder = _acquired(self.path)
        if not isinstance(holder, int):
            raise InvalidValue(field, str(directory), "a directory that no other process writes into", told(holder))
        self._handle: int | None = holder

    def release(self) -> None:
        """Let others have the directory."""
        if self._handle is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def holder_of(directory: Path) -> dict[str, Any] | None:
    """Return who writes into a directory, with "pid", "host" and "since"; None where nobody does."""
    path = directory / FILE
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        holder = _content(handle)
        return holder if not _locked(handle) or _elsewhere(holder) else None
    finally:
        os.close(handle)


def told(holder: dict[str, Any]) -> str:
    """Return in words who holds a directory, and what to do."""
    holder_text = f"Process {holder.get('pid', '?')} on {holder.get('host', '?')} has been writing into it since"
    where = holder.get("path", FILE)
    return f"{holder_text} {holder.get('since', '?')}; if that process is gone, delete {where}"


def _acquired(path: Path) -> int | dict[str, Any]:
    """Return the handle of the lock file, now ours, or who holds it."""
    until = time.monotonic() + PATIENCE
    while True:
        fresh = not path.exists()
        flags = os.O_RDWR | os.O_CREAT | (os.O_EXCL if fcntl is None else 0)
        try:
            handle = os.open(path, flags, 0o644)
        except FileExistsError:
            return {**_read(path), "path": str(path)}
        holder = _content(handle)
        locked = _locked(handle)
        if locked and not _same_file(handle, path):  # its holder removed it meanwhile
            os.close(handle)
            continue
        if locked and (fresh or not _elsewhere(holder)):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(_ourselves()).encode(), 0)
            return handle
        os.close(handle)
        if locked or time.monotonic() > until:
            return {**holder, "path": str(path)}
        time.sleep(0.02)


def _locked(handle: int) -> bool:
    """Whether this process has now locked an open file."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: what the file says has to do
        return True
    return True


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _elsewhere(holder: dict[str, Any]) -> bool:
    """Whether a lock was taken on a machine whose locks may not be seen from here."""
    if not holder or (holder.get("boot") is not None and holder["boot"] == _boot()):
        return False
    return holder.get("host") != socket.gethostname()


def _ourselves() -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot(), "since": since}


def _boot() -> str | None:
    """Return what names this start of this machine's kernel, the same in all of its containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _content(handle: int) -> dict[str, Any]:
    try:
        content = json.loads(os.pread(handle, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
