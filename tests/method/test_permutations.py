import itertools

import pytest
import torch

from core.model.permutations import (
    cloze_mask,
    content_mask,
    forward_ranks,
    query_mask,
    ranks_of,
    sample_permutations,
)


def sample(letters, count, mirrored=True, seed=0):
    return sample_permutations(letters, count, mirrored, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("letters", range(1, 9))
@pytest.mark.parametrize("count", [1, 2, 6])
def test_every_order_is_a_distinct_permutation(letters, count):
    orders = sample(letters, count).tolist()
    assert orders[0] == list(range(letters + 2))
    assert all(sorted(order) == list(range(letters + 2)) and order[0] == 0 for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)
    possible = len(list(itertools.permutations(range(letters)))) if letters < 5 else 120
    assert len(orders) == min(count, possible)


@pytest.mark.parametrize(("letters", "orders"), [(3, 6), (5, 120), (6, 720)])
def test_no_more_orders_are_asked_for_than_there_are(letters, orders):
    assert len(sample(letters, 1000)) == orders


def test_reverse_asks_for_the_end_first():
    assert sample(4, 6)[1].tolist() == [0, 5, 4, 3, 2, 1]
    assert all(order[-1] == 5 for order in sample(4, 6)[2:].tolist())


def test_random_orders_come_with_their_mirror_images():
    orders = [order[1:-1] for order in sample(9, 6).tolist()[2:]]
    assert orders[1] == orders[0][::-1] and orders[3] == orders[2][::-1]


def test_same_generator_same_orders():
    assert torch.equal(sample(7, 6, seed=3), sample(7, 6, seed=3))
    assert not torch.equal(sample(7, 6, seed=3), sample(7, 6, seed=4))


def test_masks_equal_their_definition():
    """Walk each order and let an output read what came before it (Table I)."""
    permutations = sample(5, 6, seed=1)
    queries, content = query_mask(ranks_of(permutations)), content_mask(ranks_of(permutations))
    for k, order in enumerate(permutations.tolist()):
        for place, position in enumerate(order):
            before = set(order[:place])
            for context in range(6):
                if position > 0:
                    assert queries[k, position - 1, context].item() == (context in before)
                if position < 6:
                    assert content[k, position, context].item() == (context in before | {position})


def test_table_i_examples():
    forward = query_mask(forward_ranks(4))[0]
    assert torch.equal(forward, torch.ones(4, 4, dtype=torch.bool).tril())
    cloze = [[1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert cloze_mask(4).int().tolist() == cloze
