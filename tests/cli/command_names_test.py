#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Every `gradwind COMMAND --option` that a document, an example or a script shows is a command with that option.
usage: command_names_test.py GRADWIND_EXECUTABLE SOURCE_FOLDER"""
import functools
import pathlib
import re
import subprocess
import sys

# A command ends at the end of its line or code span, at what a shell would end it with, and where a second one stands
# beside it.
END = re.compile(r"[`|;&<>#()]|\s{2,}|\s-\s|$")
GROUPS = ("dataset", "graph", "config")


@functools.lru_cache
def help_of(executable: str, *words: str) -> str | None:
    result = subprocess.run([executable, *words, "--help"], text=True, capture_output=True)
    usage = f"Usage: {words[-1]} "  # an unknown command with --help shows the help above it
    return result.stdout if result.returncode == 0 and usage in result.stdout else None


def code_of(page: pathlib.Path) -> list[tuple[int, str]]:
    """Lines of code blocks and code spans of a document; all lines of other files."""
    lines = page.read_text().splitlines()
    if page.suffix == ".sh":
        return [(number, line) for number, line in enumerate(lines, 1) if not line.startswith("#")]
    if page.suffix != ".md":
        return list(enumerate(lines, 1))
    found, in_block = [], False
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            in_block = not in_block
        elif in_block:
            found.append((number, line))
        else:
            found += [(number, span) for span in re.findall(r"`([^`]+)`", line)]
    return found


def faults_of(executable: str, page: pathlib.Path) -> tuple[int, list[str]]:
    count, faults = 0, []
    for number, line in code_of(page):
        if "SPDX-" in line:
            continue
        for match in re.finditer(r"(?:^|[\s`'\"/])gradwind ((?:(?:" + "|".join(GROUPS) + r") )?[a-z]+)\b", line):
            words = match.group(1).split()
            rest = line[match.end():]
            rest = rest[:END.search(rest).start()]
            count += 1
            text = help_of(executable, *words)
            if text is None and words[0] in GROUPS:
                text = help_of(executable, words[0])
            if text is None:
                faults.append(f"{page}:{number}: there is no `gradwind {' '.join(words)}`")
                continue
            for option in re.findall(r"(?:^|\s)(--[a-z][a-z-]*)", rest):
                if not re.search(re.escape(option) + r"\b(?!-)", text):
                    faults.append(f"{page}:{number}: `gradwind {' '.join(words)}` has no option {option}")
    return count, faults


def main() -> int:
    executable, source = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2])
    pages = [source / "README.md", source / "CHANGELOG.md", source / "CONTRIBUTING.md", source / "bench/README.md",
             *sorted((source / "doc").rglob("*.md")), *sorted((source / "examples").rglob("*.yaml")),
             *sorted((source / "examples").rglob("*.md")), *sorted((source / "tools").glob("*.sh"))]
    total, faults = 0, []
    for page in pages:
        count, found = faults_of(executable, page)
        total += count
        faults += found
    print("\n".join(faults) if faults else f"{total} commands in {len(pages)} files exist")
    return 1 if faults or total < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
