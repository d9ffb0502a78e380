"""Pre-training: from text to HDF5 shards, and from shards to a model."""
