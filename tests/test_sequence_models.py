"""Models of sequences, texts and series: what they promise, that they learn, saved and loaded."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlext as ml
from mlext.models import CharacterModel, Forecaster, Seq2Seq, SequenceClassifier

Array = np.ndarray[Any, Any]
TEXT = "the quick brown fox jumps over the lazy dog. " * 60


def fit(model: Any, loss: Any, x: Any, y: Any, epochs: int, lr: float = 0.01) -> list[float]:
    trainer = ml.training.Trainer(model, loss, ml.optim.Adam(model.parameters(), lr=lr), compile=True, seed=0)
    found: list[float] = trainer.fit(x, y, epochs=epochs, verbose=0)["loss"]
    return found


def made() -> list[tuple[Any, tuple[Array, ...]]]:
    """Models, and inputs for them."""
    rng = np.random.default_rng(0)
    steps, words, lengths = rng.standard_normal((3, 6, 4)), rng.integers(0, 9, (3, 6)), np.array([6, 1, 4])
    options: dict[str, Any] = {"kind": "gru", "dropout": 0.3, "rng": 0}
    return [
        (SequenceClassifier(4, 3, 5, 2, bidirectional=True, **options), (steps, lengths)),
        (SequenceClassifier(9, 3, 5, embedding_dim=2, kind="rnn", rng=0), (words, lengths)),
        (CharacterModel("abcdefghi", 3, 5, 2, **options), (words,)),
        (Forecaster(4, 3, 5, 2, **options), (steps,)),
        (Seq2Seq(9, 7, 3, 5, 2, kind="lstm", boundary=2, rng=0), (words, rng.integers(0, 7, (3, 5)), lengths)),
    ]


@pytest.mark.parametrize(("model", "inputs"), made(), ids=lambda v: type(v).__name__)
def test_models_are_saved_and_loaded(model: Any, inputs: Any, tmp_path: Path) -> None:
    state = ml.random.default_generator().get_state()
    ml.save(model, tmp_path / "model")
    copy = ml.load(tmp_path / "model")
    assert ml.random.default_generator().get_state() == state
    assert repr(copy) == repr(model)
    assert copy.config() == model.config()
    np.testing.assert_array_equal(copy.predict(inputs), model.predict(inputs))
    np.testing.assert_array_equal(model.predict(inputs, batch_size=3), model.predict(inputs))


@pytest.mark.parametrize("make", [SequenceClassifier, CharacterModel, Forecaster, Seq2Seq])
def test_unknown_kinds_are_errors(make: Any) -> None:
    first: Any = "abc" if make is CharacterModel else 3
    kinds = "'rnn', 'gru', 'lstm' or 'transformer'" if make is CharacterModel else "'rnn', 'gru' or 'lstm'"
    with pytest.raises(ValueError, match=f"{make.__name__}: argument 'kind': expected {kinds}, got 'cnn'"):
        make(first, 3, kind="cnn")


# ---- sequences -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("both", [False, True])
def test_a_classifier_learns_what_came_first(kind: str, both: bool) -> None:
    """The class is in the first step; what is behind a sequence's end says something else."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 3, 200)
    words, lengths = rng.integers(3, 9, (200, 8)), rng.integers(2, 9, 200)
    words[:, 0] = label
    for row, n in zip(words, lengths, strict=True):
        row[n:] = rng.integers(0, 3, 8 - n)
    model = SequenceClassifier(9, 3, 16, embedding_dim=8, kind=kind, bidirectional=both, rng=0)
    fit(model, "cross_entropy", (words[:150], lengths[:150]), label[:150], 40)
    assert (model.predict((words[150:], lengths[150:])).argmax(1) == label[150:]).mean() >= 0.94
    alone = np.stack([model.predict((w[None, :n], np.array([n])))[0] for w, n in zip(words, lengths, strict=True)])
    np.testing.assert_allclose(alone, model.predict((words, lengths)), rtol=1e-5, atol=1e-5)


def test_a_forecaster_follows_series() -> None:
    t = np.arange(300)
    series = np.stack([np.sin(t / 4), 2 + np.cos(t / 5)], 1).astype(np.float32)
    x, y = ml.data.sliding_windows(series, 20, 3)
    model = Forecaster(2, 3, 16, kind="gru", rng=0)
    fit(model, "mse", x[:200], y[:200], 30)
    last = np.broadcast_to(x[:, -1:], y.shape)
    assert ml.metrics.rmse(model.predict(x[200:]), y[200:]) < 0.3 * ml.metrics.rmse(last[200:], y[200:])
    for p in model.head.parameters():  # it has learnt nothing: as now
        ml.init.zeros_(p)
    np.testing.assert_array_equal(model.predict(x), last)


