"""OpenCV's dnn: trunk and head from ONNX, the frame from Caffe's formats, whose importer has all of the detector."""

import sys
import pathlib

import cv2
import numpy as np

import files

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "python"))
import make_caffe_zf as caffe  # noqa: E402


def text(m, weights):
    """The bundle as prototxt: ZF without LRN, with an RPN, fully connected layers as they are stored."""
    out, blob = caffe.inputs(data=(1, 3, files.HEIGHT, files.WIDTH), im_info=(1, 3)), "data"
    for i, (name, maps, kernel, stride, pad, pooled) in enumerate(caffe.TRUNK, 1):
        out += caffe.convolution(name, blob, name, maps, kernel, stride, pad)
        blob = name
        if pooled:
            out += caffe.layer(f"pool{i}", "Pooling", [name], f"pool{i}",
                               "  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }\n")
            blob = f"pool{i}"
    out += caffe.rpn_text()
    counts = f"pre_nms_topn: {m['proposals']['pre_nms']} post_nms_topn: {m['proposals']['post_nms']}"
    out += caffe.layer("proposal", "Proposal", ["rpn_cls_prob_reshape", "rpn_bbox_pred", "im_info"], "rois",
                       "  proposal_param { ratio: 0.5 ratio: 1.0 ratio: 2.0 scale: 8 scale: 16 scale: 32 " + counts + " }\n")
    out += caffe.layer("roi_pool_conv5", "ROIPooling", ["conv5", "rois"], "roi_pool_conv5",
                       "  roi_pooling_param { pooled_w: 6 pooled_h: 6 spatial_scale: 0.0625 }\n")
    fc = lambda name, bottom: caffe.layer(
        name, "InnerProduct", [bottom], name,
        f"  inner_product_param {{ num_output: {weights[name + '.weight'].shape[0]} "
        f"bias_term: {'true' if name + '.bias' in weights else 'false'} }}\n")
    blob = "roi_pool_conv5"
    for name in ("fc6", "fc7"):
        for part in [f"{name}_v", f"{name}_u"] if f"{name}_v.weight" in weights else [name]:
            out += fc(part, blob)
            blob = part
        out += caffe.layer(f"relu_{name}", "ReLU", [blob], blob)
    return out + fc("cls_score", blob) + fc("bbox_pred", blob) + caffe.layer("cls_prob", "Softmax", ["cls_score"], "cls_prob")


def whole(part):
    trunk, head = (files.Weights(part.bundle / f"{p}.onnx").tensors for p in ("trunk", "head"))
    weights = {n.replace("rpn_conv.", "rpn_conv1."): t for n, t in {**trunk, **head}.items() if n.endswith((".weight", ".bias"))}
    names = dict.fromkeys(n.rsplit(".", 1)[0] for n in weights)
    blobs = {n: [weights[f"{n}.{k}"] for k in ("weight", "bias") if f"{n}.{k}" in weights] for n in names}
    net = cv2.dnn.readNetFromCaffe(bytearray(text(part.manifest, weights).encode()), bytearray(caffe.caffemodel(blobs)))
    info = np.array([[files.HEIGHT, files.WIDTH, 1]], np.float32)

    def run():
        net.setInput(part.input, "data")
        net.setInput(info, "im_info")
        rois, prob, deltas = net.forward(["proposal", "cls_prob", "bbox_pred"])
        return {"rois": rois.reshape(-1, 5), "cls_prob": prob, "bbox_pred": deltas}

    return run


def prepare(part):
    cv2.setNumThreads(part.threads)
    if part.part == "frame":
        return whole(part), cv2.__version__
    net = cv2.dnn.readNetFromONNX(str(part.onnx()))
    names = files.OUTPUTS[part.part]

    def run():
        net.setInput(part.input)
        return dict(zip(names, net.forward(names)))

    return run, cv2.__version__
