"""What every stage speaks: errors, examples, runs, reports, terminal-safe text. Imports nothing of luthier."""
