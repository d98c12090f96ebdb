"""The rules of the house, as tests: who may include and import whom, what may not be written."""

from __future__ import annotations

import ast
import functools
import inspect
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mlext
from mlext import _C
from mutations import MUTATIONS

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "python" / "mlext"
pytestmark = pytest.mark.skipif(not CSRC.is_dir(), reason="needs a checkout")


def files(folder: Path, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.rglob(pattern))


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


CPP = files(CSRC, "*.h", "*.cpp")
PYTHON = files(PACKAGE, "*.py")


# ---- C++: includes -------------------------------------------------------------------------------


@functools.cache
def includes(path: Path) -> tuple[list[str], list[str]]:
    """(quoted, angled) includes of a file."""
    text = path.read_text()
    return tuple(re.findall(rf"^\s*#\s*include\s+{form}", text, re.M) for form in ('"([^"]+)"', "<([^>]+)>"))


def family(path: Path) -> str:
    return path.relative_to(CSRC / "kernels").parts[0]


# Families made of the parts of others.
STANDS_ON = {"attention": ["gemm"], "conv": ["gemm"], "ctc": ["softmax"], "rnn": ["gemm"]}


def allowed_includes(path: Path) -> str:
    """What a file may include by name, as a pattern; this is the table of docs/design.md."""
    core, simd = r"core/\w+\.h", r"simd/\w+\.h"
    # Contracts, and the one helper that two families share.
    any_family = r"kernels/(\w+)/\1\.h|kernels/softmax/labels\.h"
    top = path.relative_to(CSRC).parts[0]
    if top == "core":
        return rf"{core}|isa_levels\.h"
    if top == "simd":
        return rf"{simd}|core/types\.h"
    if top == "bind":
        return rf"bind/\w+\.h|{core}|{any_family}"
    own = rf"kernels/(?:{'|'.join([family(path), *STANDS_ON.get(family(path), [])])})/\w+\.h"
    if path == CSRC / "kernels" / family(path) / f"{family(path)}.h":
        return r"core/types\.h" + "".join(rf"|kernels/{other}/{other}\.h" for other in STANDS_ON.get(family(path), []))
    if path.name.endswith(".simd.cpp"):
        return rf"{simd}|{own}|core/types\.h"
    if path.name.endswith(".bind.cpp"):
        return rf"bind/\w+\.h|{core}|{own}|{any_family}"
    if path.suffix == ".h":
        return rf"{simd}|{core}|{own}|{any_family}"
    return rf"{core}|{own}|{any_family}"


@pytest.mark.parametrize("path", CPP, ids=short)
def test_includes_follow_the_table(path: Path) -> None:
    pattern = allowed_includes(path)
    wrong = [name for name in includes(path)[0] if not re.fullmatch(pattern, name)]
    assert not wrong, f"{short(path)} may not include {wrong}"


def reachable(path: Path) -> Iterator[Path]:
    """The file and all of our headers that it includes, directly or not."""
    seen, todo = set(), [path]
    while todo:
        at = todo.pop()
        if at not in seen:
            seen.add(at)
            todo += [CSRC / name for name in includes(at)[0] if (CSRC / name).exists()]
            yield at


SIMD = sorted({p for simd in files(CSRC, "*.simd.cpp") for p in reachable(simd)})


@pytest.mark.parametrize("path", SIMD, ids=short)
def test_code_compiled_per_level_includes_no_library(path: Path) -> None:
    """A library's inline function, compiled for AVX-512, may replace the one everybody calls."""
    wrong = [name for name in includes(path)[1] if name != "immintrin.h" or "simd" not in path.parts]
    if path == CSRC / "core" / "types.h":
        wrong = [name for name in wrong if name not in ("cstddef", "cstdint")]
    assert not wrong, f"{short(path)} may not include {wrong}"


