"""A model in the forms of other tools: a Hugging Face folder, ONNX, Paddle Inference.

`write.export` is the story; a format is a module that writes files into a folder (hf, onnx_graph,
inference); `check` has the tool of that format run them in another process and compares.
"""

FORMATS = ("hf", "onnx", "paddle_inference")
