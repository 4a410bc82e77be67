"""What a finished classifier is for."""
