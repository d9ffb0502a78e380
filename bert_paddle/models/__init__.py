"""PaddleNLP's BERT, and our GPT-2: weights from any kind of folder, tokenizers, configurations,
ways of computing."""
