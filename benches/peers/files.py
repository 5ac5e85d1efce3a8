"""Bundles, inputs and outputs of the engines as files."""

import pathlib
import tomllib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COPIES = pathlib.Path(__file__).resolve().parents[2] / "target" / "peers" / "copies"
HEIGHT, WIDTH, ROIS, POOLED = 600, 1000, 300, 9216
OUTPUTS = {
    "trunk": ["conv5", "rpn_cls_score", "rpn_bbox_pred"],
    "head": ["cls_prob", "bbox_pred"],
    "frame": ["rois", "cls_prob", "bbox_pred"],
}
f32 = np.float32


def manifest(bundle):
    return tomllib.loads((bundle / "model.toml").read_text())


def input_of(part, path):
    """The trunk's picture, the head's pooled RoIs, or the picture that a frame begins with, as the engine gets it."""
    shape = (ROIS, POOLED) if part == "head" else (1, 3, HEIGHT, WIDTH)
    return np.fromfile(path, f32).reshape(shape)


def write_outputs(out, tensors):
    """`tensors` by name."""
    out.mkdir(parents=True, exist_ok=True)
    for name, tensor in tensors.items():
        np.ascontiguousarray(tensor, f32).tofile(out / f"{name}.f32")


def read_outputs(part, out):
    return {name: np.fromfile(out / f"{name}.f32", f32) for name in OUTPUTS[part]}


def onnx_file(bundle, part, precision):
    """The bundle's own file; in 8 bits a copy that also rounds before pooling."""
    path = bundle / f"{part}.onnx"
    if precision != "int8" or part != "trunk":
        return path
    return saved(rounding_before_pooling(onnx.load(path)), f"{bundle.name}-trunk-pooled-in-8-bits")


def saved_by_onnx(path):
    """The same file, written by the package onnx: rten does not read shapes in the packed form that our writer gives them."""
    return saved(onnx.load(path), f"{path.parent.name}-{path.stem}-saved")


def saved(model, name):
    """A copy beside no bundle."""
    COPIES.mkdir(parents=True, exist_ok=True)
    path = COPIES / f"{name}.onnx"
    onnx.save(model, path)
    return path


def rounding_before_pooling(model):
    """The same numbers, said so that engines pool bytes: a map is rounded to 8 bits before pooling instead of after it.

    The largest of some numbers has the largest step, so that changes no value. Our files round after pooling; engines would
    otherwise write the map before it as f32, which is slower.
    """
    graph = model.graph
    readers = {name: node for node in graph.node for name in node.input}
    nodes = []
    for node in graph.node:
        follower = readers.get(node.output[0])
        if node.op_type == "MaxPool" and follower is not None and follower.op_type == "QuantizeLinear":
            scale, zero = follower.input[1:]
            u8, real = f"{node.input[0]}.before.u8", f"{node.input[0]}.before.f32"
            nodes += [helper.make_node("QuantizeLinear", [node.input[0], scale, zero], [u8], u8),
                      helper.make_node("DequantizeLinear", [u8, scale, zero], [real], real)]
            node.input[0] = real
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


class Weights:
    """The tensors of an ONNX file of real numbers, as f32, and its nodes."""

    def __init__(self, path):
        graph = onnx.load(path).graph
        tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.tensors = {name: t.astype(f32) for name, t in tensors.items() if t.dtype in (np.float16, f32)}
        # Weights in half precision go through a Cast; its output is the same tensor to whoever reads it.
        self.nodes = []
        for node in graph.node:
            if node.op_type == "Cast" and node.input[0] in self.tensors:
                self.tensors[node.output[0]] = self.tensors[node.input[0]]
            else:
                self.nodes.append(node)

    def __getitem__(self, name):
        return self.tensors[name]

    def __contains__(self, name):
        return name in self.tensors


def attributes(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
