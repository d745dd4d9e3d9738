"""Take a trained PyTorch network to the best variant for one board, measured there."""
