"""GPUs: what is there, who gets them, who holds them."""
