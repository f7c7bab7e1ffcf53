"""What learns: one file a technique."""

import logging

# PEFT imports bitsandbytes wherever it is installed, and that talks about kernels it would rather have.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
