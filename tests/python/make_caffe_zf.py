"""Makes a ZF Faster R-CNN for Caffe with seeded random weights, and pictures to run it on.

    python tests/python/make_caffe_zf.py DIR [--seed N]

Writes DIR/zf.prototxt, DIR/zf.caffemodel (240 MB, never committed) and DIR/0.png … 4.png.

Plain random weights would give every place the same score. Here each layer is standardised on one of the pictures
(weights divided by the standard deviation of its outputs, biases set against their mean), so that scores and deltas
are spread out as a trained network's are. The forward pass that measures this is plain numpy in double precision, and
what it measures is rounded, so that the weights do not depend on the machine. The network is the authors' ZF with an RPN: within-channel LRN, padded pooling,
dropout that multiplies by 0.5 at test time.
"""

import argparse
import pathlib
import struct
import zlib

import numpy as np

f32 = np.float32
MEAN_BGR = np.array([102.9801, 115.9465, 122.7717], f32)
CLASSES = 21
# name, outputs, kernel, stride, pad, then normalisation and pooling?
TRUNK = [("conv1", 96, 7, 2, 3, True), ("conv2", 256, 5, 2, 2, True), ("conv3", 384, 3, 1, 1, False),
         ("conv4", 384, 3, 1, 1, False), ("conv5", 256, 3, 1, 1, False)]
# height, width: landscape, portrait, very wide (the longer side is the limit), square, larger than the network input.
PICTURES = [(375, 500), (500, 375), (200, 640), (300, 300), (720, 1280)]


# --- pictures ------------------------------------------------------------------------------------------------------

def picture(rng, height, width):
    """Smooth colours, rectangles and ellipses with texture: edges at every scale."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    image = np.empty((height, width, 3))
    for c in range(3):
        a, b, phase = rng.uniform(0.5, 3, 3)
        image[..., c] = 128 + 60 * np.sin(a * x / width * 6 + phase) * np.cos(b * y / height * 6)
    for _ in range(40):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(8, 0.25 * width), rng.uniform(8, 0.25 * height)
        if rng.random() < 0.5:
            inside = (abs(x - cx) < rx) & (abs(y - cy) < ry)
        else:
            inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        stripes = 30 * np.sin((x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) * rng.uniform(0.05, 1))
        image[inside] = (rng.uniform(0, 255, 3) + stripes[..., None])[inside]
    image += rng.normal(0, 6, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def write_png(path, rgb):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    height, width, _ = rgb.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), rgb.reshape(height, -1)], 1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 6))
                     + chunk(b"IEND", b""))


# --- a forward pass, only to measure how far outputs spread --------------------------------------------------------

def windows(x, kernel, stride, pad, fill=0.0):
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::stride, ::stride]


def conv(x, weight, stride, pad):
    out = weight.shape[0]
    w = windows(x, weight.shape[-1], stride, pad)
    columns = w.transpose(0, 3, 4, 1, 2).reshape(-1, w.shape[1] * w.shape[2])
    return (weight.reshape(out, -1) @ columns).reshape(out, w.shape[1], w.shape[2])


def lrn_within(x):
    return x / (1 + 5e-5 / 9 * (windows(x, 3, 1, 1) ** 2).sum((-1, -2))) ** 0.75


def pool(x):
    """3×3, stride 2, padding 1; one more row and column of padding where Caffe rounds up."""
    pads = [(0, 0)] + [(1, 1 + (n + 1) % 2) for n in x.shape[1:]]
    x = np.pad(x, pads, constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((-1, -2))


def rounded(x, bits=8):
    """Few significant bits: the last digits of a sum differ from machine to machine and run to run, these do not."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(mantissa * 2**bits), exponent - bits)


