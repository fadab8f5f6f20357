"""The services of the laptop, a module each: command, configuration, readiness, variables."""
