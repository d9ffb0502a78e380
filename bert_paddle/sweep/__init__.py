"""Several fine-tuning runs with one command: combinations of settings and seeds, ranked."""
