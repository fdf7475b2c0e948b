"""From a folder of images to arrays and splits, and back to folders."""
