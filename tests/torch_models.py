"""PyTorch networks with the tensor names of the common public checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def lenet5() -> Any:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
    )


class VGG16(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
            if width == 0:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            *(nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Any) -> Any:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, narrow: bool) -> None:
        super().__init__()
        out = width * 4 if narrow else width
        sizes = [(width, 1, 1), (width, 3, stride), (out, 1, 1)] if narrow else [(width, 3, stride), (width, 3, 1)]
        self.count = len(sizes)
        inner = channels
        for i, (o, k, s) in enumerate(sizes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(inner, o, k, s, k // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(o))
            inner = o
        self.downsample = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Any) -> Any:
        around = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.count + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = torch.relu(x) if i < self.count else x
        return torch.relu(x + around)


class ResNet(nn.Module):
    def __init__(self, blocks: tuple[int, ...], narrow: bool, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for i, count in enumerate(blocks):
            width, layer = 64 << i, []
            for j in range(count):
                layer.append(Block(channels, width, 2 if i > 0 and j == 0 else 1, narrow))
                channels = width * 4 if narrow else width
            setattr(self, f"layer{i + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean((2, 3)))


class Inverted(nn.Module):
    def __init__(self, channels: int, out: int, stride: int, factor: int) -> None:
        super().__init__()
        hidden = channels * factor
        layers = [normed(channels, hidden, 1, 1, 1)] if factor > 1 else []
        layers += [
            normed(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        ]
        self.conv, self.around = nn.Sequential(*layers), stride == 1 and channels == out

    def forward(self, x: Any) -> Any:
        return x + self.conv(x) if self.around else self.conv(x)


def normed(channels: int, out: int, size: int, stride: int, groups: int) -> Any:
    conv = nn.Conv2d(channels, out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU6())


class MobileNetV2(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        layers = [normed(3, 32, 3, 2, 1)]
        channels = 32
        rows = [
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ]
        for factor, out, count, stride in rows:
            for i in range(count):
                layers.append(Inverted(channels, out, stride if i == 0 else 1, factor))
                channels = out
        self.features = nn.Sequential(*layers, normed(channels, 1280, 1, 1, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean((2, 3)))


def generate(model: Any, seed: int) -> Any:
    """Values that keep activations of about the same size all the way."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.ndim > 1:
                value.copy_(torch.randn_like(value) * (2.0 / value[0].numel()) ** 0.5)
            elif name.endswith("running_var"):
                value.copy_(torch.rand_like(value) + 0.5)
            elif value.is_floating_point():
                value.copy_(torch.randn_like(value) * 0.1 + (1.0 if value.ndim and "weight" in name else 0.0))
    return model
