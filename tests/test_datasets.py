"""Data sets: embedded, read from files, downloaded from a local server."""

import gzip
import hashlib
import http.server
import io
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from mlext import datasets
from mlext.datasets import DownloadError, fetch
from mlext.datasets.download import _Bar
from mlext.datasets.folder import resize
from mlext.datasets.netpbm import read_netpbm
from mlext.io import FileFormatError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLEXT_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "cache"


# ---- embedded


@pytest.mark.parametrize("name", ["digits", "iris", "diabetes"])
def test_embedded_equal_scikit_learn(name):
    sklearn = pytest.importorskip("sklearn.datasets")
    theirs = getattr(sklearn, f"load_{name}")()
    ours = getattr(datasets, f"load_{name}")(dtype=np.float64)
    assert ours.data.dtype == np.float64
    assert (np.abs(ours.data - theirs.data) <= 1e-15).all()
    assert (ours.target == theirs.target).all()
    assert list(ours.feature_names) == list(theirs.feature_names)
    if name != "diabetes":
        assert ours.target.dtype == np.int64
        assert list(ours.target_names) == [str(t) for t in theirs.target_names]


def test_embedded_defaults():
    digits = datasets.load_digits()
    assert (digits.data.dtype, digits.data.shape) == (np.float32, (1797, 64))
    assert (digits.images.reshape(1797, 64) == digits.data).all()
    assert digits.images.shape == (1797, 8, 8)
    assert np.bincount(digits.target).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    raw = datasets.load_diabetes(scaled=False)
    assert raw.data[0].tolist() == np.array([59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87], np.float32).tolist()
    with pytest.raises(AttributeError, match="images"):
        _ = raw.images
    digits.data[:] = 0  # every call gives fresh arrays
    assert datasets.load_digits().data.max() == 16


def test_import_is_light():
    code = (
        "import sys; before = set(sys.modules); import mlext.datasets, mlext.data, mlext.metrics, "
        "mlext.io; heavy = {'matplotlib', 'sklearn', 'scipy', 'multiprocessing', 'urllib.request', "
        "'ssl', 'PIL', 'http'}; print(sorted(heavy & (set(sys.modules) - before)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; import numpy; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"


# ---- IDX and MNIST


def idx_bytes(array, code=8):
    array = np.asarray(array)
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def mnist_arrays():
    return {
        "train-images-idx3-ubyte": RNG.integers(0, 256, (7, 28, 28)).astype(np.uint8),
        "train-labels-idx1-ubyte": RNG.integers(0, 10, 7).astype(np.uint8),
        "t10k-images-idx3-ubyte": RNG.integers(0, 256, (3, 28, 28)).astype(np.uint8),
        "t10k-labels-idx1-ubyte": RNG.integers(0, 10, 3).astype(np.uint8),
    }


def assert_mnist(parts, arrays):
    (x, y), (x_test, y_test) = parts
    for got, name in zip((x, y, x_test, y_test), arrays, strict=True):
        assert (got == arrays[name]).all()
    assert (x.dtype, y.dtype, x.shape) == (np.uint8, np.int64, (7, 28, 28))


@pytest.mark.parametrize(("code", "dtype"), [(8, "u1"), (9, "i1"), (0xB, "i2"), (0xC, "i4"), (0xD, "f4"), (0xE, "f8")])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 5)])
@pytest.mark.parametrize("compressed", [False, True])
def test_idx(tmp_path, code, dtype, shape, compressed):
    array = (RNG.random(shape) * 100).astype(dtype)
    raw = idx_bytes(array, code)
    (tmp_path / "a").write_bytes(gzip.compress(raw) if compressed else raw)
    back = datasets.read_idx(tmp_path / "a")
    assert (back.dtype, back.shape) == (array.dtype, shape)
    assert (back == array).all()


GOOD_IDX = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "magic is missing"),
        (GOOD_IDX[:3], "magic is 00 00 08"),
        (b"\1" + GOOD_IDX[1:], "magic is 01 00"),
        (b"\0\0\x0a\1" + GOOD_IDX[4:], "magic is 00 00 0a"),
        (GOOD_IDX[:9], "2 axes, but 5 bytes"),
        (GOOD_IDX[:-1], "takes 6 bytes"),
        (GOOD_IDX + b"\0", "bytes follow"),
        (b"\0\0\x08\3" + b"\xff" * 12, "the file has fewer"),
        (b"\0\0\x08\xff" + b"\0" * 1020, "255 axes"),
    ],
)
def test_idx_malformed(tmp_path, raw, text, compressed):
    (tmp_path / "a").write_bytes(gzip.compress(raw) if compressed else raw)
    with pytest.raises(FileFormatError, match=text):
        datasets.read_idx(tmp_path / "a")


