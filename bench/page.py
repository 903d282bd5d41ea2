"""bench/RESULTS.md, written from the files of bench/results: each figure beside its command.

python bench/page.py
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from bucolic.arms.page import gap_line
from bucolic.arms.page import lines as arms_lines
from bucolic.base.files import write_text
from demo import lines as demo_lines
from quality import lines as quality_lines
from quality import presets_in
from recorded import ROOT

RESULTS, PAGE = ROOT / "bench/results", ROOT / "bench/RESULTS.md"
Found = dict[str, Any]


def main() -> None:
    """Write the page anew."""
    write_text(PAGE, text())


def text() -> str:
    """The page of the results there are."""
    return "\n".join([*_head(), *(line for name in SECTIONS for line in _section(name)), ""])


def _head() -> Iterator[str]:
    yield "# Results of benchmarks"
    yield ""
    yield "Written by `python bench/page.py` from bench/results. A result names the command that"
    yield "made it, the commit that was checked out, and the machine; ratios are of runs in turn."


def _section(name: str) -> Iterator[str]:
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return
    title, body = SECTIONS[name]
    found = json.loads(path.read_text())
    yield from ("", f"## {title}", "")
    if not presets_in(found):  # whose entries each say it
        yield _source(found)
        yield ""
    yield from body(found)


def _source(found: Found) -> str:
    """What made a result: command, commit and machine."""
    machine = found["machine"]
    devices = ", ".join(machine["devices"]) or f"{machine['cores']} cores"
    return f"`{found['command']}`, commit {found['commit'][:7]}, {machine['processor']} ({devices})"


def _filter(found: Found) -> Iterator[str]:
    yield f"{found['images']:,} images with {found['captions']:,} captions. Both select the same"
    yield f"{found['selected']:,} images; whole processes, medians over rounds."
    yield ""
    yield from _race(found, {"wall_s": "seconds", "peak_mb": "peak, MB"}, ("time", "memory"))
    order = ("imports", "read", "search", "write", "rest")  # a file's keys are sorted
    steps = ", ".join(f"{step} {found['profile_s'][step]}" for step in order)
    yield ""
    yield f"Where the seconds of one more run go, without Python's start and end: {steps}."


def _race(found: Found, rows: dict[str, str], ratios: tuple[str, ...]) -> Iterator[str]:
    """A table of two that did the same work."""
    yield f"| | bucolic | {found['peer']['name']} | ratio |"
    yield "|---|---|---|---|"
    for (key, label), ratio in zip(rows.items(), ratios, strict=True):
        ours, theirs = found["ours"][key], found["peer"][key]
        yield f"| {label} | {ours} | {theirs} | {found[f'{ratio}_ratio']} |"


def _train(found: Found) -> Iterator[str]:
    yield "| phase | images a second | precision | share of the matrix peak | loop and logging |"
    yield "|---|---|---|---|---|"
    for phase, of_phase in found["phases"].items():
        shares = (f"{of_phase[name]:.1%}" for name in ("share_of_matrix_peak", "loop_share"))
        cells = [phase, f"{of_phase['images_per_s']:.0f}", of_phase["precision"], *shares]
        yield f"| {' | '.join(cells)} |"


def _gpu(found: Found) -> Iterator[str]:
    """Every figure by its path in the result."""
    yield "| | |"
    yield "|---|---|"
    for part in ("device", "trained", "resumed", "speed"):
        for path, value in _leaves(part, found[part]):
            yield f"| {path} | {_shown(value)} |"


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(f"{path}, {key}", part)
    elif value is not None:
        yield path, value


def _quality(found: Found) -> Iterator[str]:
    entries = presets_in(found)
    for preset, entry in entries.items():
        yield f"- `{preset}`: {_source(entry)}"
    yield ""
    head, *rows = quality_lines(entries)
    yield head
    yield "|---" * (head.count("|") - 1) + "|"
    yield from rows


def _arms(found: Found) -> Iterator[str]:
    yield gap_line(found)
    yield from arms_lines(found)


def _photographs(found: Found) -> Iterator[str]:
    yield f"{found['pictures']} photographs at {found['size_px']} px, each held out once in"
    yield f"{found['folds']} folds; {found['images_seen']:,} images seen in each training."
    yield ""
    yield "| | mean | 95 % interval |"
    yield "|---|---|---|"
    for name, figure in found["figures"].items():
        low, high = figure["interval"]
        yield f"| {name.replace('/', ', ')} | {figure['mean']} | {low} to {high} |"


def _demo(found: Found) -> Iterator[str]:
    seconds = found["duration_s"]
    stages = ", ".join(f"{name} {taken:.0f}" for name, taken in seconds.items())
    yield f"Seconds: {stages}; in all {sum(seconds.values()):.0f}."
    yield ""
    yield from demo_lines(found)


def _embed(found: Found) -> Iterator[str]:
    yield f"{found['images']} images and {found['captions']:,} captions through {found['model']};"
    yield "seconds of the stage, of the peer's inference, and of bare towers on ready inputs. The"
    sizes = {batch: f"{seconds} s" for batch, seconds in found["peer"]["sweep"].items()}
    told = ", ".join(f"{batch}: {seconds}" for batch, seconds in sizes.items())
    yield f"peer's batch is its best here ({told}); it has {_versions(found['peer'])}."
    yield ""
    heads = ["bucolic", "peer", "towers", "rate over the peer's", "share of the towers'"]
    yield f"| | {' | '.join(heads)} | least cosine |"
    yield "|---|---|---|---|---|---|---|"
    for precision, of_one in (("fp32", found), ("bf16", found["bf16"])):
        if "reason" in of_one:
            yield f"| {precision} | {of_one['reason']} | | | | | |"
            continue
        peer = found["peer"]["seconds"]
        cells = [precision, of_one["ours"]["seconds"], peer, of_one["towers"]["seconds"]]
        cells += [of_one["ratio_vs_clip_retrieval"], of_one["fraction_of_towers"]]
        yield f"| {' | '.join(map(str, [*cells, of_one['cosine_min']]))} |"
    yield ""
    yield from _embedded_apart(found["peer"], found["towers"])


def _embedded_apart(peer: Found, towers: Found) -> Iterator[str]:
    """Where the seconds of images and of texts go."""
    yield "The gain lies in the texts: ours are cut to their own length, where the peer pads each"
    yield f"to 77 tokens. In fp32 its texts take {peer['texts_s']} s, those of the bare towers"
    yield f"{towers['texts_s']} s; its images take {peer['images_s']} s, those of the towers"
    yield f"{towers['images_s']} s. In our stage both overlap."


def _versions(peer: Found) -> str:
    """The packages of a peer's environment that decide its speed."""
    return ", ".join(f"{name} {version}" for name, version in sorted(peer["packages"].items()))


