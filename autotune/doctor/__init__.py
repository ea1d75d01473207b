"""`python -m autotune doctor`: what is found here, and what trials cost each other."""
