"""One point of the sweep: cross-validates a support vector machine on the handwritten digits that scikit-learn ships.

Run as a child of an array job: `AWS_BATCH_JOB_ARRAY_INDEX` chooses the hyper-parameters. The score goes to standard
output (the log stream) and into the folder `RESULTS`.
"""

import itertools
import json
import os
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

GRID = list(itertools.product([0.1, 1.0, 10.0, 100.0], [0.0001, 0.0005, 0.001, 0.005]))


def main() -> None:
    index = int(os.environ["AWS_BATCH_JOB_ARRAY_INDEX"])
    c, gamma = GRID[index]
    images, labels = load_digits(return_X_y=True)
    scores = cross_val_score(SVC(C=c, gamma=gamma), images, labels, cv=5)
    result = {"index": index, "C": c, "gamma": gamma, "accuracy": round(float(scores.mean()), 4)}
    print(json.dumps(result), flush=True)
    (Path(os.environ["RESULTS"]) / f"{index}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
