"""How good a classifier is: measured once into an `Evaluation`, from which all else derives without a GPU."""
