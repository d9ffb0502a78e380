"""BERT's encoder on CPUs by kernels of our own, beside PaddleNLP's layers and on their weights."""
