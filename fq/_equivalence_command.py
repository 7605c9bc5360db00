"""What ``python -m fq equivalence`` does: checks candidates with a progress line, and writes what it found."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fq._input import InputError, imported, need

__all__ = ["run"]

_NEEDED = "hypothesis and tqdm", "testing"


def run(args):
    """Check, read and write as the arguments say; returns the exit code."""
    testing = need("fq.testing", *_NEEDED)
    if args.examples < 1:
        raise InputError(f"argument --examples: must be 1 or more, got {args.examples}")
    outputs = {"html": args.html, "markdown": args.markdown}
    for name, path in outputs.items():
        _check_writable(name, path)
    reports = [report for path in args.read for report in _read(path, testing)]
    candidates, absent = _chosen(args)
    reports += _checked(candidates, args, testing)
    from fq.testing import render

    if args.html is not None:
        Path(args.html).write_text(render.html(reports, absent), "utf-8")
    if args.markdown is not None:
        Path(args.markdown).write_text(render.markdown(reports, _command(args)), "utf-8")
    if args.json:
        print(json.dumps({"reports": [report.to_dict() for report in reports], "absent": absent}, indent=1))
    else:
        print(render.text(reports, absent))
    return int(args.strict and not all(report.ok for report in reports))


def _check_writable(name, path):
    if path is not None and (Path(path).is_dir() or not Path(path).parent.is_dir()):
        raise InputError(f"argument --{name}: {path} cannot be written")


def _read(path, testing):
    try:
        made = json.loads(Path(path).read_text("utf-8"))
        return [testing.Report.from_dict(one) for one in made["reports"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"argument --from: {path} is no output of --json: {error}") from None


def _chosen(args):
    """The candidates named, and those that come with fq if none is and nothing is read; and why some are not here."""
    own = [_imported(path) for path in args.candidate]
    if not args.names and (own or args.read):
        return own, []
    from fq.testing.candidates import load

    found, absent = load(args.arithmetic)
    if not args.names:
        return found, absent
    for name in args.names:
        if not any(name.lower() in one.name.lower() for one in found):
            told = "; ".join([", ".join(one.name for one in found), *absent])
            raise InputError(f"no candidate {name!r}: there are {told}")
    return own + [one for one in found if any(name.lower() in one.name.lower() for name in args.names)], []


def _imported(path):
    """The attribute that MODULE:ATTRIBUTE names, called if it is a class."""
    found = imported("--candidate", path, "MODULE:ATTRIBUTE")
    found = found() if isinstance(found, type) else found
    if not callable(getattr(found, "forward", found)):
        raise InputError(f"argument --candidate: {path} is neither a function nor has a method forward")
    return found


def _checked(candidates, args, testing):
    if not candidates:
        return []
    tqdm, reports = need("tqdm", *_NEEDED).tqdm, []
    laws = len(candidates) * len(testing.ALL)
    with _hypothesis_elsewhere(), tqdm(total=laws, unit="law", file=sys.stderr) as bar:
        for candidate in candidates:
            subject = testing.Subject(candidate)
            bar.set_description(subject.name)
            how = {"arithmetic": args.arithmetic, "examples": args.examples, "seed": args.seed}
            reports.append(testing.check(subject, **how, progress=bar.update))
    return reports


@contextmanager
def _hypothesis_elsewhere():
    """hypothesis would leave its folder where the command is run."""
    from hypothesis.configuration import set_hypothesis_home_dir

    with TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            set_hypothesis_home_dir(None)


def _command(args):
    """The command as one would type it again, without the files it read and wrote."""
    words = ["python -m fq equivalence", *args.names, *(f"--candidate {one}" for one in args.candidate)]
    return " ".join(words + ["--from RUN.json ..."] * bool(args.read) + ["--markdown FILE"])
