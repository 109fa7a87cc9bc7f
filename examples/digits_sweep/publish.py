"""A step that fails once: the first attempt finds the model registry busy and exits with 75 (EX_TEMPFAIL), which the
job's retry strategy answers with another attempt."""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    attempt = os.environ["AWS_BATCH_JOB_ATTEMPT"]
    if attempt == "1":
        print("the model registry is busy", flush=True)
        sys.exit(75)
    best = json.loads((Path(os.environ["RESULTS"]) / "best.json").read_text())
    print(f"published the model with C={best['C']} and gamma={best['gamma']}")


if __name__ == "__main__":
    main()
