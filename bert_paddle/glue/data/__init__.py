"""GLUE's files: finding, downloading and reading them, encoding rows, batches."""
