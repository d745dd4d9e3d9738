"""nn.Module + PruneSpec -> smaller nn.Module, with its proof and recipe."""