def _shard(found: Found) -> Iterator[str]:
    yield from _sharded(found["images"], found["written"], found["peer"])
    yield ""
    yield from _shard_rates(found)
    yield ""
    yield from _shard_profile(found["profile_ms"], found["peer"])


def _sharded(images: int, written: dict[str, int], peer: Found) -> Iterator[str]:
    """What each had to do, and did."""
    yield f"{images:,} JPEGs of 640 px to shards of 64 px; images a second, both stages. Presets"
    yield "coco2017 and coco2017-128 decode scaled, the others whole. Ours leaves out near"
    yield f"duplicates of held-out pictures and writes {written['scaled']:,} (decoded scaled) or"
    yield f"{written['whole']:,} (whole), the peer {written['peer']:,}; a rate counts written ones"
    yield f"alone. A peak is that of the largest process: the peer has {peer['processes']} that"
    yield f"work, and one more. Imports are left out of both rates. The peer has {peer['threads']}"
    rates = ", ".join(f"{threads}: {rate}" for threads, rate in peer["sweep"].items())
    yield f"threads a process, its best here (images a second by threads, {rates}), reads no EXIF,"
    yield f"and has {_versions(peer)}."


def _shard_rates(found: Found) -> Iterator[str]:
    yield "| | images a second | peak, MB | ratio, median of rounds | least to largest |"
    yield "|---|---|---|---|---|"
    rows = {
        "bucolic, scaled decode": (found["ours"]["scaled"], "ratio_vs_img2dataset"),
        "bucolic, whole decode": (found["ours"]["whole"], "ratio_decoded_whole"),
    }
    for title, (of_one, ratio) in rows.items():
        of_rounds = found[f"{ratio}_all"]
        cells = [title, of_one["images_per_s"], of_one["peak_mb"], found[ratio]]
        cells += [f"{min(of_rounds)} to {max(of_rounds)}"]
        yield f"| {' | '.join(map(str, cells))} |"
    peer = found["peer"]
    yield f"| {peer['name']} | {peer['images_per_s']} | {peer['peak_mb']} | 1 | |"


