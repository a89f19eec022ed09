"""Paths as the catalog keeps them (bytes, absolute), as people read them, and as globs name them."""

from __future__ import annotations

import base64
import fnmatch
import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cezsar.answers import PathFields

_VIDEO = """
.264 .265 .266 .3g2 .3gp .3gp2 .3gpp .3gpp2 .amv .anm .apv .asf .av1 .avc .avi .avs .avs2 .avs3 .axv .bik .bk2 .bmv
.cavs .cdxl .cine .cmfv .cpk .dif .dirac .divx .drc .dv .dvx .f4p .f4v .flc .fli .flm .flv .gif .gxf .h261 .h263 .h264
.h265 .h266 .h26l .hdmov .hevc .ifv .imx .ipu .ismv .ivf .ivr .k3g .kux .lvf .lxf .m1v .m2p .m2t .m2ts .m2v .m4v .mj2
.mjp .mjp2 .mjpeg .mjpg .mk3d .mkv .mods .moflex .mov .movie .mp21 .mp2v .mp4 .mp4v .mpe .mpeg .mpeg1 .mpeg2 .mpeg4
.mpg .mpg2 .mpg4 .mpgv .mps .mpv .mpv2 .mqv .mts .mve .mvi .mxf .mxg .nsv .nut .obu .ogm .ogv .ogx .ps .psp .pva .qt
.r3d .rcv .rm .rmvb .roq .rv .sdr2 .ser .sga .smk .swf .thp .ts .ts4 .vc1 .vid .viv .vivo .vob .vp6 .vp8 .vp9 .vqa
.vvc .webm .wm .wmv .xesc .xmv .xvid .y4m .yop
.360 .amc .braw .crm .glv .insv .lrf .lrv .mlv .mmv .mod .mtv .nev .sdv .skm .tod .tts
.camrec .dav .dvr-ms .evo .ffm .nuv .pvr .rec .tivo .tp .trec .trp .ty .ty+ .vdr .vr .vro .wtv
"""  # what FFmpeg's demuxers claim and others call it; cameras, drones and phones; recorders of television and screens
VIDEO_SUFFIXES = frozenset(_VIDEO.split())
"""What a video's name may end in, lower-case, with its dot."""

_OTHER = """
.ai .apng .arw .avif .bmp .cr2 .cr3 .cur .dng .eps .exr .hdr .heic .heif .hif .icns .ico .indd .insp .jfif .jng .jp2
.jpe .jpeg .jpg .jxl .mng .mpo .nef .orf .pbm .pcx .pef .pgm .png .ppm .psb .psd .raf .raw .rw2 .sr2 .srw .svg .tga
.thm .tif .tiff .webp .xcf .xmp
.aac .ac3 .aif .aiff .alac .amr .ape .au .caf .dts .eac3 .flac .m3u .m3u8 .m4a .m4b .m4p .mid .midi .mka .mp2 .mp3
.mpa .mpc .oga .ogg .opus .pls .ra .ram .snd .tta .wav .wave .weba .wma .wpl .wv .xspf
.ass .idx .lrc .mks .sbv .scc .smi .srt .ssa .stl .sub .sup .ttml .vtt
.aae .bdmv .bif .bup .ccproj .clpi .cpi .drp .edl .fcpxml .ifo .ind .mlt .moi .mpl .mpls .mswmm .nfo .otio .pbl .pek
.pkf .prproj .sfk .sfl .ssif .tbl .tdt .torrent .vbi .veg .xspf
.csv .doc .docm .docx .epub .htm .html .ics .json .jsonl .key .log .markdown .md .mobi .numbers .odp .ods .odt .pages
.pdf .ppt .pptx .rst .rtf .tex .tsv .txt .url .vcf .webloc .xls .xlsx .xml .yaml .yml
.7z .apk .asc .bz2 .cab .deb .dmg .gz .img .iso .jar .lz4 .md5 .par2 .rar .rpm .sfv .sha1 .sha256 .sig .tar .tbz .tgz
.txz .xz .zip .zst
.aria2 .bak .crdownload .download .lnk .lock .old .orig .part .partial .swp .temp .tmp
.app .bat .bin .class .cmd .com .dll .dylib .exe .msi .o .ps1 .pyc .sh .so .sys
.c .cc .cfg .conf .cpp .cs .css .cts .cu .cxx .dart .go .gradle .h .hpp .hs .ini .ipynb .java .jl .js .jsx .kt .less
.lua .m .map .mjs .mm .php .pl .proto .py .r .rb .rs .scala .scss .sql .sum .svelte .swift .toml .tsx .vue
.db .db-shm .db-wal .faiss .h5 .hdf5 .mat .npy .npz .onnx .parquet .pickle .pkl .pt .pth .safetensors .sqlite .sqlite-
shm .sqlite-wal .sqlite3 .sqlite3-shm .sqlite3-wal
.blend .eot .fbx .glb .gltf .obj .otf .ply .step .stp .ttf .woff .woff2
"""  # pictures; sound; subtitles; what cameras and editors put beside; documents; archives; unfinished; programs; data
OTHER_SUFFIXES = frozenset(_OTHER.split())
"""What names end in that are well known and no video's, lower-case, with its dot."""

