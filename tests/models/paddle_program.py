"""Build one model with seeded weights and save it in Paddle's own format; runs in the environment that has Paddle.

Called as `python paddle_program.py <name> <folder>`. Stands alone: that environment has none of our packages. Weights
are random, normalisation layers are calibrated on the images of `images`, so that what flows through keeps its size.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEED = 20_261_121
PAPER, INK = 2.4, -2.0
"""White and black after the normalisation of PP-OCR's detectors."""

if sys.argv[1].endswith("_legacy"):
    # Read once, when Paddle is imported: programs are then written in the format before PIR.
    os.environ["FLAGS_enable_pir_api"] = "0"  # noqa: SIM112

import numpy as np  # noqa: E402
import paddle  # noqa: E402
from paddle import nn  # noqa: E402
from paddle.nn import functional as F  # noqa: E402
from paddle.static import InputSpec  # noqa: E402

Shape = tuple[int | None, ...]


def main(name: str, folder: Path) -> None:
    """Build, calibrate and save one model."""
    paddle.seed(SEED)
    build, shapes, calibration = MODELS[name]
    model = build()
    if calibration is not None:
        calibrate(model, images(calibration))
    if hasattr(model, "last_linear"):
        centre(model, model.last_linear(), images(calibration))
    specs = [
        InputSpec(shape=[-1 if size is None else size for size in shape], dtype="float32", name=given)
        for given, shape in shapes.items()
    ]
    paddle.jit.save(paddle.jit.to_static(model, input_spec=specs, full_graph=True), str(folder / "inference"))
    if name == "db_detector_v4":
        write_scales_in_float64(folder / "inference.json")


