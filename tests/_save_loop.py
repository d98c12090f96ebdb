"""Helper of test_io: save two alternating contents to one file until killed."""

import sys

import numpy as np

from mlext.io import write

if __name__ == "__main__":
    path = sys.argv[1]
    step = 0
    while True:
        tensors = {f"layer{i}.weight": np.full((64, 257), step, np.float32) for i in range(8)}
        write(path, tensors, {"step": str(step)})
        if step == 0:
            sys.stdout.write("saved\n")
            sys.stdout.flush()
        step += 1
