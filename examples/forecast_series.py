"""Two series by the hour, a day ahead: a GRU over the last two days against "as now" and "as yesterday"."""

import numpy as np

import mlext as ml

WINDOW, HORIZON = 48, 24


def measured(hours=24 * 150):
    """Warmth with days that differ, and a load that follows it some hours later, lower at weekends."""
    rng = np.random.default_rng(0)
    t = np.arange(hours)
    weather = np.convolve(rng.normal(0, 1, hours + 71), np.ones(72) / 4, "valid")
    warm = 12 + weather + 6 * np.sin(2 * np.pi * (t - 9) / 24) + rng.normal(0, 0.3, hours)
    weekend = (t // 24) % 7 >= 5
    load = 50 - 1.5 * np.roll(warm, 3) + np.where(weekend, 0, 12 * np.sin(2 * np.pi * (t - 7) / 24).clip(0))
    return np.stack([warm, load + rng.normal(0, 0.5, hours)], 1)


def main(picture=None):
    series = measured()
    cut = len(series) * 3 // 4  # the future is for testing
    scaler = ml.data.StandardScaler().fit(series[:cut])
    scaled = scaler.transform(series).astype("f")
    x, y = ml.data.sliding_windows(scaled[:cut], WINDOW, HORIZON)
    x_test, y_test = ml.data.sliding_windows(scaled[cut - WINDOW :], WINDOW, HORIZON)
    model = ml.models.Forecaster(2, HORIZON, 48, kind="gru", rng=0)
    trainer = ml.training.Trainer(model, "mse", ml.optim.Adam(model.parameters(), lr=4e-3), clip_norm=1.0, seed=0)
    history = trainer.fit(x, y, epochs=12, batch_size=32, verbose=0)
    print(f"loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.3f}")
    forecasts = {
        "as now": np.broadcast_to(x_test[:, -1:], y_test.shape),
        "as yesterday": x_test[:, -24:],
        "GRU": model.predict(x_test),
    }
    found = {}
    for name, forecast in forecasts.items():
        errors = (forecast - y_test) * series[:cut].std(0)  # in the units of the series
        found[name] = np.sqrt(np.mean(errors**2, axis=(0, 1)))
        print(f"{name:<13} root mean squared error: warmth {found[name][0]:.2f}, load {found[name][1]:.2f}")
    if picture is not None:
        ml.plot.forecast(series[-72:], scaler.inverse_transform(forecast[-1]), picture, names=["warmth", "load"])
    return found


if __name__ == "__main__":
    main()
