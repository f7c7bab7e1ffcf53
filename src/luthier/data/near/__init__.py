"""Rows that are nearly the same: signatures (pure, batch by batch), then one search over all rows."""
