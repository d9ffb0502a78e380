"""Run by its path, in the environment of the tool that checks an export: see __main__.py."""
