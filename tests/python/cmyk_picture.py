"""Makes tests/pictures/cmyk.jpg: five 16-pixel squares of known ink, as an Adobe CMYK JPEG (which nothing in Rust writes).

Left to right: cyan, magenta, yellow, half black, paper. Run from the root: python tests/python/cmyk_picture.py
"""

from PIL import Image

SQUARES = [(255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 128), (0, 0, 0, 0)]

image = Image.new("CMYK", (16 * len(SQUARES), 16))
for i, ink in enumerate(SQUARES):
    image.paste(ink, (16 * i, 0, 16 * i + 16, 16))
image.save("tests/pictures/cmyk.jpg", quality=95, subsampling=0)
