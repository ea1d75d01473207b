"""From configuration to what would run; no side effects."""
