"""Motif matrices, their thresholds and row order, and scanning."""
