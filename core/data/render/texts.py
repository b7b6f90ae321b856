"""What a world shows besides words of the lexicon: numbers, prices, dates, times, addresses, names, codes and signs, by rule.

Real benchmarks have them all (section IV-A's label rules keep 94 characters, up to 25 of them). Every rule draws from the
generator passed in alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from core.charset import CHARSET_94, DIGITS, LOWER, MAX_LETTERS
from core.data.render.lexicon import WordList
from core.errors import UserError

TEXTS = 3  # the version of the rules: raise it with every change after which some text differs
TRIES = 20  # at a blend that is a word, or too short
MAX_CHARACTERS = MAX_LETTERS - 1  # of a text; a family may add a sign
PAIRS = ("()", "[]", "{}", "<>", '""', "''", "``", "**", "//", "--", "||", "__", "~~")
SIGNS = "".join(character for character in CHARSET_94 if not character.isalnum())
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DOMAINS = ("com", "org", "net", "de", "co.uk", "fr", "info", "edu", "gov")
JOINTS = ("-", "-", "&", "/", "+", "_", ".", "'", "")


@dataclass(frozen=True)
class Texts:
    """Shares of images by what they show; the rest are words.

    Args:
        lengths: how often a word has 1, 2, 3, ... letters, in any unit; lengths that the lexicon lacks are two words joined.
        numbers, prices, dates, times: of digits with their marks.
        addresses: like www.word.com, info@word.org, #word.
        names: of people, firms and possessors, like O'Word, McWord, J.Word, word's.
        codes: capitals and digits at random, as on number plates and products.
        marked: words between brackets or quotes, or with any sign in them.
        blends: the beginning of one word and the end of another, as in names that no list has.
        arbitrary: any of the 94 characters at random, as long as words are.

    Raises:
        UserError: shares that are negative or more than the whole, or no lengths.
    """

    lengths: tuple[int, ...]
    numbers: float
    prices: float
    dates: float
    times: float
    addresses: float
    names: float
    codes: float
    marked: float
    blends: float
    arbitrary: float

    def __post_init__(self):
        negative = [name for name, share in self.shares.items() if share < 0]
        if negative or sum(self.shares.values()) > 1:
            raise UserError(
                f"Texts.{negative[0] if negative else 'numbers, ...'}: shares are not negative and at most 1 in all"
            )
        if not 1 <= len(self.lengths) <= MAX_CHARACTERS or min(self.lengths) < 0 or sum(self.lengths) == 0:
            raise UserError(
                f"Texts.lengths = {self.lengths}: expected 1 to {MAX_CHARACTERS} numbers, how often words have 1, 2, ... "
                "letters"
            )

    @property
    def shares(self) -> dict[str, float]:
        """The share of each rule."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "lengths"}

    @cached_property
    def ends(self) -> np.ndarray:
        """Cumulative shares of the rules."""
        return np.cumsum([*self.shares.values()])

    @cached_property
    def length_ends(self) -> np.ndarray:
        """Cumulative probabilities of the lengths."""
        return np.cumsum(self.lengths) / sum(self.lengths)

    def draw(self, words: WordList, rng: np.random.Generator) -> str:
        """A text of at most MAX_CHARACTERS characters, words in lower case."""
        rule = int(np.searchsorted(self.ends, rng.random(), side="right"))
        length = 1 + int(np.searchsorted(self.length_ends, rng.random(), side="right"))
        if rule == len(self.ends):
            return word_of(length, words, rng)[:MAX_CHARACTERS]
        return [*RULES.values()][rule](length, words, rng)[:MAX_CHARACTERS]


def pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


def digits(count: int, rng: np.random.Generator) -> str:
    """So many digits, the first of which is not 0."""
    return str(rng.integers(10 ** (count - 1), 10**count))


