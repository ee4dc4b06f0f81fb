"""The 43 classes of the German Traffic Sign Recognition Benchmark: numbers, official English names, groups.

Numbers are GTSRB's own (``ClassId`` in its files), so that a model trained on rendered signs can be tested on
photographs. The groups gather classes that look alike: the same plate and paints, another pictogram. A network that
errs inside a group has lost detail; one that errs between groups has lost the sign.

Source: Stallkamp et al. 2012, "Man vs. computer", Neural Networks 32, doi:10.1016/j.neunet.2012.02.016, figure 1.
"""

from __future__ import annotations

CLASS_NAMES: tuple[str, ...] = (
    "Speed limit (20km/h)",
    "Speed limit (30km/h)",
    "Speed limit (50km/h)",
    "Speed limit (60km/h)",
    "Speed limit (70km/h)",
    "Speed limit (80km/h)",
    "End of speed limit (80km/h)",
    "Speed limit (100km/h)",
    "Speed limit (120km/h)",
    "No passing",
    "No passing for vehicles over 3.5 metric tons",
    "Right-of-way at the next intersection",
    "Priority road",
    "Yield",
    "Stop",
    "No vehicles",
    "Vehicles over 3.5 metric tons prohibited",
    "No entry",
    "General caution",
    "Dangerous curve to the left",
    "Dangerous curve to the right",
    "Double curve",
    "Bumpy road",
    "Slippery road",
    "Road narrows on the right",
    "Road work",
    "Traffic signals",
    "Pedestrians",
    "Children crossing",
    "Bicycles crossing",
    "Beware of ice/snow",
    "Wild animals crossing",
    "End of all speed and passing limits",
    "Turn right ahead",
    "Turn left ahead",
    "Ahead only",
    "Go straight or right",
    "Go straight or left",
    "Keep right",
    "Keep left",
    "Roundabout mandatory",
    "End of no passing",
    "End of no passing by vehicles over 3.5 metric tons",
)

# The 43 classes in so few letters that a caption fits over a small picture.
SHORT_NAMES: tuple[str, ...] = tuple(
    """20, 30, 50, 60, 70, 80, end 80, 100, 120, no passing, no passing truck, right of way, priority, yield, stop,
    no vehicles, no trucks, no entry, caution, curve left, curve right, double curve, bumpy, slippery, narrows right,
    road work, signals, pedestrians, children, bicycles, ice or snow, animals, end all limits, turn right, turn left,
    ahead, ahead or right, ahead or left, keep right, keep left, roundabout, end no passing,
    end truck ban""".replace(",\n   ", ",").split(", ")
)

SPEED_LIMITS: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 7, 8)

_GROUPS: dict[str, tuple[int, ...]] = {
    "speed limit": SPEED_LIMITS,
    "other prohibition": (9, 10, 15, 16, 17),
    "derestriction": (6, 32, 41, 42),
    "mandatory": tuple(range(33, 41)),
    "danger": (11, *range(18, 32)),
    "priority": (12, 13, 14),
}

CLASS_GROUPS: dict[int, str] = {c: group for group, members in _GROUPS.items() for c in members}
"""Class id -> group: ``{0: "speed limit", 9: "other prohibition", 11: "danger", ...}``, all 43 classes."""
