"""The command `aet`: one verb a function. Each takes --json; see `aet.commands.session` for output and exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aet.commands.histories import histories
from aet.commands.keys import keys
from aet.commands.options import Data, Json, Run, Seed
from aet.commands.retrain import retrain
from aet.commands.serve import serve
from aet.commands.session import REFUSED, session
from aet.commands.versions import versions

app = typer.Typer(
    help="Attention models that stay right after they are deployed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys, name="keys")


@app.callback(invoke_without_command=True)
def version(shown: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Attention models that stay right after they are deployed."""
    if shown:
        import aet

        typer.echo(aet.__version__)
        raise typer.Exit


@app.command(epilog="Example: aet train rows.csv --target gas --out runs/gas --set train.epochs=40")
def train(
    data: Data,
    target: Annotated[list[str] | None, typer.Option(help="Column to answer; repeat for several.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings as YAML.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder.", show_default="runs/<target>")] = None,
    seed: Seed = None,
    groups: Annotated[list[str] | None, typer.Option(help="Columns as one token: s00=c2:c9, or s00=a,b.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Kind of a column: comment=text.")] = None,
    id: Annotated[str | None, typer.Option(help="Column that names a row.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of times: the latest rows are held out.")] = None,
    group: Annotated[str | None, typer.Option(help="Column of groups: whole groups are held out.")] = None,
    weight: Annotated[str | None, typer.Option(help="Column of row weights.")] = None,
    part: Annotated[str | None, typer.Option(help="Column that says train or valid of each row.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Column to leave out.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Kind of answer: label, multilabel, number, tags, forecast, rank, policy, sequence or several."
        ),
    ] = None,
    header: Annotated[bool | None, typer.Option(help="Whether the first row holds names.", show_default="look")] = None,
    switch: Annotated[
        list[str] | None,
        typer.Option(help="An adaptive part of training to turn on: ema, or sam:rho=0.1; see `aet switches`."),
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Train without each part too: what was it worth?")] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(help="Tracker of the figures: tensorboard, mlflow, wandb:mode=online."),
    ] = None,
    ensemble: Annotated[
        int | None, typer.Option(metavar="N", help="Train N models that differ by their seed, and answer with all.")
    ] = None,
    set: Annotated[list[str] | None, typer.Option(help="A setting: train.epochs=40.")] = None,
    as_json: Json = False,
) -> None:
    """Train a model on a table. The same command takes an interrupted run up again."""
    from aet.commands import options, show
    from aet.commands.folder import announce

    with session(as_json) as here:
        settings = options.settings(config, set or [])
        folder = out or options.default_out(target, settings)
        here.going_on = f"The same command goes on from the last checkpoint in {folder}."
        announce(here, folder)
        import aet

        given: dict[str, Any] = {
            "target": target[0] if target and len(target) == 1 else target,
            "seed": seed,
            "groups": options.groups(groups or []) or None,
            "kinds": options.pairs(kind or [], "--kind", last=True) or None,
            "id": id,
            "time": time,
            "group": group,
            "weight": weight,
            "part": part,
            "ignore": ignore,
            "output": options.output(output),
            "header": header,
            "out": folder,
            "config": settings,
            "switches": options.switches(switch or []),
            "track": options.switches(track, "--track") if track else None,
            "progress": here.progress,
        }
        if ensemble is not None:
            options.refuse_compare(compare)
            made = aet.train_ensemble(data, members=ensemble, **given)
            here.give({"run": folder, **made.report})
            here.show(show.ensemble_table(made), f"Ensemble: {folder}")
            return
        model = aet.train(data, compare=compare, **given)
        answer = show.trained(model, folder)
        here.give(answer)
        here.show(show.figures(answer["valid"], "On the rows held out"), *show.worth_tables(model))
        here.show(*show.tracked_lines(model), f"Run folder: {folder}")


