"""Training a policy."""
