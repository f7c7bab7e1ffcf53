"""Is the tuned model better? Likelihood and answers on held-out rows, with intervals and a verdict."""