class Model:
    """Weights by layer name, and the standardising."""

    def __init__(self, rng):
        self.rng = rng
        self.blobs = {}

    def layer(self, name, shape, apply, mean, std):
        """Draws a layer and scales it so that each output has the given mean and deviation over what `apply` gives
        (outputs first); returns those outputs."""
        weight = self.rng.standard_normal(shape, f32).astype(np.float64) / np.sqrt(np.prod(shape[1:]))
        raw = apply(weight)
        out = shape[0]
        flat = raw.reshape(out, -1)
        scale = rounded(np.broadcast_to(std, out) / flat.std(1))
        bias = np.round(np.broadcast_to(mean, out) - rounded(flat.mean(1)) * scale, 3)
        weight *= scale.reshape([out] + [1] * (len(shape) - 1))
        self.blobs[name] = (weight.astype(f32), bias.astype(f32))
        return (flat * scale[:, None] + bias[:, None]).reshape(raw.shape)


def build(rng, rgb):
    """A model, standardised on one picture (not enlarged, which is near enough)."""
    model = Model(rng)
    x = (rgb[..., ::-1] - MEAN_BGR.astype(np.float64)).transpose(2, 0, 1)
    for name, out, kernel, stride, pad, norm in TRUNK:
        # Activations of some tens, where the normalisation is well away from the identity.
        x = model.layer(name, (out, x.shape[0], kernel, kernel), lambda w: conv(x, w, stride, pad), 0, 40)
        x = np.maximum(x, 0)
        if norm:
            x = pool(lrn_within(x))
    fmap = x
    rpn = model.layer("rpn_conv1", (256, 256, 3, 3), lambda w: conv(fmap, w, 1, 1), 0, 1)
    rpn = np.maximum(rpn, 0)
    model.layer("rpn_cls_score", (18, 256, 1, 1), lambda w: conv(rpn, w, 1, 0), 0, 1.5)
    spread = np.tile([0.15, 0.15, 0.25, 0.25], 9)
    model.layer("rpn_bbox_pred", (36, 256, 1, 1), lambda w: conv(rpn, w, 1, 0), 0, spread)

    # The head sees RoIs; random windows of the map stand for them here.
    channels, rows, cols = fmap.shape
    rois = []
    for _ in range(96):
        h, w = rng.integers(4, rows), rng.integers(4, cols)
        top, left = rng.integers(0, rows - h + 1), rng.integers(0, cols - w + 1)
        ys = [slice(top + p * h // 6, max(top - (-(p + 1) * h // 6), top + p * h // 6 + 1)) for p in range(6)]
        xs = [slice(left + p * w // 6, max(left - (-(p + 1) * w // 6), left + p * w // 6 + 1)) for p in range(6)]
        rois.append(np.array([[fmap[:, r, c].max((1, 2)) for c in xs] for r in ys]).transpose(2, 0, 1).ravel())
    x = np.array(rois).T
    for name in ("fc6", "fc7"):
        x = model.layer(name, (4096, x.shape[0]), lambda w: w @ x, 0, 1)
        x = np.maximum(x, 0) * 0.5
    # Background usually wins; every now and then a class does.
    model.layer("cls_score", (CLASSES, 4096), lambda w: w @ x, [7.8] + [0.0] * (CLASSES - 1), 1.6)
    model.layer("bbox_pred", (4 * CLASSES, 4096), lambda w: w @ x, 0, np.tile([0.1, 0.1, 0.2, 0.2], CLASSES))
    return model.blobs


# --- files ---------------------------------------------------------------------------------------------------------

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def field(number, data):
    """A length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def caffemodel(blobs):
    net = field(1, b"ZF")
    for name, arrays in blobs.items():
        layer = field(1, name.encode())
        for a in arrays:
            shape = field(7, field(1, b"".join(varint(d) for d in a.shape)))
            layer += field(7, shape + field(5, np.ascontiguousarray(a, "<f4").tobytes()))
        net += field(100, layer)
    return net


def layer(name, kind, bottoms, top, param=""):
    lines = "".join(f'  bottom: "{b}"\n' for b in bottoms)
    return f'layer {{\n  name: "{name}"\n  type: "{kind}"\n{lines}  top: "{top}"\n{param}}}\n'


def convolution(name, bottom, top, out, kernel, stride, pad):
    numbers = f"num_output: {out} kernel_size: {kernel} stride: {stride} pad: {pad}"
    return layer(name, "Convolution", [bottom], top, f"  convolution_param {{ {numbers} }}\n") \
        + layer(f"relu_{name}", "ReLU", [top], top)


def trunk_text():
    text, blob = "", "data"
    for i, (name, out, kernel, stride, pad, norm) in enumerate(TRUNK, 1):
        text += convolution(name, blob, name, out, kernel, stride, pad)
        blob = name
        if norm:
            text += layer(f"norm{i}", "LRN", [name], f"norm{i}", "  lrn_param { local_size: 3 alpha: 0.00005 "
                          "beta: 0.75 norm_region: WITHIN_CHANNEL engine: CAFFE }\n")
            text += layer(f"pool{i}", "Pooling", [f"norm{i}"], f"pool{i}",
                          "  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }\n")
            blob = f"pool{i}"
    return text


def rpn_text(anchors=9):
    one = "kernel_size: 1 pad: 0 stride: 1"
    return convolution("rpn_conv1", "conv5", "rpn_conv1", 256, 3, 1, 1) \
        + layer("rpn_cls_score", "Convolution", ["rpn_conv1"], "rpn_cls_score",
                f"  convolution_param {{ num_output: {2 * anchors} {one} }}\n") \
        + layer("rpn_bbox_pred", "Convolution", ["rpn_conv1"], "rpn_bbox_pred",
                f"  convolution_param {{ num_output: {4 * anchors} {one} }}\n") \
        + layer("rpn_cls_score_reshape", "Reshape", ["rpn_cls_score"], "rpn_cls_score_reshape",
                "  reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } }\n") \
        + layer("rpn_cls_prob", "Softmax", ["rpn_cls_score_reshape"], "rpn_cls_prob") \
        + layer("rpn_cls_prob_reshape", "Reshape", ["rpn_cls_prob"], "rpn_cls_prob_reshape",
                f"  reshape_param {{ shape {{ dim: 0 dim: {2 * anchors} dim: -1 dim: 0 }} }}\n")


def proposal_text():
    """OpenCV's layer in the place of the authors' Python layer; the numbers are the same."""
    return layer("proposal", "Proposal", ["rpn_cls_prob_reshape", "rpn_bbox_pred", "im_info"], "rois",
                 "  proposal_param {\n    ratio: 0.5 ratio: 1.0 ratio: 2.0\n    scale: 8 scale: 16 scale: 32\n  }\n")


def head_text():
    def fc(name, bottom, out):
        return layer(name, "InnerProduct", [bottom], name, f"  inner_product_param {{ num_output: {out} }}\n")
    text = layer("roi_pool_conv5", "ROIPooling", ["conv5", "rois"], "roi_pool_conv5",
                 "  roi_pooling_param { pooled_w: 6 pooled_h: 6 spatial_scale: 0.0625 }\n")
    blob = "roi_pool_conv5"
    for i in (6, 7):
        text += fc(f"fc{i}", blob, 4096) + layer(f"relu{i}", "ReLU", [f"fc{i}"], f"fc{i}")
        text += layer(f"drop{i}", "Dropout", [f"fc{i}"], f"fc{i}",
                      "  dropout_param { dropout_ratio: 0.5 scale_train: false }\n")
        blob = f"fc{i}"
    return text + fc("cls_score", blob, CLASSES) + fc("bbox_pred", blob, 4 * CLASSES) \
        + layer("cls_prob", "Softmax", ["cls_score"], "cls_prob")


def inputs(**shapes):
    return 'name: "ZF"\n' + "".join(
        f'input: "{name}"\ninput_shape {{ {" ".join(f"dim: {d}" for d in dims)} }}\n' for name, dims in shapes.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    pictures = [picture(rng, h, w) for h, w in PICTURES]
    for i, rgb in enumerate(pictures):
        write_png(args.dir / f"{i}.png", rgb)
    blobs = build(rng, pictures[0])
    text = inputs(data=(1, 3, 224, 224), im_info=(1, 3)) + trunk_text() + rpn_text() + proposal_text() + head_text()
    (args.dir / "zf.prototxt").write_text(text)
    (args.dir / "zf.caffemodel").write_bytes(caffemodel(blobs))


if __name__ == "__main__":
    main()
