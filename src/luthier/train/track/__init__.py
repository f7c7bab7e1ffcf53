"""Trackers: views of `events.jsonl` in programs people already look at. One file each."""
