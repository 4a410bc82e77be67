"""Verbs that make a classifier, and what they need: demo, data, models, import-weights, train, cache."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from shoebox.base.progress import progress_for
from shoebox.cli.options import Cache, Data, Device, Hush, Import, Json, import_own, settings_of
from shoebox.cli.output import emit, table

ANY_BACKBONE = """parameters in millions, gmacs in billions of multiply-adds a picture, top1 in per cent of ImageNet.
Any other works too: timm:NAME, torchvision:NAME, hf:OWNER/NAME, hf_hub:OWNER/NAME, or --weights FILE.safetensors"""


def demo(
    run: Annotated[Path | None, typer.Option(help="Folder to make; by default runs/digits.")] = None,
    json_: Json = False,
    quiet: Hush = False,
    device: Device = "auto",
) -> None:
    """Train on 1,797 real handwritten digits, score the classifier and use it. Needs no network and a minute."""
    from shoebox.demo import demo as perform

    result = perform(run, device=device, progress=progress_for(quiet=quiet))
    emit(
        result,
        json_,
        f"\ntest accuracy {result['test']['accuracy']:.4f}; figures and tables are in {result['results']}",
    )


def data(
    source: Data,
    cache: Cache = None,
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Show what is in a data set: classes, parts, what would be skipped.

    Example: shoebox data pictures/
    """
    from shoebox.data.sources import open_source

    index = open_source(source, cache=cache, progress=progress_for(quiet=quiet))
    counts = index.counts()
    skipped = [{"path": s.path, "reason": s.reason} for s in index.skipped]
    facts = {"root": str(index.root), "pictures": len(index), "counts": counts.to_dict("index")}
    notes = [f"note: {warning}" for warning in index.warnings] + [f"skipped {s}" for s in index.skipped]
    text = [counts.to_string(), f"{len(index):,} pictures, {len(skipped)} skipped, {index.ignored} ignored"]
    emit(
        {**facts, "warnings": index.warnings, "skipped": skipped, "ignored": index.ignored},
        json_,
        "\n".join(text + notes),
    )


def models(
    size: Annotated[int, typer.Option(help="Side of the pictures the cost is counted for, px.")] = 32,
    classes: Annotated[int, typer.Option(help="How many classes.")] = 10,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="List backbones to start from, and which are on this disk.")
    ] = False,
    import_: Import = None,
    json_: Json = False,
) -> None:
    """List the networks from scratch, or pretrained backbones, with their parameters and forward cost.

    Example: shoebox models --pretrained
    """
    if pretrained:
        from shoebox.models.backbones import list_backbones

        listed = [asdict(backbone) for backbone in list_backbones()]
        return emit({"pretrained": listed}, json_, f"{table(listed)}\n{ANY_BACKBONE}")
    from shoebox.models.summary import describe_models

    import_own(import_)
    rows = [asdict(row) for row in describe_models(classes=classes, size=size)]
    return emit({"models": rows}, json_, table(rows))


def import_weights(
    file: Annotated[Path, typer.Argument(help="A .pth, .pt, .bin or .ckpt of weights.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; by default beside it, .safetensors.")] = None,
    json_: Json = False,
) -> None:
    """Turn somebody's pickled weights into a .safetensors file, once; tensors are read, code never.

    Example: shoebox import-weights resnet18.pth
    """
    from shoebox.models.weights import convert_pickle

    written = convert_pickle(file, out or file.with_suffix(".safetensors"))
    emit({"weights": str(written)}, json_, f"{written}: train with --weights {written}")


def train(
    source: Data,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", help="A shipped recipe or a YAML file; by default transfer, else fast."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder to make; by default runs/<data>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --run.")] = False,
    minutes: Annotated[float | None, typer.Option(help="Time for everything, start to end.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training pictures.")] = None,
    model: Annotated[str | None, typer.Option(help="A network, e.g. 'vgg(blocks=3)'; see shoebox models.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A .safetensors file to start from.")] = None,
    monitor: Annotated[str | None, typer.Option(help="What chooses the best epoch, e.g. accuracy.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random draw.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any other setting of the recipe, key=value.")] = None,
    import_: Import = None,
    show_augment: Annotated[
        bool, typer.Option("--show-augment", help="Draw the augmentations, train nothing.")
    ] = False,
    cache: Cache = None,
    device: Device = "auto",
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Train a classifier on pictures, score it, draw its figures.

    Example: shoebox train pictures/ --minutes 10
    """
    from shoebox.training import train as public

    import_own(import_)
    given = {"minutes": minutes, "epochs": epochs, "model": model, "monitor": monitor, "seed": seed}
    settings = settings_of(set_, weights=None if weights is None else str(weights), **given)
    common = {"run": run, "cache": cache, "progress": progress_for(quiet=quiet), **settings}
    if show_augment:
        figure = public.show_augment(source, recipe, **common)
        return emit({"figure": str(figure)}, json_, str(figure))
    result = public.train(source, recipe, resume=resume, device=device, started=process_start(), **common).result
    return emit(result, json_, public.summary(result))


def ladder(
    source: Data,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="A shipped ladder or a YAML file.")] = "cifar-ladder",
    run: Annotated[Path | None, typer.Option(help="Folder to make; by default runs/<data>-ladder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the ladder in --run.")] = False,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training pictures, each step.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time for each step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random draw.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting, key=value, in every step.")
    ] = None,
    cache: Cache = None,
    device: Device = "auto",
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Train step after step, each with one more idea, and show them side by side.

    Example: shoebox ladder cifar10 --epochs 5
    """
    from shoebox.training.ladder import climb

    settings = settings_of(set_, epochs=epochs, minutes=minutes, seed=seed)
    progress = progress_for(quiet=quiet)
    result = climb(source, recipe, run=run, resume=resume, device=device, cache=cache, progress=progress, **settings)
    emit(result, json_, f"\n{result['table']}\n{result['figure']}")


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete what is listed.")] = False,
    cache: Cache = None,
    json_: Json = False,
) -> None:
    """List the packs of decoded pictures, or clear them. Your pictures are not in there."""
    from shoebox.data import pack

    if clear:
        freed = pack.clear(cache)
        return emit({"freed_bytes": freed}, json_, f"freed {freed / 1e6:,.1f} MB")
    packs = [asdict(entry) for entry in pack.caches(cache)]
    return emit({"packs": packs}, json_, table(packs) or "the cache is empty")


def process_start() -> float:
    """When this process began, on `time.monotonic`: a time budget counts from there."""
    from shoebox.base.runtime import process_age

    return time.monotonic() - process_age()
