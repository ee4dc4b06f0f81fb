"""Recorded studies and the main job: what benchmarks, commands and chapters call, one module a study."""
