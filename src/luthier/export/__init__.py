"""From a trained model to files others can run, each with a certificate that it still is the trained model."""
