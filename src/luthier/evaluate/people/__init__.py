"""People compare the answers of base and tuned model, without knowing which is whose.

book (what they said, a line a click) · booth (what each is shown) → page, over server · agreement, opinion → account
"""
