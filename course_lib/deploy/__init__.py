"""Deployment: a network becomes files that a runtime executes. ``onnx``: files; ``runtimes``: who runs them."""
