"""Names of the digests by which a resumed run recognizes what a flag names: see
training.fingerprints, which has the others too."""

INITIAL_MODEL, INITIAL_WEIGHTS = "initial model", "initial weights"
CONFIGURATION = "model configuration"
