"""Runs OpenCV's Caffe importer on the model of make_caffe_zf.py and writes what the detector should find.

    python tests/python/opencv_reference.py DIR

Reads DIR/zf.prototxt, DIR/zf.caffemodel, DIR/*.png; writes DIR/expected.json.

Preprocessing, proposals and post-processing follow the authors' released Python code, restated in numpy; every network
layer is computed by OpenCV. OpenCV's own `Proposal` layer differs from the authors' in three ways:

1. It has no minimum size: boxes with a side under 16·scale stay in (the parameter is read by no code).
2. It always gives 300 rows; where fewer boxes survive, the rest is (0, 0, 0, 0), and the head runs on those too.
3. Anchors whose score is exactly 0 never enter, and equal scores keep the anchor order, where numpy's argsort leaves
   their order open.

Anchors, decoding, clipping (to size - 1) and suppression (widths with + 1, IoU > 0.7) are the same. So the reference
takes the RPN's maps from OpenCV, proposes in numpy, and runs OpenCV's head on these RoIs. That nothing else is
different is checked here for every picture: without the minimum size the numpy proposals must be OpenCV's own, and
where the minimum size removes nothing, OpenCV's network in one pass must give the same detections.

Comparing two programs box by box only works if no decision hangs on the last digit. The script measures how far every
decision is from tipping (`margins`) and refuses a model with near-ties; make another with --seed.
"""

import argparse
import json
import pathlib

import cv2
import numpy as np

import make_caffe_zf as zf

f32 = np.float32
# Nearest allowed distances from tipping. Two correct programs differ by some 1e-4 pixels and 1e-6 in scores and IoU.
MARGINS = {
    "proposal_iou": 4e-6,      # of an overlap from 0.7
    "proposal_order": 5e-6,    # of the scores of two boxes of which one removes the other, or of the 300th and 301st
    "min_size_px": 1e-2,       # of a side from 16·scale
    "roi_rounding_px": 5e-4,   # of a corner from where it would round to the next cell of the map
    "score_threshold": 5e-6,   # of a score from 0.05
    "detection_iou": 1e-5,     # of an overlap from 0.3
    "detection_order": 5e-6,   # as for proposals; also of the 100th and 101st
}


# --- the authors' code, restated ------------------------------------------------------------------------------------

def blob_of(bgr):
    """Mean subtracted, then resized: shorter side 600, longer at most 1000."""
    image = bgr.astype(f32) - zf.MEAN_BGR
    short, long = min(image.shape[:2]), max(image.shape[:2])
    scale = 600.0 / short
    if np.round(scale * long) > 1000:
        scale = 1000.0 / long
    image = cv2.resize(image, None, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None]), scale


def anchors():
    out = []
    for ratio in (0.5, 1, 2):
        w = np.round(np.sqrt(256 / ratio))
        h = np.round(w * ratio)
        out += [[7.5 - 0.5 * (w * s - 1), 7.5 - 0.5 * (h * s - 1), 7.5 + 0.5 * (w * s - 1), 7.5 + 0.5 * (h * s - 1)]
                for s in (8, 16, 32)]
    return np.array(out)


def decode(boxes, deltas):
    """`deltas` is n × 4k; the corners are centre ± half the size, without - 1."""
    boxes = boxes.astype(deltas.dtype)
    w, h = boxes[:, 2] - boxes[:, 0] + 1, boxes[:, 3] - boxes[:, 1] + 1
    x, y = boxes[:, 0] + 0.5 * w, boxes[:, 1] + 0.5 * h
    d = deltas.reshape(len(boxes), -1, 4)
    cx, cy = d[..., 0] * w[:, None] + x[:, None], d[..., 1] * h[:, None] + y[:, None]
    dw, dh = np.exp(d[..., 2]) * w[:, None], np.exp(d[..., 3]) * h[:, None]
    return np.stack([cx - 0.5 * dw, cy - 0.5 * dh, cx + 0.5 * dw, cy + 0.5 * dh], -1).reshape(len(boxes), -1)


