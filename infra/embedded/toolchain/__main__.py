"""Install everything that the embedded services run: `python -m infra.embedded.toolchain`."""

from infra.embedded.toolchain.toolchain import Toolchain


def main() -> None:
    """Install everything that the embedded services run, with progress."""
    toolchain = Toolchain()
    paths = [toolchain.jdk.home, toolchain.postgres, toolchain.apicurio.parent]
    paths += [jars[0].parent for jars in (toolchain.kafka_jars, toolchain.delta_jars)]
    for path in paths:
        print(path)


if __name__ == "__main__":
    main()