def test_idx_damaged_gzip(tmp_path):
    whole = gzip.compress(idx_bytes(RNG.integers(0, 256, (50, 50)).astype(np.uint8)))
    for i in range(2, len(whole), 97):
        (tmp_path / "a").write_bytes(whole[:i])
        with pytest.raises(FileFormatError):
            datasets.read_idx(tmp_path / "a")
    (tmp_path / "a").write_bytes(whole[:30] + b"\xff\xff\xff" + whole[33:])
    with pytest.raises(FileFormatError):
        datasets.read_idx(tmp_path / "a")


@pytest.mark.parametrize("form", ["plain", "gz", "dotted", "npz", "folder with npz"])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_from_disk(tmp_path, form, name):
    arrays = mnist_arrays()
    path = tmp_path
    if "npz" in form:
        keys = ("x_train", "y_train", "x_test", "y_test")
        np.savez(tmp_path / "mnist.npz", **dict(zip(keys, arrays.values(), strict=True)))
        path = tmp_path if form.startswith("folder") else tmp_path / "mnist.npz"
    for file, array in arrays.items():
        raw = idx_bytes(array)
        if form == "plain":
            (tmp_path / file).write_bytes(raw)
        elif form == "gz":
            (tmp_path / f"{file}.gz").write_bytes(gzip.compress(raw))
        elif form == "dotted":
            (tmp_path / file.replace("-idx", ".idx")).write_bytes(raw)
    assert_mnist(getattr(datasets, f"load_{name}")(path), arrays)


@pytest.mark.parametrize(
    ("name", "array", "text"),
    [
        ("train-images-idx3-ubyte", np.zeros((7, 28), np.uint8), "training images: expected uint8"),
        ("train-labels-idx1-ubyte", np.zeros(6, np.uint8), "training labels: expected"),
        ("t10k-labels-idx1-ubyte", np.full(3, 10, np.uint8), "test labels: expected 0..9, got 10"),
    ],
)
def test_mnist_that_does_not_fit(tmp_path, name, array, text):
    for file, good in mnist_arrays().items():
        (tmp_path / file).write_bytes(idx_bytes(array if file == name else good))
    with pytest.raises(FileFormatError, match=text):
        datasets.load_mnist(tmp_path)


def test_mnist_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        datasets.load_mnist(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="missing train-images-idx3-ubyte, train-labels"):
        datasets.load_mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match="download=True") as info:
        datasets.load_mnist()
    for place in ("cache/mnist", "cache/mnist.npz", "home/.keras/datasets/mnist.npz"):
        assert str(tmp_path / place) in str(info.value)
    with pytest.raises(ValueError, match="either argument 'path'"):
        datasets.load_mnist(tmp_path, download=True)


# ---- CIFAR-10


def cifar_files():
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    files = {}
    for name in names:
        images = RNG.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
        labels = RNG.integers(0, 10, 2).astype(np.uint8)
        records = [
            bytes([label]) + image.transpose(2, 0, 1).tobytes() for label, image in zip(labels, images, strict=True)
        ]
        files[name] = (b"".join(records), images, labels)
    return files


def archive_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, (raw, _, _) in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return buffer.getvalue()


def assert_cifar(parts, files):
    (x, y), (x_test, y_test) = parts
    order = sorted(name for name in files if name.startswith("data"))
    assert (x == np.concatenate([files[name][1] for name in order])).all()
    assert (y == np.concatenate([files[name][2] for name in order])).all()
    assert (x_test == files["test_batch.bin"][1]).all()
    assert (y_test == files["test_batch.bin"][2]).all()
    assert (x.shape, x.dtype, y.dtype) == ((10, 32, 32, 3), np.uint8, np.int64)


@pytest.mark.parametrize("form", ["folder", "nested", "archive", "folder with archive"])
def test_cifar10_from_disk(tmp_path, form):
    files = cifar_files()
    path = tmp_path
    if "archive" in form:
        (tmp_path / "cifar-10-binary.tar.gz").write_bytes(archive_of(files))
        path = tmp_path if form.startswith("folder") else tmp_path / "cifar-10-binary.tar.gz"
    else:
        folder = tmp_path if form == "folder" else tmp_path / "cifar-10-batches-bin"
        folder.mkdir(exist_ok=True)
        for name, (raw, _, _) in files.items():
            (folder / name).write_bytes(raw)
    assert_cifar(datasets.load_cifar10(path), files)


