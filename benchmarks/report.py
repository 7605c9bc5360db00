"""Results as Markdown and JSON: ratios first, then elements per second, then microseconds."""

import json

from benchmarks.timing import YARDSTICKS

SPEEDS = {"copy": "copyto", "add": "add", "forward": "forward", "torch": "PyTorch"}
TITLES = {"grid": "fq's functions", "peers": "fq.forward and its peers"}
INTRODUCTION = """\
Speed is relative to `np.copyto` of the same array (one thread; 1 is as fast as copying): the time of the copy over
the time of the function, medians in one process. Higher is better. *In turn*: the first calls after another candidate
of the same table, which has taken the caches. *Warm*: the calls that follow them. The functions of fq write to `out=`,
except where it says "allocating" and in the small call."""


def markdown(result):
    """The whole report."""
    sections = dict.fromkeys(row["section"] for row in result["rows"])
    tables = [table(name, [row for row in result["rows"] if row["section"] == name]) for name in sections]
    notes = [f"- {note}" for note in result["notes"]]
    parts = ["# Benchmarks", INTRODUCTION, facts(result), *tables]
    return "\n\n".join(parts + (["## Left out", "\n".join(notes)] if notes else [])) + "\n"


def facts(result):
    """The machine and the settings as a list."""
    machine, settings = result["machine"], result["settings"]
    lines = {
        "Processor": f"{machine['processor']}, {machine['cores']} cores",
        "Caches": ", ".join(f"{name} {size}" for name, size in machine["caches"].items()) or "unknown",
        "System": machine["system"],
        "Versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        "Compiler of fq": machine["compiler"] or "unknown",
        "SIMD target": ", ".join(settings["targets"]),
        "Threads": ", ".join(map(str, settings["threads"])),
        "Date": machine["date"],
    }
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def table(section, rows):
    """One section: a line per row."""
    compared = [name for name in YARDSTICKS if any(row[f"relative_to_{name}"] for row in rows)]
    heads = ["elements", "type", "function", "gives", "target", "threads"]
    shown = [SPEEDS[name] for name in compared if section != "grid" or name == "copy"]
    heads += [f"{how} / {name}" for name in shown for how in ("warm", "in turn")]
    heads += ["G elements/s in turn", "us, warm", "us, in turn", "min", "max"]
    columns = [name for name in heads if name != "gives" or section != "grid"]
    lines = [f"## {TITLES.get(section, section.capitalize())}", "", line(columns), line(["---"] * len(columns))]
    for row in rows:
        values = texts(row)
        lines.append(line([values[name] for name in columns]))
    return "\n".join(lines)


def line(values):
    """A line of a Markdown table."""
    return "| " + " | ".join(values) + " |"


def texts(row):
    """The row as text, by the head of the column."""
    ways = {"in turn": "relative_to", "warm": "warm_relative_to"}
    speeds = {f"{how} / {head}": row[f"{key}_{name}"] for name, head in SPEEDS.items() for how, key in ways.items()}
    return {
        "elements": size_text(row["elements"]) if len(row["shape"]) == 1 else "x".join(map(str, row["shape"])),
        "type": row["type"],
        "function": row["function"],
        "gives": row["gives"],
        "target": row["target"] or "",
        "threads": str(row["threads"]),
        **{head: f"{speed:.3f}" if speed else "" for head, speed in speeds.items()},
        "G elements/s in turn": f"{row['giga_elements_per_s']:.3f}",
        "us, warm": f"{row['warm_us']:.4g}",
        "us, in turn": f"{row['median_us']:.4g}",
        "min": f"{row['min_us']:.4g}",
        "max": f"{row['max_us']:.4g}",
    }


def size_text(size):
    """64 Ki for 65536."""
    for unit, name in ((2**20, "Mi"), (2**10, "Ki")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return str(size)


def write(result, folder):
    """results.md and results.json in the folder."""
    (folder / "results.md").write_text(markdown(result), encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def save(folder, name, page, result=None):
    """NAME.md in the folder, which is made, and NAME.json where there is a result."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(page, encoding="utf-8")
    if result is not None:
        (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
