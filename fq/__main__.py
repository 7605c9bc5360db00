"""The command line: ``python -m fq COMMAND``."""

import argparse
import sys

from fq._input import InputError


class _Parser(argparse.ArgumentParser):
    """Tells an error in one line, without the usage."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def _add_demo(commands):
    parser = commands.add_parser("demo", help="train a small network with fake quantization and print what it cost")
    parser.add_argument(
        "--bits", type=int, nargs="+", help="1 to 16 each (8 4 3 2, or 4 3 2 to learn scales); 1 leaves no weight but 0"
    )
    parser.add_argument("--learn-scale", action="store_true", help="train again, with scales learned by gradient")
    parser.add_argument("--epochs", type=int, default=60, help="in float, then again at each number of bits (60)")
    parser.add_argument("--seed", type=int, default=0, help="gives the same accuracies every time (0)")
    parser.add_argument("--data", metavar="FILE.npz", help="your own X and y (default: scikit-learn's digits)")
    parser.add_argument("--plot", metavar="FILE", help="draw the staircase and the accuracies: .png, .pdf or .svg")
    parser.set_defaults(run=_demo, parser=parser)


def _demo(args):
    from fq import demo

    bits = args.bits or ([4, 3, 2] if args.learn_scale else [8, 4, 3, 2])
    demo.run(bits, args.epochs, args.seed, args.data, args.plot, args.learn_scale)


def _add_info(commands):
    parser = commands.add_parser("info", help="print the version, the SIMD targets, the threads and the types")
    parser.set_defaults(run=_info)


def _info(_args):
    from fq import _info as info

    info.run()


def _add_gradcheck(commands):
    parser = commands.add_parser("gradcheck", help="check gradients numerically: fq's, or your own")
    parser.add_argument("--forward", metavar="PKG.MOD:NAME", help="called as forward(x, scale, zero_point, qmin, qmax)")
    parser.add_argument("--backward", metavar="PKG.MOD:NAME", help="called as backward(dy, x, scale, ...), gives dx")
    parser.add_argument("--type", help="only this element type")
    parser.add_argument("--seed", type=int, default=0, help="of the values checked (0)")
    parser.set_defaults(run=_gradcheck, parser=parser)


def _gradcheck(args):
    from fq import _gradcheck_command as command

    return command.run(args.forward, args.backward, args.type, args.seed)


def _add_equivalence(commands):
    parser = commands.add_parser("equivalence", help="find where fake quantizations differ, law by law")
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


_COMMANDS = [_add_demo, _add_info, _add_gradcheck, _add_equivalence]


def main(argv=None):
    parser = _Parser(prog="python -m fq", description="Fake quantization for NumPy arrays.")
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
