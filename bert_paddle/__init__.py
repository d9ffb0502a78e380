"""BERT fine-tuning on GLUE and MLM+NSP pre-training, native to PaddlePaddle."""

__version__ = "0.1.0"
