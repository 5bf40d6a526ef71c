"""`tilda migrate`, `tilda db logins`, `tilda psql`, `tilda backup`, `tilda restore-backup`."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import click

from tilda import console
from tilda.state import running
from warehouse.access import logins
from warehouse.backup import backups
from warehouse.kit import migration_script, migrations
from warehouse.kit.database import client_arguments, running_database
from warehouse.kit.embedded_postgres import programs
from warehouse.kit.errors import UserError
from warehouse.kit.progress import silent
from warehouse.kit.settings import Settings, load_settings


@click.command()
@click.option("--sql", "only_sql", is_flag=True, help="Print a script for psql instead; change nothing.")
def migrate(*, only_sql: bool) -> None:
    """Migrate the database schema.

    Passwords of existing logins do not change. With --sql, a database administrator can run the printed script instead;
    the script records each migration as this command does.
    """
    settings = load_settings()
    with running_database(settings) as url:
        if only_sql:
            script = migration_script.pending_script(url)
            click.echo(script, nl=False)
            if not script:
                console.err.print("The schema is up to date.")
            return
        logins.create_missing_logins(url, settings.secrets)
        applied = migrations.migrate(url)
        for name in applied:
            click.echo(f"applied {name}")
        click.echo("The schema is up to date.")
        try:
            logins.require_logins(url, settings)
        except UserError as error:
            # the migration succeeded; only `tilda up` needs the logins
            console.err.print(f"Warning: {error}", markup=False)


@click.group("db")
def db() -> None:
    """Manage the database."""


@db.command("logins")
@click.option("--rotate", is_flag=True, help="Create new passwords. Machines with the old passwords lose access.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def db_logins(*, rotate: bool, as_json: bool) -> None:
    """Test whether this machine's passwords work for the database logins of the stack's processes.

    The exit code is 1 if a login is refused. Passwords come from settings (INGEST_PASSWORD, READER_PASSWORD,
    PRIVACY_PASSWORD) or from secrets.json in DATA_DIR. All machines that use the database need the same passwords.
    --rotate replaces the passwords in secrets.json, and sets all passwords in the database.
    """
    settings = load_settings()
    if rotate and running(settings.data_dir) is None:
        logins.reset_owner_password(settings)
    with running_database(settings) as url:
        if rotate:
            logins.create_missing_logins(url, settings.secrets)
            logins.rotate_passwords(url, settings)
            settings = load_settings()
        found = logins.list_logins(url, settings.secrets)
    if as_json:
        console.print_json(found)
    else:
        console.print_records(found)
    if rotate and not as_json:
        click.echo("The passwords were replaced. Copy secrets.json to the other machines that use this database.")
        if running(settings.data_dir):
            console.echo("The running stack still uses the old passwords. Restart it: tilda down, tilda up")
    if any(login.state == "refused" for login in found):
        sys.exit(1)


@click.command("psql", context_settings={"ignore_unknown_options": True})
@click.option("--as", "login", default="owner", show_default=True, help="owner, reader, or the name of an analyst.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(login: str, arguments: tuple[str, ...]) -> None:
    """Open psql. ARGUMENTS are passed to psql, such as -c "select 1".

    The owner can change everything. The reader can read the schemas marts and ml. For an analyst, psql asks for the
    password.
    """
    settings = load_settings()
    with running_database(settings) as owner:
        command, environment = client_arguments(logins.address_as(owner, settings, login))
        previous = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for psql
        try:
            code = subprocess.run([_psql(settings), command, *arguments], env=environment, check=False).returncode
        finally:
            signal.signal(signal.SIGINT, previous)
    sys.exit(code)


def _psql(settings: Settings) -> str:
    """Return the path of psql: the embedded server's, or for an external server the one on PATH, if any."""
    own = str(programs(18) / "psql")
    return own if settings.uses_embedded_postgres else shutil.which("psql") or own


@click.command("backup")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backup(*, as_json: bool) -> None:
    """Back up the database without stopping anything, and delete expired backups.

    A backup does not contain secrets.json of DATA_DIR, the files of cold months, and Dagster's history. Back them up
    separately.
    """
    settings = load_settings()
    with running_database(settings) as url, console.progress("Backing up", quiet=as_json) as advance:
        done = backups.backup(url, settings, advance)
    if as_json:
        console.print_json(done)
    else:
        click.echo(f"Backup {done.name}: {done.bytes:,} bytes in {settings.backup_folder / done.name}.")
        console.echo(f"Restore it with: tilda restore-backup {done.name}")


@click.command("restore-backup")
@click.argument("name", metavar="BACKUP")
@click.option(
    "--replace", is_flag=True, help="Replace a database that holds events. Events newer than the backup are lost."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def restore_backup(name: str, *, replace: bool, as_json: bool) -> None:
    """Replace the database with a backup. BACKUP is a name that `tilda backup` printed, or a folder.

    The backup is loaded into a new database and compared row by row. Then the new database replaces the present one. If
    a step fails, the present database stays in use, the verified copy is kept, and the same command continues with it.
    Persons who were erased after the backup was made are erased again.
    """
    from warehouse.backup import restores  # noqa: PLC0415 - pyarrow takes a second to load

    settings = load_settings()
    with running_database(settings) as url, console.progress("Restoring", quiet=as_json) as advance:
        say = silent if as_json else console.err.print
        done = restores.restore_and_erase(url, settings, name, advance, replace=replace, say=say)
    if as_json:
        console.print_json(done)
    else:
        click.echo(f"Restored {done.rows:,} rows of {done.tables} tables. Every table matches the backup.")
        if done.erased_again:
            click.echo(f"Erased again {done.erased_again} person(s) who had been erased after the backup.")


COMMANDS = (migrate, db, psql, backup, restore_backup)
