"""Several processes as one job: launch, collectives, heartbeats and shutdown."""
