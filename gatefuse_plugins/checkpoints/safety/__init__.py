"""What a stranger's checkpoint is checked for before it is read."""
