"""Faster arithmetic in place of a library's, each exact unless its name says otherwise."""
