"""The word renderer and the pictures of the micro world."""
