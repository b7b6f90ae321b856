"""The method: towers, permutations, the decoder, Algorithm 1, the two branches."""
