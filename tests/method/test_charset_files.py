"""Charset files: what they say, what is refused of them, and labels in other scripts than Latin."""

import unicodedata

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from core.charset import CHARSET_36, CHARSET_94, RejectedLabel, check_charset, normalise_label, read_charset, reduce_text
from core.data.labels import PUBLISHED_RULES, rules_for
from core.errors import ConfigError, DataError, UserError
from core.experiment.experiment import load
from core.files import ROOT
from core.model.byte_pairs import byte_pairs
from core.model.captions import CaptionReader, CaptionTokenizer
from core.model.tokenizer import Tokenizer
from tests.support.checkout import BASELINE

SHIPPED = sorted((ROOT / "ablations" / "charsets").glob("*.txt"))
CYRILLIC, GREEK = (read_charset(ROOT / f"ablations/charsets/{name}.txt") for name in ("cyrillic", "greek"))
LOWER_GREEK = "αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώ"
WORDS = ["Москва", "ТЕАТР", "кафе", "їжак", "Ђорђе", "№", "ёлка", "объявление", "ул.Ленина", "12км"]


def test_what_ships():
    sizes = {path.stem: len(read_charset(path)) for path in SHIPPED}
    assert sizes == {"36": 36, "62": 62, "94": 94, "chinese": 94 + 6763, "cyrillic": 140, "greek": 111}
    assert read_charset(ROOT / "ablations/charsets/36.txt") == CHARSET_36
    assert read_charset(ROOT / "ablations/charsets/94.txt") == CHARSET_94
    assert read_charset(ROOT / "ablations/charsets/62.txt") == CHARSET_94[:62]
    chinese = read_charset(ROOT / "ablations/charsets/chinese.txt")
    assert set(chinese[:94]) == set(CHARSET_94) and chinese[94:].encode("gb2312") == chinese[94:].encode("gb18030")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_have_both_cases_or_one(path):
    letters = {character for character in read_charset(path) if character.isalpha()}
    upper = {character for character in letters if len(character.upper()) == 1}
    assert not letters & set(map(str.upper, letters)) or {character.upper() for character in upper} <= letters


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("a\nb\n", "ab"),
        ("# comment\n\n  b  # beside\r\nU+0061\n", "ba"),
        ("U+0410..U+0413\nu+044f\n", "АБВГя"),
        ("\ufeffя\n", "я"),
        ("e\u0301\n", "é"),  # as some editors save it
        ("U+0023\nU+002E\n", "#."),
        ("𐍈\n", "𐍈"),
        ("U+05D0..U+05D2\n", "אבג"),
    ],
)
def test_files_are_read(tmp_path, text, characters):
    (tmp_path / "my.txt").write_bytes(text.encode())
    assert read_charset(tmp_path / "my.txt") == characters


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a\nb\na\n", r"line 3: 'a' \(U\+0061\) is in line 1 already; take one of them out"),
        (b"U+0061..U+0063\nb\n", r"line 2: 'b' \(U\+0062\) is in line 1 already"),
        (b"a\nU+0007\n", r"line 2: U\+0007 is white space or cannot be printed, so no label holds it; take it out"),
        (b"U+0020\n", r"line 1: U\+0020 is white space"),
        (b"U+00A0\n", r"line 1: U\+00A0 is white space"),
        (b"a\nU+200B\n", r"line 2: U\+200B is white space or cannot be printed"),
        (b"U+0378..U+0379\n", r"line 1: U\+0378 is white space or cannot be printed"),
        (b"U+D800\n", r"line 1: U\+D800 is white space or cannot be printed"),
        (b"U+212B\n", r"line 1: '\u212b' \(U\+212B\) is written '\u00c5' \(U\+00C5\) in labels \(NFC\); list that instead"),
        (b"U+0958\n", r"is written 'क' \(U\+0915\) '़' \(U\+093C\) in labels"),
        (b"", r"no character here; write one character or range like U\+0410..U\+044F per line"),
        (b"# only this\n\n", r"no character here"),
        (b"abc\n", r"line 1: 'abc' is neither one character nor a range; write one per line"),
        (b"a\n\nU+44F\n", r"line 3: 'U\+44F' is neither one character nor a range"),
        (b"U+044F..U+0410\n", r"line 1: U\+044F..U\+0410 is not a range of Unicode; write the smaller number first"),
        (b"U+110000\n", r"line 1: U\+110000 is not a range of Unicode"),
        (b"a\n#\n", r"line 2: '#' begins a comment; write U\+0023 for the character"),
        (b"a\n\xe9\n", r"line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_bad_files_are_one_line(tmp_path, content, problem):
    path = tmp_path / "my.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}.*{problem}") as error:
        read_charset(path)
    assert "\n" not in str(error.value)


