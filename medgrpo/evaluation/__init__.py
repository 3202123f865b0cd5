"""Held-out answers: generate them, read them, say how good they are and how sure that is."""
