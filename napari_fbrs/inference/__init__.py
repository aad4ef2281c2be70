"""One image, one object: clicks in, probability out."""
