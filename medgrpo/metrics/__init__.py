"""What is measured on held-out answers: one table of metrics, with their intervals and tests."""
