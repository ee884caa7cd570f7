"""What scripts/bench measures, with what, and how it is told."""
