"""Measure what a row costs, against something else measured in the same run on the same machine.

python -m core.bench memory ablations/table_VIII/lst-r4.gin ablations/table_VIII/fine-tune.gin --scale paper --batch 8
python -m core.bench read --batch 1 8 32
python -m core.bench train --lengths typical
python -m core.bench profile train
python -m core.bench data --data data/train/real
python -m core.bench index --labels 3300000
python -m core.bench captions
python -m core.bench read --model results/runs/<run>/seed0 --data results/data/micro ROW ... --out timing.json
"""

from collections.abc import Sequence

from core.bench.options import parsed
from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)

    from core.bench.run import VERBS

    with user_errors():
        VERBS[options.verb](options)


if __name__ == "__main__":
    main()
