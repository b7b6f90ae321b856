"""A table as HTML that needs no other file: columns sort, and a measured cell opens the images whose result flipped."""

from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from reports.collect.flips import Flip, Flips, flips_of_table
from reports.render.grid import Entry, Grid, explanation, measured, others, peers
from reports.table import Table

CellFlips = Mapping[tuple[str, str], Flips]  # by row and column


class Pictures:
    """The thumbnails of a page, each once however many cells show it."""

    def __init__(self):
        self.keys: dict[str, str] = {}

    def key(self, thumbnail: str) -> str:
        """The short name of a thumbnail; empty where there is none."""
        return self.keys.setdefault(thumbnail, f"p{len(self.keys)}") if thumbnail else ""

    def by_key(self) -> dict[str, str]:
        return {key: thumbnail for thumbnail, key in self.keys.items()}


def html(table: Table, flips: CellFlips) -> str:
    """A whole page with one table.

    Args:
        flips: flipped images of the cells that have some; other cells open nothing.
    """
    pictures = Pictures()
    return page(table.layout.title, fragment(table, flips, pictures, level=1), pictures)


def html_with_images(table: Table) -> str:
    """A whole page whose cells open the images that flipped."""
    return html(table, flips_of_table(table))


def page(title: str, body: str, pictures: Pictures) -> str:
    """A page around tables (and whatever else): style and script once, thumbnails once.

    Args:
        body: HTML, with the fragments that `pictures` was given to.
    """
    return templates().get_template("page.html").render(title=title, body=Markup(body), pictures=pictures.by_key())


def fragment(table: Table, flips: CellFlips, pictures: Pictures, level: int = 2) -> str:
    """One table for a page that may hold many.

    Args:
        pictures: the thumbnails of the whole page; those of this table are added.
        level: level of the heading.
    """
    grid = measured(table)
    shown = [key for key in flips if key[0] in table.rows.index]
    template = templates().get_template("table.html")
    return template.render(
        table=table,
        level=level,
        grid=grid,
        apart=[part for part in set_apart(table) if part[-1]],
        places={key: number for number, key in enumerate(shown)},
        flips=[dialog(table, grid, key, flips[key], pictures) for key in shown],
        span=span(grid),
        explanation=explanation(table, grid),
        has_published=any(entry.published for entries in grid.values() for entry in entries),
    )


def set_apart(table: Table) -> list[tuple[str, str, Grid]]:
    """The parts below the rows that enter no statistic, each with a title, a caption and its rows."""
    about = "readers made by others, which check the harness and enter no statistic"
    return [
        ("Other methods, as published", "published rows of other methods, which enter no statistic", others(table)),
        ("Peer readers, measured here", about, peers(table)),
    ]


@cache
def templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.render", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    return environment


def breakable(name: str) -> Markup:
    """A name that a narrow column may break at its underscores."""
    return escape(name).replace("_", Markup("_<wbr>"))


def span(grid: Grid) -> tuple[float, float]:
    """The range that holds every drawn interval and zero."""
    ends = [end for entries in grid.values() for entry in entries for end in entry.interval or ()]
    return min([0.0, *ends]), max([0.0, *ends])


def dialog(table: Table, grid: Grid, key: tuple[str, str], flips: Flips, pictures: Pictures) -> dict:
    """The content of the dialog that a cell opens, for the script."""
    row, name = key
    head = next(head for head in grid if head.key == name)
    place, baseline = table.rows.index.get_loc(row), table.layout.baseline
    won, lost = ([example(flip, pictures) for flip in shown] for shown in (flips.won_shown, flips.lost_shown))
    return {
        "row": row,
        "column": f"{head.title} ({head.note})" if head.note else head.title,
        "baseline": baseline,
        "value": sentence(grid[head][place]),
        "baseline_value": sentence(grid[head][table.rows.index.get_loc(baseline)]),
        "n": flips.n,
        "won": flips.won,
        "lost": flips.lost,
        "won_shown": won,
        "lost_shown": lost,
    }


def sentence(entry: Entry) -> str:
    """An entry in words."""
    published = f"published {entry.published}" if entry.published else ""
    return "; ".join(filter(None, [f"{entry.text} {entry.spread}".strip(), *entry.details, published]))


def example(flip: Flip, pictures: Pictures) -> dict:
    """One flipped image, its thumbnail by its short name."""
    known = {name: value for name, value in vars(flip).items() if name != "thumbnail"}
    return known | {"picture": pictures.key(flip.thumbnail)}
