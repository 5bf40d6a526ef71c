"""What every domain uses: settings, connections, migrations, errors, locks."""
