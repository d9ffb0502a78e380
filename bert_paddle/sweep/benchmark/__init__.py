"""`bert-paddle glue-benchmark`: all GLUE tasks with one command, their table and a submission."""
