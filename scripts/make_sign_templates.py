"""Rasterise the 43 sign templates in datasets/sign_templates from their SVG sources, once.

    npm install @rapideditor/mapillary_sprite_source@1.8.0 && pip install cairosvg pillow scipy
    python scripts/make_sign_templates.py node_modules/@rapideditor/mapillary_sprite_source

The course itself never runs this: it needs cairo and the npm package. What it does beyond rasterising removes
differences that tell the *drawings* apart, but not the signs on a road, so that a network cannot use them:

* one red, one blue, one white for all (the sources come from many countries: eleven reds);
* one ring plate for all prohibitions and one triangle for all warnings; only the pictogram comes from each source;
* speed limits drawn on yellow become white, and all digits of a limit have the same height and width;
* each plate has the thin white rim that German signs have, and the two "end of" lorry and car signs a thin dark line.
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path

import cairosvg
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from course_lib.data.classes import CLASS_NAMES
from course_lib.storage.cards import sealed
from course_lib.storage.files import DATASETS, sha256, write_json

PACKAGE, VERSION = "@rapideditor/mapillary_sprite_source", "1.8.0"
WORK, SHIPPED = 512, 128  # px: side while composing, side of the shipped files
RED, BLUE, ORANGE = "#c8141e", "#0b4f9e", "#f0a800"
REDS = "ec1d24 da251d d20000 ce252c c31926 e20a16 d40000 c1121c e22526 ec1c24 f00".split()
SOURCES = """regulatory--maximum-speed-limit-20--g1 regulatory--maximum-speed-limit-30--g1
regulatory--maximum-speed-limit-50--g1 regulatory--maximum-speed-limit-60--g1 regulatory--maximum-speed-limit-70--g1
regulatory--maximum-speed-limit-80--g1 regulatory--end-of-maximum-speed-limit-80--g1
regulatory--maximum-speed-limit-100--g1 regulatory--maximum-speed-limit-120--g1 regulatory--no-overtaking--g1
regulatory--no-overtaking-by-heavy-goods-vehicles--g1 warning--crossroads--g1 regulatory--priority-road--g1
regulatory--yield--g1 regulatory--stop--g1 regulatory--road-closed-to-vehicles--g3
regulatory--no-heavy-goods-vehicles--g1 regulatory--no-entry--g1 warning--other-danger--g1 warning--curve-left--g1
warning--curve-right--g1 warning--double-curve-first-left--g1 warning--uneven-road--g1
warning--slippery-road-surface--g1 warning--road-narrows-right--g1 warning--roadworks--g3 warning--traffic-signals--g1
warning--pedestrians-crossing--g1 warning--children--g1 warning--bicycles-crossing--g1 warning--icy-road--g1
warning--wild-animals--g1 regulatory--end-of-prohibition--g1 regulatory--turn-right-ahead--g1
regulatory--turn-left-ahead--g1 regulatory--go-straight--g1 regulatory--go-straight-or-turn-right--g1
regulatory--go-straight-or-turn-left--g1 regulatory--keep-right--g1 regulatory--keep-left--g1 regulatory--roundabout--g1
regulatory--end-of-no-overtaking--g1 regulatory--end-of-no-overtaking-by-heavy-goods-vehicles--g1""".split()
LIMITS = (0, 1, 2, 3, 4, 5, 7, 8)
RINGS, TRIANGLES = (*LIMITS, 9, 10, 15, 16), (11, *range(18, 32))


def rasterise(folder: Path, name: str) -> Image.Image:
    """The SVG as an RGBA picture (WORK × WORK) in the common paints."""
    svg = (folder / "package_signs" / f"{name}.svg").read_text(encoding="utf-8")
    for red in REDS:
        svg = re.sub(rf'#{red}(?=["; ])', RED, svg)
    svg = svg.replace('"red"', f'"{RED}"').replace("#ffd100", "#fff").replace('"gold"', '"#fff"')
    svg = re.sub(r"#0[34]5ca1", BLUE, svg).replace('"#ff0"', f'"{ORANGE}"')
    png = cairosvg.svg2png(bytestring=svg.encode(), output_width=WORK, output_height=WORK)
    return Image.open(io.BytesIO(png)).convert("RGBA")


def interior(picture: Image.Image) -> np.ndarray:
    """Mask (H, W) of what the red border encloses: the largest red region's holes."""
    r, g, b, a = (np.asarray(picture, float)[..., i] for i in range(4))
    red = (r - np.maximum(g, b) > 60) & (a > 128)
    regions, _ = ndimage.label(red)
    border = regions == np.argmax(np.bincount(regions.ravel())[1:]) + 1
    return ndimage.binary_fill_holes(border) & ~border