def test_cifar10_from_keras_npz(tmp_path):
    x = RNG.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    y = np.array([[3], [9]], np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert datasets.load_cifar10(tmp_path / "a.npz").test.target.tolist() == [3, 9]


@pytest.mark.parametrize("raw", [b"", bytes(3072), bytes(3074), b"\x0a" + bytes(3072)])
def test_cifar10_malformed_batch(tmp_path, raw):
    (tmp_path / "a.bin").write_bytes(raw)
    with pytest.raises(FileFormatError, match=r"3073 bytes|label is 10"):
        datasets.read_cifar10_batch(tmp_path / "a.bin")


def test_cifar10_malformed_archive(tmp_path):
    files = cifar_files()
    whole = archive_of(files)
    path = tmp_path / "a.tar.gz"
    for raw in (b"", b"no archive", whole[: len(whole) // 2], whole[:-3000]):
        path.write_bytes(raw)
        with pytest.raises(FileFormatError):
            datasets.load_cifar10(path)
    del files["data_batch_3.bin"]
    path.write_bytes(archive_of(files))
    with pytest.raises(FileFormatError, match="lacks data_batch_3.bin"):
        datasets.load_cifar10(path)
    for name, (raw, _, _) in files.items():
        (tmp_path / name).write_bytes(raw)
    with pytest.raises(FileNotFoundError, match="missing data_batch_3.bin"):
        datasets.load_cifar10(tmp_path)


# ---- .npz


@pytest.mark.parametrize("compressed", [False, True])
def test_npz(tmp_path, compressed):
    save = np.savez_compressed if compressed else np.savez
    arrays = {
        "a": np.asfortranarray(RNG.random((3, 4))),
        "b": np.arange(3, dtype=">i4"),
        "c": np.float32(3),
        "d": np.zeros((0, 2)),
        "e": np.zeros(100_000),
    }
    save(tmp_path / "a.npz", **arrays)
    back = datasets.read_npz(tmp_path / "a.npz")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].shape == array.shape
        assert back[name].dtype == array.dtype.newbyteorder("=")
        assert (back[name] == array).all()


def test_npz_pairs(tmp_path):
    path = tmp_path / "a.npz"
    x, y = RNG.random((4, 2)), np.arange(4)
    for names in (("x", "y"), ("X", "y"), ("data", "target"), ("x_train", "y_train")):
        np.savez(path, **dict(zip(names, (x, y), strict=True)))
        loaded = datasets.load_npz(path)
        assert isinstance(loaded, datasets.Dataset)
        assert (loaded.data == x).all()
        assert (loaded.target == y).all()
    np.savez(path, x_train=x, y_train=y, x_test=x[:1], y_test=y[:1])
    loaded = datasets.load_npz(path)
    assert isinstance(loaded, datasets.TrainTest)
    assert len(loaded.test.data) == 1
    np.savez(path, x=RNG.random((4, 5, 6)), y=y)
    assert datasets.load_npz(path).images.shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"a": np.zeros(3)}, "got a"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2)}, "3 rows and y has 2"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "0 rows"),
        ({"x": np.array(["a"]), "y": np.zeros(1)}, "expected numbers"),
        ({"x": np.float32(1), "y": np.zeros(1)}, "along an axis"),
        ({"x": np.array([None]), "y": np.zeros(1)}, "pickle"),
    ],
)
def test_npz_that_does_not_fit(tmp_path, arrays, text):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileFormatError, match=text):
        datasets.load_npz(tmp_path / "a.npz")


def npy_bytes(header, data=b"", version=(1, 0)):
    raw = header.encode()
    size = struct.pack("<H" if version == (1, 0) else "<I", len(raw))
    return b"\x93NUMPY" + bytes(version) + size + raw + data


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"\x93NUMPY",
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}\n", bytes(15)),
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}\n", bytes(17)),
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (-2,)}\n", bytes(16)),
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,)}\n"),
        npy_bytes("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"cos\nsystem\n"),
        npy_bytes("{'descr': '<f9', 'fortran_order': False, 'shape': (2,)}\n", bytes(18)),
        npy_bytes("{'descr': '<f8'}\n", bytes(16)),
        npy_bytes("(" * 3000, bytes(16)),
        npy_bytes("__import__('os')\n", bytes(16)),
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}\n", bytes(16), (9, 0)),
    ],
)
def test_npz_malformed_member(tmp_path, member, compression):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("x.npy", member)
    with pytest.raises(FileFormatError, match="x"):
        datasets.read_npz(tmp_path / "a.npz")


