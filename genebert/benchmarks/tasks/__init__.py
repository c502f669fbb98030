"""One module a task: inputs -> ``dataset.parquet``."""
