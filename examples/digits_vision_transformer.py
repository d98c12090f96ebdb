"""The embedded digits, seen by a transformer as 16 patches of 2 by 2 pixels; and what its patches look at.

``main(picture="attention.png")`` draws the attention of one digit.
"""

import math

import numpy as np

import mlext as ml


def attention_of(model, images):
    """Return the weights (N, heads, patches, patches) of each block."""
    seen = []

    def look(attention, inputs, out):
        seen.append(attention.forward(inputs[0], need_weights=True)[1].numpy())

    layers = [m for m in model.modules() if isinstance(m, ml.nn.MultiHeadAttention)]
    removers = [layer.register_forward_hook(look) for layer in layers]
    with model.evaluating():
        model(images)
    for remove in removers:
        remove()
    return seen


def main(epochs=30, batch_size=32, picture=None):
    data = ml.datasets.load_digits()
    x = ((data.data - data.data.mean()) / data.data.std()).reshape(-1, 8, 8, 1).astype(np.float32)
    parts = ml.data.train_test_split(x, data.target, test_size=0.2, stratify=data.target, rng=0)
    x_train, x_test, y_train, y_test = parts
    sizes = {"in_channels": 1, "embed_dim": 64, "num_layers": 2, "num_heads": 4, "hidden_dim": 128}
    model = ml.models.VisionTransformer(8, 2, 10, pool="flatten", dropout=0.2, head_dropout=0.2, **sizes, rng=0)
    optimizer = ml.optim.Adam(model.parameters(), lr=2e-3)
    steps = epochs * math.ceil(len(x_train) / batch_size) + 1
    cycle = ml.optim.OneCycleLR(optimizer, 2e-3, steps, pct_start=0.1, cycle_momentum=False)
    schedule = ml.training.LearningRateScheduler(cycle, "batch")
    trainer = ml.training.Trainer(model, "cross_entropy", optimizer, callbacks=[schedule], clip_norm=1.0, seed=0)
    trainer.fit(x_train, y_train, epochs=epochs, batch_size=batch_size, verbose=0)
    accuracy = float(np.mean(model.predict(x_test).argmax(-1) == y_test))
    print(f"{model.num_parameters()} parameters, test accuracy {accuracy:.4f}")
    weights = attention_of(model, x_test[:100])
    for i, block in enumerate(weights):
        entropy = -(block * np.log2(block + 1e-9)).sum(-1).mean()
        print(f"block {i}: a patch looks at about {2**entropy:.1f} of {block.shape[-1]} patches")
    if picture is not None:
        ml.plot.attention(weights[0][0], picture)
        print(f"attention of a {y_test[0]} in the first block: {picture}")
    return accuracy, weights


if __name__ == "__main__":
    main()