def test_npz_random_damage_never_escapes(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.arange(300), y=np.ones((3, 4)))
    good = path.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(700):
        raw = bytearray(good)
        for place in rng.integers(0, len(raw), 2):
            raw[place] = rng.integers(256)
        path.write_bytes(raw[: rng.integers(1, len(raw))] if rng.random() < 0.2 else raw)
        try:
            datasets.read_npz(path)
        except FileFormatError:
            refused += 1
    assert refused > 200


# ---- downloads


class Handler(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}  # noqa: RUF012
    requests = 0

    def do_GET(self):
        type(self).requests += 1
        body = self.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        if "unsized" not in self.path:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if "cut" in self.path else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    Handler.files, Handler.requests = {}, 0
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    thread.join()
    running.server_close()


def digest(raw):
    return hashlib.sha256(raw).hexdigest()


def files_under(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", ["sized", "unsized"])
def test_fetch(tmp_path, server, name):
    body = RNG.bytes(1_000_000)
    Handler.files[f"/{name}"] = body
    calls = []
    path = tmp_path / "deep" / "file"
    got = fetch(
        f"{server}/{name}",
        path,
        sha256=digest(body).upper(),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert got == path
    assert path.read_bytes() == body
    assert files_under(tmp_path) == ["file"]
    assert calls[-1] == (len(body), len(body) if name == "sized" else None)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    fetch(f"{server}/{name}", path, sha256=digest(body))
    assert Handler.requests == 1  # it was there already
    path.write_bytes(body[:10])
    fetch(f"{server}/{name}", path, sha256=digest(body))
    assert path.read_bytes() == body  # a damaged one is replaced


@pytest.mark.parametrize(
    ("name", "sha256", "text"),
    [
        ("file", "0" * 64, "SHA-256 is [0-9a-f]{64}, expected 0000"),
        ("missing", "0" * 64, "404"),
        ("cut", digest(b"x" * 1000), "truncated: expected 1000 bytes, got 500"),
    ],
)
def test_fetch_fails(tmp_path, server, name, sha256, text):
    Handler.files.update({"/file": b"x" * 1000, "/cut": b"x" * 1000})
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(DownloadError, match=text) as info:
        fetch(f"{server}/{name}", path, sha256=sha256)
    assert f"{server}/{name}" in str(info.value)
    assert str(path) in str(info.value)
    assert "path=" in str(info.value)
    assert path.read_bytes() == b"old"
    assert files_under(tmp_path) == ["file"]


def test_fetch_without_network(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match="refused.*Without a network"):
        fetch(f"http://127.0.0.1:{port}/a", tmp_path / "a", sha256="0" * 64)
    with pytest.raises(DownloadError, match="Without a network"):
        fetch("http://host.invalid/a", tmp_path / "a", sha256="0" * 64)
    assert files_under(tmp_path) == []


def test_fetch_refuses_arguments(tmp_path):
    with pytest.raises(ValueError, match="64 hex digits"):
        fetch("http://127.0.0.1/", tmp_path / "a", sha256="abc")
    with pytest.raises(ValueError, match="http"):
        fetch("file:///etc/passwd", tmp_path / "a", sha256="0" * 64)


def test_fetch_interrupted(tmp_path, server):
    Handler.files["/a"] = b"x" * 100

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server}/a", tmp_path / "a", sha256="0" * 64, progress=interrupt)
    assert files_under(tmp_path) == []


def test_fetch_full_disk_is_not_a_network_error(tmp_path, server, monkeypatch):
    Handler.files["/a"] = b"x" * 100

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlext.datasets.download.atomic_write", lambda path: Full())
    with pytest.raises(OSError, match="No space left") as info:
        fetch(f"{server}/a", tmp_path / "a", sha256="0" * 64)
    assert not isinstance(info.value, DownloadError)


def test_progress_bar(capsys):
    bar = _Bar("file")
    for done in range(0, 1001, 10):
        bar(done, 1000)
    text = capsys.readouterr().err
    assert text.endswith("[" + "#" * 30 + "] 100 % of 0.0 MB\n")
    assert text.count("\r") == 101
    _Bar("file")(5_000_000, None)
    assert "5.0 MB" in capsys.readouterr().err


def test_mnist_download(server, own_cache):
    arrays = mnist_arrays()
    files = {f"{name}.gz": gzip.compress(idx_bytes(array)) for name, array in arrays.items()}
    Handler.files.update({f"/data/{name}": raw for name, raw in files.items()})
    digests = {name: digest(raw) for name, raw in files.items()}
    assert_mnist(datasets.load_mnist(url=f"{server}/data/", sha256=digests), arrays)
    assert files_under(own_cache) == sorted(files)
    before = Handler.requests
    assert_mnist(datasets.load_mnist(), arrays)  # from the cache
    assert Handler.requests == before
    (own_cache / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()  # as if interrupted
    with pytest.raises(FileNotFoundError, match="download=True"):
        datasets.load_mnist()
    datasets.load_mnist(url=f"{server}/data", sha256=digests)
    assert Handler.requests == before + 1


def test_mnist_download_checks_the_original_content(server):
    Handler.files["/train-images-idx3-ubyte.gz"] = b"something else"
    with pytest.raises(DownloadError, match="expected 440fcabf73cc546f"):
        datasets.load_mnist(url=server)
    with pytest.raises(ValueError, match="my.npz is not a file of the original"):
        datasets.load_mnist(url=f"{server}/my.npz")
    with pytest.raises(ValueError, match="mapping"):
        datasets.load_mnist(url=server, sha256="0" * 64)


def test_npz_and_cifar_download(server):
    arrays = mnist_arrays()
    buffer = io.BytesIO()
    np.savez(
        buffer,
        **dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays.values(), strict=True)),
    )
    raw = buffer.getvalue()
    Handler.files["/mnist.npz"] = raw
    assert_mnist(datasets.load_mnist(url=f"{server}/mnist.npz", sha256=digest(raw)), arrays)
    assert_mnist(datasets.load_mnist(), arrays)
    files = cifar_files()
    archive = archive_of(files)
    Handler.files["/cifar-10-binary.tar.gz"] = archive
    url = f"{server}/cifar-10-binary.tar.gz"
    assert_cifar(datasets.load_cifar10(url=url, sha256=digest(archive)), files)
    assert_cifar(datasets.load_cifar10(), files)