def pictogram(picture: Image.Image) -> Image.Image:
    """The interior alone on white, cropped to the interior's bounding box."""
    inside = interior(picture)
    # Two pixels in, so that the red's antialiased edge stays out.
    soft = ndimage.gaussian_filter(ndimage.binary_erosion(inside, iterations=6).astype(np.float32), 1)
    white = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(white, picture)
    white.paste(flat, mask=Image.fromarray((255 * soft).astype(np.uint8)))
    rows, columns = np.where(inside)
    return white.crop((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))


def digits(picture: Image.Image, wide: bool) -> Image.Image:
    """A limit's number on a white square, at the common height and width."""
    ink = np.asarray(picture.convert("L")) < 128
    rows, columns = np.where(ink)
    number = picture.crop((columns.min() - 2, rows.min() - 2, columns.max() + 3, rows.max() + 3))
    side = picture.width
    number = number.resize((int(side * (0.86 if wide else 0.74)), int(side * 0.50)), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (side, side), "white")
    square.paste(number, ((side - number.width) // 2, (side - number.height) // 2))
    return square


def plate(blank: Image.Image, content: Image.Image | None) -> Image.Image:
    """The blank sign with ``content`` scaled into its interior."""
    inside = interior(blank)
    rows, columns = np.where(inside)
    result = blank.copy()
    result.paste("white", mask=Image.fromarray((255 * inside).astype(np.uint8)))
    if content is not None:
        box = (columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min())
        layer = Image.new("RGBA", blank.size, "white")
        layer.paste(content.resize(box, Image.Resampling.LANCZOS), (columns.min(), rows.min()))
        core = ndimage.gaussian_filter(ndimage.binary_erosion(inside, iterations=5).astype(np.float32), 1)
        result.paste(layer, mask=Image.fromarray((255 * core).astype(np.uint8)))
    return result


def rimmed(picture: Image.Image, colour: str = "white", width: float = 0.045) -> Image.Image:
    """The picture shrunk inside a rim of its own outline."""
    alpha = np.asarray(picture)[..., 3]
    depth = ndimage.distance_transform_edt(np.pad(alpha > 128, 1))[1:-1, 1:-1]
    # Shrink about the point farthest from every edge: the centre of the inscribed circle, also in a triangle.
    row, column = np.argwhere(depth >= depth.max() - 1).mean(0)
    shrunk = picture.resize((round(WORK * (1 - width)),) * 2, Image.Resampling.LANCZOS)
    result = Image.new("RGBA", picture.size, colour)
    result.putalpha(Image.fromarray(alpha))
    result.alpha_composite(shrunk, (round(column * width), round(row * width)))
    return result


def make(folder: Path) -> list[Image.Image]:
    """All 43 templates at WORK px, by class id."""
    raw = [rasterise(folder, name) for name in SOURCES]
    ring, triangle = plate(raw[15], None), plate(raw[18], None)
    made = []
    for c, picture in enumerate(raw):
        if c in LIMITS:
            picture = rimmed(plate(ring, digits(pictogram(picture), wide=c in (7, 8))))
        elif c in RINGS:
            picture = rimmed(plate(ring, pictogram(picture)))
        elif c in TRIANGLES:
            picture = rimmed(plate(triangle, pictogram(picture)))
        elif c in (41, 42):
            line = ImageDraw.Draw(picture)
            line.ellipse((10, 10, WORK - 11, WORK - 11), outline="#2a2d2f", width=9)
        elif c not in (6, 12, 32):  # those three are drawn with their rim
            picture = rimmed(picture)
        made.append(picture)
    return made


def shipped(picture: Image.Image) -> Image.Image:
    """Downsample with premultiplied alpha: what is transparent must not bleed its colour into the edge."""
    premultiplied = picture.convert("RGBa").resize((SHIPPED, SHIPPED), Image.Resampling.BOX)
    return premultiplied.convert("RGBA")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, help="unpacked npm package")
    package = parser.parse_args().package
    folder = DATASETS / "sign_templates"
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for c, picture in enumerate(make(package)):
        path = folder / f"{c:02d}.png"
        shipped(picture).save(path, optimize=True)
        files[path.name] = {"class_id": c, "class_name": CLASS_NAMES[c], "svg": SOURCES[c], "sha256": sha256(path)}
    (folder / "LICENSE").write_bytes((package / "LICENSE").read_bytes())
    card = {
        "title": "Templates of the 43 GTSRB signs",
        "source": f"npm package {PACKAGE}, folder package_signs, rasterised and unified",
        "version": VERSION,
        "licence": "MIT (see LICENSE in this folder), copyright (c) 2015 mapillary",
        "format": f"PNG, RGBA, {SHIPPED} x {SHIPPED} px",
        "made_by": "scripts/make_sign_templates.py",
        "files": files,
    }
    write_json(folder / "card.json", sealed(card))


if __name__ == "__main__":
    main()