_NOBODYS = re.compile(
    rb"@eadir|@tmp|@recycle|@recently-snapshot|@sharebin|#recycle|#snapshot|~snapshot|\$recycle\.bin"
    rb"|system volume information|lost\+found|lost\.dir|found\.\d{3}|network trash folder|temporary items|__macosx",
    re.IGNORECASE,
)
_SEPARATOR = os.fsencode(os.sep)
_ADDRESS = re.compile(rb"(https?|s3|gs|abfs|az):/{1,3}([^/].*)", re.DOTALL)


def address(path: Path | str | bytes) -> bytes | None:
    """The URL that a path stands for, as the catalog names it; None if it is a file's.

    A Path folds the slashes of a URL: s3:/bucket/clip.mp4 is s3://bucket/clip.mp4.
    """
    found = _ADDRESS.fullmatch(os.fsencode(path))
    return found and found[1] + b"://" + found[2]


def spelled(path: Path) -> str:
    """A path as text; a URL with the slashes that a Path folds."""
    return os.fsdecode(address(path) or os.fsencode(path))


def is_nobodys(name: bytes) -> bool:
    """Whether a folder of this name is left out unless it is named: it is hidden, or a system's own.

    Such folders hold deleted and lost files, snapshots, and previews that a NAS makes.
    """
    return name.startswith(b".") or _NOBODYS.fullmatch(name) is not None


def canonical(path: Path) -> bytes:
    """A path as the catalog names it: absolute, linked folders resolved, a link to a file kept by its own name.

    If nothing has these very bytes for a name, a name that looks the same (NFC) is taken, if there is one. A URL stays
    what it is.
    """
    if url := address(path):
        return url
    absolute = _on_disk(os.path.abspath(os.path.expanduser(os.fsencode(path))))
    if os.path.isdir(absolute):
        return os.path.realpath(absolute)
    return os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute))


def _on_disk(path: bytes) -> bytes:
    """The path itself, or the one that looks the same, where only that is there."""
    if path.isascii() or os.path.lexists(path):
        return path
    above, name = os.path.split(path)
    above = _on_disk(above)
    if os.path.lexists(os.path.join(above, name)):
        return os.path.join(above, name)
    wanted = _composed(name)
    with suppress(OSError):
        for entry in sorted(os.listdir(above)):
            if _composed(entry) == wanted:
                return os.path.join(above, entry)
    return os.path.join(above, name)


def spellings(path: Path) -> tuple[bytes, ...]:
    """How the catalog may name what a person calls path: canonically, or as spelt, below a linked folder."""
    if url := address(path):
        return (url,)
    return tuple(dict.fromkeys((canonical(path), os.path.abspath(os.path.expanduser(os.fsencode(path))))))


def is_gone(path: bytes) -> bool:
    """Whether there is nothing of that name; out of reach (a closed folder, a failing drive, a URL) is not gone."""
    if address(path):
        return False
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def below(folder: bytes, path: bytes) -> bytes:
    """A path below a folder; many times faster than os.path.join."""
    return folder + path if folder.endswith(_SEPARATOR) else folder + _SEPARATOR + path


def is_under(path: bytes, start: bytes) -> bool:
    """Whether path is start or lies below it."""
    if not path.startswith(start):
        return False
    return len(path) == len(start) or start.endswith(_SEPARATOR) or path.startswith(_SEPARATOR, len(start))


