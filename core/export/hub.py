"""Write a trained model as a folder in the layout of the Hugging Face hub, or push it there.

python -m core.export.hub results/runs/<run>/seed0 my-model
python -m core.export.hub results/runs/<run>/seed0 hf-hub:OWNER/NAME
"""

import argparse
from collections.abc import Sequence

from core.cli import add_model
from core.errors import user_errors


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog="python -m core.export.hub",
        description="Write model.safetensors with all of a model's tensors (an adapted tower's pretrained ones too), "
        "config.json, which says how to build it, and README.md, a model card with what the run's folder says about data, "
        "training, rows and accuracy. The folder, and the repository on the hub, are models to core.read and core.evaluate.",
        epilog="Pushing needs a login: `hf auth login`, or HF_TOKEN.",
    )
    add_model(command)
    about = "folder to write, which must not hold anything yet; or hf-hub:OWNER/NAME, made where it does not exist"
    command.add_argument("out", metavar="OUT", help=about)
    command.add_argument("--private", action="store_true", help="a new repository is private")
    return command


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)

    with user_errors():
        from core.export.model_folder import push, write_folder
        from core.weights.hub import is_on_hub

        if is_on_hub(options.out):
            print(f"pushed to {push(options.model, options.out, options.private)}")
        else:
            write_folder(options.model, options.out)
            print(f"written to {options.out}")


if __name__ == "__main__":
    main()
