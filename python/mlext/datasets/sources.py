"""Finding the files of a data set: where the caller says, in the cache, or on the network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mlext.datasets.download import Progress, cache_dir, fetch

__all__ = ["IDX_FILES", "IDX_NAMES", "Source", "has_idx", "idx_file", "locate"]

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
IDX_FILES = tuple(f"{name}.gz" for name in IDX_NAMES)


class Source(NamedTuple):
    """Where a data set lives on the network and the SHA-256 of each of its files."""

    name: str
    url: str
    files: tuple[str, ...]
    known: Mapping[str, str]


def locate(
    source: Source,
    path: str | os.PathLike[str] | None,
    url: str | None,
    sha256: str | Mapping[str, str] | None,
    download: bool,
    progress: Progress | bool | None,
) -> Path:
    """Return the file or folder of a data set, downloading it if that is wanted."""
    if path is not None:
        if url is not None or download:
            raise ValueError(f"load {source.name}: pass either argument 'path' or 'url' and 'download', not both")
        if not os.path.exists(path):
            raise FileNotFoundError(f"load {source.name}: no file or folder {os.fspath(path)}")
        return Path(path)
    if url is not None:
        return _download(source, url, sha256, progress)
    tried = _candidates(source)
    for candidate in tried:
        if candidate.is_file() or _is_complete(candidate):
            return candidate
    if download:
        return _download(source, source.url, sha256, progress)
    raise FileNotFoundError(
        f"load {source.name}: not found at {', '.join(map(str, tried))}. Pass download=True to "
        f"get it from {source.url}, or the files' folder as path=, or set MLEXT_DATA"
    )


def _candidates(source: Source) -> list[Path]:
    """Places to look for a data set, the most specific first."""
    folder = cache_dir()
    places = [folder / source.name, folder / f"{source.name}.npz"]
    if source.name == "mnist":
        places.append(Path.home() / ".keras" / "datasets" / "mnist.npz")
    return places


def _is_complete(folder: Path) -> bool:
    """Whether a folder has all files, as after a download that was not interrupted."""
    single = ("mnist.npz", "cifar-10-binary.tar.gz", "test_batch.bin")
    nested = "cifar-10-batches-bin/test_batch.bin"
    return has_idx(folder) or any((folder / name).is_file() for name in (*single, nested))


def has_idx(folder: Path) -> bool:
    """Whether a folder has all four IDX files."""
    return all(idx_file(folder, name) for name in IDX_NAMES)


def _download(
    source: Source,
    url: str,
    sha256: str | Mapping[str, str] | None,
    progress: Progress | bool | None,
) -> Path:
    """Download one file or all files of a folder; return what to read."""
    folder = cache_dir() / source.name
    last = url.rsplit("/", 1)[-1]
    single = last.endswith((".npz", ".tar.gz", ".tgz"))
    names = (last,) if single else source.files
    if isinstance(sha256, str) and len(names) > 1:
        raise ValueError(
            f"load {source.name}: argument 'sha256': expected a mapping from the names of "
            f"{len(names)} files, got one string"
        )
    for name in names:
        address = url if single else f"{url.rstrip('/')}/{name}"
        digest = _digest(source, name, sha256)
        fetch(address, folder / name, sha256=digest, progress=progress)
    return folder / names[0] if len(names) == 1 else folder


def _digest(source: Source, name: str, sha256: str | Mapping[str, str] | None) -> str:
    if isinstance(sha256, str):
        return sha256
    digest = (sha256 or source.known).get(name)
    if digest is None:
        raise ValueError(
            f"load {source.name}: argument 'sha256': {name} is not a file of the original data set; pass its SHA-256"
        )
    return digest


def idx_file(folder: Path, name: str) -> Path | None:
    """Find an IDX file: plain or .gz, with '-idx' or the '.idx' some archives unpack to."""
    dotted = name.replace("-idx", ".idx")
    for candidate in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    return None