def _shard_profile(profile_ms: Found, peer: Found) -> Iterator[str]:
    yield "Where the time goes: milliseconds of one core for an image, each step measured alone, in"
    yield "a process a core. The rest is all else that passes there: reading, keeping, finding near"
    yield "duplicates and packing, and waiting, where one thread works."
    yield ""
    steps = ("sha256", "decode", "square", "rest")
    yield f"| | {' | '.join(steps)} |"
    yield "|---" * (len(steps) + 1) + "|"
    for name, spent in profile_ms.items():
        yield f"| {name} decode | {' | '.join(str(spent[step]) for step in steps)} |"
    peer_ms = 1000 * peer["processes"] / peer["images_per_s"]
    yield ""
    yield f"The peer takes {peer_ms:.2f} in all, and scales by areas; here Pillow's antialiased"
    yield "bicubic does it, as in CLIP's own preprocessing."


def _swap(found: Found) -> Iterator[str]:
    first, second = (", ".join(theme) for theme in found["themes"])
    few, many = found["images"]
    yield f"From {first} ({few} images) to {second} ({many}): {found['fetched']} images fetched, of"
    yield f"{found['bytes_of_new_images']:,} bytes; the server sent {found['sent_bytes']:,} bytes"
    yield f"in {found['answers']} answers. {found['embedded']:,} vectors computed,"
    yield f"{found['embedded_minus_new']} more than are new; {found['bytes_written'] / 1e6:.1f} MB"
    yield f"written, and {found['bytes_of_shards_and_embeddings'] / 1e6:.1f} MB of shards and"
    yield "embeddings, which are made whole."


def _scale(found: Found) -> Iterator[str]:
    yield "Preset folder with the one keyword cow, on JPEGs of 80 by 80 px of smooth noise with"
    yield "five captions each; meadow-clip embeds in place of ViT-B-32."
    yield ""
    yield "| stage | 10,000 images: peak, MB | 100,000: peak, MB | ratio | seconds |"
    yield "|---|---|---|---|---|"
    for stage, ratio in found["memory_ratio_100k_vs_10k"].items():
        few, many = (found[count][stage] for count in ("10000", "100000"))
        seconds = f"{few['seconds']}, {many['seconds']}"
        yield f"| {stage} | {few['peak_mb']} | {many['peak_mb']} | {ratio} | {seconds} |"


def _coco2017(found: Found) -> Iterator[str]:
    yield f"{found['images']:,} JPEGs of 80 by 80 px of smooth noise, from a server on this machine"
    yield "in COCO's layout; the one keyword is cow, and meadow-clip embeds in place of ViT-B-32."
    for told, of_one in found.items():
        if not isinstance(of_one, dict) or "stages" not in of_one:
            continue
        places = ", ".join(f"{place} {size_mb}" for place, size_mb in of_one["disk_mb"].items())
        yield ""
        yield f"With {told}: {of_one['sent_mb']} MB sent; MB on disk: {places}."
        yield ""
        yield "| stage | seconds | peak, MB |"
        yield "|---|---|---|"
        for stage, run in of_one["stages"].items():
            yield f"| {stage} | {run['seconds']} | {run['peak_mb']} |"


SECTIONS: dict[str, tuple[str, Callable[[Found], Iterator[str]]]] = {
    "filter": ("Filter: captions searched for a theme", _filter),
    "embed": ("Embedding: captions and photographs to vectors", _embed),
    "shard": ("Photographs to shards", _shard),
    "swap": ("One more keyword", _swap),
    "scale": ("Memory at the size of COCO", _scale),
    "coco2017": ("Preset coco2017 up to shard", _coco2017),
    "train": ("Training: speed of the two phases", _train),
    "gpu": ("A GPU, checked", _gpu),
    "demo": ("One training of preset meadow, beside bounds", _demo),
    "quality": ("Quality over seeds of training", _quality),
    "arms": ("Pictures or captions", _arms),
    "photographs": ("What an autoencoder keeps of photographs", _photographs),
}


if __name__ == "__main__":
    main()
