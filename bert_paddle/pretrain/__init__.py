"""Pre-training: create HDF5 shards from text, and train a model on them."""
