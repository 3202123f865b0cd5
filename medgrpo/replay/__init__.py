"""Making a run again from its passport, to see whether the same comes out."""
