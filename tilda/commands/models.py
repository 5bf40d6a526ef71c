"""`tilda materialize`, `tilda scores`, `tilda models`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import click

from tilda import console
from tilda.materialize import materialize as run_materialize
from warehouse.kit.database import connect, running_database
from warehouse.kit.settings import load_settings
from warehouse.propensity import score_files, scores, versions
from warehouse.sites import registry


@click.command()
@click.argument("selection", default="*")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def materialize(selection: str, *, as_json: bool) -> None:
    """Materialize all assets, or a SELECTION in Dagster's syntax: `tilda materialize 'group:marts'`."""
    settings = load_settings()
    with running_database(settings), console.progress("Materializing", quiet=as_json) as advance:
        result = run_materialize(settings, selection, advance)
    if as_json:
        console.print_json(result)
    else:
        console.print_result(result)


@click.group("scores")
def scores_() -> None:
    """Export the scores of visitors."""


@scores_.command("export")
@click.option("--site", "site_id", metavar="SITE", required=True, help="The site.")
@click.option("--target", default="conversion_7d", show_default=True, help="What is predicted.")
@click.option("--band", type=click.Choice(["hot", "warm", "cold"]), help="Only visitors in this band.")
@click.option("--min-score", type=click.FloatRange(0, 1), default=0.0, help="Only visitors with at least this score.")
@click.option("--format", "file_format", type=click.Choice(["csv", "audience"]), default="csv", show_default=True)
@click.option("--network", type=click.Choice(list(score_files.NETWORKS)), help="Advertising network of the audience.")
@click.option(
    "--consent",
    metavar="NAME",
    help="Trait of identify() or form field that holds the consent to advertising; required for an audience.",
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Output file; default: standard output."
)
def export(
    *,
    site_id: str,
    target: str,
    band: str | None,
    min_score: float,
    file_format: str,
    network: str | None,
    consent: str | None,
    output: Path | None,
) -> None:
    """Write the newest scores to a file.

    csv has one line per visitor, the highest score first. audience is a list for an advertising network: SHA-256 hashes
    of e-mail addresses and telephone numbers of people whose last answer to NAME was yes.
    """
    if file_format == "audience" and not (network and consent):
        raise click.UsageError("An audience needs --network and --consent.")
    if file_format == "csv":
        network = consent = None
    wanted = scores.Wanted(site_id, target, min_score, band)
    with running_database(load_settings()) as url, connect(url) as connection:
        registry.find_site(connection, site_id)
        # Query before the file is opened: without scores, no file is created.
        if network and consent:
            people = scores.audience(connection, wanted, consent=consent)
            write = partial(score_files.write_audience, people=people, network=score_files.NETWORKS[network])
        else:
            write = partial(score_files.write_scores, scores=scores.newest_scores(connection, wanted))
        with output.open("w", newline="") if output else nullcontext(sys.stdout) as file:
            count = write(file)
    if output:
        console.err.print(f"Wrote {count:,} rows to {output}.", markup=False)
    if network and (warning := score_files.size_warning(network, count)):
        console.err.print(warning)


@click.group("models")
def models_() -> None:
    """List decisions about models; go back to an earlier model."""


@models_.command("list")
@click.option("--site", "site_id", metavar="SITE", required=True, help="The site.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(site_id: str, *, as_json: bool) -> None:
    """List all decisions about the models of a site with their reasons, newest first."""
    with running_database(load_settings()) as url, connect(url) as connection:
        registry.find_site(connection, site_id)
        found = versions.decisions(connection, site_id)
    if as_json:
        console.print_json(found)
        return
    headings = ["decided", "target", "model", "", "decision", "reason"]
    rows = [
        (f"{one.at:%Y-%m-%d %H:%M}", one.target, one.version, "in use" if one.in_use else "", one.decision, one.reason)
        for one in found
    ]
    console.print_table("", headings, rows)


@models_.command("rollback")
@click.option("--site", "site_id", metavar="SITE", required=True, help="The site.")
@click.option("--target", default="conversion_7d", show_default=True, help="What is predicted.")
@click.option(
    "--to",
    "version",
    metavar="MODEL",
    help="The earlier model; default: the one that was promoted before the present one.",
)
@click.option("--reason", required=True, help="Reason, which is stored with the decision.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rollback(site_id: str, target: str, version: str | None, reason: str, *, as_json: bool) -> None:
    """Use an earlier model again. The present one is not used until a model was trained on newer weeks."""
    from orchestration.lib.stored_models import roll_back  # noqa: PLC0415 - scikit-learn takes seconds to load

    with running_database(load_settings()) as url, connect(url) as connection:
        registry.find_site(connection, site_id)
        done = roll_back(connection, site_id, target, version, reason)
    if as_json:
        console.print_json(done)
        return
    console.out.print(f"The model {done.version} replaces {done.former}.", markup=False)
    console.out.print("""Score with it now: tilda materialize 'key:"ml/propensity_scores"+'""", markup=False)


COMMANDS = (materialize, scores_, models_)
