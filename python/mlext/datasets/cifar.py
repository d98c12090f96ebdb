"""Strict reader of the binary version of CIFAR-10."""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlext.datasets.base import Labelled, TrainTest
from mlext.io import FileFormatError, open_regular
from mlext.io.files import read_into

__all__ = ["read_cifar10", "read_cifar10_batch"]

_RECORD = 1 + 3 * 32 * 32  # label, then the red, green and blue planes
_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_TEST = "test_batch.bin"
_ARCHIVE = "cifar-10-binary.tar.gz"
_MAX_MEMBER = 1 << 28  # a batch has 31 MB; more than this is no batch


def read_cifar10_batch(path: str | os.PathLike[str]) -> Labelled:
    """Read one ``.bin`` file: images (N, 32, 32, 3) uint8 and labels (N,) int64.

    Raises
    ------
    FileFormatError
        If the size is not a positive multiple of 3073 bytes or a label exceeds 9.
    """
    with open_regular(path) as file:
        raw = np.empty(os.fstat(file.fileno()).st_size, np.uint8)
        got = read_into(file, raw)
    return _parse(raw[:got], path)


def _parse(raw: NDArray[np.uint8], path: str | os.PathLike[str]) -> Labelled:
    if raw.size == 0 or raw.size % _RECORD:
        raise FileFormatError(path, f"expected a positive multiple of {_RECORD} bytes (one image), got {raw.size}")
    records = raw.reshape(-1, _RECORD)
    labels = records[:, 0]
    if labels.max() > 9:
        row = int(np.argmax(labels > 9))
        raise FileFormatError(path, f"image {row}: label is {labels[row]}, expected 0..9")
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Labelled(np.ascontiguousarray(images), labels.astype(np.int64))


def read_cifar10(path: str | os.PathLike[str]) -> TrainTest:
    """Read CIFAR-10 from a folder of ``.bin`` files or its ``.tar.gz``, which is not unpacked.

    Raises
    ------
    FileNotFoundError
        If the folder lacks a batch.
    FileFormatError
        If a batch or the archive is malformed, or the archive lacks a batch.
    """
    root = Path(path)
    if root.is_dir():
        batches = _read_folder(root)
    else:
        batches = _read_archive(root)
    train = [batches[name] for name in _TRAIN]
    images = np.concatenate([part.data for part in train])
    labels = np.concatenate([part.target for part in train])
    return TrainTest(Labelled(images, labels), batches[_TEST])


def _read_folder(root: Path) -> dict[str, Labelled]:
    for folder in (root, root / "cifar-10-batches-bin"):
        if (folder / _TEST).is_file():
            missing = [name for name in _TRAIN if not (folder / name).is_file()]
            if missing:
                raise FileNotFoundError(f"{folder}: missing {', '.join(missing)}")
            return {name: read_cifar10_batch(folder / name) for name in (*_TRAIN, _TEST)}
    if (root / _ARCHIVE).is_file():
        return _read_archive(root / _ARCHIVE)
    raise FileNotFoundError(f"{root}: missing {_TEST}, {', '.join(_TRAIN)} or {_ARCHIVE}")


def _read_archive(path: Path) -> dict[str, Labelled]:
    """Read the batches of an archive by their base names; nothing is written to disk."""
    batches: dict[str, Labelled] = {}
    with open_regular(path) as raw, io.BufferedReader(raw) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:*") as archive:
                for member in archive:
                    name = member.name.rsplit("/", 1)[-1]
                    if name in (*_TRAIN, _TEST) and member.isreg():
                        batches[name] = _read_member(archive, member, path)
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise FileFormatError(path, f"not a readable tar archive: {error}") from None
    missing = [name for name in (*_TRAIN, _TEST) if name not in batches]
    if missing:
        raise FileFormatError(path, f"the archive lacks {', '.join(missing)}")
    return batches


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Labelled:
    stream = archive.extractfile(member)
    if stream is None or member.size > _MAX_MEMBER:
        raise FileFormatError(path, f"{member.name}: {member.size} bytes is no CIFAR-10 batch")
    raw = np.frombuffer(stream.read(), np.uint8)
    return _parse(raw, f"{path}:{member.name}")
