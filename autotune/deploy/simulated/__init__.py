"""The simulated engine: the real argv, a written cost model, an HTTP server of its own."""