@app.command(epilog="Example: aet tune rows.csv --target gas --minutes 20 --out runs/tune-gas")
def tune(
    data: Data,
    target: Annotated[list[str] | None, typer.Option(help="Column to answer; repeat for several.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings as YAML: the start.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the search.", show_default="runs/tune-<target>")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try, in all.")] = 30,
    minutes: Annotated[float | None, typer.Option(min=0, help="No trial begins after this time.")] = None,
    switch: Annotated[list[str] | None, typer.Option(help="Search over these switches only.")] = None,
    seed: Seed = None,
    set: Annotated[list[str] | None, typer.Option(help="A setting that stays: train.epochs=40.")] = None,
    as_json: Json = False,
) -> None:
    """Search for the switches and rates that fit a table. The same command goes on with an interrupted search."""
    from aet.commands import options, show
    from aet.training.tune import BEST

    with session(as_json) as here:
        settings = options.settings(config, set or [])
        folder = out or options.default_out(target, settings, "tune-")
        here.going_on = f"The same command goes on with the search in {folder}."
        import aet

        found = aet.tune(
            data,
            target=target[0] if target and len(target) == 1 else target,
            out=folder,
            trials=trials,
            minutes=minutes,
            switches=switch,
            seed=seed,
            config=settings,
            progress=here.progress,
        )
        here.give({"out": folder, "config": folder / BEST, **show.tuned(found)})
        here.show(*show.tuned_tables(found), f"Train with it: aet train {data} --config {folder / BEST}")


@app.command(epilog="Example: aet switches")
def switches(as_json: Json = False) -> None:
    """List the adaptive parts of training that `aet train --switch` turns on."""
    from aet.commands import show

    with session(as_json) as here:
        table, records = show.switch_table()
        here.give({"switches": records})
        here.show(table)


@app.command(epilog="Example: aet update runs/gas may.csv --out runs/gas-may --gate 2")
def update(
    run: Run,
    data: Data,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run folder of the new model.", show_default="RUN-updated")
    ] = None,
    gate: Annotated[
        float | None, typer.Option(min=0.0, help="Most points on old held-out rows that may be lost.")
    ] = None,
    old: Annotated[
        str | None, typer.Option(metavar="FILE", help="Rows it was trained on, to measure and compare with.")
    ] = None,
    compare: Annotated[
        bool, typer.Option(help="Also retrain from scratch, and fine-tune on the new rows alone, to compare.")
    ] = True,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings of the update as YAML.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="A setting: train.epochs=20.")] = None,
    as_json: Json = False,
) -> None:
    """Learn new rows without forgetting the old; RUN stays as it is. Exit code 3: it forgets more than --gate allows.

    The same command takes an interrupted update up again.
    """
    from aet.commands import options, updated
    from aet.commands.folder import announce, say_version

    with session(as_json) as here:
        folder = out or run.with_name(f"{run.resolve().name}-updated")
        updated.check_apart(run, folder)
        here.going_on = f"The same command goes on from the last checkpoint in {folder}."
        announce(here, folder)
        import aet
        from aet.errors import UpdateRefused

        say_version(here, run)
        model = aet.load(run)
        try:
            made = model.update(
                data,
                old=old,
                out=folder,
                config=options.settings(config, set or []),
                gate=gate,
                compare=compare,
                progress=here.progress,
            )
        except UpdateRefused as refused:
            here.give({**updated.answer(refused.report, None), "refused": str(refused)})
            here.show(updated.table(refused.report))
            here.tell(str(refused), "red")
            raise typer.Exit(REFUSED) from None
        here.give({**updated.answer(made.report, folder), "refused": None})
        here.show(updated.table(made.report), *made.report["missing"], f"Run folder: {folder}")


@app.command(epilog="Example: aet predict runs/gas rows.csv --out answers.csv")
def predict(
    run: Run,
    data: Data,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help=".csv, .jsonl or .parquet; else CSV is printed.")
    ] = None,
    proba: Annotated[bool, typer.Option("--proba", help="One more column a class.")] = False,
    ray: Annotated[bool, typer.Option("--ray", help="Share the files of a folder out over a Ray cluster.")] = False,
    as_json: Json = False,
) -> None:
    """Answer every row of a table, in order and in bounded memory; or of every Parquet file of a folder.

    Of a folder the same command goes on where it was interrupted.
    """
    from aet.commands import answers
    from aet.commands.folder import say_version

    with session(as_json) as here:
        say_version(here, run)
        if Path(data).is_dir():
            answers.answer_folder(here, run, Path(data), out, proba, ray)
            return
        if out:
            answers.check_suffix(out)
        from aet.ensemble import load_any
        from aet.folder import Counted

        model = load_any(run)
        pieces = Counted(model.predict_iter(data, proba))
        if out:
            answers.write_answers(pieces, out, model)
            here.give({"run": run, "out": out, "rows": pieces.rows, "left_out": pieces.left_out})
        elif as_json:
            answers.to_json_list(pieces)
        else:
            answers.to_csv(pieces, sys.stdout)
        if here.progress:
            aside = f", {pieces.left_out:,} of them without an answer" if pieces.left_out else ""
            here.tell(f"{pieces.rows:,} rows{aside}{f', in {out}' if out else ''}.", "green")


