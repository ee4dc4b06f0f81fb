"""What can be typed: every command, its arguments, and the values that are refused before anything is loaded."""

from __future__ import annotations

import argparse
import os

MOST_THREADS = max(64, os.cpu_count() or 1)
"""More threads than this only wait for one another; with some thousands the system ends the process."""


def parser() -> argparse.ArgumentParser:
    """The parser of ``course``; ``run`` of its result is "module:function" of ``course_lib.commands``."""
    root = argparse.ArgumentParser(prog="course", description="Small and fast neural networks: the course's command.")
    add = _adder(root.add_subparsers(required=True, metavar="COMMAND"))
    _demo(add("demo", "main_job:demo", "teacher → distilled → pruned → INT8, all measured in one ledger"))
    _workbook(add)
    add("doctor", "health:doctor", "what is wrong with this environment, and the command that mends each")
    _data(add("data", "images:data", "prepare a data set and show its parts"))
    _train(add("train", "training:train", "train the networks yourself; continues where it was stopped"))
    _bench(add("bench", "main_job:bench", "measure the main job in fresh processes"))
    _diff(add("diff", "networks:diff", "the quantization doctor: what is wrong with model B beside A, and the mend"))
    _kits(add)
    _export(add("export-c", "networks:export_c", "a network as one C file that computes with integers only"))
    return root


def _adder(commands):
    """add(name, run, text): a new command's parser; "kit run" is a command of the group "kit"."""
    groups = {"": commands}

    def add(name: str, run: str, text: str) -> argparse.ArgumentParser:
        group, _, last = name.rpartition(" ")
        if group not in groups:
            outer = commands.add_parser(group, help=f"{group}: more commands")
            groups[group] = outer.add_subparsers(required=True, metavar="COMMAND")
        command = groups[group].add_parser(last, help=text, description=text)
        command.add_argument("--traceback", action="store_true", help="show where an error came from")
        command.set_defaults(run=run)
        return command

    return add


def _demo(demo: argparse.ArgumentParser) -> None:
    _data_option(demo)
    demo.add_argument("--quick", action="store_true", help="load finished students instead of training them")
    demo.add_argument(
        "--out", type=_path, default="demo", help="folder for ledger.json, ledger.png and models/ (default: demo)"
    )


def _workbook(add) -> None:
    lab = add("lab", "workbook:lab", "bring your copies of the chapters up to date and open them in JupyterLab")
    lab.epilog = "Other options are JupyterLab's own, such as --no-browser or --port=8889."
    lab.set_defaults(passes_on=True)
    own = add(
        "workbook", "workbook:bring_up_to_date", "bring your copies of the chapters up to date; your answers stay"
    )
    actions = own.add_subparsers(metavar="ACTION")
    states = actions.add_parser("status", help="how each copy stands; changes nothing")
    states.set_defaults(run="workbook:tell_status")
    again = actions.add_parser("reset", help="a fresh copy of one chapter; the old one is kept")
    again.add_argument("chapter", help="its number, such as 04")
    again.set_defaults(run="workbook:begin_anew")


def _data(data: argparse.ArgumentParser) -> None:
    data.add_argument("name", nargs="?", type=_path, default=None, help="rendered, gtsrb or the path of an .npz")
    data.add_argument("--download", action="store_true", help="let torchvision download GTSRB (about 500 MB)")


def _train(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "what",
        nargs="*",
        choices=["teacher", "student", []],
        metavar="{teacher,student}",
        help="default: both, the teacher first",
    )
    _data_option(train)
    train.add_argument("--threads", type=_threads, default=None, help="PyTorch threads (default: all cores)")
    train.add_argument(
        "--precision",
        choices=["float32", "bfloat16"],
        default=None,
        help="of the teacher (default: its plan's); bfloat16 is fast only where the processor has units for it",
    )
    train.add_argument(
        "--all-tracks",
        action="store_true",
        help="of an .npz: train on every track but validation's, for the official test part to judge",
    )
    _shipped_option(train, "write the networks that the course ships, in datasets/checkpoints (default: your own)")


