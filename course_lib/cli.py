"""The command ``course``: the learner's chapters, the main job, the doctor, data, training, figures and C files.

It only reads arguments and prints; the work is done by the library. A CourseError ends as one line and status 2,
Ctrl-C as one line and status 130. ``--traceback`` shows where an error came from.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0 well, 1 a doctor found something, 2 an error, 130 Ctrl-C)."""
    from course_lib.errors import CourseError

    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    if more and not getattr(options, "passes_on", False):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    options.more = more
    try:
        return options.run(options) or 0
    except KeyboardInterrupt as error:
        print(f"\ncourse: stopped. {error}", file=sys.stderr)
        return 130
    except (CourseError, ValueError, FloatingPointError) as error:
        if options.traceback:
            raise
        print(f"course: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    from course_lib.workbook import command as workbook

    parser = argparse.ArgumentParser(prog="course", description="Small and fast neural networks: the course's command.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    add = _adder(commands)

    demo = add("demo", _demo, "teacher → distilled → pruned → INT8, all measured in one ledger")
    _data_option(demo)
    demo.add_argument("--quick", action="store_true", help="load the shipped students instead of training them")
    demo.add_argument("--out", default="demo", help="folder for ledger.json, ledger.png and models/ (default: demo)")

    workbook.add_commands(add)

    add("doctor", _doctor, "what is wrong with this environment, and the command that mends each")

    data = add("data", _data, "prepare a data set and show its parts")
    data.add_argument("name", nargs="?", default=None, help="rendered, gtsrb or the path of an .npz")
    data.add_argument("--download", action="store_true", help="let torchvision download GTSRB (about 500 MB)")

    train = add("train", _train, "train the shipped networks again; continues where it was stopped")
    _train_options(train)

    bench = add("bench", _bench, "measure the main job's recorded figures (benchmarks/results/journey_*.json)")
    bench.add_argument("what", nargs="?", default="journey", choices=["journey"])
    bench.add_argument("--sessions", type=int, default=5, help="fresh processes to measure in (default: 5)")
    _data_option(bench)

    diff = add("diff", _diff, "the quantization doctor: what is wrong with model B beside model A, and the mend")
    diff.add_argument("reference", metavar="A", help="a shipped network (student_rendered, …), a card, or an .onnx")
    diff.add_argument("suspect", metavar="B", help="the same network, quantized, exported or changed")
    diff.add_argument("--images", type=int, default=512, help="validation images to compare on (default: 512)")
    diff.add_argument("--out", default=None, help="also write the report as JSON")
    _data_option(diff)

    _kit_commands(add)
    _export_options(add("export-c", _export_c, "a network as one C file that computes with integers only"))
    return parser


def _adder(commands):
    """add(name, run, text): a new command's parser; "kit run" is a command of the group "kit"."""
    groups = {"": commands}

    def add(name: str, run, text: str) -> argparse.ArgumentParser:
        group, _, last = name.rpartition(" ")
        if group not in groups:
            outer = commands.add_parser(group, help=f"{group}: more commands")
            groups[group] = outer.add_subparsers(required=True, metavar="COMMAND")
        command = groups[group].add_parser(last, help=text, description=text)
        command.add_argument("--traceback", action="store_true", help="show where an error came from")
        command.set_defaults(run=run)
        return command

    return add


def _kit_commands(add) -> None:
    build = add("kit build", _kit_build, "write the folder that is copied to a board")
    build.add_argument("out", metavar="OUT", help="the kit's folder")
    _data_option(build)

    run = add("kit run", _kit_run, "copy → set up → run → fetch over SSH; the same command continues a broken run")
    run.add_argument("host", metavar="USER@HOST", help="the board, or a name of ~/.ssh/config")
    run.add_argument("--kit", default="kit", help="the kit's folder here (default: kit)")
    run.add_argument("--out", default="result.json", help="the file for the results (default: result.json)")
    run.add_argument("--folder", default="course_kit", help="on the board, below the home folder (default: course_kit)")
    run.add_argument("--ssh", default="", metavar="OPTIONS", help='more options for ssh, as one word: --ssh="-p 2222"')
    run.add_argument("--bench", default="", metavar="OPTIONS", help='for edge_bench.py: --bench="--runtime c"')

    read = add("kit import", _kit_import, "a board's results as a ledger, without times that mean nothing")
    read.add_argument("results", metavar="RESULT.JSON")
    read.add_argument("--kit", default="kit", help="the folder of the kit that was run (default: kit)")
    read.add_argument("--out", default=None, help="also write the ledger as JSON")
    read.add_argument("--require-speed", action="store_true", help="fail where a row's times mean nothing")

    guess = add("kit predict", _kit_predict, "how long at least, from a board's documented peaks; or beside results")
    guess.add_argument("board", help="nano, orin_nano, orin_nano_super or pi5")
    guess.add_argument("--kit", default="kit", help="the kit's folder (default: kit)")
    guess.add_argument("--runtime", default="onnxruntime", help="onnxruntime, tensorrt or c (default: onnxruntime)")
    guess.add_argument("--threads", type=int, default=1, help="CPU cores used (default: 1)")
    guess.add_argument("--results", default=None, help="a board's results, to compare with")


def _export_options(export: argparse.ArgumentParser) -> None:
    export.add_argument("model", metavar="MODEL", help="a shipped network (student_rendered, …) or a checkpoint's card")
    export.add_argument("out", metavar="OUT", help="the file to write, such as student.c")
    export.add_argument(
        "--rounding",
        choices=["hardware", "runtime"],
        default="hardware",
        help="as integer-only kernels round, or as ONNX Runtime does on x86 (default: hardware)",
    )
    export.add_argument("--check", type=int, default=200, help="test images to compare on (default: 200)")
    export.add_argument("--data", default=None, help="rendered, gtsrb or the path of an .npz (default: the network's)")


def _train_options(train: argparse.ArgumentParser) -> None:
    which = {"choices": ["teacher", "student", []], "metavar": "{teacher,student}"}
    train.add_argument("what", nargs="*", help="default: both, the teacher first", **which)
    _data_option(train)
    train.add_argument("--threads", type=int, default=None, help="PyTorch threads (default: all cores)")
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


def _data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default=None, help="rendered, gtsrb or the path of an .npz (default: $COURSE_DATA)")


def _data_name(options: argparse.Namespace) -> str:
    return options.data or os.environ.get("COURSE_DATA") or "rendered"


def _demo(options: argparse.Namespace) -> None:
    from course_lib.experiments import main_job
    from course_lib.measure import peak_memory_bytes
    from course_lib.plots import ledger_figure

    started, out = time.perf_counter(), Path(options.out)
    ledger = main_job.run(_data_name(options), quick=options.quick, out=out, say=_say(started))
    ledger_figure(ledger).savefig(out / "ledger.png", dpi=150)
    print(f"\n{ledger}\n")
    minutes, peak = (time.perf_counter() - started) / 60, peak_memory_bytes() / 1e9
    print(f"{minutes:.1f} minutes, at most {peak:.2f} GB of memory.")
    print(f"Written: {out / 'ledger.json'}, {out / 'ledger.png'}")


def _doctor(options: argparse.Namespace) -> int:
    from course_lib.environment import doctor

    return doctor.main()


def _data(options: argparse.Namespace) -> None:
    from course_lib.data import load, load_gtsrb

    splits = load_gtsrb(download=True) if options.download else load(options.name)
    for part in splits:
        print(part)


def _train(options: argparse.Namespace) -> None:
    import torch

    from course_lib.data import load
    from course_lib.experiments import shipped_networks
    from course_lib.experiments.plans import data_key, shown_data
    from course_lib.training import process_group

    data, started = _data_name(options), time.perf_counter()
    every = options.all_tracks
    key, what = data_key(data, all_tracks=every), options.what or ["teacher", "student"]
    torch.set_num_threads(options.threads or torch.get_num_threads())
    splits = load(data, all_tracks=every)
    shown = shown_data(data) + (" --all-tracks" if every else "")
    shown += f" --precision {options.precision}" if options.precision else ""
    given = {"precision": options.precision}
    with process_group() as (rank, _):  # of one, unless torchrun started us
        say = _say(started) if rank == 0 else lambda line: None
        if "teacher" in what:
            say(f"the teacher, on {splits.train}")
            shipped_networks.train_teacher(splits, key, f"course train teacher --data {shown}", say=say, **given)
        if "student" in what:
            shipped_networks.train_students(splits, key, f"course train student --data {shown}", say=say, **given)
        say("done: datasets/checkpoints")


def _bench(options: argparse.Namespace) -> None:
    from course_lib.experiments import main_job, main_job_record
    from course_lib.experiments.plans import data_key, shown_data

    data, started = _data_name(options), time.perf_counter()
    key = data_key(data)
    out, say = Path("build") / f"journey_{key}", _say(started)
    files, title, _ = main_job.prepare(data, quick=True, out=out, say=say)
    ledger = main_job_record.measure_sessions(data, files, title, out, options.sessions, say)
    print(f"\n{ledger}\n\n{ledger.tails()}\n")
    print(f"Written: {main_job_record.record_main_job(ledger, key, f'course bench journey --data {shown_data(data)}')}")


def _export_c(options: argparse.Namespace) -> int:
    from course_lib.experiments.c_export import export_c

    found = export_c(options.model, options.out, data=options.data, rounding=options.rounding, check=options.check)
    print(found)
    return int(found.differing > 0)


def _kit_build(options: argparse.Namespace) -> None:
    from course_lib.experiments import edge_kit

    started = time.perf_counter()
    manifest = edge_kit.build(options.out, data=_data_name(options), say=_say(started))
    for model in manifest.models:
        scored = "" if model.scores is None else f"{model.scores.accuracy.value:.2%} of the test images right"
        print(f"{model.name:<14}{manifest.files[model.file]['bytes']:>10,} bytes  {scored}")
    seconds, size = time.perf_counter() - started, manifest.total_bytes / 1e6
    print(f"Written: {options.out}, {size:.1f} MB in {seconds:.0f} s. Copy it to the board and read its README.md.")


def _kit_run(options: argparse.Namespace) -> None:
    import shlex

    from course_lib.deploy.edge import run_kit
    from course_lib.experiments.edge_progress import ProgressBar

    with ProgressBar() as say:
        given = {"ssh_options": shlex.split(options.ssh), "arguments": shlex.split(options.bench), "say": say}
        out = run_kit(options.kit, options.host, folder=options.folder, out=options.out, **given)
    print(f"Written: {out}. Read it: course kit import {out} --kit {options.kit}")


def _kit_import(options: argparse.Namespace) -> int:
    from course_lib.deploy.edge import import_results, read_results

    ledger = import_results(options.results, options.kit, require_speed=options.require_speed)
    print(ledger)
    failures = read_results(options.results).failures
    print("".join(f"did not run: {name}: {reason}\n" for name, reason in failures.items()), end="")
    if options.out:
        ledger.save(options.out)
    return int(bool(failures))


def _kit_predict(options: argparse.Namespace) -> None:
    from course_lib.deploy.edge import compare, find_board, predict_kit, read_results, sources

    predictions = predict_kit(options.kit, find_board(options.board), options.runtime, threads=options.threads)
    results = read_results(options.results) if options.results else None
    print(f"{compare(predictions, results)}\n\n{sources(predictions)}")


def _diff(options: argparse.Namespace) -> int:
    from course_lib.experiments.model_diff import diff

    report = diff(options.reference, options.suspect, data=options.data, images=options.images)
    print(report)
    if options.out:
        print(f"Written: {report.save(options.out)}")
    return int(not report.healthy)


def _say(started: float):
    def say(line: str) -> None:
        print(f"[{time.perf_counter() - started:6.1f} s] {line}", flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
