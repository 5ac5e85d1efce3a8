"""OpenVINO: one model per part; the frame is one model, with OpenVINO's own proposal and RoI pooling layers."""

import numpy as np
import openvino as ov
from openvino import opset13 as ops

import files


def read(core, part, name):
    model = core.read_model(part.onnx(name))
    for layer in model.get_ops():
        own_lrn(layer)
    model.reshape([1, 3, files.HEIGHT, files.WIDTH] if name == "trunk" else [files.ROIS, files.POOLED])
    return model


def own_lrn(divide):
    """LRN within a channel is no operator of ONNX's and stands as six in our files; OpenVINO has one, which is much faster."""
    def of(node, kind, place=0):
        source = node.input_value(place).get_node() if node else None
        return source if source and source.get_type_name() == kind else None

    if divide.get_type_name() != "Divide":
        return
    power = of(divide, "Power", 1)
    base = of(power, "Add")
    scaled = of(base, "Multiply")
    mean = of(scaled, "AvgPool")
    if not mean:
        return
    alpha, beta, k = (float(number.input_value(1).get_node().data) for number in (scaled, power, base))
    size = mean.get_attributes()["kernel"][0]
    lrn = ops.lrn(divide.input_value(0), np.array([2, 3], np.int64), alpha, beta, k, size)
    for reader in divide.output(0).get_target_inputs():
        reader.replace_source_output(lrn.output(0))


def value(model, name):
    """What an output is, inside of the graph."""
    return model.output(name).get_node().input_value(0)


def whole(core, part):
    trunk, head = read(core, part, "trunk"), read(core, part, "head")
    scores, deltas, conv5 = (value(trunk, n) for n in ("rpn_cls_score", "rpn_bbox_pred", "conv5"))
    m = part.manifest
    anchors = len(m["anchors"]["ratios"]) * len(m["anchors"]["scales"])
    _, _, rows, cols = scores.get_shape()
    pairs = ops.reshape(scores, np.array([1, 2, anchors * rows, cols], np.int64), False)
    prob = ops.reshape(ops.softmax(pairs, 1), np.array([1, 2 * anchors, rows, cols], np.int64), False)
    attributes = {
        "base_size": np.uint32(16), "feat_stride": np.uint32(16), "min_size": np.uint32(m["proposals"]["min_size"]),
        "ratio": np.array(m["anchors"]["ratios"], np.float32), "scale": np.array(m["anchors"]["scales"], np.float32),
        "pre_nms_topn": np.uint32(m["proposals"]["pre_nms"]), "post_nms_topn": np.uint32(m["proposals"]["post_nms"]),
        "nms_thresh": np.float32(m["proposals"]["nms"]), "clip_before_nms": True, "clip_after_nms": False,
        "normalize": False, "box_size_scale": np.float32(1), "box_coordinate_scale": np.float32(1), "framework": "",
    }
    info = np.array([files.HEIGHT, files.WIDTH, 1.0], np.float32)
    rois = ops.proposal(prob, deltas, ops.constant(info), attributes).output(0)
    pooled = ops.roi_pooling(conv5, rois, [6, 6], 1 / 16, "max")
    flat = ops.reshape(pooled, np.array([files.ROIS, files.POOLED], np.int64), False)
    for reader in head.get_parameters()[0].output(0).get_target_inputs():
        reader.replace_source_output(flat.output(0))
    boxes = ops.result(rois, name="rois")
    return ov.Model([boxes, *[ops.result(value(head, n), name=n) for n in ("cls_prob", "bbox_pred")]],
                    trunk.get_parameters(), "frame")


def prepare(part):
    core = ov.Core()
    frame = part.part == "frame"
    model = whole(core, part) if frame else read(core, part, part.part)
    compiled = core.compile_model(model, "CPU", {
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": part.threads,
        "INFERENCE_PRECISION_HINT": "bf16" if part.precision == "bf16" else "f32",
    })
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(part.input, shared_memory=True))
    names = files.OUTPUTS[part.part]
    place = {n: i if frame else [n in o.names for o in compiled.outputs].index(True) for i, n in enumerate(names)}

    def run():
        request.infer()
        return {name: request.get_output_tensor(i).data for name, i in place.items()}

    return run, ov.__version__.split("-")[0]
