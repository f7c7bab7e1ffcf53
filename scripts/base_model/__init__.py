"""How the bundled base model is made: its world, its corpus, its training and its card."""
