"""Training with rounding: learned steps and clips, folded BatchNorm, and the way to the deployed network."""

from course_lib.quantization.aware.layers import FrozenStatistics, QuantizedLayer, freeze_statistics_
from course_lib.quantization.aware.learned_clip import LearnedClip
from course_lib.quantization.aware.learned_step import LearnedStep, initial_step
from course_lib.quantization.aware.preparing import AwareNetwork, BitWidths, prepare
from course_lib.quantization.aware.quantizer import FixedScale, Quantizer

__all__ = [
    "AwareNetwork",
    "BitWidths",
    "FixedScale",
    "FrozenStatistics",
    "LearnedClip",
    "LearnedStep",
    "QuantizedLayer",
    "Quantizer",
    "freeze_statistics_",
    "initial_step",
    "prepare",
]
