"""Export a model as a Hugging Face folder, as ONNX or for Paddle Inference.

`export.export_model` is the entry point. Each format is a module that writes its files into a
folder: hugging_face, onnx_graph, paddle_inference. `check` runs the exported model with the
format's own runtime, in a separate process, and compares its logits with the original's.
"""

FORMATS = ("hf", "onnx", "paddle_inference")
