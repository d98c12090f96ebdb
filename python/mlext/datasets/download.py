"""Downloads into a cache: checked by SHA-256, whole or not at all, with progress."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlext.io import atomic_write

__all__ = ["DownloadError", "Progress", "cache_dir", "fetch"]

Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 18
_TIMEOUT = 30.0
_MAX_BYTES = 1 << 32


class DownloadError(OSError):
    """A file could not be downloaded; the text says what was tried and what to do instead."""


def cache_dir() -> Path:
    """Where downloaded data sets are kept: ``$MLEXT_DATA``, else ``~/.cache/mlext``."""
    chosen = os.environ.get("MLEXT_DATA")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mlext"


def fetch(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str,
    progress: Progress | bool | None = None,
) -> Path:
    """Download a file unless it is already there with the right content.

    Parameters
    ----------
    url : str
        An ``http://`` or ``https://`` address.
    path : path-like
        Where to keep the file; folders are made. It is written crash-safe: no other process
        ever sees half of it.
    sha256 : str
        The file's SHA-256 in hexadecimal.
    progress : callable or bool, optional
        ``progress(done, total)`` in bytes, total None if unknown. True draws a bar on standard
        error, False nothing; by default a bar if standard error is a terminal.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If `sha256` is no SHA-256 or `url` has another scheme.
    DownloadError
        If the server cannot be reached, refuses, sends too little or the wrong content.
    """
    wanted = sha256.lower()
    if len(wanted) != 64 or set(wanted) - set("0123456789abcdef"):
        raise ValueError(f"fetch: argument 'sha256': expected 64 hex digits, got {sha256!r}")
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"fetch: argument 'url': expected http:// or https://, got {url!r}")
    target = Path(path)
    if target.is_file() and _file_digest(target) == wanted:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(target) as file:
            got = _receive(url, file.write, _reporter(progress, target.name))
            if got != wanted:
                raise DownloadError(f"its SHA-256 is {got}, expected {wanted}")
    except DownloadError as error:
        raise DownloadError(
            f"cannot download {url}: {error}. Without a network, get the file elsewhere and put "
            f"it at {target}, or pass path= to the loader"
        ) from error.__cause__
    return target


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _receive(url: str, write: Callable[[bytes], object], report: Progress) -> str:
    """Stream ``url`` into ``write``; return its SHA-256."""
    import http.client
    import urllib.error
    import urllib.request

    digest, done = hashlib.sha256(), 0
    request = urllib.request.Request(url, headers={"User-Agent": "mlext"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            total = _content_length(response)
            while chunk := response.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                _check_length(done, _MAX_BYTES if total is None else total)
                _write_chunk(write, chunk)
                report(done, total)
    except _DiskError as error:
        raise error.cause from None
    except DownloadError:
        raise
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the response, with an open socket
        raise DownloadError(str(error) or type(error).__name__) from error
    if total is not None and done != total:
        raise DownloadError(f"truncated: expected {total} bytes, got {done}")
    return digest.hexdigest()


class _DiskError(Exception):
    """Carries a full disk past the handler of network errors: both are OSErrors."""

    def __init__(self, cause: OSError) -> None:
        self.cause = cause


def _write_chunk(write: Callable[[bytes], object], chunk: bytes) -> None:
    try:
        write(chunk)
    except OSError as error:
        raise _DiskError(error) from None


def _content_length(response: Any) -> int | None:
    text = response.headers.get("Content-Length")
    return int(text) if text and text.isdigit() else None


def _check_length(done: int, limit: int) -> None:
    if done > limit:
        raise DownloadError(f"the server sent more than {limit} bytes")


def _reporter(progress: Progress | bool | None, name: str) -> Progress:
    """Choose what is told about progress."""
    if callable(progress):
        return progress
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
    return _Bar(name) if progress else _ignore


def _ignore(done: int, total: int | None) -> None:
    pass


class _Bar:
    """One line on standard error, redrawn at whole per cents or mebibytes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown = -1

    def __call__(self, done: int, total: int | None) -> None:
        """Redraw when the shown number changes."""
        step = done >> 20 if not total else 100 * done // total
        if step == self.shown:
            return
        self.shown = step
        if total:
            filled = "#" * (step * 30 // 100)
            text = f"\r{self.name} [{filled:<30}] {step:3d} % of {total / 1e6:.1f} MB"
            text += "\n" if done == total else ""
        else:
            text = f"\r{self.name} {done / 1e6:.1f} MB"
        sys.stderr.write(text)
        sys.stderr.flush()
