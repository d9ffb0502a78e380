"""Fine-tuning on the nine GLUE tasks and the AX diagnostic set."""
