"""Downstream tasks, the models compared on them, and what is reported."""
