"""Several fine-tuning runs as one job: a grid of settings with several seeds, ranked."""
