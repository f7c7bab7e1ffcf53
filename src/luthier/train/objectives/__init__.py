"""What is learned: one file an objective, each a `collate` and a `loss`."""
