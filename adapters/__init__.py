"""Ways to adapt a frozen image tower, one per file (partial.py: two, which train some of the tower's own weights).

An adapter is an nn.Module. Its constructor takes the towers; its forward takes (towers, images) and returns all image tokens,
B M D, in place of the tower's own. The tower's weights stay frozen; what an adapter adds is trained from scratch.

A new adapter is a module here and a gin file in ablations/adapters/ that binds `clip4str.CLIP4STR.adapter` to it; rows include
that file (ablations/table_VIII/lora.gin is the shortest example). backbone.py has what adapters ask of their tower.
"""
