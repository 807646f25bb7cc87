"""Pictures of gate analyses, one family a file. They draw dataclasses and compute nothing of their own."""
