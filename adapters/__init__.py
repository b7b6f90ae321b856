"""Ways to adapt a frozen image tower, one a file.

An adapter is a module made of (towers), whose forward (towers, images) gives all image tokens B M D in place of the
tower's own. The tower's frozen weights stay where they are; what an adapter adds is trained from scratch.
"""
