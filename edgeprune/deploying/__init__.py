"""Choice + Session -> Release on the board, and back."""
