"""From a trained network to a file that a runtime executes. Import ``course_lib.deploy.onnx`` for ONNX."""
