"""What is worth knowing about synthetic images before they are used (numpy only)."""
