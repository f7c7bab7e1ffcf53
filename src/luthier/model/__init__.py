"""The model: finding, loading, adapting, running forward, generating."""

import logging

# PEFT imports bitsandbytes wherever it is installed, and that warns of kernels it would rather have.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
