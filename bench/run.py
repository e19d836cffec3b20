"""Run every benchmark of this directory, one after the other; the exit code is 1 if one missed its target."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

if __name__ == "__main__":
    missed = []
    for script in sorted(HERE.glob("*.py")):
        if script.name == Path(__file__).name:
            continue
        print(f"\n== {script.stem} ==", flush=True)
        if subprocess.run([sys.executable, script], check=False).returncode:
            missed.append(script.stem)
    print(f"\nmissed: {', '.join(missed)}" if missed else "\nall targets met")
    sys.exit(1 if missed else 0)
