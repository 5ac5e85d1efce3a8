"""What each layer of ZF has to do: multiply-adds in rows of tiles, plain operations on vectors, bytes to move."""

import math
from dataclasses import dataclass

# name, inputs, outputs, kernel, stride, pad; "pool" is 3×3, step 2, pad 1.
TRUNK = [
    ("conv1", 3, 96, 7, 2, 3),
    "pool",
    ("conv2", 96, 256, 5, 2, 2),
    "pool",
    ("conv3", 256, 384, 3, 1, 1),
    ("conv4", 384, 384, 3, 1, 1),
    ("conv5", 384, 256, 3, 1, 1),
    ("rpn_conv", 256, 256, 3, 1, 1),
    ("rpn_cls_score", 256, 18, 1, 1, 0),
    ("rpn_bbox_pred", 256, 36, 1, 1, 0),
]
# After truncated SVD: inputs, outputs.
HEAD = [("fc6 V", 9216, 1024), ("fc6 U", 1024, 4096), ("fc7 V", 4096, 256), ("fc7 U", 256, 4096), ("outputs", 4096, 105)]

# Tiles of Winograd's convolution that are worked on at a time in f32 (src/kernels/conv/winograd.rs), and in words, for so many
# outputs at a time (src/kernels/int8/conv/winograd.rs).
BLOCK, WORD_BLOCK, WORD_PART = 192, 96, 128
# Outputs and inputs from which on a layer in f32 is multiplied by Strassen's method, and its blocks (src/kernels/dense/strassen.rs).
LARGE, STRASSEN_BLOCK = 1024, 1024
# Plain operations for a number of Winograd's transforms: 12 one-dimensional ones of 13 operations, and as many stores
# as there are places, for a channel of a tile; 10 of 11, bias, ReLU and store for an output of one.
TRANSFORM_IN, TRANSFORM_OUT = 12 * 13 + 36, 10 * 11 + 3 * 16
# Plain operations for a sum that becomes a byte (bias, conversion, factor, rounding, zero point, three steps of packing),
# or a real number (bias, ReLU, store).
REQUANTISE, FINISH = 8, 3


@dataclass
class Layer:
    """A layer at a size."""

    stage: str
    name: str
    # Products: how many of the same kind, rows of the left factor in one call, numbers along k, those of them that are
    # read alone (the last of a run), outputs.
    times: int
    rows: int
    depth: int
    alone: int
    outputs: int
    # Plain operations on single numbers, and bytes that come from and go to beyond a core's own caches.
    plain: float
    moved: float
    # Whether the products are of 16-bit words.
    words: bool = False

    def macs(self):
        """As the method counts them: Winograd's are fewer than the definition's."""
        return self.times * self.rows * (self.depth + self.alone) * self.outputs


@dataclass(frozen=True)
class Words:
    """Layers that are computed in words, by Winograd's method: from so many tiles on, up to such strides
    (src/kernels/int8/dot)."""

    tiles: int
    strides: int


def layers(rows, cols, regions, int8, step, words=None, strassen=False):
    """The layers of a picture of rows×cols; `step` is what integer instructions take along k at a time, `strassen` whether large
    layers in f32 are multiplied by that method."""
    size = 1 if int8 else 4
    for layer in TRUNK:
        if layer == "pool":
            rows, cols = math.ceil((rows - 1) / 2) + 1, math.ceil((cols - 1) / 2) + 1
            continue
        name, inputs, outputs, kernel, stride, pad = layer
        before = rows * cols * inputs
        rows, cols = ((n + 2 * pad - kernel) // stride + 1 for n in (rows, cols))
        yield convolution(layer, before, rows, cols, size, step if int8 else 0, words)
    for name, inputs, outputs in HEAD:
        plain = regions * outputs * (REQUANTISE if int8 else FINISH)
        if strassen and not int8 and min(inputs, outputs) >= LARGE:
            # Seven products of halves: their inputs are sums of one or two quarters, outputs of twelve in all.
            blocks = 7 * inputs / 2 / STRASSEN_BLOCK
            plain += 12 * regions * inputs / 4 + (blocks * 2 + 12) * regions * outputs / 4
            moved = size * (regions * (3 * inputs + 5 * outputs) + 7 / 4 * inputs * outputs)
            yield Layer("head", name, 7, regions / 2, inputs / 2, 0, outputs / 2, plain, moved)
            continue
        # Real inputs are copied block by block, and sums are read and written again with each.
        blocks = 0 if int8 else inputs / 512
        plain += blocks * regions * 2 * outputs
        moved = size * (regions * (inputs + outputs) + inputs * outputs)
        yield Layer("head", name, 1, regions, inputs, 0, outputs, plain, moved)


def convolution(layer, before, rows, cols, size, step, words):
    name, inputs, outputs, kernel, stride, pad = layer
    places = rows * cols
    run = kernel * inputs
    moved = size * (2 * before if pad else before) + size * places * outputs
    plain = places * outputs * (REQUANTISE if step else FINISH)
    lines = (1, places) if kernel == 1 else (rows, cols)
    if name == "conv1":
        # Pooled on the way, three rows of three: each number is looked at about three times, bytes four times as fast.
        plain += places * outputs * 3 / (4 if step else 1)
        moved -= size * places * outputs * 3 / 4
    tiles = -(-rows // 4) * -(-cols // 4)
    winograd = (kernel, stride) in ((3, 1), (5, 2))
    if step:
        winograd = winograd and words is not None and tiles >= words.tiles and stride <= words.strides
    if step and not winograd:
        over = run % step * kernel
        depth = run // step * step * kernel + -(-over // step) * step
        alone = run // step % (4 if step == 4 else 1) * step * kernel + over if step == 4 else 0
        return Layer(
            "trunk", name, lines[0], lines[1], depth - alone, alone, outputs, plain, moved + outputs * inputs * kernel**2
        )
    if winograd:
        # F(4×4, 3×3); a 5×5 of step 2 is four of them. Tiles are written, multiplied into others, and read.
        depth = inputs * stride**2
        blocks, parts = (-(-tiles // WORD_BLOCK), -(-outputs // WORD_PART)) if step else (-(-tiles // BLOCK), 1)
        # Twice as many words as real numbers lie in a vector. Those are two bytes, their sums four.
        plain = (plain if step else 0) + tiles * (depth * TRANSFORM_IN / (2 if step else 1) + outputs * TRANSFORM_OUT)
        wide = 2 if step else 4
        moved += 36 * (tiles * (wide * depth * (1 + parts) + 8 * outputs) + blocks * wide * depth * outputs)
        return Layer("trunk", name, 36 * blocks, tiles / blocks, depth, 0, outputs, plain, moved, words=bool(step))
    alone = run % 4 * kernel
    moved += 4 * outputs * inputs * kernel**2
    return Layer("trunk", name, lines[0], lines[1], run * kernel - alone, alone, outputs, plain, moved)
