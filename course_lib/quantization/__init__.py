"""Numbers in 8 bits and fewer."""

from course_lib.quantization.affine import Affine, Codes, dequantize, from_range, min_max, quantize, sqnr_db
from course_lib.quantization.clipping import ClipError, clip_error, optimal_clip, sqnr_law_db
from course_lib.quantization.dynamic import DynamicLinear, dynamic_affine, quantize_dynamic_linears
from course_lib.quantization.fake import fake_quantize
from course_lib.quantization.formats import BF16, E4M3, E5M2, FP16, FloatFormat, round_to, round_to_power_of_two
from course_lib.quantization.granularity import Granularity, PerChannel, PerGroup, PerTensor
from course_lib.quantization.linears import stored_bytes
from course_lib.quantization.post_training import calibration_images, quantize_static_int8
from course_lib.quantization.weight_only import WeightOnlyLinear, pack_int4, quantize_linears, unpack_int4

__all__ = [
    "BF16",
    "E4M3",
    "E5M2",
    "FP16",
    "Affine",
    "ClipError",
    "Codes",
    "DynamicLinear",
    "FloatFormat",
    "Granularity",
    "PerChannel",
    "PerGroup",
    "PerTensor",
    "WeightOnlyLinear",
    "calibration_images",
    "clip_error",
    "dequantize",
    "dynamic_affine",
    "fake_quantize",
    "from_range",
    "min_max",
    "optimal_clip",
    "pack_int4",
    "quantize",
    "quantize_dynamic_linears",
    "quantize_linears",
    "quantize_static_int8",
    "round_to",
    "round_to_power_of_two",
    "sqnr_db",
    "sqnr_law_db",
    "stored_bytes",
    "unpack_int4",
]
