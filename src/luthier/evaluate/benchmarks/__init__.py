"""Benchmarks: tasks that lm-evaluation-harness defines, done by base and tuned model, from local files or the hub."""
