"""Our own kernels: BERT's encoder on CPUs, on the weights of PaddleNLP's layers, and AdamW."""