def called(path: Path, known: Iterable[bytes]) -> list[bytes]:
    """Which of the known whole paths are what a person calls path.

    It compares the very bytes and, only if no path has these, names that look the same: text is typed composed (NFC),
    and names from a Mac are decomposed.
    """
    return _chosen(path, known, bytes.__eq__)


def under(path: Path, known: Iterable[bytes]) -> list[bytes]:
    """Which of the known whole paths are what a person calls path, compared as called() does, or lie below it."""
    return _chosen(path, known, is_under)


def _chosen(path: Path, known: Iterable[bytes], fits: Callable[[bytes, bytes], bool]) -> list[bytes]:
    names, known = spellings(path), list(known)
    if found := [one for one in known if any(fits(one, name) for name in names)]:
        return found
    shown = [_composed(name) for name in names]
    return [one for one in known if any(fits(_composed(one), name) for name in shown)]


def matches(path: bytes, base: bytes, glob: str) -> bool:
    """Whether a name or a glob names the whole path, the path below base, or a file or folder on its way from base.

    Naming a folder names everything below it; a folder may be given relative to the current one, as paths are printed.
    A name is itself before it is a glob: brackets in it are no pattern. * and ? match across folders too; case counts,
    composed and decomposed letters are the same.
    """
    asked = named(glob)
    if asked is None:
        return False
    whole, relative = shown(path), shown(path[len(os.path.join(base, b"")) :])
    if any(whole == one or whole.startswith(one.rstrip(os.sep) + os.sep) for one in asked.wholes):
        return True
    parts = relative.split(os.sep)
    folders = list(accumulate(parts, lambda above, part: above + os.sep + part))  # and, at the end, relative itself
    return asked.name in parts or asked.name in folders or any(asked.pattern(one) for one in (whole, *parts, *folders))


class Named(NamedTuple):
    """The meaning of a glob: whole paths; one name, or path below the base; and its text as a pattern.

    All letters are composed.
    """

    wholes: frozenset[str]
    name: str
    text: str
    pattern: Callable[[str], object]


def named(glob: str) -> Named | None:
    """The meaning of a name or a glob, as matches() understands it; None if it is empty."""
    try:
        here = os.getcwd()
    except OSError:  # it was deleted
        here = os.sep
    return _named(glob, here)


@lru_cache(maxsize=64)
def _named(glob: str, here: str) -> Named | None:
    if not glob:
        return None
    text = unicodedata.normalize("NFC", glob)
    absolute = os.path.normpath(os.path.join(here, os.path.expanduser(glob)))
    wholes = {absolute}
    with suppress(OSError, ValueError):  # ValueError: no path can be called so
        wholes.add(os.path.realpath(absolute))
    name = text.rstrip(os.sep)
    text = name or text
    pattern = re.compile(fnmatch.translate(text)).match
    return Named(frozenset(unicodedata.normalize("NFC", one) for one in wholes), name, text, pattern)


def names(path: bytes) -> set[bytes]:
    """The names of a file and of the folders on a relative path to it, their letters composed."""
    return set(_composed(path).split(_SEPARATOR))


def shown(path: bytes) -> str:
    """A path as text, its letters composed; bytes that are not UTF-8 stay what they are."""
    text = os.fsdecode(path)
    return text if path.isascii() else unicodedata.normalize("NFC", text)


def _composed(path: bytes) -> bytes:
    return path if path.isascii() else os.fsencode(shown(path))


def readable(path: Path | str) -> str:
    """Text that is safe to print: control characters, and bytes that are not UTF-8, as escapes like \\x1b."""
    return "".join(_readable(character) for character in (spelled(path) if isinstance(path, Path) else path))


def path_fields(path: Path) -> PathFields:
    """{"path": ...}, and "path_bytes" in base64 if the path is not UTF-8 and "path" can only show it."""
    raw = address(path) or os.fsencode(path)
    try:
        return {"path": raw.decode("utf-8")}
    except UnicodeDecodeError:
        shown = raw.decode("utf-8", errors="backslashreplace")
        return {"path": shown, "path_bytes": base64.b64encode(raw).decode("ascii")}


def _readable(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    # C0, C1, line and paragraph separators, and the marks that turn the direction of writing
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character != "\u200d":
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return character
