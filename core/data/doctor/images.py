"""The images of an LMDB in numbers: formats, sizes, what cannot be read and what is unusual."""

import numpy as np

from core.data.doctor.scan import Scan

SMALL = 8  # pixels of height; below, letters have no shape


def image_facts(scan: Scan) -> dict:
    """What there is to say of the images; lists name every sample by its key."""
    good = scan.samples[scan.samples["readable"]]
    return {
        "readable": len(good),
        "unreadable": [[f"image-{found.index:09d}", found.what] for found in scan.unreadable],
        "formats": dict(scan.formats.most_common()),
        "odd": [[f"image-{found.index:09d}", found.what] for found in scan.odd],
        "width": quantiles(good["width"]),
        "height": quantiles(good["height"]),
        "lower_than_8_pixels": int(np.count_nonzero(good["height"] < SMALL)),
        "taller_than_wide": int(np.count_nonzero(good["height"] > good["width"])),
        "flat": int(np.count_nonzero(good["look"] == 0)),
    }


def quantiles(values: np.ndarray) -> list[int]:
    """Smallest, median and largest; empty where there are none."""
    return [int(value) for value in (values.min(), np.median(values), values.max())] if len(values) else []