# ---- CSV


def load(tmp_path, text, **options):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return datasets.load_csv(path, **options)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", [True, False])
def test_csv(tmp_path, delimiter, end, header):
    lines = [["1", "2.5", "cat"], ["-3e2", " 4", "dog"], ["5", "6", "cat"]]
    names = [["a", "b", "kind"]] if header else []
    text = end.join(delimiter.join(line) for line in [*names, *lines]) + end * 2
    table = load(tmp_path, text)
    assert table.data.dtype == np.float32
    assert table.data.tolist() == [[1, 2.5], [-300, 4], [5, 6]]
    assert table.target.tolist() == [0, 1, 0]
    assert table.target_names == ("cat", "dog")
    assert table.feature_names == (("a", "b") if header else ("column_1", "column_2"))


def test_csv_quotes_and_bom(tmp_path):
    table = load(tmp_path, '\ufeff"a, b",label\n"1.5","x, ""y"""\n2,"line\nbreak"\n3,z\n')
    assert table.feature_names == ("a, b",)
    assert table.target_names == ("line\nbreak", 'x, "y"', "z")
    assert table.data.ravel().tolist() == [1.5, 2, 3]


def test_csv_targets(tmp_path):
    text = "y,a,b\n3,1,2\n1,3,4\n3,5,6\n"
    for target in (0, -3, "y"):
        table = load(tmp_path, text, target=target)
        assert (table.target.dtype, table.target.tolist()) == (np.int64, [3, 1, 3])
        assert table.feature_names == ("a", "b")
    table = load(tmp_path, text, target="y", classes=True)
    assert (table.target.tolist(), table.target_names) == ([1, 0, 1], ("1", "3"))
    table = load(tmp_path, text, target=None)
    assert (table.data.shape, table.target.shape) == ((3, 3), (0,))
    table = load(tmp_path, "1,0.5\n2,10\n", dtype=np.float64)
    assert (table.target.dtype, table.target.tolist()) == (np.float64, [0.5, 10])
    assert load(tmp_path, "1,10\n2,9\n3,10.0\n", classes=True).target_names == ("9", "10")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "no rows"),
        ("\n\n", {}, "no rows"),
        ("a,b\n", {}, "no rows of data"),
        ("1\n2\n", {}, "no features"),
        ("a,b,c\n1,2,x\n3,,y\n", {}, r"line 3, column 2 \('b'\): value is missing"),
        ("1,2,x\n3,NA,y\n", {}, "line 2, column 2: value is missing"),
        ("1,2,x\n3,nan,y\n", {}, "line 2, column 2: value is missing"),
        ("1,2,x\n3,inf,y\n", {}, "line 2, column 2: 'inf' is not a finite number"),
        ("1,2,x\n3,1e999,y\n", {}, "line 2, column 2: '1e999' is not a finite number"),
        ("1,2,x\n3,1e200,y\n", {}, "line 2: 1e\\+200 is too large for float32"),
        ("1,2,x\n3,4,\n", {}, "line 2, column 3: value is missing"),
        ("a,b\n1,2\nred,3\n", {}, r"line 3, column 1 \('a'\): 'red' is not"),
        ("1,2,3\n1,2\n", {}, "line 2: expected 3 fields, got 2"),
        ("1,2,3\n\n1,2,3,4\n", {}, "line 3: expected 3 fields, got 4"),
        ('1,2\n"a\nb",3\n', {}, r"line 2, column 1: 'a\\nb' is not"),
        ('1,2\n"3,4\n', {}, "line 2: unexpected end"),
        ("a,b\n1,2\n", {"target": "c"}, "target 'c': expected one column.*a, b"),
        ("a,a\n1,2\n", {"target": "a"}, "found 2"),
        ("1,2\n3,4\n", {"target": 2}, "target 2: the table has 2 columns"),
        ("1,2\n3,x\n", {"classes": False}, "line 2, column 2: 'x' is not"),
        (b"1,2\n\xff,3\n", {}, "UTF-8"),
        ("1,2\n" + "9" * 200_000 + ",3\n", {}, "line 2: field larger"),
    ],
)
def test_csv_malformed(tmp_path, text, options, message):
    with pytest.raises(FileFormatError, match=message) as info:
        load(tmp_path, text, **options)
    assert str(tmp_path / "table.csv") in str(info.value)