def images(shape: tuple[int, ...]) -> Any:
    """Return normalised pictures: photographs in the coarse, noise, a page with bars for words, and plain paper.

    All four kinds, because what a network of random weights has never seen grows from layer to layer.
    """
    generator = np.random.default_rng(SEED)
    batch, channels, height, width = shape
    total = generator.standard_normal((batch, channels, 1, 1)) * 0.7
    for cells in (4, 16, height):
        coarse = generator.standard_normal((batch, channels, cells, max(1, cells * width // height)))
        rows = np.arange(height) * coarse.shape[2] // height
        columns = np.arange(width) * coarse.shape[3] // width
        total = total + coarse[:, :, rows][:, :, :, columns] * 0.6
    total[1::4] = generator.standard_normal(total[1::4].shape)
    total[2::4] = PAPER
    bars = generator.standard_normal((height // 8, width // 4)) > 0
    bars = np.repeat(np.repeat(bars, 8, axis=0), 4, axis=1) & (np.arange(height // 8 * 8) % 32 < 16)[:, None]
    total[2::4, :, : bars.shape[0], : bars.shape[1]] = np.where(bars, INK, PAPER)
    total[3::4] = PAPER
    return paddle.to_tensor(total.astype("float32"))


def calibrate(model: Any, batch: Any) -> None:
    """Give every normalisation the mean and variance of what it sees on one batch, and switch to inference."""
    layers = [layer for layer in model.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    for layer in layers:
        layer._momentum = 0.0
    model.train()
    with paddle.no_grad():
        model(batch)
    model.eval()


def centre(model: Any, linear: Any, batch: Any) -> None:
    """Give a classifier's last layer a bias that makes its classes equally likely over the pictures of one batch."""
    seen = []
    hook = linear.register_forward_post_hook(lambda _, __, output: seen.append(output))
    with paddle.no_grad():
        model(batch)
        linear.bias.set_value(linear.bias - paddle.mean(seen[0], axis=0))
    hook.remove()


class ConvNorm(nn.Layer):  # type: ignore[misc]
    """Convolution, normalisation, activation."""

    def __init__(self, inside: int, outside: int, kernel: int = 3, stride: Any = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            inside,
            outside,
            kernel,
            stride,
            (kernel - 1) // 2,
            groups=groups,
            bias_attr=False,
            weight_attr=nn.initializer.KaimingNormal(),
        )
        self.norm = nn.BatchNorm2D(outside)

    def forward(self, x: Any) -> Any:
        """Return the activations."""
        return F.hardswish(self.norm(self.conv(x)))


class Separable(nn.Layer):  # type: ignore[misc]
    """Depthwise and pointwise convolution, with channel attention where asked, as in PP-LCNet."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: Any = 1, attention: bool = False) -> None:
        super().__init__()
        self.depthwise = ConvNorm(inside, inside, kernel, stride, groups=inside)
        self.squeeze = nn.Conv2D(inside, inside // 4, 1) if attention else None
        self.excite = nn.Conv2D(inside // 4, inside, 1) if attention else None
        self.pointwise = ConvNorm(inside, outside, 1)

    def forward(self, x: Any) -> Any:
        """Return the activations."""
        x = self.depthwise(x)
        if self.squeeze is not None and self.excite is not None:
            pooled = F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
            x = x * F.hardsigmoid(self.excite(pooled))
        return self.pointwise(x)


class Tiny(nn.Layer):  # type: ignore[misc]
    """A few layers of the kinds that converters treat differently by opset."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm(3, 8, 3, 2), Separable(8, 16, 3, 2, attention=True))
        self.head = nn.Linear(16, 10)

    def last_linear(self) -> Any:
        """Return the layer that gives the classes."""
        return self.head

    def forward(self, x: Any) -> Any:
        """Return probabilities of 10 classes."""
        x = self.body(x)
        return F.softmax(8 * self.head(paddle.flatten(F.adaptive_avg_pool2d(x, 1), 1)))


class TinyLegacy(nn.Layer):  # type: ignore[misc]
    """Convolutions alone: all that Paddle 3.2 can still write in the format before PIR."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2D(3, 8, 3, 2, 1)
        self.second = nn.Conv2D(8, 10, 3, 2, 1)

    def forward(self, x: Any) -> Any:
        """Return probabilities of 10 classes."""
        x = self.second(F.hardswish(self.first(x)))
        return F.softmax(paddle.flatten(F.adaptive_avg_pool2d(4 * x, 1), 1))


class DBDetector(nn.Layer):  # type: ignore[misc]
    """PP-LCNet, a feature pyramid and the head of Differentiable Binarization, for any height and width of 32 n.

    Random weights find no text. Local contrast, which is what ink is, is added before the last sigmoid: text is found
    where there is text, and every layer still shapes the answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(3, 16, 3, 2), Separable(16, 32, 3))
        self.stages = nn.LayerList(
            [
                nn.Sequential(Separable(32, 64, 3, 2), Separable(64, 64, 3)),
                nn.Sequential(Separable(64, 128, 3, 2), Separable(128, 128, 3)),
                nn.Sequential(Separable(128, 256, 3, 2), *(Separable(256, 256, 5) for _ in range(5))),
                nn.Sequential(Separable(256, 512, 5, 2, attention=True), Separable(512, 512, 5, attention=True)),
            ]
        )
        self.lateral = nn.LayerList([ConvNorm(channels, 96, 1) for channels in (64, 128, 256, 512)])
        self.smooth = nn.LayerList([ConvNorm(96, 24, 3) for _ in range(4)])
        self.head = ConvNorm(96, 24, 3)
        self.up = nn.Conv2DTranspose(24, 24, 2, 2)
        self.norm = nn.BatchNorm2D(24)
        self.last = nn.Conv2DTranspose(24, 1, 2, 2, weight_attr=nn.initializer.Normal(std=0.15))

    def forward(self, x: Any) -> Any:
        """Return the probability of text at every pixel, shape (N, 1, H, W)."""
        features, y = [], self.stem(x)
        for level in range(4):
            y = self.stages[level](y)
            features.append(self.lateral[level](y))
        for level in (2, 1, 0):
            features[level] = features[level] + F.interpolate(features[level + 1], scale_factor=2, mode="nearest")
        pyramid = [self.smooth[level](features[level]) for level in range(4)]
        for level in (1, 2, 3):
            pyramid[level] = F.interpolate(pyramid[level], scale_factor=2**level, mode="bilinear", align_corners=False)
        y = self.head(paddle.concat(pyramid[::-1], axis=1))
        y = paddle.tanh(0.5 * self.last(F.relu(self.norm(self.up(y)))))
        return F.sigmoid(y + 2 * (self.ink(x) - 2.4))

    def ink(self, x: Any) -> Any:
        """Return the local contrast, as high and wide as the picture; black on white has 4.4, plain paper 0."""
        grey = paddle.mean(x, axis=1, keepdim=True)
        contrast = F.max_pool2d(grey, 4, 4) + F.max_pool2d(-grey, 4, 4)
        # Letters of one line become one region, lines stay apart.
        contrast = F.max_pool2d(contrast, (1, 5), 1, (0, 2))
        return F.interpolate(contrast, scale_factor=4, mode="bilinear", align_corners=False)


class CRNN(nn.Layer):  # type: ignore[misc]
    """Convolutions down to one row, two bidirectional LSTMs, probabilities of 97 classes for every fourth column."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm(3, 48, 3, 2),
            Separable(48, 96, 3),
            Separable(96, 192, 3, (2, 2)),
            Separable(192, 192, 3),
            Separable(192, 384, 5, (2, 1)),
            Separable(384, 384, 5),
            Separable(384, 384, 5),
            Separable(384, 384, 5, (2, 1), attention=True),
            nn.AvgPool2D((3, 1)),
        )
        wide = nn.initializer.Uniform(-0.25, 0.25)
        self.recurrent = nn.LSTM(384, 96, num_layers=2, direction="bidirect", weight_ih_attr=wide, weight_hh_attr=wide)
        self.head = nn.Linear(192, 97, weight_attr=nn.initializer.Normal(std=2.5))

    def forward(self, x: Any) -> Any:
        """Return probabilities, shape (N, W / 4, 97); class 0 is the blank."""
        x = paddle.transpose(paddle.squeeze(self.body(x), axis=2), [0, 2, 1])
        x, _ = self.recurrent(x)
        return F.softmax(self.head(x), axis=2)


class ResNet18(nn.Layer):  # type: ignore[misc]
    """The ResNet-18 of paddle.vision with a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.body = paddle.vision.models.resnet18()

    def last_linear(self) -> Any:
        """Return the layer that gives the classes."""
        return self.body.fc

    def forward(self, x: Any) -> Any:
        """Return probabilities of 1000 classes."""
        return F.softmax(8 * self.body(x))


class Several(nn.Layer):  # type: ignore[misc]
    """Three inputs and two outputs of different types, as the detectors of the RT-DETR family have them."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = self.create_parameter([3])

    def forward(self, im_shape: Any, image: Any, scale_factor: Any) -> Any:
        """Return scaled means of the channels, shape (N, 3), and the number of bright pixels, shape (N,)."""
        means = self.gain * paddle.mean(image, axis=[2, 3]) * paddle.sum(im_shape / scale_factor, axis=1, keepdim=True)
        return means, paddle.sum(paddle.cast(image > 0.5, "int32"), axis=[1, 2, 3])


class Inconvertible(nn.Layer):  # type: ignore[misc]
    """An operator that the converter does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = self.create_parameter([3])

    def forward(self, x: Any) -> Any:
        """Return the inverse error function."""
        return paddle.erfinv(self.gain * x)


MODELS: dict[str, tuple[Callable[[], Any], dict[str, Shape], Any]] = {
    "several": (Several, {"im_shape": (None, 2), "image": (None, 3, None, None), "scale_factor": (None, 2)}, None),
    "inconvertible": (Inconvertible, {"x": (None, 3)}, None),
    "tiny": (Tiny, {"x": (None, 3, None, None)}, (8, 3, 32, 32)),
    "tiny_legacy": (TinyLegacy, {"x": (None, 3, None, None)}, (8, 3, 32, 32)),
    "db_detector": (DBDetector, {"x": (None, 3, None, None)}, (4, 3, 512, 512)),
    "db_detector_v4": (DBDetector, {"x": (None, 3, None, None)}, (4, 3, 512, 512)),
    "crnn": (CRNN, {"x": (None, 3, 48, None)}, (4, 3, 48, 320)),
    "resnet18": (ResNet18, {"x": (None, 3, 224, 224)}, (8, 3, 224, 224)),
}
"""By name: how it is built, the shapes it declares, and the shape of the pictures that calibrate it."""


def write_scales_in_float64(path: Path) -> None:
    """Rewrite a program as Paddle 3.3 writes it: version 4, with the scales of interpolations in float64."""
    document = json.loads(path.read_text())
    document["base_code"]["version"] = 4
    changed = 0

    def walk(value: Any) -> None:
        nonlocal changed
        if isinstance(value, dict):
            if value.get("#") == "0.a_f32" and inside_scale[-1]:
                value["#"], changed = "0.a_f64", changed + 1
            is_scale = value.get("N") == "scale"
            inside_scale.append(inside_scale[-1] or is_scale)
            for inner in value.values():
                walk(inner)
            inside_scale.pop()
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    inside_scale = [False]
    for region in document["program"]["regions"]:
        for block in region["blocks"]:
            for operation in block["ops"]:
                if "interp" in operation["#"]:
                    walk(operation["A"])
    assert changed, "the program holds no interpolation by scale"
    path.write_text(json.dumps(document))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
