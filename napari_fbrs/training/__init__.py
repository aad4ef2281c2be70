"""Training: labelled images in, a model that understands clicks out."""
