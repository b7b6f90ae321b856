"""The method: towers, memories, permutations, decoder, Algorithm 1, and CLIP4STR, which joins them.

clip4str.py        the model: two branches, losses (Eq. 7)      decoding.py        Algorithm 1 and Eq. (8)
tower_protocols.py what a tower offers (towers.py: CLIP's,      autoregressive.py  its left-to-right passes, made fast
                   open_clip_towers.py, timm_tower.py)
memory.py          tokens of the towers that decoders read      decoder.py         the decoder (Eq. 4-6)
permutations.py    orders of reading and their masks            tokenizer.py       characters to ids and back
captions.py        predictions to text tower input              freezing.py        frozen layers (Table VI)
attention.py       over keys and values projected before        checks.py          settings that are refused
early_backward.py  the visual branch's backward pass first      cuda_graphs.py     reading by CUDA graphs
text_tower.py      open_clip's text towers                      timm_trunk.py      timm's image networks
byte_pairs.py, hub_tokenizer.py: captions to token ids          transfer.py        copies between host and device
"""
