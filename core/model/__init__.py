"""The method: towers, memories, permutations, decoder, Algorithm 1, and CLIP4STR, which joins them.

clip4str.py        the model: two branches, losses (Eq. 7)      decoding.py        Algorithm 1 and Eq. (8)
towers.py          CLIP's towers (timm_tower.py: timm's ViTs)   autoregressive.py  its left-to-right passes, made fast
memory.py          tokens of the towers that decoders read      decoder.py         the decoder (Eq. 4-6)
permutations.py    orders of reading and their masks            tokenizer.py       characters to ids and back
captions.py        predictions to text tower input              freezing.py        frozen layers (Table VI)
"""
