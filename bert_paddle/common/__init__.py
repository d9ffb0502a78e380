"""What every package uses: flags, errors, the run log, atomic files, signals, process settings."""
