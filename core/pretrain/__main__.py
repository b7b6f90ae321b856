"""Pretrain the micro world's towers: on words and captions, or on pictures with classes.

python -m core.pretrain ablations/micro/clip.gin ablations/micro/clip.safetensors
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from core.cli import add_settings, add_threads
from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.pretrain", description="Pretrain towers of the micro world (15 to 30 minutes on two cores)."
    )
    parser.add_argument("plan", help="gin file that binds pretrain.Pretraining, e.g. ablations/micro/clip.gin")
    parser.add_argument("out", type=Path, help="weights file to write (.safetensors)")
    add_settings(parser)
    add_threads(parser)
    options = parser.parse_args(arguments)

    import torch

    from core import config
    from core.pretrain.pretraining import Pretraining, pretrain

    with user_errors():
        threads = options.threads or os.cpu_count() or 1
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        plan = config.build(Pretraining, options.plan, bindings=options.set)
        accuracy = pretrain(plan, options.out, threads)
        print(f"{options.out}: accuracy {100 * accuracy:.1f} % over the last tenth of {plan.steps} steps")


if __name__ == "__main__":
    main()
