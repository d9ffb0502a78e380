"""Export a model as a Hugging Face folder, as ONNX or for Paddle Inference.

`export.export_model` is the entry point. Each format is a module that writes its files into a
folder: hugging_face, onnx_graph, paddle_inference. `check` runs the exported files in the format's
own tool, in another process, and compares the logits.
"""

FORMATS = ("hf", "onnx", "paddle_inference")