def outside_level_namespace(text: str) -> str:
    """What stands outside `namespace mlext::MLEXT_LEVEL { }`, but comments and preprocessor."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"^\s*#(.*\\\n)*.*$", "", text, flags=re.M)
    rest, at = "", 0
    for opening in re.finditer(r"namespace mlext::MLEXT_LEVEL \{", text):
        if opening.start() < at:
            continue
        rest += text[at : opening.start()]
        depth, at = 1, opening.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
    return rest + text[at:]


@pytest.mark.parametrize("path", SIMD, ids=short)
def test_code_compiled_per_level_carries_the_level(path: Path) -> None:
    """Inside the level's namespace, or plain declarations without any function body."""
    rest = outside_level_namespace(path.read_text())
    assert not re.search(r"\)\s*(const|noexcept|override)*\s*\{|\binline\s+(?!constexpr)", rest), short(path)
    if path.suffix == ".cpp":
        assert not rest.strip(), f"{short(path)}: outside of the level's namespace: {rest.strip()[:80]}"


def test_families_have_no_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for path in files(CSRC / "kernels", "*.h", "*.cpp"):
        found = [n.split("/")[1] for n in includes(path)[0] if n.startswith("kernels/")]
        graph.setdefault(family(path), set()).update(set(found) - {family(path)})
    assert_no_cycle(graph)


def assert_no_cycle(graph: dict[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> None:
        assert node not in trail, " -> ".join([*trail[trail.index(node) :], node])
        if node not in done:
            for target in sorted(graph.get(node, ())):
                visit(target, [*trail, node])
            done.add(node)

    for node in graph:
        visit(node, [])


# ---- C++: symbols --------------------------------------------------------------------------------

BUILD = os.environ.get("MLEXT_BUILD_DIR")


@pytest.mark.skipif(not BUILD, reason="set MLEXT_BUILD_DIR to a build folder; .ci/run does")
def test_every_symbol_of_a_level_carries_its_name() -> None:
    objects = files(Path(str(BUILD)), "*.simd.cpp.o")
    borrowing = re.findall(r"^mlext_level\((\w+).* LIKE (?!.* OWN )", (ROOT / "cmake" / "isa.cmake").read_text(), re.M)
    assert {level_of(path) for path in objects} == set(_C.built_levels()) - set(borrowing)
    for path in objects:
        level = level_of(path)
        tag = f"5mlext{len(level)}{level}"  # how the namespace is spelt in a mangled name
        table = subprocess.run(["nm", "--defined-only", path], check=True, capture_output=True, text=True).stdout
        symbols = [line.split()[-2:] for line in table.splitlines()]
        # Lower case: local to the object, out of the linker's sight. DW.ref: for exceptions.
        shared = [name for kind, name in symbols if kind.isupper() and not name.startswith("DW.ref.")]
        assert shared, f"{path.name} of {level} defines nothing"
        wrong = [name for name in shared if tag not in name]
        assert not wrong, f"{path.name} of {level}: {wrong[:5]}"


def inner_loops(path: Path, name: str) -> Iterator[list[str]]:
    """The instructions of every innermost loop in the functions of an object whose name contains `name`."""
    command = ["objdump", "-d", "--no-show-raw-insn", path]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for function in re.findall(rf"^[0-9a-f]+ <\S*{name}\S*>:\n(.*?)(?:\n\n|\Z)", text, re.S | re.M):
        code = re.findall(r"^ *([0-9a-f]+):\t(.*)$", function, re.M)
        place = {address: i for i, (address, _) in enumerate(code)}
        jumps = {i: match[1] for i, (_, text) in enumerate(code) if (match := re.match(r"j\w+ +([0-9a-f]+)", text))}
        for end, target in jumps.items():
            begin = place.get(target, end + 1)
            if begin <= end and not any(begin <= i < end for i in jumps):
                yield [text for _, text in code[begin : end + 1]]


@pytest.mark.skipif(not BUILD, reason="set MLEXT_BUILD_DIR to a build folder; .ci/run does")
def test_inner_loops_of_gemm_keep_their_sums_in_place() -> None:
    """A copy from register to register, or a sum on the stack, takes a port or a cycle from the fmas."""
    product = "vfmadd|vpdpbusd|vpmaddwd|vdpbf16ps"
    for path in files(Path(str(BUILD)), "*gemm.simd.cpp.o"):
        loops = [loop for loop in inner_loops(path, "row_tile") if any(re.match(product, line) for line in loop)]
        level = level_of(path)
        empty = level != "avx512_bf16" if path.name.startswith("bgemm") else level == "portable"
        assert bool(loops) != empty
        wrong = r"vmov[au]p[sd] +(%[yz]mm\d+,%[yz]mm|.*\(%r[sb]p\))"
        for loop in loops:
            assert not [line for line in loop if re.match(wrong, line)], "\n".join(loop)


def level_of(path: Path) -> str:
    return next(part[6:-4] for part in path.parts if re.fullmatch(r"mlext_\w+\.dir", part))


# ---- Python: imports -----------------------------------------------------------------------------

CORE = "_C autograd compiling config cuda dtypes explaining profiling random tensor transforms"
MAY_IMPORT = {
    **dict.fromkeys(CORE.split(), CORE),
    "functional": f"{CORE} functional",
    "init": CORE,
    "losses": f"{CORE} functional losses",
    "metrics": "metrics",
    "nn": f"{CORE} functional init nn",
    "optim": f"{CORE} functional optim",
    "data": "data",
    "datasets": "datasets io",
    "io": f"{CORE} nn models io",
    "plot": "io plot training",
    "convolution_plan": f"{CORE} functional",
    "fusion": f"{CORE} functional nn",
    "models": f"{CORE} functional init io nn models",  # io: what reads files, which knows no models
    "quantization": f"{CORE} nn",
    "training": f"{CORE} data functional io losses metrics nn optim plot training",
}
TOOLS = ("__init__", "__main__", "benchmarks", "cli")  # on top of everything; nothing imports them


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("mlext", *parts)).removesuffix(".__init__")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    )


