"""The platform as `make up` starts it, at default settings: how soon it is ready, what it uses, how soon it shows data."""
