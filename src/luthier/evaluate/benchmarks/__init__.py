"""Benchmarks by the task definitions of lm-evaluation-harness."""
