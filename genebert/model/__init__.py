"""The network: it knows tensors, not files of data."""
