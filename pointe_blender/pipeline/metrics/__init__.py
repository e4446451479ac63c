"""How good clouds are: P-FID and P-IS of Point-E (arXiv:2212.08751), on PointNet++ features."""
