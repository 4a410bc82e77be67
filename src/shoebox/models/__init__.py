"""Networks: from scratch (`MODELS`) and pretrained; from normalised float pictures to logits. Knows nothing of files of pictures."""