def imports(tree: ast.AST, into_functions: bool) -> Iterator[str]:
    """Modules of the package that code imports, as dotted names; not under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mlext":
            for name in node.names:
                yield f"{node.module}.{name.name}"
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "mlext")
        elif is_type_checking(node):
            continue
        elif into_functions or not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            yield from imports(node, into_functions)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", PYTHON, ids=short)
def test_imports_follow_the_table(path: Path) -> None:
    group = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if group in TOOLS:
        return
    assert group in MAY_IMPORT, f"{group} is new: give it a row in MAY_IMPORT"
    allowed = MAY_IMPORT[group].split()
    targets = [(f"{name}.the package itself").split(".")[1] for name in imports(tree_of(path), True)]
    wrong = [target for target in targets if target not in allowed]
    assert not wrong, f"{short(path)} may not import {wrong}"


def test_modules_have_no_cycle() -> None:
    known = {module_of(path) for path in PYTHON} - {"mlext"}
    graph: dict[str, set[str]] = {}
    for path in PYTHON:
        if path != PACKAGE / "__init__.py":
            found = imports(tree_of(path), into_functions=False)
            targets = {name if name in known else name.rpartition(".")[0] for name in found}
            # A package's __init__ gathers its modules; who names the package wants a sibling.
            graph[module_of(path)] = {t for t in targets & known if not module_of(path).startswith(t)}
    assert_no_cycle(graph)


# ---- what may not be written ---------------------------------------------------------------------


def code_of(path: Path) -> str:
    comment = r"#[^\n]*" if path.suffix in (".txt", ".cmake", ".toml") else r"//[^\n]*|/\*.*?\*/"
    return re.sub(comment, "", path.read_text(), flags=re.S)


def test_banned_in_cpp() -> None:
    for path in [
        *CPP,
        ROOT / "CMakeLists.txt",
        ROOT / "pyproject.toml",
        *files(ROOT / "cmake", "*.cmake"),
    ]:
        for word in ("ffast-math", "Ofast", "py::array_t", "forcecast", "std::cout", "printf("):
            assert word not in code_of(path), f"{short(path)}: {word}"


@pytest.mark.parametrize("path", PYTHON, ids=short)
def test_banned_in_python(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "eval", "exec", "__import__"), f"line {node.lineno}: {node.func.id}()"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False", f"line {node.value.lineno}: allow_pickle"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            banned = names & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
            assert not banned, f"line {node.lineno}: {banned}"


def test_nothing_is_left_for_later() -> None:
    word = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")))
    for path in [*CPP, *files(ROOT / "python", "*.py"), *files(ROOT / "tests", "*.py")]:
        found = re.search(rf"\b({word.pattern})\b", path.read_text())
        assert not found, f"{short(path)}: {found[0] if found else ''}"


# ---- size ----------------------------------------------------------------------------------------

LINES = 300
# Longer for a reason: one table of ops, one class of many small methods. Shrink the list.
LONGER = {
    "csrc/bind/arrays.cpp": 450,
    "csrc/kernels/elementwise/elementwise.cpp": 460,
    "python/mlext/functional/arithmetic.py": 400,
    "python/mlext/tensor.py": 420,
}
FUNCTION_LINES = 60  # one screen, without the docstring


@pytest.mark.parametrize("path", [*CPP, *PYTHON], ids=short)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGER.get(short(path), LINES)


def test_no_exception_for_a_short_file() -> None:
    for name in LONGER:
        assert len((ROOT / name).read_text().splitlines()) > LINES, f"{name} needs no exception any more"


@pytest.mark.parametrize("path", PYTHON, ids=short)
def test_functions_fit_a_screen(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= FUNCTION_LINES, f"{short(path)}:{node.lineno} {node.name}: {lines} lines"


# ---- nothing without a test ----------------------------------------------------------------------


def public(module: ModuleType) -> dict[str, Any]:
    """What a module offers; base classes are tested through their subclasses."""
    found = {name: getattr(module, name) for name in getattr(module, "__all__", dir(module))}
    ours = {
        name: value
        for name, value in found.items()
        if not name.startswith("_") and callable(value) and "mlext" in str(value.__module__)
    }
    bases = {base for value in ours.values() for base in getattr(value, "__mro__", ())[1:]}
    return {name: value for name, value in ours.items() if value not in bases}


@pytest.mark.parametrize(
    "name", ["functional", "losses", "nn", "optim", "init", "metrics", "data", "models", "training", "plot"]
)
def test_everything_public_is_tested(name: str) -> None:
    """Every function and class appears in a test or a case row, under one of its names."""
    sources = [path for path in files(ROOT / "tests", "*.py") if path != Path(__file__)]
    words = set(re.findall(r"\w+", "\n".join(path.read_text() for path in sources)))
    offered = public(getattr(mlext, name))
    tested = {id(value) for key, value in offered.items() if key in words}
    missing = [key for key, value in offered.items() if id(value) not in tested]
    assert not missing, f"mlext.{name}: no test mentions {missing}"


# ---- the stub ------------------------------------------------------------------------------------


def stub() -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in ast.parse((PACKAGE / "_C.pyi").read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            found[ast.unparse(node.target)] = node
    return found


def test_stub_names_are_those_of_the_module() -> None:
    private = {"__name__", "__doc__", "__package__", "__loader__", "__spec__", "__file__"}
    assert set(stub()) == set(dir(_C)) - private


def test_stub_arguments_are_those_of_the_module() -> None:
    for name, node in stub().items():
        target = getattr(_C, name, None)
        if isinstance(node, ast.FunctionDef) and getattr(target, "__text_signature__", None):
            expected = list(inspect.signature(target).parameters)
            assert argument_names(node.args) == expected, f"_C.{name}"


def argument_names(arguments: ast.arguments) -> list[str]:
    star = [arguments.vararg] if arguments.vararg else []
    named = (*arguments.posonlyargs, *arguments.args, *star, *arguments.kwonlyargs)
    return [argument.arg for argument in named]


# ---- the faults that tests must catch -----------------------------------------------------------


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda row: Path(row[0]).name)
def test_mutations_change_lines_that_exist(mutation: tuple[str, str, str, str]) -> None:
    path, text, _, tests = mutation
    assert (ROOT / path).read_text().count(text) == 1
    assert all((ROOT / "tests" / name).is_file() for name in tests.split())
