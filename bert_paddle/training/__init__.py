"""What all programs share in training: job, run, loop, step, checkpoints, optimizer."""
