"""How the platform runs on one host in containers: images, and what a container does before it becomes its program."""
