"""What stands at the roadside: random numbers become one physical sign and its surroundings.

A *track* is one physical sign that a car approaches. All its random choices come from Philox counters keyed by
(seed, split, track), so that track 17 is the same sign whether it is rendered alone, in a chunk of 64 or by another
process: there is no generator state to pass along. The numbers are uniform in [0, 1) and become parameters through
straight lines (``difficulty.py``).

Each track gives two layers on a 96 × 96 canvas:

* the *sign plane*, premultiplied RGBA in the sign's own coordinates (the sign fills the middle 64 px, [−1, 1]; the
  canvas reaches to ±1.5): post, parts of neighbouring plates, the worn sign, stickers, leaves in front; a fifth
  channel holds the shadow cast on it;
* the *background*, RGB: sky, foliage, walls or road from noise at several scales, cut by a horizon.

``camera.py`` then photographs both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.data.rendered.difficulty import DEFAULT, Difficulty, quantile

SIGN, CANVAS = 64, 96
MARGIN = (CANVAS - SIGN) // 2
CLEAR, RAIN, FOG, NIGHT = range(4)
NOISE_GRIDS = (3, 6, 12, 24, 48)  # cells a side of the random fields of one track

TRACK_DRAWS = (
    "first_size last_size gain backlight backlight_ratio gamma fading dirt rotation yaw pitch foliage foliage_cover "
    "foliage_side sticker sticker_cover sticker_x sticker_y sticker_hue shadow shadow_depth shadow_side weather "
    "density tint_warm tint_green scenery scenery_low horizon slope sky paint neighbour neighbour_class post "
    "background_zoom background_x background_y background_gain leaf_hue"
).split()
FRAME_DRAWS = (
    "time gain blur motion motion_length motion_angle noise shift_x shift_y half_size rotation drops slant"
).split()

# Mean colours of what may lie behind a sign, and how much each scale of noise (3, 6, 12, 24, 48 cells) varies it.
SCENERY = {
    "sky": ((0.72, 0.80, 0.90), (0.10, 0.06, 0.02, 0.01, 0.00)),
    "overcast": ((0.85, 0.86, 0.87), (0.05, 0.03, 0.01, 0.00, 0.00)),
    "leaves": ((0.24, 0.30, 0.14), (0.10, 0.12, 0.18, 0.28, 0.30)),
    "autumn": ((0.42, 0.32, 0.16), (0.12, 0.14, 0.20, 0.30, 0.28)),
    "branches": ((0.55, 0.55, 0.54), (0.08, 0.10, 0.22, 0.36, 0.34)),
    "wall": ((0.56, 0.50, 0.44), (0.10, 0.16, 0.22, 0.08, 0.04)),
    "dark": ((0.14, 0.14, 0.15), (0.06, 0.06, 0.08, 0.06, 0.04)),
    "road": ((0.42, 0.42, 0.43), (0.10, 0.08, 0.08, 0.05, 0.05)),
}
_COLOURS = np.array([colour for colour, _ in SCENERY.values()], dtype=np.float32)
_WEIGHTS = np.array([weights for _, weights in SCENERY.values()], dtype=np.float32)
_WALL = list(SCENERY).index("wall")


@dataclass(frozen=True)
class Tracks:
    """Random numbers of T tracks."""

    labels: np.ndarray  # (T,), class ids 0..42
    track: dict[str, np.ndarray]  # name in TRACK_DRAWS → (T,), uniform in [0, 1)
    frame: dict[str, np.ndarray]  # name in FRAME_DRAWS → (T, frames), uniform in [0, 1)
    fields: dict[int, Tensor]  # cells a side → (T, 6, cells, cells), uniform in [−1, 1)
    weather: np.ndarray  # (T,), CLEAR, RAIN, FOG or NIGHT


def generator(seed: int, split: int, track: int, stream: int) -> np.random.Generator:
    """Random numbers of one purpose (``stream``) for one track: a pure function of its arguments."""
    return np.random.Generator(np.random.Philox(key=[seed, (split << 56) | (stream << 40) | track]))


def draw_tracks(
    seed: int, split: int, indices: np.ndarray, labels: np.ndarray, frames: int, difficulty: Difficulty
) -> Tracks:
    """Every random number of these tracks except the sensor noise. Pure: no state, any order, any chunk."""
    streams = [generator(seed, split, int(track), 0) for track in indices]
    track = np.stack([stream.random(len(TRACK_DRAWS)) for stream in streams])
    cells = [6 * side * side for side in NOISE_GRIDS]
    noise = np.stack([stream.random(sum(cells), dtype=np.float32) for stream in streams]) * 2 - 1
    pieces = np.split(noise, np.cumsum(cells)[:-1], axis=1)
    fields = {
        side: torch.from_numpy(np.ascontiguousarray(piece)).view(len(indices), 6, side, side)
        for side, piece in zip(NOISE_GRIDS, pieces, strict=True)
    }
    frame = np.stack([generator(seed, split, int(t), 1).random((frames, len(FRAME_DRAWS))) for t in indices])
    named: dict[str, np.ndarray] = dict(zip(TRACK_DRAWS, track.T, strict=True))
    # Each kind of weather has its own interval, as wide as its probability: switching one off leaves the others alone.
    kinds = {RAIN: "rain", FOG: "fog", NIGHT: "night"}
    starts = np.cumsum([0.0] + [getattr(DEFAULT, name) for name in kinds.values()])[:-1]
    drawn = named["weather"]
    inside = [
        (start <= drawn) & (drawn < start + getattr(difficulty, name))
        for start, name in zip(starts, kinds.values(), strict=True)
    ]
    weather = np.select(inside, list(kinds), CLEAR)
    return Tracks(labels, named, dict(zip(FRAME_DRAWS, np.moveaxis(frame, 2, 0), strict=True)), fields, weather)


def column(values: np.ndarray) -> Tensor:
    """(T,) → float32 (T, 1, 1, 1), to multiply images with.

    >>> tuple(column(np.arange(3)).shape)
    (3, 1, 1, 1)
    """
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).view(-1, 1, 1, 1)


def resample(images: Tensor, side: int, mode: str) -> Tensor:
    """(…, h, h) → (…, side, side), as ``F.interpolate`` does it with ``align_corners=False``; smaller: antialiased.

    Resampling a square picture X is a product R·X·Rᵀ. R is what ``F.interpolate`` itself makes of the identity, so the
    weights are its own; two matrix products are several times faster than its gather on a CPU.

    >>> resample(torch.ones(1, 2, 2), 4, "bilinear").unique().tolist()
    [1.0]
    """
    if side == images.shape[-1]:
        return images
    weights = _resampling_matrix(images.shape[-1], side, mode)
    return weights @ images @ weights.T


@lru_cache(maxsize=512)
def _resampling_matrix(before: int, after: int, mode: str) -> Tensor:
    """R, (after, before): column k is what a single 1 at position k becomes."""
    identity = torch.eye(before).view(1, 1, before, before)
    shape = {"size": (after, before), "align_corners": False, "antialias": after < before}
    return F.interpolate(identity, mode=mode, **shape)[0, 0]


def enlarge(field: Tensor) -> Tensor:
    """(T, C, h, w) → (T, C, CANVAS, CANVAS), bicubic."""
    return resample(field, CANVAS, "bicubic")


def backgrounds(tracks: Tracks) -> Tensor:
    """What is behind the signs: (T, 3, CANVAS, CANVAS), linear light, about [0, 1]."""
    draws = tracks.track
    kinds = np.stack([draws["scenery"], draws["scenery_low"]], axis=1)  # (T, 2): above and below the horizon
    kinds = (kinds * len(SCENERY)).astype(np.int64)
    weights = torch.from_numpy(_WEIGHTS[kinds])  # (T, 2, scales)
    # The coarse scales carry brightness and colour, the fine ones brightness alone: leaves are not confetti.
    coarse = torch.stack([enlarge(tracks.fields[side][:, :3]) for side in NOISE_GRIDS[:3]], dim=1)  # (T, 3, 3, H, W)
    fine = [enlarge(tracks.fields[side][:, :1]) for side in NOISE_GRIDS[3:]]
    luma = torch.cat((coarse[:, :, 0], *fine), dim=1)  # (T, scales, H, W)
    luma = (weights @ luma.flatten(2)).view(-1, 2, 1, CANVAS, CANVAS)
    chroma = (0.3 * weights[:, :, :3] @ coarse.flatten(2)).view(-1, 2, 3, CANVAS, CANVAS)
    blocks = F.interpolate(tracks.fields[12][:, 3:4], size=(CANVAS, CANVAS), mode="nearest")
    wall = torch.from_numpy((kinds == _WALL).astype(np.float32) * 0.25)[:, :, None, None, None]
    layers = chroma.add_(luma).add_(torch.from_numpy(_COLOURS[kinds])[..., None, None])
    layers.addcmul_(wall, blocks[:, None])
    axis = torch.linspace(-1, 1, CANVAS)
    height = axis.view(1, 1, -1, 1) - column(draws["horizon"] * 2.4 - 1.2)
    height = height + column(draws["slope"] * 1.0 - 0.5) * axis + 0.12 * coarse[:, 2, :1]
    below = (height * 24).clamp(0, 1)
    scene = torch.lerp(layers[:, 0], layers[:, 1], below)
    return scene.mul_(column(0.5 + 0.8 * draws["background_gain"])).clamp_(0.01, 1.2)


def over(top: Tensor, bottom: Tensor) -> Tensor:
    """Porter–Duff *over* for premultiplied RGBA (T, 4, H, W)."""
    return top + bottom * (1 - top[:, 3:])


def worn_signs(templates: Tensor, tracks: Tracks, difficulty: Difficulty) -> Tensor:
    """The signs themselves, faded and dirty: premultiplied RGBA (T, 4, SIGN, SIGN)."""
    draws = tracks.track
    colour, alpha = templates[tracks.labels].split((3, 1), dim=1)
    grey = colour.mean(1, keepdim=True)
    fading = column(quantile(draws["fading"], difficulty.fading))
    # Sunlight takes red first and turns black to grey; white paint stays.
    colour = torch.lerp(colour, 0.75 * grey + 0.25 * alpha, fading)
    paint = 0.03 * alpha + column(0.62 + 0.36 * draws["paint"]) * colour
    stains = resample(tracks.fields[12][:, 3:4], SIGN, "bicubic")
    dirt = column(quantile(draws["dirt"], difficulty.dirt)) * (0.5 + 0.5 * stains).clamp(0, 1)
    soil = torch.tensor([0.22, 0.19, 0.15]).view(1, 3, 1, 1) * alpha
    return torch.cat((torch.lerp(paint, soil, dirt), alpha), dim=1)


def stickers(signs: Tensor, tracks: Tracks, difficulty: Difficulty) -> Tensor:
    """A patch of another colour stuck on some signs: premultiplied RGBA (T, 4, SIGN, SIGN), inside the sign."""
    draws = tracks.track
    present = draws["sticker"] < difficulty.sticker
    area = signs[:, 3].mean((1, 2)).numpy() * 4 * quantile(draws["sticker_cover"], difficulty.sticker_cover)
    half = np.sqrt(area) / 2
    axis = torch.linspace(-1, 1, SIGN)
    dx = (axis.view(1, 1, 1, -1) - column(draws["sticker_x"] * 1.1 - 0.55)).abs()
    dy = (axis.view(1, 1, -1, 1) - column(draws["sticker_y"] * 1.1 - 0.55)).abs()
    inside = ((column(half) - torch.maximum(dx, dy)) * SIGN / 2 + 0.5).clamp(0, 1)
    alpha = inside * column(present) * signs[:, 3:]
    hue = draws["sticker_hue"]
    rgb = np.stack([hue, (hue * 3) % 1, (hue * 7) % 1], axis=1).astype(np.float32)
    return torch.cat((torch.from_numpy(rgb)[:, :, None, None] * alpha, alpha), dim=1)


def leaves(signs: Tensor, tracks: Tracks, difficulty: Difficulty) -> Tensor:
    """Foliage hanging in from one side: premultiplied RGBA (T, 4, CANVAS, CANVAS)."""
    draws = tracks.track
    result = torch.zeros(len(signs), 4, CANVAS, CANVAS)
    rows = np.flatnonzero(draws["foliage"] < difficulty.foliage)
    if not len(rows):
        return result
    angle = draws["foliage_side"][rows] * 2 * np.pi
    axis = torch.linspace(-1.5, 1.5, CANVAS)
    ramp = column(np.cos(angle)) * axis.view(1, 1, 1, -1) + column(np.sin(angle)) * axis.view(1, 1, -1, 1)
    field = ramp + 0.5 * enlarge(tracks.fields[12][rows, 4:5]) + 0.5 * enlarge(tracks.fields[24][rows, 4:5])
    # The threshold that leaves the wanted share of the sign covered: a quantile of the field over the sign.
    middle = field[:, 0, MARGIN:-MARGIN, MARGIN:-MARGIN].reshape(len(rows), -1)
    on_sign = signs[rows, 3].reshape(len(rows), -1) > 0.5
    cover = quantile(draws["foliage_cover"][rows], difficulty.foliage_cover)
    ordered = torch.where(on_sign, middle, -9.0).sort(dim=1, descending=True).values
    rank = torch.from_numpy(cover * on_sign.sum(1).numpy()).long()
    threshold = ordered.gather(1, rank[:, None]).view(-1, 1, 1, 1)
    alpha = ((field - threshold) * 10 + 0.5).clamp(0, 1)
    green = np.stack([0.10 + 0.35 * draws["leaf_hue"][rows], 0.30 - 0.08 * draws["leaf_hue"][rows]], axis=1)
    colour = torch.from_numpy(np.concatenate((green, np.full((len(rows), 1), 0.08)), axis=1).astype(np.float32))
    shade = (1 + 0.8 * enlarge(tracks.fields[24][rows, 5:6])).clamp(0.15, 2)
    result[rows] = torch.cat((colour[:, :, None, None] * shade * alpha, alpha), dim=1)
    return result


def surroundings(templates: Tensor, tracks: Tracks) -> Tensor:
    """The post and the edges of plates above and below: premultiplied RGBA (T, 4, CANVAS, CANVAS)."""
    draws = tracks.track
    plane = torch.zeros(len(tracks.labels), 4, CANVAS, CANVAS)
    half = CANVAS // 2
    post = torch.cat((torch.full((3, 1, 1), 0.45), torch.ones(1, 1, 1)))
    plane[:, :, half:, half - 2 : half + 2] = post * column(draws["post"] < 0.7)
    other = templates[(draws["neighbour_class"] * len(templates)).astype(np.int64)]
    other = torch.cat((0.03 * other[:, 3:] + 0.8 * other[:, :3], other[:, 3:]), dim=1)
    rows = MARGIN - 3  # the gap between two plates on a post
    for where, is_there in (("below", draws["neighbour"] < 0.14), ("above", draws["neighbour"] > 0.88)):
        target, source = (
            (slice(-rows, None), slice(0, rows)) if where == "below" else (slice(0, rows), slice(-rows, None))
        )
        part = other[:, :, source] * column(is_there)
        plane[:, :, target, MARGIN:-MARGIN] = over(part, plane[:, :, target, MARGIN:-MARGIN])
    return plane


def shadows(tracks: Tracks, difficulty: Difficulty) -> tuple[Tensor, np.ndarray]:
    """Share of the light taken at each point (T, 1, CANVAS, CANVAS) and the depth of each shadow (T,), 0 if none."""
    draws = tracks.track
    depth = quantile(draws["shadow_depth"], difficulty.shadow_depth) * (draws["shadow"] < difficulty.shadow)
    depth = np.where(tracks.weather == NIGHT, 0.0, depth)
    angle = draws["shadow_side"] * 2 * np.pi
    axis = torch.linspace(-1.5, 1.5, CANVAS)
    ramp = column(np.cos(angle)) * axis.view(1, 1, 1, -1) + column(np.sin(angle)) * axis.view(1, 1, -1, 1)
    field = ramp + 0.9 * enlarge(tracks.fields[3][:, 5:6]) + 0.5 * enlarge(tracks.fields[6][:, 5:6])
    return column(depth) * (field * 5 + 0.5).clamp(0, 1), depth


def sign_planes(templates: Tensor, tracks: Tracks, difficulty: Difficulty) -> tuple[Tensor, dict[str, np.ndarray]]:
    """Everything in the plane of each sign, and what is known about it.

    Args:
        templates: float32 (43, 4, SIGN, SIGN), premultiplied, [0, 1].
    Returns:
        planes: (T, 5, CANVAS, CANVAS): premultiplied RGBA, then the share of light that the shadow takes.
        facts: "occlusion", share of the sign's area that is covered; "shadow", share of light the shadow takes.
    """
    signs = worn_signs(templates, tracks, difficulty)
    patches, foliage = stickers(signs, tracks, difficulty), leaves(signs, tracks, difficulty)
    shadow, depth = shadows(tracks, difficulty)
    area = signs[:, 3].sum((1, 2))
    in_front = foliage[:, 3, MARGIN:-MARGIN, MARGIN:-MARGIN]
    # Stickers are already cut to the sign: their alpha holds the sign's own.
    covered = (in_front * signs[:, 3] + patches[:, 3] * (1 - in_front)).sum((1, 2)) / area
    plane = surroundings(templates, tracks)
    middle = (slice(None), slice(None), slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    plane[middle] = over(over(patches, signs), plane[middle])
    plane = over(foliage, plane)
    facts = {"occlusion": covered.clamp(0, 1).numpy(), "shadow": depth}
    return torch.cat((plane, shadow), dim=1), facts
