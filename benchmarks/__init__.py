"""Programs that measure; a claim about speed in the docs names the one that printed it. No test runs here."""
