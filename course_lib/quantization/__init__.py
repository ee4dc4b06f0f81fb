"""Numbers in 8 bits and fewer."""

from course_lib.quantization.post_training import calibration_images, quantize_static_int8

__all__ = ["calibration_images", "quantize_static_int8"]
