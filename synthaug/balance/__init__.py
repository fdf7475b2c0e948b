"""How many images each class has, should have, and lacks."""
