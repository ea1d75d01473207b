"""From measurements to a ranking."""
