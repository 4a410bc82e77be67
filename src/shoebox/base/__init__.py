"""The ground every room stands on: knows nothing of pictures or networks."""
