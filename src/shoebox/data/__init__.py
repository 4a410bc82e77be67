"""Pictures in, uint8 batches out; knows nothing of networks."""
