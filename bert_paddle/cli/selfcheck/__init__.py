"""`bert-paddle check`: what is installed, and whether every way of computing on this device gives
the stored reference results. Each part runs in its own process, so that it can fail alone."""
