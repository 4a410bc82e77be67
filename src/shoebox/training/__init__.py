"""From pictures and a recipe to a trained classifier."""
