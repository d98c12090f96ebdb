"""Crash-safe writing: a file is either the old one, whole, or the new one, whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["atomic_write"]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file so that a crash, a full disk or a kill leaves the old or the new one whole.

    Bytes go to a temporary file in the same directory, are forced to disk, and the temporary
    file is renamed over the target; then the directory is forced to disk. On any error the
    temporary file is removed and the target is untouched. Temporary files left by killed
    processes are removed by the next write to the same name; those of running ones are not.

    Parameters
    ----------
    path : path-like
        The target. A symbolic link is followed: the file it points to is replaced, the link
        stays. A new file gets the permissions ``open(path, "wb")`` would give it; an existing
        one keeps its own.

    Yields
    ------
    BinaryIO
        Open for writing.

    Raises
    ------
    OSError
        If the directory or disk refuses, or the target exists and is not a regular file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(folder + "/a.txt") as file:
    ...         _ = file.write(b"whole")
    ...     print(Path(folder, "a.txt").read_text(), len(list(Path(folder).iterdir())))
    whole 1
    """
    target, mode = _resolve(path)
    _remove_stale(target)
    temporary, file = _create(target)
    try:
        with file:
            if mode is not None:
                os.chmod(temporary, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name != "nt":  # renamed while still locked: no moment in which it looks stale
                os.replace(temporary, target)
        if os.name == "nt":
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(target.parent)


def _resolve(path: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """Follow links and check what is there: the file to replace and its permissions, if any."""
    target = Path(os.path.realpath(path))
    try:
        status = os.lstat(target)
    except FileNotFoundError:
        return target, None
    if stat.S_ISLNK(status.st_mode):  # realpath gives up on a loop and returns a link
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file, refusing to replace it", os.fspath(path))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    return target, stat.S_IMODE(status.st_mode)


def _stem(target: Path) -> str:
    """Start of the temporary names of ``target``; hashed when names would exceed 255 bytes."""
    raw = os.fsencode(target.name)
    return target.name if len(raw) <= 200 else hashlib.sha256(raw).hexdigest()[:32]


def _create(target: Path) -> tuple[Path, BinaryIO]:
    """Create a fresh temporary file ``.<name>.<pid>-<random>.tmp`` and lock it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    while True:
        name = f".{_stem(target)}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
        temporary = target.with_name(name)
        try:
            file = os.fdopen(os.open(temporary, flags, 0o666), "wb")
        except FileExistsError:
            continue
        except OSError as error:
            error.filename = os.fspath(target)  # the name the caller knows
            raise
        # Another process that saves to the same name may have taken the file for a stale one
        # between its creation and the lock; it then has no name any more and we try again.
        _lock(file.fileno(), wait=True)
        if os.name == "nt" or os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()


def _lock(fd: int, *, wait: bool) -> bool | None:
    """Lock exclusively until closed: True, or False if held elsewhere, None if unsupported."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_stale(target: Path) -> None:
    """Remove temporary files of ``target`` whose writer is gone."""
    pattern = re.compile(rf"\.{re.escape(_stem(target))}\.(\d+)-[0-9a-f]{{8}}\.tmp")
    try:
        names = os.listdir(target.parent)
    except OSError:
        return
    for name in names:
        match = pattern.fullmatch(name)
        if match:
            with contextlib.suppress(OSError):
                _remove_if_stale(target.with_name(name), int(match[1]))


def _remove_if_stale(temporary: Path, pid: int) -> None:
    # A lock vanishes with its owner, whatever killed it, and knows other containers' processes;
    # the process id decides only where locks do not exist.
    if os.name == "nt":
        temporary.unlink()  # refused by the system while the writer has it open
        return
    fd = os.open(temporary, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        free = _lock(fd, wait=False)
        if free or (free is None and not _is_alive(pid)):
            temporary.unlink()
    finally:
        os.close(fd)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _sync_directory(folder: Path) -> None:
    """Force a rename to disk; file systems that cannot sync a directory order it themselves."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)
