"""The platform as `make up` starts it, at default settings: how soon it is ready and shows data, and what it uses."""
