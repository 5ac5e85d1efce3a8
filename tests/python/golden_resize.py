"""Makes tests/golden/resize.bin: what OpenCV's resize makes of small synthetic pictures.

For each case the picture is the formula in `pixel` below (the Rust test has the same one), the mean is subtracted from
its BGR values in float32, and `cv2.resize(fx=scale, fy=scale, INTER_LINEAR)` resizes it, as py-faster-rcnn's
`prep_im_for_blob` does. OpenCV must have IPP (x86), which computes positions
in double precision; without it they are rounded to float32. Run from the root of the repository: python tests/python/golden_resize.py
File: per case six little-endian u32 (width, height, short side, long side, output width, output height), the scale as f64, then
output height x output width x 3 little-endian f32, BGR interleaved.
"""

import struct

import cv2
import numpy as np

MEAN = np.array([[[102.9801, 115.9465, 122.7717]]])

# width, height, wanted short side, largest long side: enlarging, shrinking, one pixel wide, both branches of the rule,
# halves that round to even, a factor of exactly one half.
CASES = [
    (5, 3, 12, 100),
    (13, 9, 7, 100),
    (9, 13, 7, 100),
    (16, 12, 6, 100),
    (40, 8, 20, 50),
    (1, 1, 6, 100),
    (1, 7, 3, 100),
    (17, 1, 4, 30),
    (10, 25, 7, 100),
    (31, 22, 33, 47),
    (64, 48, 17, 100),
    (7, 5, 5, 100),
]


def pixel(width, height):
    """A picture whose neighbours differ much, without a generator whose stream might change."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return ((x * 89 + y * 57 + c * 101 + x * y * (c + 3)) % 256).astype(np.uint8)


def main():
    assert cv2.ipp.useIPP(), "without IPP the numbers differ in the fourth decimal"
    with open("tests/golden/resize.bin", "wb") as out:
        for width, height, short, long_max in CASES:
            image = pixel(width, height).astype(np.float32)
            image -= MEAN
            size_min, size_max = min(width, height), max(width, height)
            scale = float(short) / float(size_min)
            if np.round(scale * size_max) > long_max:
                scale = float(long_max) / float(size_max)
            got = cv2.resize(image, None, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
            got = got.reshape(got.shape[0], got.shape[1], 3)
            out.write(struct.pack("<6Id", width, height, short, long_max, got.shape[1], got.shape[0], scale))
            out.write(got.astype("<f4").tobytes())


if __name__ == "__main__":
    main()
