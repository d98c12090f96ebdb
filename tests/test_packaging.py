"""What is installed, and what importing it does to a process."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import mlext

PROBE = """
import json, os, sys
import numpy as np
tasks = "/proc/self/task"
count = lambda: len(os.listdir(tasks)) if os.path.isdir(tasks) else 1
before = set(sys.modules), count(), dict(os.environ)
import mlext
print(json.dumps({
    "modules": sorted(set(sys.modules) - before[0]),
    "threads": count() - before[1],
    "environment": dict(os.environ) == before[2],
    "subnormal_float32": float(np.float32(1e-40) * np.float32(1)),
    "subnormal_array": float((np.full(64, 1e-40, np.float32) * np.float32(1)).max()),
    "subnormal_float64": 5e-324 * 1.0,
}))
"""


@pytest.fixture(scope="module")
def probe() -> dict[str, object]:
    """What `import mlext` did beyond `import numpy`, in a fresh process."""
    command = [sys.executable, "-W", "error", "-c", PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, object] = json.loads(done.stdout)
    return found


HEAVY = """scipy sklearn matplotlib pandas torch jax onnxruntime tensorboard PIL safetensors
multiprocessing concurrent.futures asyncio urllib.request http.client ssl socket sqlite3 unittest"""


@pytest.mark.parametrize("name", HEAVY.split())
def test_import_does_not_load(probe: dict[str, object], name: str) -> None:
    assert name not in probe["modules"]


@pytest.mark.parametrize("name", ["training", "datasets", "data", "io", "plot", "cli", "benchmarks"])
def test_import_leaves_heavy_modules_for_later(probe: dict[str, object], name: str) -> None:
    assert f"mlext.{name}" not in probe["modules"]


def test_import_starts_no_thread_and_sets_no_variable(probe: dict[str, object]) -> None:
    assert probe["threads"] == 0
    assert probe["environment"] is True


def test_import_keeps_subnormals(probe: dict[str, object]) -> None:
    """A library linked with -ffast-math sets flush-to-zero for the whole process."""
    assert probe["subnormal_float32"] != 0
    assert probe["subnormal_array"] != 0
    assert probe["subnormal_float64"] != 0


# ---- the installed files -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed() -> metadata.Distribution:
    try:
        distribution = metadata.distribution("mlext")
    except metadata.PackageNotFoundError:
        pytest.skip("mlext is not installed, only importable")
    origin = distribution.read_text("direct_url.json") or "{}"
    if json.loads(origin).get("dir_info", {}).get("editable"):
        pytest.skip("an editable install has no files of its own")
    return distribution


def names(installed: metadata.Distribution) -> list[str]:
    return [path.as_posix() for path in installed.files or [] if "__pycache__" not in path.parts]


REQUIRED = """py.typed _C.pyi __init__.py
datasets/ATTRIBUTION.md datasets/digits.npz datasets/iris.npz datasets/diabetes.npz"""


@pytest.mark.parametrize("name", REQUIRED.split())
def test_file_is_installed(installed: metadata.Distribution, name: str) -> None:
    assert f"mlext/{name}" in names(installed)


def test_nothing_else_is_installed(installed: metadata.Distribution) -> None:
    for name in names(installed):
        top = name.split("/")[0]
        assert top == "mlext" or top.endswith(".dist-info") or name.endswith("bin/mlext"), name
        assert not name.endswith((".cpp", ".h", ".o", ".a")), name


def test_one_extension_and_it_is_the_one_in_use(installed: metadata.Distribution) -> None:
    extensions = [name for name in names(installed) if name.endswith(".so")]
    assert len(extensions) == 1
    assert Path(str(installed.locate_file(extensions[0]))).samefile(mlext._C.__file__)


def test_metadata(installed: metadata.Distribution) -> None:
    assert installed.version == mlext.__version__
    needs = [need for need in installed.requires or [] if "extra ==" not in need]
    assert [need.split(">")[0] for need in needs] == ["numpy"]
    assert installed.metadata["License-Expression"] == "Apache-2.0"
    assert any(name.endswith("LICENSE") for name in names(installed))
    scripts = {entry.name: entry.value for entry in installed.entry_points}
    assert scripts == {"mlext": "mlext.cli:main"}


def test_it_packs_into_5_mb(installed: metadata.Distribution, tmp_path: Path) -> None:
    packed = tmp_path / "as_a_wheel.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names(installed):
            archive.write(str(installed.locate_file(name)), name.replace("../", ""))
    assert packed.stat().st_size <= 5_000_000
