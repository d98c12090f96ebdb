"""Fixtures that every test may use."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from _simd_tools import GuardedPage
from mlext import _C


@pytest.fixture(params=_C.levels())
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once per ISA level of this CPU."""
    before = _C.get_isa()
    _C.set_isa(request.param)
    yield request.param
    _C.set_isa(before)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Shells start background jobs with Ctrl-C ignored, which tests and their children would inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Set the number of threads; it is as before after the test."""
    before = _C.get_num_threads()
    yield _C.set_num_threads
    _C.set_num_threads(before)


@pytest.fixture
def direct() -> Iterator[None]:
    """Convolutions are sums of products: exact on integers."""
    _C.allow_winograd(False)
    yield
    _C.allow_winograd(True)


@pytest.fixture
def pages() -> Iterator[list[GuardedPage]]:
    """Memory that ends the test run when something is touched outside of it; the last holds more than a page."""
    made = [GuardedPage(), GuardedPage(), GuardedPage(), GuardedPage(32)]
    yield made
    for page in made:
        page.open()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
