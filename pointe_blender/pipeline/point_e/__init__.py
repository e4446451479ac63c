"""Point-E's networks, diffusions and samplers (Nichol et al., arXiv:2212.08751)."""
