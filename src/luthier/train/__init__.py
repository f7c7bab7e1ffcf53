"""The loop and what it needs: optimiser, schedules, checkpoints, objectives."""
