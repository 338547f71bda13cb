"""A lock file that lets one process at a time write into a directory, and that a killed process releases."""

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
except ImportError:  # not a POSIX system: the existence of the file is the lock
    fcntl = None

FILE = "lock"
RETRY_SECONDS = 0.3  # another process may hold the lock for a moment to check whether it is free


class DirectoryLock:
    """Locks a directory for this process until it is released or the process ends.

    The operating system locks the file `lock` in the directory (`flock`), and the file names the process that holds it.
    A lock of a killed process on this machine is free. A lock of another machine is not, even on a network file system
    that does not share locks between machines.

    Args:
        directory: an existing directory.
        field: name of the directory's option in errors.

    Raises:
        InvalidValue: another process holds the lock.
    """

    def __init__(self, directory: Path, field: str = "out") -> None:
        self.path = directory / FILE
        holder = _acquire(self.path)
        if not isinstance(holder, int):
            raise InvalidValue(
                field, str(directory), "a directory that no other process writes into", describe_holder(holder)
            )
        self._handle: int | None = holder

    def release(self) -> None:
        """Release the lock."""
        if self._handle is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def holder_of(directory: Path) -> dict[str, Any] | None:
    """Return the process that writes into a directory, with "pid", "host" and "since", or None."""
    path = directory / FILE
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        holder = _read_open_holder(handle)
        return holder if not _try_lock(handle) or is_on_other_machine(holder) else None
    finally:
        os.close(handle)


def describe_holder(holder: dict[str, Any]) -> str:
    """Describe the process that holds a lock, and how to remove a stale lock."""
    process = f"Process {holder.get('pid', '?')} on {holder.get('host', '?')} has been writing into it since"
    path = holder.get("path", FILE)
    return f"{process} {holder.get('since', '?')}; if that process is gone, delete {path}"


def _acquire(path: Path) -> int | dict[str, Any]:
    """Return the handle of the lock file if this process has acquired it, otherwise its holder."""
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        is_new = not path.exists()
        flags = os.O_RDWR | os.O_CREAT | (os.O_EXCL if fcntl is None else 0)
        try:
            handle = os.open(path, flags, 0o644)
        except FileExistsError:
            return {**_read_holder(path), "path": str(path)}
        holder = _read_open_holder(handle)
        locked = _try_lock(handle)
        if locked and not _same_file(handle, path):  # the previous holder has removed the file
            os.close(handle)
            continue
        if locked and (is_new or not is_on_other_machine(holder)):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(_this_process()).encode(), 0)
            return handle
        os.close(handle)
        if locked or time.monotonic() > deadline:
            return {**holder, "path": str(path)}
        time.sleep(0.02)


def _try_lock(handle: int) -> bool:
    """Try to lock an open file, and return whether that succeeded."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: only the content of the file counts
        return True
    return True


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def is_on_other_machine(holder: dict[str, Any]) -> bool:
    """Return whether another machine, which may not share its locks with this one, holds the lock."""
    if not holder or (holder.get("boot") is not None and holder["boot"] == _boot_id()):
        return False
    return holder.get("host") != socket.gethostname()


def _this_process() -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot_id(), "since": since}


def _boot_id() -> str | None:
    """Return the identifier of the kernel's current boot, which is the same in all containers of a machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _read_holder(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_open_holder(handle: int) -> dict[str, Any]:
    try:
        content = json.loads(os.pread(handle, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
