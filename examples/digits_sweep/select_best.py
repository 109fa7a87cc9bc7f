"""The reduce step: reads the results of all children and prints the best hyper-parameters.

Run as a job that depends on the array, so it starts when every child has succeeded.
"""

import json
import os
from pathlib import Path


def main() -> None:
    folder = Path(os.environ["RESULTS"])
    results = [json.loads(path.read_text()) for path in folder.glob("[0-9]*.json")]
    best = max(results, key=lambda result: result["accuracy"])
    print(f"{len(results)} results; the best: C={best['C']}, gamma={best['gamma']}, accuracy {best['accuracy']:.2%}")
    (folder / "best.json").write_text(json.dumps(best))


if __name__ == "__main__":
    main()
