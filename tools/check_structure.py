"""Fail where a folder of source holds more than 12 files or a file more than 500 lines."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

MOST_FILES, MOST_LINES = 12, 500
SOURCE = {".py", ".pyi", ".js", ".css", ".jinja"}


def main() -> int:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src"],
        check=True,
        capture_output=True,
        text=True,
    )
    files = [Path(line) for line in listed.stdout.splitlines() if Path(line).is_file()]
    files = [path for path in files if "vendor" not in path.parts]
    problems = [
        f"{folder} holds {count} files; {MOST_FILES} is the most"
        for folder, count in sorted(Counter(path.parent for path in files).items())
        if count > MOST_FILES
    ]
    for path in files:
        if path.suffix in SOURCE:
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > MOST_LINES:
                problems.append(f"{path} has {lines} lines; {MOST_LINES} is the most")
    print("\n".join(problems) or f"structure: {len(files)} files in order")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
