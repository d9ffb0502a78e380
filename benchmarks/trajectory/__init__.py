"""Every step's loss of a training beside that of transformers."""
