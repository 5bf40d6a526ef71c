"""`tilda migrate`, `tilda backup`, `tilda restore-backup`."""

from __future__ import annotations

import click

from tilda import console
from warehouse import backups, migration_script, migrations
from warehouse.database import running_database
from warehouse.settings import load_settings


@click.command()
@click.option("--sql", "only_sql", is_flag=True, help="Print a script for psql that does the same; change nothing.")
def migrate(*, only_sql: bool) -> None:
    """Bring the database's schema up to date.

    With --sql a database administrator can do it instead: the script records each migration as this command does.
    """
    settings = load_settings()
    with running_database(settings) as url:
        if only_sql:
            script = migration_script.pending_script(url)
            click.echo(script, nl=False)
            if not script:
                console.err.print("The schema is up to date.")
            return
        applied = migrations.migrate(url)
        migrations.set_login_passwords(url, settings.secrets)
    for name in applied:
        click.echo(f"applied {name}")
    click.echo("The schema is up to date.")


@click.command("backup")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def backup(*, as_json: bool) -> None:
    """Back the database up while everything runs, and delete the backups that have expired.

    Not in it, and to be kept elsewhere: secrets.json of DATA_DIR, the files of cold months, and Dagster's history.
    """
    settings = load_settings()
    with running_database(settings) as url, console.progress("Backing up", quiet=as_json) as advance:
        done = backups.backup(url, settings, advance)
    if as_json:
        console.print_json(done)
    else:
        click.echo(f"Backup {done.name}: {done.bytes:,} bytes in {settings.backup_folder / done.name}.")
        click.echo(f"Restore it with: tilda restore-backup {done.name}")


@click.command("restore-backup")
@click.argument("name", metavar="BACKUP")
@click.option("--replace", is_flag=True, help="Replace a database that holds events; newer ones are lost.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def restore_backup(name: str, *, replace: bool, as_json: bool) -> None:
    """Put a backup in the place of the database. BACKUP is a name that `tilda backup` printed, or a folder.

    The backup is loaded beside the present database and compared row for row; only then are the two exchanged. If that
    fails, the present database stays in use, the copy is kept, and the same command goes on with it. Persons who were
    erased after the backup was taken are erased again.
    """
    from warehouse import restores  # noqa: PLC0415 - Arrow takes a while to load
    from warehouse.privacy.erase import resume  # noqa: PLC0415

    settings = load_settings()
    with running_database(settings) as url:
        with console.progress("Restoring", quiet=as_json) as advance:
            say = _silent if as_json else console.err.print
            manifest = restores.restore(url, settings, name, advance, replace=replace, say=say)
        erased_again = len(resume(url, settings))
    rows = sum(table.rows for table in manifest.tables.values())
    if as_json:
        result = {"taken_at": manifest.taken_at, "tables": len(manifest.tables), "rows": rows}
        console.print_json(result | {"erased_again": erased_again})
    else:
        click.echo(f"Restored {rows:,} rows of {len(manifest.tables)} tables, each the same as when it was backed up.")
        if erased_again:
            click.echo(f"Persons erased again, who had been erased after the backup: {erased_again}.")


def _silent(_text: str) -> None: ...


COMMANDS = (migrate, backup, restore_backup)
