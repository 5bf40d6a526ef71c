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
from warehouse.kit.database import READER_LOGIN, client_arguments, embedded, replace_in_url, running_database
from warehouse.kit.embedded_postgres import programs
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings, load_settings


@click.command()
@click.option("--sql", "only_sql", is_flag=True, help="Print a script for psql that does the same; change nothing.")
def migrate(*, only_sql: bool) -> None:
    """Bring the database's schema up to date.

    Passwords of logins that exist stay as they are. With --sql a database administrator can do it instead: the script
    records each migration as this command does.
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
            # the schema is what was asked for; only `tilda up` needs the logins
            console.err.print(f"Warning: {error}", markup=False)


@click.group("db")
def db() -> None:
    """The database that the platform uses."""


@db.command("logins")
@click.option("--rotate", is_flag=True, help="Make new passwords; machines that have the old ones are locked out.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def db_logins(*, rotate: bool, as_json: bool) -> None:
    """List the logins of the platform's processes, and whether this machine's passwords open them.

    Exit code 1 if one is refused. Passwords are settings (INGEST_PASSWORD, READER_PASSWORD, PRIVACY_PASSWORD) or in
    secrets.json of DATA_DIR; every machine that uses the database needs the same ones. --rotate makes those anew that
    are no settings, and gives all of them to the database.
    """
    settings = load_settings()
    if rotate and settings.uses_embedded_postgres and running(settings.data_dir) is None:
        # the superuser's password may have been lost with secrets.json
        embedded(settings).reset_password()
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
        click.echo("The passwords are new. Copy secrets.json to the other machines that use this database.")
        if running(settings.data_dir):
            console.echo("This machine's stack has the old ones until it starts again: tilda down, tilda up")
    if any(login.state == "refused" for login in found):
        sys.exit(1)


@click.command("psql", context_settings={"ignore_unknown_options": True})
@click.option("--as", "login", default="owner", show_default=True, help="owner, reader, or the name of an analyst.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(login: str, arguments: tuple[str, ...]) -> None:
    """Open psql on the database. ARGUMENTS are psql's own, such as -c "select 1".

    As the owner everything can be changed; the reader sees marts and ml, and changes nothing. An analyst is asked for
    the password.
    """
    settings = load_settings()
    with running_database(settings) as owner:
        command, environment = client_arguments(_address_as(settings, owner, login))
        previous = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for psql
        try:
            code = subprocess.run([_psql(settings), command, *arguments], env=environment, check=False).returncode
        finally:
            signal.signal(signal.SIGINT, previous)
    sys.exit(code)


def _address_as(settings: Settings, owner: str, login: str) -> str:
    if login == "owner":
        return owner
    if login == "reader":
        return replace_in_url(owner, user=READER_LOGIN, password=settings.secrets.reader_password)
    return replace_in_url(owner, user=login)


def _psql(settings: Settings) -> str:
    """The program: the embedded server's own, or the machine's beside a server of one's own."""
    own = str(programs(18) / "psql")
    return own if settings.uses_embedded_postgres else shutil.which("psql") or own


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
        console.echo(f"Restore it with: tilda restore-backup {done.name}")


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
    from warehouse.backup import restores  # noqa: PLC0415 - Arrow takes a while to load
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


COMMANDS = (migrate, db, psql, backup, restore_backup)
