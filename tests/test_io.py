"""safetensors files and crash-safe writing."""

import errno
import json
import os
import pickle
import random
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlext.io import Entry, FileFormatError, atomic_write, open_regular, read, write

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX only")

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype.newbyteorder("=")
    assert actual.shape == expected.shape
    assert actual.tobytes() == np.asarray(expected, expected.dtype.newbyteorder("=")).tobytes()


def random_tensors(seed):
    rng = np.random.default_rng(seed)
    tensors = {}
    for i in range(int(rng.integers(0, 7))):
        shape = tuple(rng.integers(0, 5, rng.integers(0, 4)))
        dtype = np.dtype(DTYPES[rng.integers(len(DTYPES))])
        raw = rng.integers(0, 2 if dtype.kind == "b" else 100, shape)
        tensors[f'tensor {i} é\n"{"x" * i}'] = np.asarray(raw, dtype)
    return tensors


@pytest.mark.parametrize("seed", range(20))
def test_round_trip(tmp_path, seed):
    tensors = random_tensors(seed)
    write(tmp_path / "a", tensors, {"key": "värde"} if seed % 2 else None)
    back, metadata = read(tmp_path / "a")
    assert metadata == ({"key": "värde"} if seed % 2 else {})
    assert set(back) == set(tensors)
    for name, entry in back.items():
        assert_same(entry.data, tensors[name])
        assert entry.data.flags.writeable
        assert entry.data.flags.owndata


@pytest.mark.parametrize("seed", range(20))
def test_official_package_reads_ours(tmp_path, seed):
    official = pytest.importorskip("safetensors.numpy")
    tensors = random_tensors(seed)
    write(tmp_path / "a", tensors, {"a": "b"})
    back = official.load_file(tmp_path / "a")
    assert set(back) == set(tensors)
    for name, array in back.items():
        assert_same(array, tensors[name])


@pytest.mark.parametrize("seed", range(20))
def test_ours_reads_official_package(tmp_path, seed):
    official = pytest.importorskip("safetensors.numpy")
    tensors = random_tensors(seed)
    official.save_file(tensors, tmp_path / "a", metadata={"x": "1"})
    back, metadata = read(tmp_path / "a")
    assert metadata == {"x": "1"}
    assert set(back) == set(tensors)
    for name, entry in back.items():
        assert_same(entry.data, tensors[name])


def test_bfloat16(tmp_path):
    bits = np.array([[0x3F80, 0x4000]], np.uint16)
    write(tmp_path / "a", {"w": Entry("BF16", bits)})
    entry = read(tmp_path / "a")[0]["w"]
    assert entry.dtype == "BF16"
    assert entry.shape == (1, 2)
    assert_same(entry.data, bits)
    torch = pytest.importorskip("torch")
    loaded = pytest.importorskip("safetensors.torch").load_file(tmp_path / "a")
    assert loaded["w"].dtype == torch.bfloat16
    assert loaded["w"].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("kind", ["swapped", "transposed", "reversed", "gap", "broadcast", "scalar"])
def test_any_layout(tmp_path, kind):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    array = {
        "swapped": x.astype(">f4"),
        "transposed": x.T,
        "reversed": x[::-1],
        "gap": x[:, ::2],
        "broadcast": np.broadcast_to(x[0], (5, 4)),
        "scalar": x[1, 2],
    }[kind]
    write(tmp_path / "a", {"x": array})
    assert_same(read(tmp_path / "a")[0]["x"].data, np.asarray(array))


def test_same_input_same_bytes_and_alignment(tmp_path):
    tensors = {"b": np.zeros(3, np.int8), "a": np.zeros(3, np.float64), "c": np.zeros(1, np.int8)}
    write(tmp_path / "1", tensors)
    write(tmp_path / "2", dict(reversed(tensors.items())))
    raw = (tmp_path / "1").read_bytes()
    assert raw == (tmp_path / "2").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert length % 8 == 0
    for name, array in tensors.items():
        assert header[name]["data_offsets"][0] % array.itemsize == 0


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "text"),
    [
        ({"x": np.zeros(1, complex)}, None, TypeError, "complex128"),
        ({"x": np.array(["a"])}, None, TypeError, "<U1"),
        ({"x": np.array([None])}, None, TypeError, "object"),
        ({1: np.zeros(1)}, None, TypeError, "expected str, got int"),
        ({"__metadata__": np.zeros(1)}, None, ValueError, "reserved"),
        ({"a\0b": np.zeros(1)}, None, ValueError, "NUL"),
        ({"x" * 5000: np.zeros(1)}, None, ValueError, "5000 characters"),
        ({"\ud800": np.zeros(1)}, None, ValueError, "surrogate"),
        ({"x": Entry("BF16", np.zeros(1, np.float32))}, None, TypeError, "BF16"),
        ({"x": Entry("F8_E4M3", np.zeros(1, np.uint8))}, None, TypeError, "F8_E4M3"),
        ({}, {"a": 1}, TypeError, "str to str"),
        ({}, {"a": "\ud800"}, ValueError, "Unicode"),
    ],
)
def test_write_refuses(tmp_path, tensors, metadata, error, text):
    with pytest.raises(error, match=text):
        write(tmp_path / "a", tensors, metadata)
    assert list(tmp_path.iterdir()) == []


