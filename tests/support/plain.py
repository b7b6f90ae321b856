"""Algorithm 1 as it is written, nothing cached, guessed, shared or left out: what the fast code must equal."""

import torch

from core.charset import reduce_text
from core.model.decoding import refine
from core.model.permutations import content_mask, forward_ranks, query_mask


def letter_by_letter(decoder, memory, tokenizer):
    """Lines 3-7: every output from a pass over all characters before it, one word at a time; zero after [E]."""
    ranks = forward_ranks(decoder.max_outputs)
    logits = memory[0].keys.new_zeros(len(memory[0].keys), decoder.max_outputs, decoder.num_classes)
    for row in range(len(logits)):
        own = [layer.take(torch.tensor([row])) for layer in memory]
        ids = torch.full((1, decoder.max_outputs), tokenizer.bos)
        for position in range(decoder.max_outputs):
            logits[row, position] = decoder(ids, own, query_mask(ranks), content_mask(ranks))[0, position]
            predicted = logits[row, position].argmax()
            if predicted == tokenizer.eos:
                break
            if position + 1 < decoder.max_outputs:
                ids[0, position + 1] = predicted
    return logits


@torch.inference_mode()
def algorithm_1(model, images, refine_steps):
    """Lines 1-20: the four outputs, the text tower run anew for every image of every pass."""
    image_memory = model.image_memory(images)

    def read_with_text(logits):
        captions = [reduce_text(word, model.caption_charset) for word in model.tokenizer.decode_ids(logits.argmax(-1))]
        text = torch.cat([model.read_caption(model.towers, model.caption_tokenizer([caption])) for caption in captions])
        return model.cross_decoder.project_memory(torch.cat([image_memory, text], 1))

    visual_memory = model.visual_decoder.project_memory(image_memory)
    visual = visual_ar = letter_by_letter(model.visual_decoder, visual_memory, model.tokenizer)
    cross = cross_ar = letter_by_letter(model.cross_decoder, read_with_text(visual), model.tokenizer)
    for _ in range(refine_steps):
        visual = refine(model.visual_decoder, visual_memory, visual, model.tokenizer)
        cross = refine(model.cross_decoder, read_with_text(visual), cross, model.tokenizer)
    return visual, cross, visual_ar, cross_ar