def word_of(length: int, words: WordList, rng: np.random.Generator) -> str:
    """A word of that many letters; where the list has none, a letter, or two words that have as many together."""
    if length in words.by_length:
        return pick(words.by_length[length], rng)
    if length == 1:
        return pick(LOWER, rng)
    joint = pick(JOINTS, rng)
    first = min(max(words.by_length), max(min(words.by_length), length // 2 + int(rng.integers(-2, 3))))
    return nearest(first, words, rng) + joint + nearest(length - first - len(joint), words, rng)


def nearest(length: int, words: WordList, rng: np.random.Generator) -> str:
    """A word of that many letters, or of the nearest number that the list has."""
    return pick(words.by_length[min(words.by_length, key=lambda known: (abs(known - length), known))], rng)


def number(length: int, words: WordList, rng: np.random.Generator) -> str:
    """1 to 7 digits, every other one with a mark: 1,200  3.5  50%  #12  24th  +49."""
    plain = digits(min(7, length), rng)
    marks = (f"{plain}%", f"#{plain}", f"{plain}th", f"+{plain}", f"-{plain}", f"No.{plain}")
    forms = (f"{plain}.{rng.integers(10)}", f"{int(plain):,}", *marks)
    return plain if rng.random() < 0.5 else pick(forms, rng)


def price(length: int, words: WordList, rng: np.random.Generator) -> str:
    whole, cents = digits(int(rng.integers(1, 5)), rng), f"{rng.integers(100):02d}"
    dollars = (f"${whole}", f"${whole}.{cents}", f"USD{whole}", f"{cents}c")
    return pick((*dollars, f"{whole}.{cents}", f"{whole},{cents}", f"{whole}.-"), rng)


def date(length: int, words: WordList, rng: np.random.Generator) -> str:
    day, month, year = int(rng.integers(1, 32)), int(rng.integers(1, 13)), int(rng.integers(1900, 2030))
    short, name = year % 100, pick(MONTHS, rng)
    whole = (
        f"{day}/{month}/{short:02d}",
        f"{day:02d}/{month:02d}/{year}",
        f"{day}.{month}.{year}",
        f"{year}-{month:02d}-{day:02d}",
    )
    named = (f"{name}{day}", f"{day}-{name}", f"{name}.{day}", f"{name}'{short:02d}")
    return pick((*whole, *named, f"{year}", f"{year}", f"{year}s", f"'{short:02d}s"), rng)


def time(length: int, words: WordList, rng: np.random.Generator) -> str:
    hour, minute, later = int(rng.integers(0, 24)), 5 * int(rng.integers(12)), int(rng.integers(1, 13))
    half, closing = pick(("am", "pm", "a.m.", "p.m."), rng), 1 + (later + 7) % 12
    exact = (f"{hour}:{minute:02d}", f"{hour:02d}.{minute:02d}", f"{later}:{minute:02d}{half}")
    return pick((*exact, f"{later}{half}", f"{later}-{closing}", f"{hour}h"), rng)


def address(length: int, words: WordList, rng: np.random.Generator) -> str:
    word, other, domain = pick(words, rng), pick(words, rng), pick(DOMAINS, rng)
    site = f"{word}.{domain}"
    return pick((f"www.{site}", site, f"{site}/{other}", f"{word}@{other}.{domain}", f"#{word}", f"@{word}"), rng)


def name(length: int, words: WordList, rng: np.random.Generator) -> str:
    word = nearest(length, words, rng)
    big, initial = word.capitalize(), pick(LOWER, rng).upper()
    forms = (
        *(f"{word}'s", f"{big}'s", f"O'{big}", f"Mc{big}", f"{initial}.{big}", f"St.{big}", f"{big}&Co.", f"{big}-{initial}"),
        *(f"{initial}&{pick(LOWER, rng).upper()}", f"{initial}.{pick(LOWER, rng).upper()}.", f"{word}s'", f"{initial}-{big}"),
    )
    return pick(forms, rng)


def code(length: int, words: WordList, rng: np.random.Generator) -> str:
    """Two to nine capitals and digits, sometimes with a dash."""
    letters = [pick(LOWER.upper() if rng.random() < 0.5 else DIGITS, rng) for _ in range(int(rng.integers(2, 10)))]
    if rng.random() < 0.3:
        letters.insert(int(rng.integers(1, len(letters))), pick("-./", rng))
    return "".join(letters)


def marked(length: int, words: WordList, rng: np.random.Generator) -> str:
    word = nearest(length, words, rng)
    if rng.random() < 0.5:
        opened, closed = pick(PAIRS, rng)
        return f"{opened}{word[: MAX_CHARACTERS - 2]}{closed}"
    place = int(rng.integers(0, len(word) + 1))
    return word[:place] + pick(SIGNS, rng) + word[place:]


def blend(length: int, words: WordList, rng: np.random.Generator) -> str:
    """So many letters (two at least), from a word that long and one of any length; a word of no list, if few draws find one."""
    length = max(2, length)
    for _ in range(TRIES):
        kept = int(rng.integers(1, length))
        text = nearest(length, words, rng)[:kept] + pick(words, rng)[kept - length :]
        if len(text) == length and text not in words.known:
            break
    return text


def arbitrary(length: int, words: WordList, rng: np.random.Generator) -> str:
    return "".join(pick(CHARSET_94, rng) for _ in range(length))


RULES: dict[str, Callable[[int, WordList, np.random.Generator], str]] = {  # in the order of the shares in `Texts`
    "numbers": number,
    "prices": price,
    "dates": date,
    "times": time,
    "addresses": address,
    "names": name,
    "codes": code,
    "marked": marked,
    "blends": blend,
    "arbitrary": arbitrary,
}
