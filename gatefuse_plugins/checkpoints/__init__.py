"""Safe readers of every checkpoint format in use, and strict loading into a model."""