@app.command(epilog="Example: aet evaluate runs/gas rows.csv --json")
def evaluate(run: Run, data: Data, as_json: Json = False) -> None:
    """Score a model on rows with true answers."""
    from aet.commands import show
    from aet.commands.folder import say_version

    with session(as_json) as here:
        from aet.ensemble import load_any

        say_version(here, run)
        metrics = load_any(run).evaluate(data)
        here.give({"run": run, "data": data, **metrics})
        here.show(show.figures(metrics, data))


@app.command(epilog="Example: aet stream runs/gas batch2.csv batch3.csv --labels 16 --delay 64 --guard earned")
def stream(
    run: Run,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="In the order of service.", show_default=False)],
    labels: Annotated[int, typer.Option(min=0, help="True answers asked for in each file, at most.")] = 16,
    delay: Annotated[int, typer.Option(min=0, help="Rows served before an answer comes.")] = 64,
    adapt: Annotated[str, typer.Option(help="Method that proposes states.")] = "auto",
    guard: Annotated[str, typer.Option(help="earned, likely, always or never.")] = "earned",
    unlabelled: Annotated[
        str, typer.Option(help="When to serve what no label has spoken for: never, cautious or always.")
    ] = "cautious",
    compare_methods: Annotated[str, typer.Option(help="Methods run beside: restandardise,align,tent,prior.")] = "",
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the stream's state and record.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Report to write.", show_default="RUN/stream.html")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draws of rows to label.")] = 0,
    as_json: Json = False,
) -> None:
    """Replay files, in order, as a deployed stream: what drift costs and what adaptation wins back.

    Where a file has the target column, its values are the late labels and the measure; else its rows are only served.
    """
    from aet.commands import replayed, show
    from aet.commands.folder import say_version

    with session(as_json) as here:
        here.going_on = "Nothing was written; the same command replays from the start."
        import aet
        from aet.training.display import row_bar

        say_version(here, run)
        replayed.check_paths(report or run / "stream.html", save)
        model = aet.load(run)
        result = aet.replay(
            model,
            replayed.read_parts(model, files),
            labels=labels,
            delay=delay,
            adapt=adapt,
            guard=guard,
            unlabelled=unlabelled,
            methods=[name.strip() for name in compare_methods.split(",") if name.strip()],
            seed=seed,
            bar=row_bar if here.progress else None,
        )
        path = replayed.keep(result, report or run / "stream.html", save)
        here.give({"run": run, **show.streamed(result, path, save)})
        here.show(show.stream_table(result.record), show.verdict(result), f"Report: {path}")


@app.command(epilog="Example: aet report runs/gas --out report.html")
def report(
    run: Run,
    stream: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of `aet stream --save`.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Else report.html in RUN, or in DIR.")] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a training run, or of a saved stream, as one HTML page."""
    from aet.commands import replayed

    with session(as_json) as here:
        path = replayed.write_report(run, stream, out)
        here.give({"run": run, "stream": stream, "report": path})
        here.show(f"Report: {path}")


@app.command(epilog="Example: aet demo gas --out runs/gas")
def demo(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="digits or gas.", show_default=True)] = "digits",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder.", show_default="runs/demo-NAME")] = None,
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
    as_json: Json = False,
) -> None:
    """Train on real data, then serve data that drifts away: handwriting and a wearing camera, or ageing gas sensors."""
    from aet.commands import replayed, show
    from aet.commands.folder import announce

    with session(as_json) as here:
        folder = out or Path("runs") / f"demo-{name}"
        here.going_on = f"The same command goes on from the last checkpoint in {folder}."
        announce(here, folder, renewed=("report.html", "stream"))
        from aet.demo import DEMOS, learn, serve

        demo = DEMOS[name](seed)
        model = learn(demo, folder, seed, here.progress)
        here.going_on = f"The model is trained and lies in {folder}; the same command trains and serves from the start."
        result = serve(demo, model, seed, here.progress)
        path = replayed.keep(result, folder / "report.html", folder / "stream")
        here.give({"train": show.trained(model, folder), **show.streamed(result, path, folder / "stream")})
        here.show(show.stream_table(result.record), show.verdict(result), f"Report: {path}")


app.command(epilog="Example: aet serve runs/gas --port 8000")(serve)
app.command(epilog="Example: aet histories events.csv --user user --item item --time time --out rows.jsonl")(histories)
app.command(epilog="Example: aet retrain runs/gas --store runs/gas/store.db --promote")(retrain)
app.command(epilog="Example: aet versions runs/gas --promote 2")(versions)


def main() -> None:
    """Entry point."""
    # Threads that spin while they wait cost five times the time on a machine that has other work to do. Read once, when
    # torch is loaded, which no module above does.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
