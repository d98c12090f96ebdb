"""What the documentation shows runs, and what it points to exists."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import mlext

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").glob("*.md")])
MODULES = sorted(m.name for m in pkgutil.walk_packages(mlext.__path__, "mlext.") if m.name != "mlext.__main__")
EXTRAS = ("matplotlib", "PIL", "tensorboard")
checkout = pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="needs a checkout")


@pytest.mark.parametrize("name", ["mlext", *MODULES])
def test_examples_of_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for test in doctest.DocTestFinder().find(module, name):
        needed = [package for package in EXTRAS if re.search(rf"\b{package}\b", test.docstring or "")]
        for package in needed:
            pytest.importorskip(package)
        lines: list[str] = []
        result = doctest.DocTestRunner(optionflags=flags).run(test, out=lines.append)
        assert result.failed == 0, "".join(lines)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)


@checkout
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run in order, in one namespace."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)


@checkout
def test_readme_is_short_and_shows_code() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 500
    assert len(blocks(ROOT / "README.md", "python")) == 1
    assert len(blocks(ROOT / "README.md", "python")[0].splitlines()) <= 15
    assert text.count("<!-- bench -->") == text.count("<!-- /bench -->") == 1


TOPS = "csrc|python|tests|bench|docs|examples|cmake|\\.ci"


@checkout
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_paths_exist(page: Path) -> None:
    """In backticks from the root, `<f>` standing for any name; links from the page."""
    text = page.read_text()
    found = re.findall(rf"`((?:{TOPS})/[\w./<>*{{}},-]*)`", text)
    found += re.findall(r"\b((?:bench|tests|docs|examples)/[\w/]+\.(?:py|md|json))", text)
    for path in found:
        assert any(ROOT.glob(re.sub(r"<\w+>", "*", path.rstrip("/")))), f"{page.name}: {path}"
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@checkout
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_path_of_a_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users|mnt)/", page.read_text())
