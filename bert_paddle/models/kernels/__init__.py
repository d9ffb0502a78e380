"""Our own kernels: BERT's encoder on CPUs, with the weights of PaddleNLP's layers, and AdamW."""
