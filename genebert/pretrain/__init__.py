"""Pre-training: objectives, schedule, loop."""
