"""Reading HDF5 shards: the schema, the row order of an epoch, batches. Does not import paddle."""
