"""Draws the pictures and writes the README's tables, from what the repository holds: `python -m docs.figures`."""

import json
from pathlib import Path

from benchmarks import plot
from benchmarks.mobilenet_v2 import table
from docs.figures import (
    formats,
    frameworks_picture,
    journey_picture,
    ranges,
    readme,
    residual,
    speed_bars,
    staircase,
    stories,
    texts,
)

DOCS = Path(__file__).resolve().parent.parent


def main(docs=DOCS):
    """All of them."""
    benchmarks, pictures = docs / "benchmarks", docs / "pictures"
    results = json.loads((benchmarks / "results.json").read_text("utf-8"))
    frameworks = json.loads((pictures / "frameworks.json").read_text("utf-8"))
    plot.save(plot.picture(results["rows"]), benchmarks / "speed.svg")
    plot.save(speed_bars.picture(results), pictures / "speed.svg")
    for stem in ("mobilenet_v2", "learned_mobilenet_v2", "learned_resnet18"):
        result = json.loads((benchmarks / f"{stem}.json").read_text("utf-8"))
        plot.save(table.picture(result), benchmarks / f"{stem}.svg")
    plot.save(staircase.picture(), pictures / "staircase.svg")
    plot.save(ranges.picture(), pictures / "ranges.svg")
    plot.save(residual.picture(), pictures / "residual.svg")
    plot.save(formats.picture(), pictures / "formats.svg")
    plot.save(stories.picture(frameworks["rows"]), pictures / "frameworks.svg")
    table_of_all = frameworks_picture.picture(frameworks["rows"])
    plot.save(table_of_all, pictures / "frameworks-table.svg", follows_scheme=False)
    journey = json.loads((pictures / "journey.json").read_text("utf-8"))
    plot.save(journey_picture.weights(journey["weights"]), pictures / "journey-weights.svg")
    plot.save(
        journey_picture.texts(journey["models"], journey["line"]), pictures / "journey-texts.svg", follows_scheme=False
    )
    page = docs.parent / "README.md"
    page.write_text(readme.filled(page.read_text("utf-8"), texts.read(docs)), "utf-8")


if __name__ == "__main__":
    main()
