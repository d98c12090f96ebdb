"""Functions that go to their kernel when nothing is recorded are still functions."""

import copy
import gc
import inspect
import pickle
import weakref

import numpy as np
import pytest

import mlext as ml
import mlext.functional as F
from mlext import _C


def counted():
    """An operation, and the list of its calls that came to Python."""
    calls = []

    def double(x, y):
        calls.append((x, y))
        return _C.add(x, y)

    return _C.Operation(_C.add, double), calls


def test_only_calls_that_record_come_to_python():
    double, calls = counted()
    x, leaf = ml.ones(2), ml.tensor([1.0, 1.0], requires_grad=True)
    assert double(x, x).tolist() == [2.0, 2.0]
    assert isinstance(double(np.ones(2, np.float32), np.ones(2, np.float32)), np.ndarray)
    assert calls == []
    double(x, leaf)
    assert len(calls) == 1
    with ml.no_grad():
        double(x, leaf)
    assert len(calls) == 1


def test_keywords_go_to_their_places():
    a, b = ml.tensor([8.0]), ml.tensor([2.0])
    assert F.div(b=b, a=a).item() == 4.0
    assert F.div(a, b=b).item() == 4.0
    recorded = F.div(b=b, a=ml.tensor([8.0], requires_grad=True))
    recorded.backward()
    assert recorded.item() == 4.0


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"div\(\) missing 2 required positional arguments: 'a' and 'b'"),
        ((1.0,), {}, r"div\(\) missing 1 required positional argument: 'b'"),
        ((1.0, 2.0, 3.0), {}, r"div\(\) takes 2 positional arguments but 3 were given"),
        ((1.0,), {"a": 2.0}, r"div\(\) got multiple values for argument 'a'"),
        ((1.0,), {"c": 2.0}, r"div\(\) got an unexpected keyword argument 'c'"),
        ((), {"a": 1.0, "b": 2.0, "c": 3.0}, r"div\(\) got an unexpected keyword argument 'c'"),
    ],
)
def test_wrong_calls_get_the_words_of_python(args, kwargs, message):
    with pytest.raises(TypeError, match=message):
        F.div(*args, **kwargs)


def test_they_look_and_copy_like_functions():
    assert list(inspect.signature(F.matmul).parameters) == ["a", "b"]
    assert F.exp.__name__ == "exp"
    assert F.exp.__doc__.startswith("Return e")
    assert "function exp" in repr(F.exp)
    assert copy.deepcopy([F.exp])[0] is F.exp
    assert pickle.loads(pickle.dumps(F.exp)) is F.exp
    assert ml.ones(1).log().item() == 0.0


def test_wrong_definitions_are_refused():
    with pytest.raises(TypeError):
        _C.Operation(_C.add, _C.add)
    with pytest.raises(ValueError, match="up to 4 positional arguments"):
        _C.Operation(_C.add, lambda a, b, c, d, e: None)
    with pytest.raises(ValueError, match="up to 4 positional arguments"):
        _C.Operation(_C.add, lambda a, *, b: None)
    with pytest.raises(ValueError, match="none with a default"):
        _C.Operation(_C.add, lambda a, b=1: None)
    with pytest.raises(ValueError, match="none with a default"):
        _C.Operation(_C.add, lambda a, *b: None)


def test_a_cycle_through_one_is_collected():
    class Holder:
        pass

    def cycle():
        holder = Holder()
        holder.double = _C.Operation(_C.add, lambda x, y: holder)
        return weakref.ref(holder)

    gone = cycle()
    gc.collect()
    assert gone() is None
