"""What requests are made of: lengths, words that are one token, and files that a user gives.

It knows no engine and no client: plans look at it for what will be sent, load clients for what to send.
"""
