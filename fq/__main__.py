"""The command line: ``python -m fq COMMAND``."""

import argparse
import os
import sys

from fq import __version__
from fq._input import InputError


class _Parser(argparse.ArgumentParser):
    """Tells an error in one line, without the usage."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def _command(commands, name, told, example, more=""):
    """The parser of a command: what it does, in the list of commands and in its own help, with an example."""
    description = f"{told[0].upper()}{told[1:]}.{more and ' '}{more}"
    return commands.add_parser(name, help=told, description=description, epilog=f"example: python -m fq {example}")


def _add_demo(commands):
    told = "train a small network in float and with fake quantization, and compare"
    more = "Takes about ten seconds. The network that comes out runs in integers."
    parser = _command(commands, "demo", told, "demo --bits 4 3 --plot demo.svg", more)
    parser.add_argument(
        "--bits", type=int, nargs="+", help="1 to 16 each (8 4 3 2, or 4 3 2 to learn scales); at 1 every weight is 0"
    )
    parser.add_argument("--learn-scale", action="store_true", help="train again, with scales learned by gradient")
    parser.add_argument(
        "--keep",
        choices=["x", "residual", "residual4"],
        help="what learned scales keep of activations (x)",
    )
    parser.add_argument("--epochs", type=int, default=60, help="in float, then again at each number of bits (60)")
    parser.add_argument("--seed", type=int, default=0, help="gives the same accuracies every time (0)")
    parser.add_argument("--data", metavar="FILE.npz", help="your own X and y (default: scikit-learn's digits)")
    parser.add_argument("--plot", metavar="FILE", help="draw the staircase and the accuracies: .png, .pdf or .svg")
    parser.set_defaults(run=_demo, parser=parser)


def _demo(args):
    from fq import demo

    bits = args.bits or ([4, 3, 2] if args.learn_scale else [8, 4, 3, 2])
    demo.run(bits, args.epochs, args.seed, args.data, args.plot, args.learn_scale, args.keep)


def _add_info(commands):
    told = "print the version, the SIMD targets, the threads and the types"
    parser = _command(commands, "info", told, "info", "FQ_SIMD=portable before it forces a target.")
    parser.set_defaults(run=_info)


def _info(_args):
    from fq import _info as info

    info.run()


def _add_gradcheck(commands):
    told = "check gradients numerically: fq's, or your own"
    example = "gradcheck --forward fq:forward --backward fq:backward_recompute --type float32"
    more = (
        "Your own are functions of NumPy, PyTorch or JAX, by --forward and --backward together. Takes about a second."
    )
    parser = _command(commands, "gradcheck", told, example, more)
    parser.add_argument("--forward", metavar="PKG.MOD:NAME", help="called as forward(x, scale, zero_point, qmin, qmax)")
    parser.add_argument("--backward", metavar="PKG.MOD:NAME", help="called as backward(dy, x, scale, ...), gives dx")
    parser.add_argument("--type", help="only this element type: float16, bfloat16, float32 or float64")
    parser.add_argument("--seed", type=int, default=0, help="of the values checked (0)")
    parser.set_defaults(run=_gradcheck, parser=parser)


def _gradcheck(args):
    from fq import _gradcheck_command as command

    return command.run(args.forward, args.backward, args.type, args.seed)


def _add_equivalence(commands):
    told = "find where fake quantizations differ, law by law"
    more = "Takes one to two minutes with all libraries installed."
    parser = _command(commands, "equivalence", told, "equivalence numpy pytorch --html differences.html", more)
    parser.add_argument("names", nargs="*", metavar="NAME", help="candidates whose names contain it (all installed)")
    parser.add_argument(
        "--candidate", action="append", default=[], metavar="MODULE:ATTRIBUTE", help="a candidate of yours, as well"
    )
    parser.add_argument(
        "--arithmetic", choices=("divide", "reciprocal"), default="divide", help="what all should compute (divide)"
    )
    parser.add_argument("--examples", type=int, default=100, help="arrays tried for each law (100)")
    parser.add_argument("--seed", type=int, default=0, help="gives the same report every time (0)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--html", metavar="FILE", help="write a page that needs no other file")
    parser.add_argument("--markdown", metavar="FILE", help="write a document")
    parser.add_argument(
        "--from", nargs="+", default=[], dest="read", metavar="FILE", help="add the reports of runs with --json"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a law does not hold")
    parser.set_defaults(run=_equivalence, parser=parser)


def _equivalence(args):
    from fq import _equivalence_command as command

    return command.run(args)


def _add_report(commands):
    told = "tell which tensors of a file of weights suffer at which bits"
    parser = _command(commands, "report", told, "report model.onnx --budget 4.5 --html report.html")
    parser.add_argument(
        "file",
        metavar="FILE",
        help="npy, npz, safetensors, ONNX, a PyTorch state dict, Keras or other HDF5, GGUF, or flax msgpack",
    )
    parser.add_argument("--budget", type=float, metavar="BITS", help="choose each tensor's bits, so many on average")
    parser.add_argument(
        "--group", type=int, default=32, metavar="N", help="elements that share a scale in a group (32)"
    )
    parser.add_argument("--axis", type=int, metavar="N", help="the axis of output channels (as the format has it)")
    parser.add_argument("--activations", metavar="FEEDS.npz", help="run the ONNX model on these arrays, by input name")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON in place of the table")
    form.add_argument("--csv", action="store_true", help="print CSV in place of the table")
    parser.add_argument("--html", metavar="FILE", help="write a page that needs no other file")
    parser.set_defaults(run=_report, parser=parser)


def _report(args):
    from fq.report import command

    return command.run(args)


def _add_calibrate(commands):
    told = "choose a grid for each tensor in files of any size, by Dask"
    more = (
        "Tensors of one name in several files are batches of one; so are all .npy files and all zarr arrays, under the "
        "name x. After each tensor the state is saved, and a run that was broken off goes on from there."
    )
    parser = _command(commands, "calibrate", told, "calibrate batches/*.npy --out qparams.npz --method mse", more)
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="zarr, npy, npz, safetensors, or another format that report reads")
    add("--out", required=True, metavar="FILE.npz", help="gets NAME.scale, NAME.zero_point, NAME.qmin and NAME.qmax")
    add("--state", metavar="FILE.npz", help="the state, which is kept (beside --out, until the end)")
    add("--scheduler", metavar="ADDRESS", help="a cluster of Dask, such as tcp://10.0.0.1:8786 (threads)")
    add("--bits", type=int, default=8, help="1 to 16 (8)")
    add("--axis", type=int, nargs="+", metavar="N", help="axes that are kept: a grid for each index")
    add("--group", type=int, metavar="N", help="elements along the last axis that share a grid")
    add("--method", choices=("minmax", "percentile", "mse", "entropy"), default="minmax", help="of clipping (minmax)")
    add("--p", type=float, default=99.99, help="of the percentile (99.99)")
    add("--unsigned", action="store_true", help="levels from 0 on")
    add("--symmetric", action="store_true", help="zero_point in the middle of the levels")
    add("--narrow-range", action="store_true", help="without the lowest level")
    parser.set_defaults(run=_calibrate, parser=parser)


def _calibrate(args):
    from fq import _calibrate_command as command

    return command.run(args)


_COMMANDS = [_add_demo, _add_info, _add_gradcheck, _add_equivalence, _add_report, _add_calibrate]


def main(argv=None):
    """Run a command; returns its exit code, 1 if whoever read the output has gone."""
    try:
        try:
            return _run(argv)
        finally:
            if sys.stdout is not None:  # as it is where it was closed
                sys.stdout.flush()
    except BrokenPipeError:
        # Nothing more can be told, nor can Python's own flush at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(argv):
    parser = _Parser(
        prog="python -m fq",
        description="Fake quantization for NumPy arrays.",
        epilog="example: python -m fq demo. Each command has a --help of its own.",
    )
    parser.add_argument("--version", action="version", version=f"fq {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    args = parser.parse_args(argv)
    if "run" not in args:
        parser.print_help(sys.stderr)
        return 2
    try:
        return args.run(args)
    except InputError as error:
        args.parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
