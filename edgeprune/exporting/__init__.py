"""nn.Module + ExportSpec -> Artifact, with its parity report."""
