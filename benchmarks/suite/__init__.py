"""The speed benchmarks: `bash benchmarks/run.sh`. benchmarks/README.md says what each measures."""
