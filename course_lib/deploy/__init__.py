"""Deployment: a network becomes files that a runtime executes. ``onnx``: ONNX Runtime."""
