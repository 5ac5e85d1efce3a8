"""What stands between trunk and head where an engine has no layers for it: proposals and RoI pooling, on torchvision."""

import numpy as np
import torch
import torchvision

import files

# Boxes that are suppressed together, best first; torchvision looks at all pairs, and often the first few boxes suffice.
CHUNK = 1000


def anchors(m, rows, cols):
    """All anchors of a map: cell after cell, as in the reference code."""
    base = m["anchors"]["base"]
    out = []
    for ratio in m["anchors"]["ratios"]:
        w = np.round(np.sqrt(base * base / ratio))
        h = np.round(w * ratio)
        out += [[7.5 - 0.5 * (w * s - 1), 7.5 - 0.5 * (h * s - 1), 7.5 + 0.5 * (w * s - 1), 7.5 + 0.5 * (h * s - 1)]
                for s in m["anchors"]["scales"]]
    x, y = np.meshgrid(np.arange(cols) * 16.0, np.arange(rows) * 16.0)
    shift = np.stack([x, y, x, y], -1).reshape(-1, 1, 4)
    return torch.from_numpy((shift + np.array(out)).reshape(-1, 4).astype(np.float32))


def proposer(m, rows, cols):
    boxes, count = anchors(m, rows, cols), len(m["anchors"]["ratios"]) * len(m["anchors"]["scales"])
    w, h = boxes[:, 2] - boxes[:, 0] + 1, boxes[:, 3] - boxes[:, 1] + 1
    x, y = boxes[:, 0] + 0.5 * w, boxes[:, 1] + 0.5 * h
    limits = torch.tensor([files.WIDTH - 1, files.HEIGHT - 1] * 2, dtype=torch.float32)
    spec = m["proposals"]

    def propose(scores, deltas):
        s = scores[0].permute(1, 2, 0).reshape(-1, 2, count)
        order = torch.argsort((s[:, 1] - s[:, 0]).reshape(-1), descending=True)
        d = deltas[0].permute(1, 2, 0).reshape(-1, 4)
        cx, cy, dw, dh = d[:, 0] * w + x, d[:, 1] * h + y, 0.5 * d[:, 2].exp() * w, 0.5 * d[:, 3].exp() * h
        placed = torch.stack([cx - dw, cy - dh, cx + dw, cy + dh], 1)[order]
        placed = torch.minimum(placed.clamp_min(0), limits)
        large = ((placed[:, 2:] - placed[:, :2] + 1) >= spec["min_size"]).all(1)
        placed = placed[large][:spec["pre_nms"]]
        # One more for the width: torchvision's boxes end where ours have their last pixel.
        wide = placed + torch.tensor([0, 0, 1.0, 1.0])
        kept = torch.zeros(0, 4)
        for chunk in wide.split(CHUNK):
            if len(kept) >= spec["post_nms"]:
                break
            if len(kept):
                chunk = chunk[(torchvision.ops.box_iou(chunk, kept) <= spec["nms"]).all(1)]
            falling = torch.arange(len(chunk), 0, -1, dtype=torch.float32)
            kept = torch.cat([kept, chunk[torchvision.ops.nms(chunk, falling, spec["nms"])]])
        return kept[:spec["post_nms"]] - torch.tensor([0, 0, 1.0, 1.0])

    return propose


def frame(part, trunk, head):
    """The whole way from the network's input to probabilities and deltas."""
    torch.set_num_threads(part.threads)
    propose = proposer(part.manifest, *trunk(part.input)["rpn_cls_score"].shape[2:])

    def run():
        maps = {name: torch.as_tensor(t) for name, t in trunk(part.input).items()}
        rois = propose(maps["rpn_cls_score"], maps["rpn_bbox_pred"])
        index = torch.zeros(files.ROIS, 5)
        index[:len(rois), 1:] = rois
        pooled = torchvision.ops.roi_pool(maps["conv5"].contiguous(), index, (6, 6), 1 / 16)
        out = head(pooled.reshape(files.ROIS, -1).numpy())
        return {"rois": index, **out}

    return run
