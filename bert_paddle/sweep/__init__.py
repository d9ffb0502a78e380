"""Several fine-tuning runs as one: a grid of settings, each with every seed, ranked in a table."""
