import pytest
import torch

from core.charset import CHARSET_36, CHARSET_94, RejectedLabel, normalise_label, reduce_text
from core.model.tokenizer import Tokenizer


def test_sizes_and_order():
    assert len(CHARSET_94) == 94 and len(CHARSET_36) == 36
    assert CHARSET_94[:36] == CHARSET_36
    assert len(set(CHARSET_94)) == 94


@pytest.mark.parametrize(
    ("label", "charset", "kept"),
    [
        ("New York", CHARSET_94, "NewYork"),
        ("Café", CHARSET_94, "Cafe"),
        ("№5", CHARSET_94, "No5"),
        ("DON'T", CHARSET_36, "dont"),
        ("x" * 25, CHARSET_94, "x" * 25),
    ],
)
def test_label_rules(label, charset, kept):
    assert normalise_label(label, charset, 25) == kept


@pytest.mark.parametrize(
    ("label", "reason"),
    [("", "empty label"), (" \t", "empty label"), ("x" * 26, "longer than 25"), ("日本", "no supported character")],
)
def test_dropped_labels_say_why(label, reason):
    with pytest.raises(RejectedLabel, match=reason):
        normalise_label(label, CHARSET_94, 25)


def test_reduction_folds_case_only_where_one_case_exists():
    assert reduce_text("A-b", CHARSET_94) == "A-b"
    assert reduce_text("A-b", CHARSET_36) == "ab"


def test_tokenizer_round_trip():
    tokenizer = Tokenizer(CHARSET_94)
    ids = tokenizer.encode(["Word", "a!"])
    assert ids.tolist()[1][:4] == [95, 11, 63, 0] and ids[1, 4] == tokenizer.pad
    assert tokenizer.decode_ids(ids[:, 1:]) == ["Word", "a!"]
    assert tokenizer.num_classes == 95


def test_confidence_covers_the_end():
    tokenizer = Tokenizer(CHARSET_36)
    logits = torch.full((1, 4, 37), -20.0)
    logits[0, 0, 11] = logits[0, 1, 0] = 20.0  # "a", [E], and two undecided outputs behind it
    words, (confidence,) = tokenizer.decode(logits)
    assert words == ["a"] and confidence == pytest.approx(1.0)


def test_unknown_character_is_named():
    with pytest.raises(ValueError, match="'é' is not in the 36-character set"):
        Tokenizer(CHARSET_36).encode(["é"])


def test_a_label_that_grows_in_capitals_is_measured_as_it_is_read():
    capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÜ"
    assert normalise_label("Straße", capitals, 7) == "STRASSE"
    with pytest.raises(RejectedLabel, match="longer than 6 characters"):
        normalise_label("Straße", capitals, 6)