# ---- texts ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fox() -> CharacterModel:
    model = CharacterModel(TEXT, 8, 32, rng=0)
    indices = model.encode(TEXT)
    count = (len(indices) - 1) // 30
    x, y = indices[: count * 30].reshape(count, 30), indices[1 : count * 30 + 1].reshape(count, 30)
    fit(model, "cross_entropy", x, y, 60)
    return model


def test_characters_and_indices() -> None:
    model = CharacterModel("b€\na\U0001f600b", 2, 3)
    assert model.vocabulary == "\nab€\U0001f600"
    assert model.decode(model.encode("a€\U0001f600\nb")) == "a€\U0001f600\nb"
    assert model.encode("").tolist() == []
    for text, at in (("abc", 2), ("\x00", 0), ("a\U0001f601", 1)):
        with pytest.raises(ValueError, match=f"'text': expected characters of the model's vocabulary, got .* at {at}$"):
            model.encode(text)
    for bad in ("", 3):
        with pytest.raises(ValueError, match="CharacterModel: argument 'vocabulary': expected characters, got"):
            CharacterModel(bad)  # type: ignore[arg-type]


def test_a_text_is_learnt_and_gone_on_with(fox: CharacterModel) -> None:
    assert "".join(fox.generate("the quick b", 34, temperature=0)) == "rown fox jumps over the lazy dog. "
    assert fox.bits_per_character(TEXT[:900]) < 0.2


def test_pieces_of_a_text_are_the_whole(fox: CharacterModel) -> None:
    indices = fox.encode(TEXT)
    whole, _ = fox.advance(indices[None], None)
    state, parts = None, []
    for part in np.split(indices, [1, 7, 1000]):
        scores, state = fox.advance(part[None], state)
        parts.append(scores.numpy())
    np.testing.assert_allclose(np.concatenate(parts, 1), whole.numpy(), rtol=1e-5, atol=1e-5)
    z = whole.numpy()[0, :-1].astype(np.float64)
    shares = z - np.log(np.exp(z).sum(1, keepdims=True))
    bits = -shares[np.arange(len(z)), indices[1:]].mean() / np.log(2)
    assert abs(fox.bits_per_character(TEXT) / bits - 1) < 1e-4  # long: pieces with 256 characters before them
    text = TEXT[:1025]
    assert abs(fox.bits_per_character(text) / (-shares[np.arange(1024), indices[1:1025]].mean() / np.log(2)) - 1) < 1e-6


def test_bits_of_a_model_that_knows_nothing() -> None:
    model = CharacterModel("abcdefgh", 2, 3)
    for p in model.head.parameters():
        ml.init.zeros_(p)
    for count in (2, 1024, 1025, 1026, 17000):
        assert abs(model.bits_per_character(("abcdefgh" * 2200)[:count]) - 3) < 1e-6
    with pytest.raises(ValueError, match="bits_per_character: argument 'text': expected two characters, got 1"):
        model.bits_per_character("a")


def test_drawn_characters_have_their_probabilities() -> None:
    model = CharacterModel("abcd", 2, 3)
    for p in model.parameters():
        ml.init.zeros_(p)
    scores = np.log(np.array([0.1, 0.2, 0.3, 0.4]))
    model.head.bias = ml.Parameter(ml.tensor(scores.astype(np.float32)))

    def shares(**options: Any) -> Array:
        text = "".join(model.generate("a", 1500, rng=0, **options))
        return np.array([text.count(c) for c in "abcd"]) / 1500

    np.testing.assert_allclose(shares(), [0.1, 0.2, 0.3, 0.4], atol=0.04)
    np.testing.assert_allclose(shares(temperature=0.5), np.array([1, 4, 9, 16]) / 30, atol=0.04)
    np.testing.assert_allclose(shares(top_k=2), [0, 0, 3 / 7, 4 / 7], atol=0.04)
    assert shares(temperature=0).tolist() == shares(top_k=1).tolist() == [0, 0, 0, 1]
    assert shares(temperature=1e-6).tolist() == [0, 0, 0, 1]


def test_a_text_comes_as_it_is_asked_for(fox: CharacterModel) -> None:
    fox.train()
    endless = fox.generate("t", 10**9, rng=3)
    first = "".join(itertools.islice(endless, 20))
    assert ml.tensor([1.0], requires_grad=True).sum().requires_grad  # the tape is on between characters
    assert fox.training
    assert first == "".join(fox.generate("t", 20, rng=3))
    assert first != "".join(fox.generate("t", 20, rng=4, temperature=3.0))
    for options, text in (
        ({"prompt": ""}, "'prompt': expected at least one character"),
        ({"prompt": "%"}, "'text': expected characters of the model's vocabulary, got '%' at 0"),
        ({"length": -1}, "'length': expected 0 or more"),
        ({"temperature": -1.0}, "'temperature': expected a finite number from 0 on"),
        ({"temperature": float("nan")}, "'temperature': expected a finite number from 0 on"),
        ({"top_k": 0}, "'top_k': expected a positive int"),
    ):
        with pytest.raises(ValueError, match=text):
            fox.generate(**{"prompt": "t", "length": 3, **options})