# ---- malformed files


def pack(header, data=b"", length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def one(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"t": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}}


def two(first, second):
    return {
        **one("U8", (first[1] - first[0],), first),
        "u": {"dtype": "U8", "shape": [second[1] - second[0]], "data_offsets": list(second)},
    }


BAD = {
    "empty": (b"", "0 bytes"),
    "seven bytes": (b"1234567", "7 bytes"),
    "length 2**64-1": (pack(b"{}", length=2**64 - 1), "18446744073709551615"),
    "length over limit": (pack(b"{}", length=100_000_001), "100000000"),
    "length past end": (pack(b"{}", length=3), "header length is 3, but 2"),
    "length 0": (pack(b""), "starts with b''"),
    "not UTF-8": (pack(b'{"\xff": 1}'), "utf-8"),
    "not JSON": (pack(b"{nope"), "not valid"),
    "nested": (pack(b'{"a":' + b"[" * 100_000), "nested"),
    "nested objects": (pack(b'{"a":' * 100_000), "nested"),
    "array": (pack(b"[]"), "starts with b'\\['"),
    "leading blank": (pack(b" {}"), "starts with b' '"),
    "name twice": (pack(b'{"a":1,"a":2}'), "occurs twice"),
    "NaN": (pack(b'{"a":NaN}'), "NaN"),
    "huge number": (pack(b'{"a":' + b"9" * 5000 + b"}"), "not valid"),
    "bytes after JSON": (pack(b"{}x"), "not valid"),
    "entry is number": (pack({"t": 1}), "'t'"),
    "field missing": (pack({"t": {"dtype": "F32", "shape": [1]}}), "data_offsets"),
    "field unknown": (pack(one(more=1), bytes(8)), "expected an object with the fields"),
    "metadata list": (pack({"__metadata__": []}), "__metadata__"),
    "metadata number": (pack({"__metadata__": {"a": 1}}), "expected a string"),
    "dtype unknown": (pack(one("F33"), bytes(8)), "'F33' is not supported; supported are F64"),
    "dtype F8": (pack(one("F8_E4M3"), bytes(8)), "supported are"),
    "dtype number": (pack(one(7), bytes(8)), "dtype 7"),
    "dtype list": (pack(one([1]), bytes(8)), "dtype \\[1\\]"),
    "overflow 2**64": (pack(one(shape=(2**62, 4)), bytes(8)), "4611686018427387904"),
    "overflow 2**80": (pack(one(shape=(2**40, 2**40)), bytes(8)), "1099511627776"),
    "overflow with 0": (pack(one(shape=(2**62, 4, 0), offsets=(0, 0))), "larger than any memory"),
    "negative size": (pack(one(shape=(-2,)), bytes(8)), "shape \\[-2\\]"),
    "float size": (pack(one(shape=(2.0,)), bytes(8)), "shape \\[2.0\\]"),
    "bool size": (pack(one(shape=(True, 2)), bytes(8)), "shape \\[True, 2\\]"),
    "rank 65": (pack(one(shape=(1,) * 65, offsets=(0, 4)), bytes(4)), "at most 64"),
    "begin after end": (pack(one(offsets=(8, 0)), bytes(8)), "data_offsets \\[8, 0\\]"),
    "negative offset": (pack(one(offsets=(-8, 0)), bytes(8)), "data_offsets \\[-8, 0\\]"),
    "three offsets": (pack(one(offsets=(0, 8, 8)), bytes(8)), "data_offsets"),
    "float offset": (pack(one(offsets=(0, 8.0)), bytes(8)), "data_offsets"),
    "size and offsets": (pack(one(offsets=(0, 4)), bytes(4)), "takes 8 bytes, .* give 4"),
    "past end": (pack(one(), bytes(7)), "ends at 8, the data has 7"),
    "trailing": (pack(one(), bytes(9)), "end at 8, the data has 9"),
    "trailing, empty": (pack({}, bytes(1)), "end at 0, the data has 1"),
    "hole at start": (pack(one(offsets=(4, 12)), bytes(12)), "begins at 4, expected 0 \\(hole"),
    "hole": (pack(two((0, 4), (5, 8)), bytes(8)), "begins at 5, expected 4 \\(hole"),
    "overlap": (pack(two((0, 4), (3, 8)), bytes(8)), "begins at 3, expected 4 \\(overlap"),
    "same place": (pack(two((0, 4), (0, 4)), bytes(4)), "overlap"),
    "bool byte": (pack(one("BOOL", (3,), (0, 3)), b"\0\1\7"), "BOOL byte is 7"),
    "long name": (pack({"n" * 1_000_000: 1}), "1000000 characters"),
    "NUL name": (pack({"a\0b": 1}), "NUL"),
    "surrogate name": (pack(b'{"\\ud800": 1}'), "surrogate"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed(tmp_path, case):
    raw, text = BAD[case]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(raw)
    with pytest.raises(FileFormatError, match=text) as info:
        read(path)
    assert isinstance(info.value, ValueError)
    assert str(path) in str(info.value)
    assert len(str(info.value)) < 1000


def test_path_like_name_is_only_a_key(tmp_path):
    write(tmp_path / "a", {"../../x": np.ones(2), "": np.ones(1)})
    assert sorted(read(tmp_path / "a")[0]) == ["", "../../x"]
    assert names(tmp_path) == ["a"]


def test_random_damage_never_escapes(tmp_path):
    path = tmp_path / "a"
    write(path, {"w": np.ones((3, 4), np.float32), "b": np.array([True])}, {"k": "v"})
    good = path.read_bytes()
    rng = random.Random(0)
    for _ in range(3000):
        raw = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            action, place = rng.randrange(3), rng.randrange(len(raw))
            if action == 0:
                raw[place] = rng.randrange(256)
            elif action == 1:
                del raw[place : place + rng.randint(1, 8)]
            else:
                raw[place:place] = rng.randbytes(rng.randint(1, 8))
        path.write_bytes(raw)
        try:
            tensors, _ = read(path)
        except FileFormatError:
            continue
        assert sum(entry.data.nbytes for entry in tensors.values()) <= len(raw)


def test_directory_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="directory"):
        read(tmp_path)


@posix
def test_fifo_and_device_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    start = time.perf_counter()
    with pytest.raises(FileFormatError, match="FIFO"):
        read(tmp_path / "fifo")
    with pytest.raises(FileFormatError, match="device"):
        read("/dev/zero")
    assert time.perf_counter() - start < 5


def test_missing_and_forbidden(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    path = tmp_path / "secret"
    path.write_bytes(b"{}")
    path.chmod(0)
    if not os.access(path, os.R_OK):
        with pytest.raises(PermissionError):
            read(path)


def test_truncated_while_open(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write(path, {"w": np.ones(100_000)})

    def shrink(name):
        file = open_regular(name)
        file.seek(0)
        return Shrinking(file, name)

    class Shrinking:
        def __init__(self, file, name):
            self.file, self.name = file, name

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

        def fileno(self):
            return self.file.fileno()

        def readinto(self, buffer):
            if len(buffer) > 1000:
                os.truncate(self.name, 5000)
            return self.file.readinto(buffer)

    monkeypatch.setattr("mlext.io.safetensors.open_regular", shrink)
    with pytest.raises(FileFormatError, match="truncated"):
        read(path)


@posix
def test_big_header_claim_allocates_nothing(tmp_path):
    # A sparse file of 64 GiB whose header claims all of it: refused by the limit, not by memory.
    path = tmp_path / "sparse"
    path.write_bytes(struct.pack("<Q", 2**35))
    os.truncate(path, 2**36)
    with pytest.raises(FileFormatError, match="limit"):
        read(path)


def test_save_over_the_file_loaded_from(tmp_path):
    path = tmp_path / "a"
    write(path, {"w": np.ones(1000)})
    loaded = read(path)[0]["w"].data
    write(path, {"w": loaded * 2})
    assert (loaded == 1).all()
    assert (read(path)[0]["w"].data == 2).all()


def test_error_survives_pickling_by_others():
    error = pickle.loads(pickle.dumps(FileFormatError("p", "q")))
    assert (error.path, error.problem, str(error)) == ("p", "q", "p: q")


# ---- atomic_write


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_error_in_the_middle_keeps_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def interrupted():
        with atomic_write(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@posix
def test_order_of_sync_and_rename(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(fd):
        calls.append("directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else os.fstat(fd).st_size)
        fsync(fd)

    def spy_replace(old, new):
        calls.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    with atomic_write(tmp_path / "a") as file:
        file.write(b"12345")
    assert calls == [5, "rename", "directory"]  # all bytes are out of Python's buffer by then


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_disk_errors(tmp_path, monkeypatch, where, code):
    path = tmp_path / "a"
    write(path, {"w": np.ones(3)})

    def fail(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, where, fail)
    with pytest.raises(OSError, match=os.strerror(code)):
        write(path, {"w": np.zeros(3)})
    monkeypatch.undo()
    assert (read(path)[0]["w"].data == 1).all()
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_FSIZE as a full disk")
def test_write_that_stops_half_way(tmp_path):
    code = """
import resource, signal, sys
import numpy as np
from mlext.io import write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write(sys.argv[1], {"w": np.zeros(1_000_000)})
except OSError as error:
    sys.exit(7)
"""
    path = tmp_path / "a"
    write(path, {"w": np.ones(3)})
    run = subprocess.run([sys.executable, "-c", code, str(path)], env=environment(), check=False)
    assert run.returncode == 7
    assert (read(path)[0]["w"].data == 1).all()
    assert names(tmp_path) == ["a"]


def test_missing_directory_names_the_target(tmp_path):
    with pytest.raises(FileNotFoundError) as info, atomic_write(tmp_path / "no" / "a"):
        pass
    assert info.value.filename == str(tmp_path / "no" / "a")


@posix
def test_permissions_follow_umask_and_the_old_file(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "new", {})
        (tmp_path / "plain").write_bytes(b"")
    finally:
        os.umask(before)
    mode = stat.S_IMODE((tmp_path / "new").stat().st_mode)
    assert mode == 0o640 == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    (tmp_path / "new").chmod(0o604)
    write(tmp_path / "new", {"w": np.ones(1)})
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604


@posix
def test_symbolic_links(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "real").write_bytes(b"")
    link = tmp_path / "link"
    link.symlink_to(other / "real")
    write(link, {"w": np.ones(1)})
    assert link.is_symlink()
    assert names(other) == ["real"]
    assert set(read(other / "real")[0]) == {"w"}
    dangling = tmp_path / "dangling"
    dangling.symlink_to(other / "later")
    write(dangling, {})
    assert names(other) == ["later", "real"]
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="symbolic links"):
        write(loop, {})


@posix
def test_only_regular_files_are_replaced(tmp_path):
    with pytest.raises(IsADirectoryError):
        write(tmp_path, {})
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="regular"):
        write(tmp_path / "fifo", {})
    with pytest.raises(OSError, match="regular"):
        write("/dev/null", {})
    assert names(tmp_path) == ["fifo"]


@posix
def test_stale_files_go_and_live_ones_stay(tmp_path):
    path = tmp_path / "a"
    (tmp_path / ".a.999999999-0123abcd.tmp").write_bytes(b"dead")
    (tmp_path / f".a.{os.getpid()}-0123abcd.tmp").write_bytes(b"dead, the number reused")
    (tmp_path / ".b.999999999-0123abcd.tmp").write_bytes(b"another target's")
    (tmp_path / ".a.tmp").write_bytes(b"not ours")
    with atomic_write(path) as outer:
        outer.write(b"outer")
        write(path, {"w": np.ones(1)})  # a second writer must not take the first one's file
        assert len([name for name in names(tmp_path) if name.startswith(".a.")]) == 2
    assert path.read_bytes() == b"outer"
    assert names(tmp_path) == [".a.tmp", ".b.999999999-0123abcd.tmp", "a"]


def test_long_name(tmp_path):
    path = tmp_path / ("ö" * 120)
    write(path, {"w": np.ones(1)})
    assert names(tmp_path) == [path.name]


def environment():
    root = Path(sys.modules["mlext"].__file__).parent.parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])}


@posix
def test_kill_during_save_leaves_a_whole_file(tmp_path):
    path = tmp_path / "model.safetensors"
    script = str(Path(__file__).with_name("_save_loop.py"))
    rng = random.Random(1)
    seen = set()
    for _ in range(50):
        process = subprocess.Popen([sys.executable, script, str(path)], env=environment(), stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"saved\n"
        time.sleep(rng.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        tensors, metadata = read(path)
        step = int(metadata["step"])
        assert len(tensors) == 8
        assert all((entry.data == step).all() for entry in tensors.values())
        stale = [name for name in names(tmp_path) if name != path.name]
        assert len(stale) <= 1  # the next process's first save removes this one
        seen.add((step, bool(stale)))
    assert len({step for step, _ in seen}) > 1
    write(path, {})
    assert names(tmp_path) == [path.name]


def test_two_processes_save_to_one_name(tmp_path):
    path = tmp_path / "a"
    script = str(Path(__file__).with_name("_save_loop.py"))
    running = [
        subprocess.Popen(
            [sys.executable, script, str(path)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    try:
        for process in running:
            assert process.stdout.readline() == b"saved\n"
        for _ in range(100):
            tensors, metadata = read(path)
            step = int(metadata["step"])
            assert all((entry.data == step).all() for entry in tensors.values())
        assert all(process.poll() is None for process in running)
    finally:
        for process in running:
            process.kill()
            process.communicate()