def test_csv_refuses_arguments(tmp_path):
    with pytest.raises(TypeError, match="floating"):
        load(tmp_path, "1,2\n", dtype=np.int32)
    with pytest.raises(ValueError, match="one character"):
        load(tmp_path, "1,2\n", delimiter=", ")
    with pytest.raises(FileFormatError, match="directory"):
        datasets.load_csv(tmp_path)


# ---- images


GREY = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
COLOUR = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"P5 3 2 255\n" + GREY.tobytes(), GREY),
        (b"P5\n# note\n3 # more\n2\n255\n" + GREY.tobytes(), GREY),
        (b"P6\n3 2\n255\n" + COLOUR.tobytes(), COLOUR),
        (b"P2 3 2 255\n0 1 2\n3 4 5\n", GREY),
        (b"P3 1 1 255 1 2 3", np.array([[[1, 2, 3]]])),
        (b"P5 2 1 65535\n\xff\xff\x80\x80", np.array([[[255], [128]]])),
        (b"P2 3 1 2 0 1 2", np.array([[[0], [128], [255]]])),
    ],
)
def test_netpbm(tmp_path, raw, expected):
    (tmp_path / "a").write_bytes(raw)
    image = read_netpbm(tmp_path / "a")
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    assert (image == expected).all()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"P",
        b"P4 1 1\n\0",
        b"P5",
        b"P5 3 2 255",
        b"P5 3 2",
        b"P5 3 x 255\n",
        b"P5 # no end",
        b"P5 3 2 255\n12345",
        b"P5 3 2 255\n1234567",
        b"P5 0 2 255\n",
        b"P5 3 2 0\n123456",
        b"P5 1 1 65536\n12",
        b"P5 1 1 300\n123",
        b"P5 1 1 100\n\xff",
        b"P2 1 1 255 x",
        b"P2 1 1 255 -1",
        b"P2 1 1 255 1 2",
        b"P2 1 1 9 10",
        b"P2 1 1 255 " + b"9" * 30,
        b"P5 999999999999 1 255\n",
        b"P5 1000000 1000000 255\n1",
        b"P2 1 1 255 ",
    ],
)
def test_netpbm_malformed(tmp_path, raw):
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(FileFormatError):
        read_netpbm(tmp_path / "a")


