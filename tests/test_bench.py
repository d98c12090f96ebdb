"""The benchmark's own arithmetic: which rows there are, and that a wrong result is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlext import functional as F

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    return __import__


def table(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((BENCH / "shapes" / name).read_text())["rows"]
    return found


def test_attention_rows_are_cut_to_size(bench: Any) -> None:
    attending = bench("attending")
    ops = set()
    for whole in table("attention.json"):
        for row in attending.expand("attention.json", whole):
            ops.add(row["op"])
            assert row["heads"] * whole["kv_heads"] == row["kv_heads"] * whole["heads"], "groups are whole"
            assert row["batch"] == 1 or row["heads"] == whole["heads"]
            if row["kv_heads"] > 1 or row["batch"] > 1:
                assert attending.flops(row) <= attending.MAX_FLOP[row["op"]]
                assert attending.footprint(row) <= attending.MAX_BYTES
            cut = row["batch"] < whole["batch"] or row["heads"] < whole["heads"]
            assert (" of " in attending.name(row)) == cut
    assert ops == set(attending.OPS)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("op", ["attention", "attention_bfloat16", "attention_training"])
def test_attention_is_checked(bench: Any, op: str, causal: bool) -> None:
    import mlext as ml

    attending, make = bench("attending"), bench("ops").OPS[op]
    row = {"op": op, "batch": 2, "heads": 4, "kv_heads": 2, "q_len": 40, "kv_len": 40, "head_dim": 8, "causal": causal}
    inputs = make.make(row, np.random.default_rng(0))
    leaves = [ml.tensor(inputs[name], requires_grad=True) for name in ("q", "k", "v")]
    y = F.scaled_dot_product_attention(*leaves, is_causal=causal)
    if op != "attention_training":
        make.check(y.numpy(), inputs)
        with pytest.raises(AssertionError, match="of query"):
            make.check(y.numpy() * (1 + 3 * attending.LIMITS[op]), inputs)
        return
    y.backward(ml.tensor(inputs["g"]))
    gradients = [leaf.grad.numpy() for leaf in leaves]
    make.check(gradients, inputs)
    for i, name in enumerate(("q", "k", "v")):
        wrong = [a * 1.001 if j == i else a for j, a in enumerate(gradients)]
        with pytest.raises(AssertionError, match=f"the gradient of {name}"):
            make.check(wrong, inputs)


@pytest.mark.parametrize("model", ["encoder layer 128, 64 steps", "time series, 500x1"])
def test_transformers_are_those_of_the_reference(bench: Any, model: str) -> None:
    op, network = bench("ops").OPS["train_transformer"], bench("peers.mlext_attending", fromlist=["network"]).network
    row = next(
        row for name in ("transformer.json", "transformer_models.json") for row in table(name) if row["model"] == model
    )
    inputs = op.make(row | {"batch": 1}, np.random.default_rng(0))
    expected = bench("transforming").predict(inputs["layers"], inputs["x"])
    got = network(inputs)(inputs["x"]).detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    right = bench("transforming").loss(inputs)
    op.check([right, right - 0.1], inputs)
    for losses in ([right * 1.002, 0.0], [right, right]):
        with pytest.raises(AssertionError, match="loss"):
            op.check(losses, inputs)


def test_generation_is_checked(bench: Any) -> None:
    op, generate = bench("ops").OPS["generate"], bench("peers.mlext_attending", fromlist=["generate"]).generate
    row = next(row for row in table("transformer.json") if row["op"] == "generate")
    inputs = op.make(row | {"prompt": 5, "length": 6}, np.random.default_rng(0))
    tokens = generate(inputs)()
    op.check(tokens, inputs)
    with pytest.raises(AssertionError, match="not the most likely"):
        op.check((tokens + (np.arange(6) == 5)) % 256, inputs)


def test_every_row_has_a_name_and_an_op(bench: Any) -> None:
    import argparse

    rows, ops = bench("rows"), bench("ops").OPS
    options = argparse.Namespace(readme=False, quick=False, only="")
    for family in rows.FAMILIES:
        found = list(rows.rows_of(family, options))
        assert found or family == "import"
        assert all(row["op"] in ops for _, row in found)
    names = [name for name, _ in rows.rows_of("attention", argparse.Namespace(readme=False, quick=True, only=""))]
    for part in ("q 8 d 64", "causal", "heads 32 / 8", "q 1 k", "d 128", "d 256", "q 1024"):
        assert any(part in name for name in names), part
