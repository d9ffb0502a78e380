"""A user's own files in place of a GLUE task's."""