def clip(boxes, height, width):
    limit = np.tile([width - 1, height - 1], boxes.shape[1] // 2).astype(boxes.dtype)
    return np.clip(boxes, 0, limit)


def iou(box, boxes):
    wh = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]) + 1
    inter = np.maximum(wh, 0).prod(1)
    area = lambda b: (b[..., 2] - b[..., 0] + 1) * (b[..., 3] - b[..., 1] + 1)
    return inter / (area(box) + area(boxes) - inter)


def suppress(boxes, scores, threshold, most, margin, stage):
    """Greedy suppression of boxes sorted by falling score; notes how close its decisions were."""
    kept, alive = [], np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        if len(kept) == most:
            margin(f"{stage}_order", scores[kept[-1]] - scores[i])
            break
        kept.append(i)
        rest = i + 1 + np.where(alive[i + 1:])[0]
        overlap = iou(boxes[i], boxes[rest])
        gone = rest[overlap > threshold]
        margin(f"{stage}_iou", np.abs(overlap - threshold).min(initial=1))
        margin(f"{stage}_order", (scores[i] - scores[gone]).min(initial=1))
        alive[gone] = False
    return np.array(kept, int)


def propose(prob, deltas, height, width, min_size, margin):
    """The proposal layer: boxes, best first."""
    rows, cols = prob.shape[2:]
    shift = np.stack(np.meshgrid(np.arange(cols) * 16.0, np.arange(rows) * 16.0), -1).reshape(-1, 1, 2)
    boxes = (np.tile(shift, 2) + anchors()).reshape(-1, 4)
    scores = prob[0, 9:].transpose(1, 2, 0).ravel()
    boxes = clip(decode(boxes, deltas[0].transpose(1, 2, 0).reshape(-1, 4)), height, width)
    sides = (boxes[:, 2:] - boxes[:, :2] + 1).min(1)
    margin("min_size_px", np.abs(sides - min_size).min())
    keep = np.where(sides >= min_size)[0]
    boxes, scores = boxes[keep], scores[keep]
    order = np.argsort(-scores, kind="stable")[:6000]
    return boxes[order][suppress(boxes[order], scores[order], 0.7, 300, margin, "proposal")]


def detections_of(rois, prob, deltas, scale, shape, margin):
    """Per-class decoding, threshold and suppression; at most 100 over all classes."""
    height, width = shape[:2]
    boxes = clip(decode(rois / scale, deltas), height, width)
    found = []
    for c in range(1, zf.CLASSES):
        scores = prob[:, c]
        margin("score_threshold", np.abs(scores - 0.05).min())
        keep = np.where(scores > 0.05)[0]
        order = keep[np.argsort(-scores[keep], kind="stable")]
        mine = boxes[order, 4 * c:4 * c + 4]
        kept = suppress(mine, scores[order], 0.3, None, margin, "detection")
        found += [{"class_id": c, "score": float(scores[order[k]]), "box": mine[k].astype(float).tolist()}
                  for k in kept]
    before = int((prob[:, 1:] > 0.05).sum())
    found.sort(key=lambda d: -d["score"])
    if len(found) > 100:
        margin("detection_order", found[99]["score"] - found[100]["score"])
    return found[:100], before


# --- OpenCV ---------------------------------------------------------------------------------------------------------

class Networks:
    def __init__(self, directory):
        weights = (directory / "zf.caffemodel").read_bytes()

        def read(text):
            net = cv2.dnn.readNetFromCaffe(bytearray(text.encode()), bytearray(weights))
            # Winograd's convolution is ten times further from the exact sum than the plain one, and further than we are.
            net.enableWinograd(False)
            return net

        self.whole = read((directory / "zf.prototxt").read_text())
        # The same layers in two halves. Shapes of the second half's inputs are set by what is put in.
        self.trunk = read(zf.inputs(data=(1, 3, 224, 224)) + zf.trunk_text() + zf.rpn_text())
        self.head = read(zf.inputs(conv5=(1, 256, 14, 14), rois=(1, 5)) + zf.head_text())

    def maps(self, blob):
        self.trunk.setInput(blob, "data")
        # Outputs go by layer, not by blob: `conv5` would be the map before its ReLU.
        return [m.copy() for m in self.trunk.forward(["relu_conv5", "rpn_cls_prob_reshape", "rpn_bbox_pred"])]

    def classify(self, conv5, rois):
        self.head.setInput(conv5, "conv5")
        self.head.setInput(np.hstack([np.zeros((len(rois), 1), f32), rois.astype(f32)]), "rois")
        return [m.copy() for m in self.head.forward(["cls_prob", "bbox_pred"])]

    def one_pass(self, blob, info):
        self.whole.setInput(blob, "data")
        self.whole.setInput(info, "im_info")
        return [m.copy() for m in self.whole.forward(["proposal", "cls_prob", "bbox_pred"])]