def write_pgm(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = image.shape
    path.write_bytes(f"P5 {width} {height} 255\n".encode() + image.tobytes())


def test_image_folder(tmp_path):
    root = tmp_path / "images"
    images = RNG.integers(0, 256, (3, 4, 5)).astype(np.uint8)
    write_pgm(root / "dog" / "1.pgm", images[0])
    write_pgm(root / "cat" / "2.pgm", images[1])
    np.save(root / "cat" / "1.npy", images[2])
    (root / "cat" / "notes.txt").write_text("skipped")
    (root / ".hidden").mkdir()
    (root / "readme.md").write_text("skipped")
    loaded = datasets.load_image_folder(root)
    assert loaded.target_names == ("cat", "dog")
    assert loaded.target.tolist() == [0, 0, 1]
    assert loaded.data.dtype == np.uint8
    assert loaded.images.shape == (3, 4, 5, 1)
    assert (loaded.data[..., 0] == images[[2, 1, 0]]).all()
    assert datasets.load_image_folder(root, 8).data.shape == (3, 8, 8, 1)
    assert datasets.load_image_folder(root, (2, 3), channels=3).data.shape == (3, 2, 3, 3)


def test_image_folder_with_pillow(tmp_path):
    image = pytest.importorskip("PIL.Image")
    root = tmp_path / "images"
    (root / "a").mkdir(parents=True)
    colour = RNG.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    image.fromarray(colour).save(root / "a" / "1.png")
    image.fromarray(colour[..., 0]).save(root / "a" / "2.png")
    loaded = datasets.load_image_folder(root)
    assert (loaded.data[0] == colour).all()
    assert (loaded.data[1] == colour[..., :1]).all()
    grey = datasets.load_image_folder(root, channels=1)
    assert np.abs(grey.data[0, ..., 0] - np.asarray(image.fromarray(colour).convert("L"), int)).max() <= 1
    (root / "a" / "3.png").write_bytes((root / "a" / "1.png").read_bytes()[:50])
    with pytest.raises(FileFormatError, match="3.png"):
        datasets.load_image_folder(root)
    image.fromarray(np.full((4, 5), 1000, np.uint16)).save(root / "a" / "3.png")
    with pytest.raises(FileFormatError, match="8 bits"):
        datasets.load_image_folder(root)


def test_image_folder_without_pillow(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install mlext\[images\]"):
        datasets.read_image(tmp_path / "a.png")


def test_image_folder_problems(tmp_path):
    root = tmp_path / "images"
    with pytest.raises(NotADirectoryError):
        datasets.load_image_folder(root)
    root.mkdir()
    with pytest.raises(ValueError, match="no folders"):
        datasets.load_image_folder(root)
    (root / "a").mkdir()
    with pytest.raises(ValueError, match="class 'a' has no images"):
        datasets.load_image_folder(root)
    write_pgm(root / "a" / "1.pgm", np.zeros((4, 5), np.uint8))
    write_pgm(root / "a" / "2.pgm", np.zeros((5, 4), np.uint8))
    with pytest.raises(ValueError, match=r"2.pgm has 5 x 4 pixels but .*1.pgm has 4 x 5; pass size"):
        datasets.load_image_folder(root)
    for size in (0, -1, (3,), (3, 0), "ab"):
        with pytest.raises(ValueError, match="size"):
            datasets.load_image_folder(root, size)
    with pytest.raises(ValueError, match="channels"):
        datasets.load_image_folder(root, 4, channels=2)
    np.save(root / "a" / "3.npy", np.zeros((4, 5)))
    with pytest.raises(FileFormatError, match="float64"):
        datasets.load_image_folder(root, 4)


def test_resize():
    flat = np.full((7, 5, 3), 77, np.uint8)
    assert (resize(flat, (13, 2)) == 77).all()
    image = pytest.importorskip("PIL.Image")
    picture = RNG.integers(0, 256, (20, 30)).astype(np.uint8)
    for size in ((10, 15), (40, 45), (7, 61), (1, 1)):
        theirs = np.asarray(image.fromarray(picture).resize(size[::-1], image.Resampling.BILINEAR), int)
        assert np.abs(resize(picture[..., None], size)[..., 0] - theirs).max() <= 1
