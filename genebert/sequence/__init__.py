"""DNA as base codes, k-mer tokens and masks."""
