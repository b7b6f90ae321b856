"""Pretrain a rendered world's towers, on a GPU if there is one: on words and captions, or on pictures with classes.

python -m core.pretrain ablations/micro/clip.gin ablations/micro/clip.safetensors

After an interruption the same command resumes from the last state. The folder OUT.pretraining has metrics.jsonl (loss,
accuracy and speed every 20 steps) and, with --keep-every, the towers as they were on the way, which load like finished ones.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core.cli import add_settings, add_threads, at_least
from core.errors import user_errors
from core.files import text_digest


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.pretrain",
        description="Pretrain towers of a rendered world. On one core with bfloat16, micro's contrastive ones take 35 to 45 "
        "minutes, its classification ones 20 to 30; without bfloat16 about three times as long. What those of small scale take "
        "is estimated by python -m ablations.plan --scale small.",
    )
    parser.add_argument(
        "plan",
        help="gin file that binds pretrain.Pretraining and includes the world.gin beside it, e.g. ablations/micro/clip.gin",
    )
    parser.add_argument("out", type=Path, help="weights file to write (.safetensors)")
    about = "steps between copies of the unfinished towers (default: none are kept)"
    parser.add_argument("--keep-every", type=at_least(0), default=0, metavar="STEPS", help=about)
    about = "steps between resumable states (default: %(default)s)"
    parser.add_argument("--save-every", type=at_least(1), default=500, metavar="STEPS", help=about)
    add_settings(parser)
    add_threads(parser)
    options = parser.parse_args(arguments)

    import torch

    from core import config
    from core.config.gin_text import without_comments
    from core.files import from_command_line
    from core.pretrain.pretraining import Pretraining, pretrain
    from core.train.state import Interrupted
    from core.weights.made import recipe_digest

    with user_errors():
        threads = options.threads or os.cpu_count() or 1
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        plan = config.build(Pretraining, options.plan, bindings=options.set)
        identity = text_digest(without_comments(config.operative()))
        try:
            accuracy = pretrain(
                plan,
                options.out,
                threads,
                save_every=options.save_every,
                keep_every=options.keep_every,
                identity=identity,
                recipe=recipe_digest(from_command_line(options.plan), tuple(options.set)),
            )
        except Interrupted as stop:
            print(stop, file=sys.stderr)
            sys.exit(stop.exit_status)
        print(f"{options.out}: accuracy {100 * accuracy:.1f} % over the last tenth of {plan.steps} steps")


if __name__ == "__main__":
    main()