# ---- from sequence to sequence -------------------------------------------------------------------


def test_sequences_are_turned_round() -> None:
    """What attention is for: each step of the target is one of the source's, at another place."""
    rng = np.random.default_rng(2)
    lengths = rng.integers(2, 7, 400)
    source, target = np.zeros((400, 6), np.int64), np.zeros((400, 7), np.int64)
    for s, t, n in zip(source, target, lengths, strict=True):
        s[:n] = rng.integers(1, 8, n)
        t[:n] = s[:n][::-1]
        s[n:] = rng.integers(1, 8, 6 - n)  # not to be read
    model = Seq2Seq(8, 8, 16, 48, rng=0)
    fit(model, "cross_entropy", (source[:350], target[:350], lengths[:350]), target[:350], 60)
    written = model.generate(source[350:], 7, lengths[350:])
    assert (written == target[350:, : written.shape[1]]).all(1).mean() >= 0.9


def test_steps_that_are_written_are_those_of_the_scores() -> None:
    model = Seq2Seq(6, 5, 4, 8, kind="lstm", boundary=4, rng=0)
    rng = np.random.default_rng(3)
    source, lengths = rng.integers(0, 6, (7, 4)), rng.integers(1, 5, 7)
    written = model.generate(source, 9, lengths)
    scores = model.predict((source, written, lengths)).argmax(-1)
    for got, best in zip(written, scores, strict=True):
        n = got.tolist().index(4) + 1 if 4 in got else len(got)
        np.testing.assert_array_equal(got[:n], best[:n])
        assert (got[n:] == 4).all()
    changed = written.copy()
    changed[:, 3:] = 0
    a, b = model.predict((source, written, lengths)), model.predict((source, changed, lengths))
    np.testing.assert_array_equal(a[:, :4], b[:, :4])  # a step does not know what comes later
    assert (a[:, 4:] != b[:, 4:]).any() or written.shape[1] <= 4
    with pytest.raises(ValueError, match="generate: argument 'length': expected a positive int, got 0"):
        model.generate(source, 0)
    with pytest.raises(ValueError, match="Seq2Seq: argument 'boundary': expected 0 to 4, got 5"):
        Seq2Seq(6, 5, boundary=5)


# ---- training ------------------------------------------------------------------------------------


def test_training_stops_in_time_and_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((4000, 3)), rng.standard_normal((4000, 1))

    seen: list[int] = []

    def trainer(seconds: float) -> ml.training.Trainer:
        model = ml.nn.Linear(3, 1, rng=0)
        count = ml.training.LambdaCallback(on_batch_end=lambda step, logs: seen.append(step))
        callbacks = [count, ml.training.TimeLimit(seconds), ml.training.ModelCheckpoint(tmp_path / "c")]
        return ml.training.Trainer(model, "mse", ml.optim.SGD(model.parameters()), callbacks=callbacks, seed=0)

    cut = trainer(1e-9)
    assert len(cut.fit(x, y, epochs=3, batch_size=10, verbose=0)) == 1
    assert cut.stop_training
    assert seen == [0]
    resumed = trainer(1e9)
    assert resumed.fit(x, y, epochs=3, batch_size=10, verbose=0, resume=tmp_path / "c").epochs == [0, 1, 2]
    assert len(seen) == 1 + 399 + 400  # the rest of the epoch that was cut, and a whole one
    with pytest.raises(ValueError, match="TimeLimit: argument 'seconds': expected a positive number, got 0"):
        ml.training.TimeLimit(0)


def test_pictures_of_forecasts(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    truth = np.random.default_rng(5).random((30, 2))
    figure = ml.plot.forecast(truth, truth[-10:] + 0.1, tmp_path / "f.png", names=["a", "b"])
    assert (tmp_path / "f.png").stat().st_size > 2000
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    assert figure.axes[0].lines[1].get_xdata().tolist() == list(range(20, 30))
    later = ml.plot.forecast(truth[:, 0], truth[:3, 0], start=30)
    assert later.axes[0].lines[1].get_xdata().tolist() == [30, 31, 32]
    for bad in (truth[:, :1], truth[:0]):
        with pytest.raises(ValueError, match="forecast: argument 'prediction': expected shape"):
            ml.plot.forecast(truth, bad)
