"""A camera photographs the signs: where they stand in the crop, what the weather, the lens and the sensor do.

For each frame the sign plane and the background (``scene.py``) are sampled at the frame's *native* size, 15 to 64
pixels a side, through one homography (shift, scale, roll, yaw, pitch); then light, shadow, fog, rain and night act on
the colours; then one kernel blurs (defocus and motion together); then the sensor clips and adds noise. Only at the end
is the picture resampled to the size that was asked for. So a far sign has few *true* pixels, noise and blur are as
large as they were on the sensor, and a slice by native size or blur means what it says.

Frames of equal native size are computed together: one tensor operation on thirty frames costs little more than on one.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.data.rendered.difficulty import Difficulty, quantile
from course_lib.data.rendered.scene import CANVAS, CLEAR, FOG, NIGHT, RAIN, SIGN, Tracks, column, generator, resample

SMALLEST, LARGEST = 15, 64  # native sizes in pixels
_LEVELS = (24, 32, 48, 64, CANVAS)  # sides of the prefiltered copies that small frames are sampled from
_RADIUS = 4  # px, of the blur kernels
_DISTANCE = 4.0  # of the camera from the sign, in half sides: sets how strong perspective is


def frame_parameters(tracks: Tracks, difficulty: Difficulty, shadow: np.ndarray) -> dict[str, np.ndarray]:
    """What is known about each frame, (T, F) each: the attributes of the images and what else the camera needs."""
    track = {name: values[:, None] for name, values in tracks.track.items()}
    frame = tracks.frame
    frames = frame["time"].shape[1]
    weather = np.broadcast_to(tracks.weather[:, None], frame["time"].shape)
    # The car drives at constant speed: the apparent side grows as 1 / distance, so 1 / side falls in a straight line.
    progress = (np.arange(frames) + frame["time"]) / frames
    first = quantile(track["first_size"], difficulty.first_size)
    last = np.maximum(first, quantile(track["last_size"], difficulty.last_size))
    native = np.rint(1 / ((1 - progress) / first + progress / last)).clip(SMALLEST, LARGEST)
    night = weather == NIGHT
    gain = np.where(night, quantile(track["gain"], difficulty.night_gain), quantile(track["gain"], difficulty.gain))
    gain = gain * (0.85 + 0.30 * frame["gain"])
    backlit = (track["backlight"] < difficulty.backlight) & ~night
    ratio = np.where(backlit, quantile(track["backlight_ratio"], difficulty.backlight_ratio), 1.0)
    motion = np.where(
        frame["motion"] < difficulty.motion, quantile(frame["motion_length"], difficulty.motion_length), 0
    )
    return {
        "native_size": native,
        "blur": quantile(frame["blur"], difficulty.blur) + np.where(weather == RAIN, 0.35 * frame["drops"], 0.0),
        "motion_blur": motion,
        "gain": gain * ratio,
        "background_gain": gain,
        "rotation": quantile(track["rotation"], difficulty.rotation) + 4 * frame["rotation"] - 2,
        "fog": np.where(weather == FOG, quantile(track["density"], difficulty.fog_density), 0.0)
        * np.sqrt(first / native),
        "noise": quantile(frame["noise"], difficulty.noise) * np.where(night, 2.0, 1.0),
        "half_size": quantile(frame["half_size"], difficulty.half_size),
        "shadow": np.broadcast_to(shadow[:, None], native.shape),
        "weather": weather,
        "frame": np.broadcast_to(np.arange(frames), native.shape),
    }


def photograph(
    planes: Tensor,
    background: Tensor,
    tracks: Tracks,
    facts: dict[str, np.ndarray],
    key: tuple[int, int, np.ndarray],
    difficulty: Difficulty,
    size: int,
) -> Tensor:
    """All frames of all tracks: uint8 (T·F, 3, size, size), frame by frame within each track.

    Args:
        planes: (T, 5, CANVAS, CANVAS); background: (T, 3, CANVAS, CANVAS), both from ``scene``.
        facts: ``frame_parameters``. key: seed, split and track numbers, for the sensor's noise.
    """  # fmt: skip
    count, frames = facts["native_size"].shape
    native = facts["native_size"].astype(np.int64).ravel()
    owner = np.repeat(np.arange(count), frames)
    flat = {name: np.ascontiguousarray(values).ravel() for name, values in facts.items()}
    draws = {name: values.ravel() for name, values in tracks.frame.items()}
    noise = _sensor_noise(key, native.reshape(count, frames))
    scene = torch.cat((planes, background), dim=1)  # (T, 8, CANVAS, CANVAS)
    pyramid = {side: resample(scene, side, "bilinear") for side in _LEVELS}
    out = torch.empty(count * frames, 3, size, size, dtype=torch.uint8)
    for side in np.unique(native):
        rows = np.flatnonzero(native == side)
        level = next(s for s in _LEVELS if s >= min(CANVAS, 1.15 * side))
        part = {name: values[rows] for name, values in flat.items()}
        drawn = {name: values[rows] for name, values in draws.items()}
        owned = {name: values[owner[rows]] for name, values in tracks.track.items()}
        light = _sample(pyramid[level][owner[rows]], int(side), part, drawn, owned, difficulty)
        bad = np.flatnonzero(part["weather"] != CLEAR)
        if len(bad):
            chosen = ({name: values[bad] for name, values in group.items()} for group in (part, drawn, owned))
            light[bad] = _weather(light[bad], *chosen)
        light = _blur(light, part["blur"], part["motion_blur"], drawn["motion_angle"])
        picture = _expose(light, part, owned, torch.stack([noise[row] for row in rows]), difficulty)
        out[torch.from_numpy(rows)] = _to_bytes(picture, size)
    return out


def _sensor_noise(key: tuple[int, int, np.ndarray], native: np.ndarray) -> list[Tensor]:
    """Standard normal noise of each frame, (3, s, s); a stream of its own for each track."""
    seed, split, indices = key

    def of_track(track: int, sides: np.ndarray) -> list[Tensor]:
        sizes = 3 * sides**2
        numbers = torch.from_numpy(generator(seed, split, track, 2).standard_normal(sizes.sum(), dtype=np.float32))
        pieces = zip(numbers.split(sizes.tolist()), sides.tolist(), strict=True)
        return [piece.view(3, side, side) for piece, side in pieces]

    # NumPy lets other threads run while it draws, and each track has a generator of its own.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return [frame for frames in pool.map(of_track, indices.tolist(), native) for frame in frames]


def _homographies(facts: dict, draws: dict, track: dict, difficulty: Difficulty) -> Tensor:
    """Maps from crop coordinates [−1, 1]² to sign coordinates (the sign fills [−1, 1]²): (N, 3, 3)."""
    roll = np.deg2rad(facts["rotation"])
    yaw, pitch = (np.deg2rad(quantile(track[name], getattr(difficulty, name))) for name in ("yaw", "pitch"))
    # A nearer sign stands farther to the side, so yaw grows a little; the track's own angle is its mean.
    zero, one = np.zeros_like(roll), np.ones_like(roll)
    rotation_z = _matrices([np.cos(roll), -np.sin(roll), zero, np.sin(roll), np.cos(roll), zero, zero, zero, one])
    rotation_y = _matrices([np.cos(yaw), zero, np.sin(yaw), zero, one, zero, -np.sin(yaw), zero, np.cos(yaw)])
    rotation_x = _matrices([one, zero, zero, zero, np.cos(pitch), -np.sin(pitch), zero, np.sin(pitch), np.cos(pitch)])
    pose = rotation_z @ rotation_y @ rotation_x
    # A point (X, Y) of the sign's plane lands at d·(x, y) / (d + z): columns 1 and 2 of the pose, and the distance.
    forward = np.stack([pose[:, :, 0], pose[:, :, 1], np.stack([zero, zero, one * _DISTANCE], 1)], axis=2)
    half = facts["half_size"]
    dx, dy = (difficulty.shift * (2 * draws[name] - 1) for name in ("shift_x", "shift_y"))
    crop = _matrices([half * _DISTANCE, zero, dx, zero, half * _DISTANCE, dy, zero, zero, one])
    return torch.from_numpy(np.linalg.inv(crop @ forward).astype(np.float32))


def _matrices(entries: list[np.ndarray]) -> np.ndarray:
    return np.stack(entries, axis=1).reshape(-1, 3, 3)


def _sample(scene: Tensor, side: int, facts: dict, draws: dict, track: dict, difficulty: Difficulty) -> Tensor:
    """Sign over background at the native size, lit: (N, 3, s, s)."""
    axis = (torch.arange(side) + 0.5) * (2 / side) - 1
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([u, v, torch.ones_like(u)], dim=-1).view(-1, 3)  # (s², 3)
    mapped = points @ _homographies(facts, draws, track, difficulty).transpose(1, 2)  # (N, s², 3)
    on_sign = (mapped[..., :2] / mapped[..., 2:].clamp(min=0.05)) * (SIGN / CANVAS)
    plane = F.grid_sample(scene[:, :5], on_sign.view(-1, side, side, 2), align_corners=False)
    zoom = column(0.35 + 0.45 * track["background_zoom"]).view(-1, 1, 1)
    offset = torch.from_numpy(
        np.stack([track["background_x"], track["background_y"]], 1).astype(np.float32) * 0.4 - 0.2
    )
    behind = (points[:, :2] * zoom + offset[:, None]).view(-1, side, side, 2)
    back = F.grid_sample(scene[:, 5:], behind, padding_mode="reflection", align_corners=False)
    colour, alpha, shadow = plane[:, :3], plane[:, 3:4], plane[:, 4:]
    front = colour * (1 - shadow) * column(facts["gain"])
    return front + back * (1 - alpha) * column(facts["background_gain"])


def _weather(light: Tensor, facts: dict, draws: dict, track: dict) -> Tensor:
    """Fog greys, rain streaks and veils, night leaves what the headlights reach."""
    side = light.shape[-1]
    axis = torch.linspace(-1, 1, side)
    fog = column(np.minimum(facts["fog"], 0.9))
    light = torch.lerp(light, column(0.75 * np.clip(facts["background_gain"], 0.3, 1.1)).expand_as(light), fog)
    rain = column((facts["weather"] == RAIN).astype(np.float32))
    # Streaks: a wave across the crop, thinned to lines, at an angle and phase of the frame's own.
    phase = column(draws["drops"] * 2 * math.pi)
    slant = column(draws["slant"] * 0.6 - 0.3)
    across = axis.view(1, 1, 1, -1) + slant * axis.view(1, 1, -1, 1)
    streaks = ((torch.sin(across * 23 + phase) * torch.sin(across * 7 + 2 * phase)) - 0.55).clamp(min=0)
    veil = 0.55 * column(np.clip(facts["background_gain"], 0.1, 1.0))
    light = torch.lerp(light, veil.expand_as(light), rain * (0.15 + 0.8 * streaks))
    night = column((facts["weather"] == NIGHT).astype(np.float32))
    distance = (
        axis.view(1, 1, 1, -1).square() + (axis.view(1, 1, -1, 1) - column(track["horizon"] * 0.8 - 0.4)).square()
    )
    return light * (1 - night * (0.30 * distance).clamp(0, 0.7))


def _blur(light: Tensor, sigma: np.ndarray, length: np.ndarray, angle: np.ndarray) -> Tensor:
    """Defocus (Gaussian, σ px) and motion (a line of ``length`` px) as one normalized kernel for each image."""
    axis = torch.arange(-_RADIUS, _RADIUS + 1).float()
    steps = torch.linspace(-0.5, 0.5, 7)
    turn = angle * math.pi
    x, y = ((column(f(turn) * length).view(-1, 1, 1) * steps.view(1, -1, 1)) for f in (np.cos, np.sin))  # (N, 7, 1)
    scale = column(2 * np.square(sigma)).view(-1, 1, 1)
    across, down = (torch.exp(-(axis.view(1, 1, -1) - shift).square() / scale) for shift in (x, y))  # (N, 7, 9)
    kernel = torch.einsum("nkj,nki->nji", down, across)
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    count, channels, side, _ = light.shape
    weight = kernel[:, None].repeat_interleave(channels, dim=0)  # (N·3, 1, 9, 9)
    padded = F.pad(light, [_RADIUS] * 4, mode="reflect").reshape(1, count * channels, side + 8, side + 8)
    return F.conv2d(padded, weight, groups=count * channels).view_as(light)


def _expose(light: Tensor, facts: dict, track: dict, noise: Tensor, difficulty: Difficulty) -> Tensor:
    """Tint, tone curve, noise and clipping: values in [0, 1]."""
    warm, green = (column(track[name] * 0.2 - 0.1) for name in ("tint_warm", "tint_green"))
    tint = torch.cat([1 + warm, 1 + green, 1 - warm], dim=1)
    toned = (light * tint).clamp(1e-4, 1).pow(column(quantile(track["gamma"], difficulty.gamma)))
    # Shot noise grows with the root of the light, read noise does not; 0.5 is the level that ``noise`` is given for.
    deviation = column(facts["noise"]) * (0.3 + 0.7 * torch.sqrt(toned / 0.5))
    return (toned + deviation * noise).clamp_(0, 1)


def _to_bytes(picture: Tensor, size: int) -> Tensor:
    return (resample(picture, size, "bilinear") * 255).round_().clamp_(0, 255).to(torch.uint8)
