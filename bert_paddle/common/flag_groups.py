"""Headings of the flags in --help and settings.yaml that several programs have."""

MODEL, TRAIN, SCHEDULE, EVALUATION, SAVING, DEVICE = (
    "model",
    "training",
    "learning-rate schedule",
    "evaluation and prediction",
    "saving, logging and resuming",
    "device",
)
