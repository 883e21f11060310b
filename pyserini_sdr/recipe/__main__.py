"""`python -m pyserini_sdr.recipe`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.command import Command, main
from ..core.errors import UsageError
from .options import RecipeOptions


@dataclass(frozen=True)
class RecipeCommand(Command):
    """`recipe`, which can also list the recipes."""

    def execute(self, prog: str, argv: Sequence[str]) -> int:
        if "--list" in argv:
            names = [word for word in argv if word != "--list"]
            if any(name.startswith("-") for name in names):
                raise UsageError("--list: takes names of recipes, and no other flags")
            from .listing import listing

            print(listing(names))
            return 0
        return super().execute(prog, argv)


COMMAND = RecipeCommand(
    "Run a multi-stage system: mining, teachers, trainings, one after the other.",
    RecipeOptions,
    "pyserini_sdr.recipe.engine:recipe",
    "  python -m pyserini_sdr.recipe --list\n"
    "  python -m pyserini_sdr.recipe --list tas-b prod\n"
    "  python -m pyserini_sdr.recipe hard-negatives --collection collection --encoder all-MiniLM-L6-v2 \\\n"
    "    --output hn --dry-run\n"
    "  python -m pyserini_sdr.recipe hard-negatives --collection collection --encoder all-MiniLM-L6-v2 --output hn\n"
    "  # settings of the recipe, a flag of every training, a flag of one stage\n"
    "  python -m pyserini_sdr.recipe tas-b --collection collection --encoder bert-base-uncased --output tas-b \\\n"
    "    --set steps=2000 ranker=cross-encoder train.micro-batch-size=64 student.learning-rate=7e-6\n"
    "  python -m pyserini_sdr.recipe my-system.yaml --collection collection --encoder checkpoint --output mine",
    """
--list [NAME ...] prints the recipes: stages, settings, needs, paper.
Each stage is a command of this package, printed as it runs, with its own folder in --output and its own manifest.
An interrupted recipe goes on when the same command is given again; stages whose results are up to date are skipped.
OUTPUT/sdr_recipe.json is written last; OUTPUT/checkpoint is the result.
""",
)

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.recipe")
