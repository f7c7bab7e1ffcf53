"""What learns: one file a technique."""
