"""What every op means, in readable float64 NumPy. Not optimised, and shares nothing with the package."""

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x):
    return _erf(x) if x.size else x.astype(np.float64)


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def softplus(x, beta=1.0):
    return np.logaddexp(0, beta * x) / beta


def relu(x):
    return np.maximum(x, 0)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def celu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def selu(x):
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def attention_weights(q, k, seen, cap=None, slopes=None):
    """q (N, S, H, D), k (N, T, G, D), seen (N, H, S, T); distances are those of step i and key j."""
    k = np.repeat(k, q.shape[2] // k.shape[2], 2)
    scores = np.einsum("nshd,nthd->nhst", q, k) / math.sqrt(q.shape[3])
    if cap is not None:
        scores = cap * np.tanh(scores / cap)
    if slopes is not None:
        i, j = np.ogrid[: scores.shape[2], : scores.shape[3]]
        scores = scores - np.reshape(slopes, (-1, 1, 1)) * abs(i - j)
    e = np.where(seen, np.exp(scores), 0)
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def masked_softmax(x, mask, axis=-1):
    """Of what the mask lets take part; 0 elsewhere, and where there is nothing."""
    top = np.where(mask, x, -np.inf).max(axis, keepdims=True)
    e = np.where(mask, np.exp(np.where(mask, x - top, 0)), 0)
    total = e.sum(axis, keepdims=True)
    return e / np.where(total == 0, 1, total)


def log_softmax(x, axis=-1):
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def logsumexp(x, axis=-1):
    top = x.max(axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(x - top).sum(axis))


def hard_sigmoid(x):
    return np.clip(x + 3, 0, 6) / 6


def soft_shrink(x, threshold=0.5):
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)


def scatter_add(x, indices, source):
    out = x.copy()
    np.add.at(out, indices, source)
    return out


# ---- convolution -----------------------------------------------------------------------------------------------------


def taps(x, weight_shape, geometry):
    """For each tap of a filter, its place in the filter and the pixels of the padded x that it meets."""
    sh, sw, top, left, bottom, right, dh, dw = geometry
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    _, rows, cols, _ = weight_shape
    height = (padded.shape[1] - dh * (rows - 1) - 1) // sh + 1
    width = (padded.shape[2] - dw * (cols - 1) - 1) // sw + 1
    for r in range(rows):
        for s in range(cols):
            at = (slice(None), slice(r * dh, r * dh + sh * (height - 1) + 1, sh))
            yield r, s, padded[(*at, slice(s * dw, s * dw + sw * (width - 1) + 1, sw))]


def conv2d(x, w, geometry, groups=1):
    """The formula, a tap at a time; geometry is strides, padding before and after, and dilations."""
    total = 0
    for r, s, pixels in taps(x, w.shape, geometry):
        n, h, v, _ = pixels.shape
        split = pixels.reshape(n, h, v, groups, -1)
        filters = w[:, r, s].reshape(groups, -1, w.shape[3])
        total = total + np.einsum("nhvgc,goc->nhvgo", split, filters).reshape(n, h, v, -1)
    return np.asarray(total)


def conv2d_weight_gradient(g, x, shape, geometry, groups):
    """Of the filters."""
    out = np.zeros(shape, g.dtype)
    for r, s, pixels in taps(x, shape, geometry):
        split = pixels.reshape(*pixels.shape[:3], groups, -1)
        slopes = g.reshape(*g.shape[:3], groups, -1)
        out[:, r, s] = np.einsum("nhvgo,nhvgc->goc", slopes, split).reshape(shape[0], shape[3])
    return out


