"""The journal, and MLflow as its mirror."""
