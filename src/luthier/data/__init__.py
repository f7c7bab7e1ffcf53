"""Files to examples: read, convert, clean, split, and an account of every row. No torch in here."""
