"""A language model over HTTP judges the answers of base and tuned model.

questions · replies (read strictly) · cache (nothing is paid twice) · cost (told before) · ask → outcomes → account
"""
