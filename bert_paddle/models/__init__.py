"""PaddleNLP's BERT: weights from any kind of folder, tokenizer, configuration, way of computing."""
