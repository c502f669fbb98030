"""Models without pre-training that every result is held against."""
