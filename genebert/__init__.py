"""GeneBERT: pre-training on DNA sequence and TF × region matrices, and its benchmarks."""

__version__ = "0.1.0"
