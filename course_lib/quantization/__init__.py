"""Numbers in 8 bits and fewer."""

from course_lib.quantization.affine import Affine, Codes, dequantize, from_range, min_max, quantize, sqnr_db
from course_lib.quantization.fake import fake_quantize
from course_lib.quantization.post_training import calibration_images, quantize_static_int8

__all__ = [
    "Affine",
    "Codes",
    "calibration_images",
    "dequantize",
    "fake_quantize",
    "from_range",
    "min_max",
    "quantize",
    "quantize_static_int8",
    "sqnr_db",
]
