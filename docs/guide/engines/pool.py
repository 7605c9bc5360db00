"""multiprocessing: observers are pickled, and merge by their own operator; a state is some kilobytes."""

import functools
import multiprocessing
import operator

from data import digest, observed

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        observers = pool.starmap(observed, [(place, 3) for place in range(3)])
    print(digest(functools.reduce(operator.or_, observers)))
