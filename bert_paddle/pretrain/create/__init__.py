"""From text to HDF5 shards and vocabularies. Does not import paddle."""
