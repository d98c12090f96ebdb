"""Gradients that vanish, explode or become NaN: each made, detected and cured."""

import numpy as np

import mlext as ml

DEPTH, WIDTH = 12, 32
X = np.random.default_rng(0).normal(size=(64, WIDTH)).astype("f")
Y = X[:, :1] * X[:, 1:2]


def network(activation, init):
    layers = []
    for seed in range(DEPTH):
        linear = ml.nn.Linear(WIDTH, WIDTH, rng=seed)
        init(linear.weight, rng=seed)
        layers += [linear, activation()]
    return ml.nn.Sequential(*layers, ml.nn.Linear(WIDTH, 1, rng=99))


def gradient_norms(model):
    """Norms of the weights' gradients in the first and the last hidden layer."""
    ml.losses.mse(model(X), Y).backward()
    return [float(model[i].weight.grad.norm()) for i in (0, 2 * DEPTH - 2)]


def vanishing_and_exploding():
    wide = lambda weight, rng: ml.init.normal_(weight, std=1.0, rng=rng)  # noqa: E731
    cases = {
        "vanishing: sigmoid, Glorot": (ml.nn.Sigmoid, ml.init.xavier_uniform_),
        "exploding: ReLU, std 1": (ml.nn.ReLU, wide),
        "cured: ReLU, He": (ml.nn.ReLU, ml.init.kaiming_normal_),
    }
    found = {}
    for name, (activation, init) in cases.items():
        first, last = found[name] = gradient_norms(network(activation, init))
        print(f"{name:<28} gradient norm, first layer {first:9.2e}, last layer {last:9.2e}")
    return found


def clipping():
    model = network(ml.nn.ReLU, lambda weight, rng: ml.init.normal_(weight, std=1.0, rng=rng))
    ml.losses.mse(model(X), Y).backward()
    before = float(ml.optim.clip_grad_norm(model.parameters(), 1.0))
    after = float(np.sqrt(sum(np.sum(p.grad.numpy() ** 2.0) for p in model.parameters())))
    print(f"{'cured: clip_grad_norm 1':<28} gradient norm {before:.2e} -> {after:.2e}")
    return after


def nan(lr, **options):
    """One run: the history, or what TerminateOnNaN found."""
    model = ml.nn.Sequential(ml.nn.Linear(WIDTH, 32, rng=0), ml.nn.ReLU(), ml.nn.Linear(32, 1, rng=1))
    trainer = ml.training.Trainer(
        model,
        "mse",
        ml.optim.SGD(model.parameters(), lr=lr),
        callbacks=[ml.training.TerminateOnNaN()],
        seed=0,
        **options,
    )
    try:
        return trainer.fit(X, Y, epochs=40, verbose=0)["loss"][-1]
    except FloatingPointError as error:
        return str(error)


def main():
    norms = vanishing_and_exploding()
    clipped = clipping()
    made, cured = nan(lr=50.0), nan(lr=0.05, clip_norm=1.0)
    print(f"NaN made with lr 50, detected: {made}")
    print(f"cured with lr 0.05 and clipping: loss {cured:.3f}")
    return norms, clipped, made, cured


if __name__ == "__main__":
    main()
