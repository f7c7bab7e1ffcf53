"""From a trained model to files others can run, each with a certificate that it is the same model."""