def _bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("what", nargs="?", default="journey", choices=["journey"])
    bench.add_argument("--sessions", type=_count, default=5, help="fresh processes to measure in (default: 5)")
    _data_option(bench)
    _shipped_option(bench, "write the figures that README shows, in benchmarks/results (default: build/results)")


def _diff(diff: argparse.ArgumentParser) -> None:
    diff.add_argument("reference", metavar="A", help="a shipped network (student_rendered, …), a card, or an .onnx")
    diff.add_argument("suspect", metavar="B", help="the same network, quantized, exported or changed")
    diff.add_argument("--images", type=int, default=512, help="validation images to compare on (default: 512)")
    diff.add_argument("--out", type=_path, default=None, help="also write the report as JSON")
    _data_option(diff)


def _kits(add) -> None:
    build = add("kit build", "kits:build", "write the folder that is copied to a board")
    build.add_argument("out", metavar="OUT", type=_path, help="the kit's folder")
    _data_option(build)

    run = add("kit run", "kits:run", "copy → set up → run → fetch over SSH; the same command continues a broken run")
    run.add_argument("host", metavar="USER@HOST", help="the board, or a name of ~/.ssh/config")
    _kit_option(run)
    run.add_argument("--out", type=_path, default="result.json", help="file for the results (default: result.json)")
    run.add_argument("--folder", default="course_kit", help="on the board, below the home folder (default: course_kit)")
    run.add_argument("--ssh", default="", metavar="OPTIONS", help='more options for ssh, as one word: --ssh="-p 2222"')
    run.add_argument("--bench", default="", metavar="OPTIONS", help='for edge_bench.py: --bench="--runtime c"')

    read = add("kit import", "kits:read", "a board's results as a ledger, without times that mean nothing")
    read.add_argument("results", metavar="RESULT.JSON", type=_path)
    _kit_option(read)
    read.add_argument("--out", type=_path, default=None, help="also write the ledger as JSON")
    read.add_argument("--require-speed", action="store_true", help="fail where a row's times mean nothing")

    guess = add("kit predict", "kits:predict", "how long at least, from a board's documented peaks; or beside results")
    guess.add_argument("board", help="nano, orin_nano, orin_nano_super or pi5")
    _kit_option(guess)
    guess.add_argument("--runtime", default="onnxruntime", help="onnxruntime, tensorrt or c (default: onnxruntime)")
    guess.add_argument("--threads", type=_threads, default=1, help="CPU cores used (default: 1)")
    guess.add_argument("--results", type=_path, default=None, help="a board's results, to compare with")


def _export(export: argparse.ArgumentParser) -> None:
    export.add_argument("model", metavar="MODEL", help="a shipped network (student_rendered, …) or a checkpoint's card")
    export.add_argument("out", metavar="OUT", type=_path, help="the file to write, such as student.c")
    export.add_argument(
        "--rounding",
        choices=["hardware", "runtime"],
        default="hardware",
        help="as integer-only kernels round, or as ONNX Runtime does on x86 (default: hardware)",
    )
    export.add_argument("--check", type=int, default=200, help="test images to compare on (default: 200)")
    _data_option(export, "the network's")


def _data_option(command: argparse.ArgumentParser, default: str = "$COURSE_DATA") -> None:
    text = f"rendered, gtsrb or the path of an .npz (default: {default})"
    command.add_argument("--data", type=_path, default=None, help=text)


def _kit_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--kit", type=_path, default="kit", help="the kit's folder here (default: kit)")


def _shipped_option(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--shipped", action="store_true", help=f"for the course's makers: {text}")


def _path(text: str) -> str:
    """A name or path; an empty one is a shell variable that was not set, and would mean another file or none."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _count(text: str) -> int:
    return _whole(text, 1, 10_000)


def _threads(text: str) -> int:
    return _whole(text, 1, MOST_THREADS)


def _whole(text: str, least: int, most: int) -> int:
    if not text.strip().isascii() or not text.strip().isdigit() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, got {text!r}")
    return int(text)
