"""The corpus: TF × region matrices in Parquet parts, written once and viewed many times."""
