"""The program that runs an export with its format's runtime: see __main__.py. This folder is run
by its path, not imported: the runtime may be installed in another environment."""