def conv2d_input_gradient(g, w, shape, geometry, groups):
    """Of x."""
    sh, sw, top, left, bottom, right, dh, dw = geometry
    padded = np.zeros((shape[0], shape[1] + top + bottom, shape[2] + left + right, shape[3]), g.dtype)
    slopes = g.reshape(*g.shape[:3], groups, -1)
    for r in range(w.shape[1]):
        for s in range(w.shape[2]):
            filters = w[:, r, s].reshape(groups, -1, w.shape[3])
            part = np.einsum("nhvgo,goc->nhvgc", slopes, filters).reshape(*g.shape[:3], -1)
            rows = slice(r * dh, r * dh + sh * (g.shape[1] - 1) + 1, sh)
            padded[:, rows, s * dw : s * dw + sw * (g.shape[2] - 1) + 1 : sw] += part
    return padded[:, top : top + shape[1], left : left + shape[2]]


def conv_transpose2d(x, w, shape, geometry, groups=1):
    """The gradient as a layer."""
    return conv2d_input_gradient(x, w, shape, geometry, groups)


def silu(x):
    return x * sigmoid(x)


def pool2d(x, function, size, stride, padding):
    """A reduction of each window, clipped to the image."""
    pair = [v if isinstance(v, tuple) else (v, v) for v in (size, stride, padding)]
    starts = [
        [i * pair[1][a] - pair[2][a] for i in range((x.shape[1 + a] + 2 * pair[2][a] - pair[0][a]) // pair[1][a] + 1)]
        for a in (0, 1)
    ]
    rows = []
    for p in starts[0]:
        part = x[:, max(p, 0) : p + pair[0][0]]
        rows.append([function(part[:, :, max(q, 0) : q + pair[0][1]], axis=(1, 2)) for q in starts[1]])
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def normalized(x, axes, eps=1e-5):
    """Values less their mean, over their deviation."""
    mean = x.mean(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + eps)


def over_root_mean_square(x, eps=1e-5):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + eps)


def doubled(x):
    """Images of twice the size: three parts of the nearer pixel and one of the other, along each axis."""
    for axis in (1, 2):
        x = np.moveaxis(x, axis, 0)
        before, after = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
        x = np.stack([(3 * x + before) / 4, (3 * x + after) / 4], 1).reshape(-1, *x.shape[1:])
        x = np.moveaxis(x, 0, axis)
    return x


def rotary(x, cos, sin, interleaved=False):
    """Pairs of features as complex numbers times e^(i angle), a table per position."""
    pairs = cos.shape[-1]
    turn = (cos + 1j * sin)[..., None, :]
    first = x[..., 0 : 2 * pairs : 2] if interleaved else x[..., :pairs]
    second = x[..., 1 : 2 * pairs : 2] if interleaved else x[..., pairs : 2 * pairs]
    turned = (first + 1j * second) * turn
    parts = np.stack([turned.real, turned.imag], -1 if interleaved else -2).reshape(*x.shape[:-1], 2 * pairs)
    return np.concatenate([parts, x[..., 2 * pairs :]], -1)


def recurrent(kind: str, x, w, r, b_ih, b_hh, h, c, w_hr=None, peepholes=None, lengths=None, reverse=False):  # type: ignore[no-untyped-def]
    """y, h and c of a recurrent layer, sequence by sequence and step by step."""
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    n, steps, _ = x.shape
    y, last_h, last_c = np.zeros((n, steps, r.shape[1])), np.zeros((n, r.shape[1])), np.zeros((n, len(r) // 4))
    pi, pf, po = (0, 0, 0) if peepholes is None else np.split(peepholes, 3)
    for i in range(n):
        state, cell = h[i], None if c is None else c[i]
        length = steps if lengths is None else lengths[i]
        for t in reversed(range(length)) if reverse else range(length):
            inputs, sums = w @ x[i, t] + b_ih, r @ state + b_hh
            if kind.startswith("lstm"):
                a, f, g, o = np.split(inputs + sums, 4)
                cell = sigmoid(f + pf * cell) * cell + sigmoid(a + pi * cell) * np.tanh(g)
                state = sigmoid(o + po * cell) * np.tanh(cell)
                state = state if w_hr is None else w_hr @ state
            elif kind.startswith("gru"):
                (xr, xz, xn), (sr, sz, sn) = np.split(inputs, 3), np.split(sums, 3)
                reset, z = sigmoid(xr + sr), sigmoid(xz + sz)
                if kind == "gru_before":
                    sn = np.split(r, 3)[2] @ (reset * state) + np.split(b_hh, 3)[2]
                new = np.tanh(xn + (1 if kind == "gru_before" else reset) * sn)
                state = (1 - z) * new + z * state
            else:
                state = np.maximum(inputs + sums, 0) if kind == "relu" else np.tanh(inputs + sums)
            y[i, t] = state
        last_h[i] = state
        if kind.startswith("lstm"):
            last_c[i] = cell
    return y, last_h, last_c


def ctc(x, labels, blank=0):
    """The loss of one sequence and its gradient, by logarithms of the variables of Graves et al.'s states."""
    frames = len(x)
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    skips = np.zeros(len(states), bool)
    skips[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    log_p = log_softmax(x)

    def step(before, skipped):
        """Variables from which a state, the one before it and, where allowed, the one before that lead on."""
        one, two = np.full_like(before, -np.inf), np.full_like(before, -np.inf)
        one[1:], two[2:] = before[:-1], before[:-2]
        return np.logaddexp(np.logaddexp(before, one), np.where(skipped, two, -np.inf))

    ways = np.full((frames, len(states)), -np.inf, x.dtype)
    now = np.full(len(states), -np.inf, x.dtype)
    now[0] = 0
    for t in range(frames):
        # Before the first frame there is nothing to skip: the state that stands for it is the first blank's.
        now = ways[t] = step(now, skips) + log_p[t, states]
    total = np.logaddexp.reduce(now[-2:])
    shares = np.zeros_like(x)
    now = np.full(len(states), -np.inf, x.dtype)
    now[-2:] = 0
    for t in reversed(range(frames)):
        np.add.at(shares[t], states, np.exp(ways[t] + now - total))
        behind = now + log_p[t, states]
        # From a state two before, if the one that is led to may be reached so.
        now = step(behind[::-1], np.concatenate([[False] * 2, skips[2:][::-1]])[: len(states)])[::-1]
    return -total, np.exp(log_p) - shares


def attention(  # type: ignore[no-untyped-def]
    q,
    k,
    v,
    mask=None,
    is_causal=False,
    scale=None,
    align="top_left",
    window=None,
    alibi=None,
    soft_cap=None,
    lengths=None,
):
    """The result, and the sum of the weights times the magnitudes of values, all scores at once."""
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    (n, tq, h, d), (tk, g) = q.shape, k.shape[1:3]
    k, v = np.repeat(k, h // g, 2), np.repeat(v, h // g, 2)
    scores = np.einsum("nihd,njhd->nhij", q, k) * (d**-0.5 if scale is None else scale)
    if soft_cap is not None:
        scores = soft_cap * np.tanh(scores / soft_cap)
    keys = np.full(n, tk) if lengths is None else np.asarray(lengths)
    shift = keys - tq if align == "bottom_right" else np.zeros(n, int)
    own = np.arange(tq)[:, None] + shift[:, None, None, None]
    j = np.arange(tk)
    if alibi is not None:
        scores = scores - np.asarray(alibi, np.float64)[:, None, None] * np.abs(own - j)
    seen = np.broadcast_to(j < keys[:, None, None, None], scores.shape)
    left, right = window or (None, None)
    right = 0 if is_causal and right is None else min(0, right) if is_causal else right
    seen = seen & (left is None or j >= own - left) & (right is None or j <= own + right)
    if mask is not None and np.asarray(mask).dtype == bool:
        seen = seen & mask
    elif mask is not None:
        scores = scores + mask
    scores = np.where(seen, scores, -np.inf)
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = weights.sum(-1, keepdims=True)
    weights = weights / np.where(total == 0, 1, total)
    return np.einsum("nhij,njhd->nihd", weights, v), np.einsum("nhij,njhd->nihd", weights, np.abs(v))
