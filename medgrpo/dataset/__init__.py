"""Benchmarks, read from the hub, from the user's files or from the embedded samples."""