@given(st.binary(max_size=60))
def test_any_file_is_a_charset_or_refused_by_name(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    try:
        charset = read_charset(path)
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        check_charset("CHARSET", charset)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("CHARSET = 'no/such.txt'", "no/such.txt: no such charset file"),
        ("CHARSET = 94", "CHARSET = 94: expected a charset; name a file of characters, like 'ablations/charsets/94.txt'"),
        ("CAPTION_CHARSET = 'ablations/charsets/94'", r"CAPTION_CHARSET = .*: 'a' \(U\+0061\) is repeated; name a file"),
        ("SCORING_CHARSET = ''", "SCORING_CHARSET = '': expected a charset"),
        (
            "SCORING_CHARSET = '36'",
            "SCORING_CHARSET = '36': two characters; for the charset of 36 write 'ablations/charsets/36.txt'",
        ),
        ("SCORING_CHARSET = 'a b'", r"U\+0020 is white space"),
        ("protocol.Protocol.scoring_charset = None", "Protocol.scoring_charset = None: expected a charset"),
    ],
)
def test_a_row_with_a_bad_charset_is_refused_by_name(line, problem):
    with pytest.raises(ConfigError, match=f"^{BASELINE}.*: .*{problem}"):
        load(BASELINE, "smoke", [line])


def test_a_saved_model_names_no_file():
    with pytest.raises(UserError, match=r"'/' \(U\+002F\) is repeated"):
        check_charset("CLIP4STR.charset", "/etc/host.txt")


@pytest.mark.parametrize(
    ("label", "charset", "kept"),
    [
        ("Мос ква", CYRILLIC, "Москва"),
        ("и\u0306ог", CYRILLIC, "йог"),  # NFC: the letter and its breve are one
        ("кафé!", CYRILLIC, "каф!"),  # characters of other scripts are removed
        ("ΟΔΌΣ", GREEK, "ΟΔΌΣ"),
        ("ο\u0301δος", GREEK, "όδος"),
        ("ΟΔΌΣ", LOWER_GREEK, "οδός"),  # one case: folded, with the final sigma
        ("Αθήνα-1", LOWER_GREEK, "αθήνα"),
        ("Café", "aéfC", "Café"),
        ("שלום", "".join(map(chr, range(0x5D0, 0x5EB))), "שלום"),  # logical order
        ("Ж" * 25, CYRILLIC, "Ж" * 25),
    ],
)
def test_labels_of_other_scripts(label, charset, kept):
    assert normalise_label(label, charset, 25) == kept
    assert normalise_label(kept, charset, 25) == kept
    assert Tokenizer(charset).decode_ids(Tokenizer(charset).encode([kept])[:, 1:]) == [kept]


@pytest.mark.parametrize(
    ("label", "reason"), [("", "empty label"), ("Ж" * 26, "longer than 25"), ("word", "no supported character")]
)
def test_dropped_labels_say_why(label, reason):
    with pytest.raises(RejectedLabel, match=reason):
        normalise_label(label, CYRILLIC, 25)


@given(st.text(max_size=40), st.sampled_from([CYRILLIC, GREEK, LOWER_GREEK]))
def test_labels_come_out_clean(text, charset):
    try:
        label = normalise_label(text, charset, 25)
    except RejectedLabel:
        return
    assert label and set(label) <= set(charset) and unicodedata.is_normalized("NFC", label)
    assert reduce_text(label, charset) == label


def test_test_words_follow_what_is_scored():
    assert rules_for(CHARSET_36) == rules_for(CHARSET_94) == rules_for("abc") == PUBLISHED_RULES
    assert rules_for(CYRILLIC) == (CYRILLIC, 25)


def test_cyrillic_captions_are_open_clips():
    plain = SimpleTokenizer()
    assert [byte_pairs().encode(word.encode()) for word in WORDS] == [plain.encode(word) for word in WORDS]
    assert torch.equal(CaptionTokenizer(30)(WORDS), plain(WORDS, 30))
    tokenizer = Tokenizer(CYRILLIC)
    words = [normalise_label(word, CYRILLIC, 25) for word in WORDS if word != "№"]
    ids = tokenizer.encode(words)[:, 1:]
    reader = CaptionReader(tokenizer, CYRILLIC, CaptionTokenizer(30))
    captions = reader.finish(reader.begin(ids))
    assert torch.equal(captions.tokens[captions.rows], plain(words, 30))


def test_characters_that_fold_to_several_are_left_out_of_captions():
    tokenizer = Tokenizer("aßİ")
    reader = CaptionReader(tokenizer, "ABS", CaptionTokenizer(6))
    captions = reader.finish(reader.begin(tokenizer.encode(["aßa", "aa"])[:, 1:]))
    assert len(captions.tokens) == 1 and captions.rows.tolist() == [0, 0]
