"""What names and shapes of a state dict tell about the model that it belongs to; one family of models a file."""
