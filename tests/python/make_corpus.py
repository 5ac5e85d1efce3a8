"""Makes the binary files of tests/corpus/: small, well-formed examples of everything the program reads.

    python tests/python/make_corpus.py

Text files in there are written by hand. `tests/corpus.rs` reads all of them, whole and damaged; the fuzz targets start
from them.
"""

import pathlib

import numpy as np
import onnx
from PIL import Image

import make_caffe_zf as zf

CORPUS = pathlib.Path(__file__).parent.parent / "corpus"
VALUES = np.array([0.5, -1.25, 3.0, 0.0, 1e-8, 65504.0], np.float32)


def write(name, content):
    path = CORPUS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def onnx_files():
    for name, make in {
        "raw_f32": lambda: onnx.helper.make_tensor("fc.weight", 1, [2, 3], VALUES.tobytes(), raw=True),
        "raw_f16": lambda: onnx.helper.make_tensor("fc.weight", 10, [2, 3], VALUES.astype("<f2").tobytes(), raw=True),
        "float_data": lambda: onnx.helper.make_tensor("fc.weight", 1, [2, 3], VALUES.tolist()),
        "int_data": lambda: onnx.helper.make_tensor("fc.weight", 6, [6], list(range(6))),
    }.items():
        node = onnx.helper.make_node("MatMul", ["x", "fc.weight"], ["y"])
        info = lambda n: onnx.helper.make_tensor_value_info(n, 1, ["N", 2])
        graph = onnx.helper.make_graph([node], "g", [info("x")], [info("y")], [make()])
        write(f"bundle/{name}.onnx", onnx.helper.make_model(graph).SerializeToString())
    write("bundle/no_graph.onnx", onnx.ModelProto(ir_version=8).SerializeToString())


def caffemodels():
    weight, bias = VALUES.reshape(2, 3), VALUES[:2]
    write("caffemodel/new.caffemodel", zf.caffemodel({"fc6": (weight, bias), "fc7": (weight, bias)}))

    def old(double):
        layers = b""
        for name in (b"fc6", b"fc7"):
            blobs = b""
            for a in (weight, bias):
                dims = (1, 1) + a.shape if a.ndim == 2 else (1, 1, 1) + a.shape
                blob = b"".join(zf.varint(i << 3) + zf.varint(d) for i, d in enumerate(dims, 1))
                blob += zf.field(8, a.astype("<f8").tobytes()) if double else zf.field(5, a.astype("<f4").tobytes())
                blobs += zf.field(6, blob)
            layers += zf.field(2, zf.field(4, name) + zf.varint(5 << 3) + zf.varint(14) + blobs)
        return layers

    write("caffemodel/old.caffemodel", old(False))
    write("caffemodel/old_double.caffemodel", old(True))
    # One number at a time instead of packed, as protobuf also allows.
    loose = b"".join(zf.varint(5 << 3 | 5) + v.tobytes() for v in bias)
    shape = zf.field(7, zf.varint(1 << 3) + zf.varint(2))
    write("caffemodel/unpacked.caffemodel", zf.field(100, zf.field(1, b"fc") + zf.field(7, shape + loose)))


def pictures():
    rng = np.random.default_rng(5)
    rgb = rng.integers(0, 256, (11, 13, 3), np.uint8)
    colour, gray = Image.fromarray(rgb), Image.fromarray(rgb[..., 0])
    deep = Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x112] = 6
    palette = colour.quantize(16)
    clear = Image.fromarray(np.concatenate([rgb, rgb[..., :1]], 2))
    for name, image, options in [
        ("rgb.png", colour, {}), ("gray.png", gray, {}), ("gray16.png", deep, {}), ("palette.png", palette, {}),
        ("rgba.png", clear, {}), ("rgb.jpg", colour, {}), ("gray.jpg", gray, {}), ("cmyk.jpg", colour.convert("CMYK"), {}),
        ("progressive.jpg", colour, {"progressive": True}), ("turned.jpg", colour, {"exif": turned}),
        ("lossy.webp", colour, {}), ("lossless.webp", clear, {"lossless": True}),
    ]:
        path = CORPUS / "picture" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)


def networks():
    text = zf.inputs(data=(1, 3, 224, 224), im_info=(1, 3)) + zf.trunk_text() + zf.rpn_text() + zf.proposal_text() \
        + zf.head_text()
    write("prototxt/zf.prototxt", text.encode())


if __name__ == "__main__":
    onnx_files()
    caffemodels()
    pictures()
    networks()