def difference(a, b):
    """Largest difference of two lists of detections; None if they are not the same detections."""
    if [d["class_id"] for d in a] != [d["class_id"] for d in b]:
        return None
    return {"box_px": max((float(np.abs(np.subtract(x["box"], y["box"])).max()) for x, y in zip(a, b)), default=0.0),
            "score": max((abs(x["score"] - y["score"]) for x, y in zip(a, b)), default=0.0)}


def reference(networks, path):
    bgr = cv2.imread(str(path))
    blob, scale = blob_of(bgr)
    height, width = blob.shape[2:]
    conv5, prob, deltas = networks.maps(blob)
    margins = {}

    def margin(name, value):
        margins[name] = min(margins.get(name, np.inf), float(value))

    rois = propose(prob, deltas, height, width, 16 * scale, margin)
    rois = rois.astype(f32)
    margin("roi_rounding_px", 16 * np.abs(rois / 16 % 1 - 0.5).min())
    scores, regressed = networks.classify(conv5, rois)
    found, before = detections_of(rois, scores, regressed, scale, bgr.shape, margin)

    # What OpenCV does alone.
    ignore = lambda name, value: None
    own_rois, own_scores, own_regressed = networks.one_pass(blob, np.array([[height, width, scale]], f32))
    own_rois = own_rois.reshape(-1, 5)[:, 1:]
    filled = int((own_rois.max(1) > 0).sum())
    unfiltered = propose(prob, deltas, height, width, 0, ignore)
    assert len(unfiltered) == filled, f"{path.name}: OpenCV proposes {filled} boxes, numpy {len(unfiltered)}"
    layer_px = float(np.abs(own_rois[:filled] - unfiltered).max())
    assert layer_px < 1e-2, f"{path.name}: OpenCV's proposals are {layer_px} pixels from numpy's"
    same = len(rois) == filled and np.abs(own_rois[:filled] - rois).max() < 1e-2
    one_pass = None
    if same:
        alone, _ = detections_of(own_rois[:filled], own_scores[:filled], own_regressed[:filled], scale, bgr.shape,
                                 ignore)
        one_pass = difference(found, alone)
        assert one_pass and one_pass["box_px"] < 0.05 and one_pass["score"] < 1e-4, f"{path.name}: {one_pass}"
    return {"picture": path.name, "scale": scale, "blob": [height, width], "proposals": rois.astype(float).tolist(),
            "above_threshold_before_nms": before, "detections": found, "margins": margins,
            "opencv_alone": {"proposals": filled, "proposal_layer_px": layer_px, "min_size_matters": not same,
                             "difference": one_pass}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--any-margin", action="store_true", help="write the result even if decisions are close")
    args = parser.parse_args()
    networks = Networks(args.dir)
    results = []
    for path in sorted(args.dir.glob("*.png")):
        r = reference(networks, path)
        results.append(r)
        print(f"{r['picture']}: blob {r['blob']}, {len(r['proposals'])} proposals, {r['above_threshold_before_nms']} "
              f"above the threshold, {len(r['detections'])} detections; OpenCV alone: {r['opencv_alone']}")
        print("   margins", {k: float(f"{v:.2g}") for k, v in r["margins"].items()})
        close = {k: v for k, v in r["margins"].items() if v < MARGINS[k]}
        if close and not args.any_margin:
            raise SystemExit(f"{r['picture']}: decisions too close to call: {close}; make another model (--seed)")
    versions = {"opencv": cv2.__version__, "numpy": np.__version__}
    (args.dir / "expected.json").write_text(json.dumps({"versions": versions, "pictures": results}))


if __name__ == "__main__":
    main()
