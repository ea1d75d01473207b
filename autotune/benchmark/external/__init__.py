"""Load clients of others, each run as a process of its own in its own environment.

`client.ExternalClient` is the `Benchmark`; a `tool.Tool` tells it how one client is called and what its
report says. What a client says of each request becomes our `RequestRecord`, and our metrics are worked out of
these: so a name means the same whoever measured. Where a client's own summary says something else than its
requests do, or cannot be read, the measurement has failed.
"""
